"""A file's way in: its bytes go from the socket into the vault as they come, past Django, which would store them first.

Django still sees the request, with all of its middleware, and is told that it has no body; the door behind it reads the
body here. So nothing is read of a sender that is refused, and however large a file is, a few blocks are in memory.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from django.conf import settings

from recordings.files import FileRefusedError

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY = "voxledger.body"
IDLE_SECONDS = 30.0  # so long a sender may be silent
LINGER_SECONDS, LINGER_BYTES = 3.0, 16 * 1024 * 1024
_PATH = re.compile(r"/api/switch/v1/recordings/[^/]+(/segments/[^/]+)?/file")


class Uploads:
    """ASGI: hands a request that brings a file on with its body beside it, and everything else as it is."""

    def __init__(self, streamed: Application, otherwise: Application) -> None:
        self.streamed, self.otherwise = streamed, otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "PUT" or not _PATH.fullmatch(scope["path"]):
            await self.otherwise(scope, receive, send)
            return
        body = Body(receive)
        await self.streamed(scope | {BODY: body}, body.instead, _lingering(body, send))


class Body:
    """The body of a request, read in the thread of its view."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._loop = receive, asyncio.get_running_loop()
        self._told = False
        self._over = asyncio.Event()  # all of it has been read, or its sender has gone

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    async def instead(self) -> Message:
        """What Django receives: nothing, and later that the sender has gone."""
        if not self._told:
            self._told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"} if (await self._receive())["type"] == "http.disconnect" else await _never()

    def chunks(self) -> Iterator[bytes]:
        """Blocks the thread that asks, never the loop."""
        deadline = time.monotonic() + settings.RECORDING_UPLOAD_SECONDS
        while not self.is_over:
            patience = min(IDLE_SECONDS, deadline - time.monotonic())
            waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            try:
                message = waiting.result(max(0.0, patience))
            except TimeoutError:
                waiting.cancel()
                raise FileRefusedError("too_slow", "The file came too slowly. Nothing was kept.") from None
            if message["type"] == "http.disconnect":
                raise FileRefusedError("cut_off", "The sender went away before the end of the file. Nothing was kept.")
            yield message.get("body", b"")

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._over.set()
        return message

    async def run_out(self) -> None:
        """A sender that is refused at its first words does not hear why while it still talks: we let it, for a bit."""
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self.is_over:
                    left -= len((await self._next()).get("body", b""))
        except TimeoutError:
            pass


def _lingering(body: Body, send: Send) -> Send:
    """Closes the connection after a refusal: what still comes of the body is no next request."""

    async def sent(message: Message) -> None:
        if body.is_over:
            await send(message)
        elif message["type"] == "http.response.start":
            await send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
        elif message.get("more_body", False):
            await send(message)
        else:
            await send({**message, "more_body": True})
            await body.run_out()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sent


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
