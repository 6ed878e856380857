"""A portal as small as can be: only `/wsi`, which says what the test wants said, and files for a browser."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.examples.conftest import EXAMPLES

TOKEN = "vxt_good"
TYPES = {".js": "text/javascript", ".html": "text/html; charset=utf-8"}
Turn = Callable[["Peer"], None]


def event(number: int) -> str:
    """Compact, with an id that no JavaScript number holds."""
    return f'{{"event_type":"call_cdr","session_id":"900719925474099{number}","event_id":"{number}"}}'


@dataclass
class Peer:
    """One connection, after auth and subscribe: `wanted` is what the client said."""

    socket: ServerConnection
    wanted: dict[str, Any]

    def tell(self, *numbers: int) -> None:
        for number in numbers:
            self.socket.send(event(number))

    def wait(self) -> None:
        """Until the client goes."""
        for _ in self.socket:
            pass

    def drop(self) -> None:
        """As a cable that is cut: no close frame."""
        self.socket.close_socket()


@dataclass
class Portal:
    """Each connection that subscribes gets the next turn."""

    turns: list[Turn]
    cursor: str = "0"
    more: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    heard: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def subscriptions(self) -> list[str | None]:
        return [each.get("since") for each in self.heard if each["command"] == "subscribe"]

    def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.hosts.append(socket.request.headers["Host"])
        try:
            auth = self.hear(socket)
            if auth.get("access_token") != TOKEN:
                socket.send('{"command":"auth","error":"access_token error","id":"1","status":-1}')
                return
            socket.send('{"command":"auth","id":"1","status":0}')
            wanted = self.hear(socket)
            if "no_such" in wanted["event_types"]:
                socket.send('{"command":"subscribe","error":"unknown event type no_such","id":"2","status":-1}')
                return
            cursor = wanted.get("since", self.cursor)
            said = {"command": "subscribe", "id": "2", "status": 0, "cursor": cursor, **self.more}
            socket.send(json.dumps(said))
            self.turns.pop(0)(Peer(socket, wanted))
        except ConnectionClosed:
            pass

    def hear(self, socket: ServerConnection) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(socket.recv(timeout=10))
        self.heard.append(message)
        return message

    def serve_file(self, _socket: ServerConnection, request: Request) -> Response | None:
        if request.path == "/wsi":
            return None
        file = EXAMPLES / request.path.strip("/")
        if file.suffix not in TYPES or not file.is_file():
            return Response(404, "Not Found", Headers({"Content-Length": "0"}), b"")
        body = file.read_bytes()
        headers = Headers({"Content-Type": TYPES[file.suffix], "Content-Length": str(len(body))})
        return Response(HTTPStatus.OK, "OK", headers, body)


@contextmanager
def portal(*turns: Turn, port: int = 0, **more: Any) -> Iterator[Portal]:
    found = Portal(list(turns), **more)
    with serve(found.handle, "127.0.0.1", port, process_request=found.serve_file, compression=None) as server:
        found.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join(10)
