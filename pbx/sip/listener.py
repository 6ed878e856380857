"""A SIP user agent server for MESSAGE over UDP: the stack (sippy) keeps the transactions, the desk answers.

A retransmission gets the same answer and acts once. Whatever waits for a switch waits in a thread, so that the socket
is always read.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from threading import BoundedSemaphore
from typing import Any

import structlog
from django.db import close_old_connections, connections
from sippy.Core.EventDispatcher import ED2
from sippy.Network_server import Remote_address
from sippy.SipHeader import SipHeader
from sippy.SipTransactionManager import SipTransactionManager
from sippy.Udp_server import Udp_server, Udp_server_opts

from accounts.lockout import address_behind
from pbx.sip import wire
from pbx.sip.desk import Message, Reply
from pbx.sip.wire import Request, UnreadableError

log = structlog.get_logger(__name__)

AT_ONCE = 16  # messages that are answered at the same time
WAITING_MAX = 500  # beyond it a message is answered 503 at once
UNREAD_MAX = 1_000  # datagrams that wait for the loop; beyond it they wait in the socket, and the kernel drops them
REMEMBERED = 20_000  # answers, 1 or 2 kB each; beyond it a new message is answered 503 too
_PATIENCE_SECONDS = 1.0
_LATER = ("Retry-After", "2")
_ALLOW = ("Allow", "MESSAGE, OPTIONS")


class _Silent:
    """The stack would log every message whole, with its credentials."""

    def write(self, *_: Any, **__: Any) -> None:
        return


class _Options(Udp_server_opts):  # type: ignore[misc]
    direct_dispatch = True


class _Server(Udp_server):  # type: ignore[misc]
    """Lets only so many datagrams wait for the loop; more wait in the socket's buffer, which the kernel bounds."""

    def __init__(self, config: Any, options: Any) -> None:
        self._places = BoundedSemaphore(UNREAD_MAX)
        super().__init__(config, options)

    def handle_read(self, data: bytes, address: Any, received: Any, *_: Any) -> None:
        """In a thread of the stack that reads the socket."""
        if self._places.acquire(timeout=_PATIENCE_SECONDS):
            ED2.callFromThread(self._handle, data, Remote_address(address, self.transport), received)

    def _handle(self, data: bytes, address: Any, received: Any) -> None:
        self._places.release()
        super().handle_read(data, address, received)


class _Transactions(SipTransactionManager):  # type: ignore[misc]
    """Looks at a datagram before the stack does."""

    model_udp_server = (_Server, _Options)
    look: Callable[[bytes], Request | bytes | None]
    waiting: set[bytes]

    def handleIncoming(self, data: bytes, address: Any, server: Any, received: Any) -> None:  # noqa: N802 - sippy's
        said = self.look(bytes(data))
        if isinstance(said, Request):
            head = said.head()
            if self._has_room_for(md5(head, usedforsecurity=False).digest()):  # as the stack knows it
                super().handleIncoming(head, address, server, received)
                return
            said = wire.response(said, 503, "Service Unavailable", "Too many messages at once", _LATER)
        if said is not None:
            server.send_to(said, address.address)

    def _has_room_for(self, checksum: bytes) -> bool:
        """What came before is known: the stack keeps each answer for half a minute, if the question comes again."""
        remembered = len(self.l1rcache) + len(self.l2rcache)
        if len(self.waiting) < WAITING_MAX and remembered < REMEMBERED:
            return True
        return any(checksum in known for known in (self.waiting, self.l1rcache, self.l2rcache))


class Listener:
    def __init__(self, answer: Callable[[Message], Reply], address: str, port: int) -> None:
        self._answer = answer
        self._read: Request | None = None  # the datagram that the stack is looking at
        self._waiting: set[bytes] = set()  # messages that have no answer yet, by the stack's checksum
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sip")
        _Transactions.look, _Transactions.waiting = staticmethod(self._look), self._waiting
        config = {"_sip_address": address, "_sip_port": port, "_sip_logger": _Silent()}
        self._transactions = _Transactions(config, self._take)
        config["_sip_tm"] = self._transactions

    def run(self) -> None:
        """Until `stop` is called, from a signal or another thread."""
        ED2.loop()
        self._threads.shutdown(wait=True)
        self._transactions.shutdown()

    def stop(self) -> None:
        ED2.breakLoop()

    # --- In the loop -------------------------------------------------------------------------------------------

    def _look(self, datagram: bytes) -> Request | bytes | None:
        """The request that the stack is to take; or what is answered instead; or None: nothing."""
        if datagram.startswith(b"SIP/2.0 ") or not datagram.strip():
            return None  # a response to nothing we asked, or a keep-alive
        try:
            request = wire.read(datagram)
        except UnreadableError as error:
            log.info("sip request refused", code=error.code, reason=error.warning)
            return error.reply
        if request.method == "OPTIONS":
            return wire.response(request, 200, "OK", "", _ALLOW)
        if request.method != "MESSAGE":
            return None if request.method == "ACK" else wire.response(request, 405, "Method Not Allowed", "", _ALLOW)
        self._read = request
        return request

    def _take(self, stacked: Any, transaction: Any) -> tuple[Any, Any, Any]:
        request = self._read
        assert request is not None  # noqa: S101 - the stack takes it while it handles the datagram, in the same thread
        self._waiting.add(transaction.checksum)
        self._threads.submit(self._think, stacked, transaction, _message(request, str(stacked.getSource()[0])))
        return None, None, None

    def _send(self, stacked: Any, transaction: Any, reply: Reply) -> None:
        self._waiting.discard(transaction.checksum)
        response = stacked.genResponse(reply.code, reply.phrase)
        for name, value in _headers(reply):
            response.appendHeader(SipHeader(name=name, bodys=value, fixname=True))
        self._transactions.sendResponse(response, transaction)

    # --- In a thread -------------------------------------------------------------------------------------------

    def _think(self, stacked: Any, transaction: Any, message: Message) -> None:
        try:
            close_old_connections()
            reply = self._answer(message)
        except Exception:  # whatever went wrong, the phone is told, and the next message is answered
            log.exception("sip message was not answered")
            reply = Reply(500, "Server Internal Error", "It could not be carried out. The log says why.")
        finally:
            connections.close_all()
        ED2.callFromThread(self._send, stacked, transaction, reply)


def _message(request: Request, source: str) -> Message:
    return Message(
        request_uri=request.uri,
        request_domain=wire.host_of(request.uri),
        from_domain=wire.host_of(request.first("from")),
        call_id=request.first("call-id"),
        is_in_dialog=request.has_to_tag,
        content_types=request.all("content-type"),
        body=request.body,
        authorization=request.first("proxy-authorization") or request.first("authorization"),
        source=address_behind(source, ",".join(request.all("x-forwarded-for"))),  # of the phone, not of the edge
        edge_domain=request.first("x-edge-domain"),  # only offers a realm: whoever may, proves it by the password
    )


def _headers(reply: Reply) -> list[tuple[str, str]]:
    headers = [reply.challenge] if reply.challenge else []
    if reply.warning:
        headers.append(("Warning", wire.warning_value(reply.warning)))
    if reply.retry_after:
        headers.append(("Retry-After", str(reply.retry_after)))
    return headers
