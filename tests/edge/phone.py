"""The rig's telephones behind an edge: by UDP, TCP or TLS, along the route that the edge asked for.

They also keep every message they got, and can send MESSAGEs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable
from typing import Literal

from tests.asterisk.audio import Address
from tests.asterisk.phone import Call, Phone
from tests.asterisk.sip import Headers, Message, SipSocket, new_token, tag_in

Transport = Literal["udp", "tcp", "tls"]
PATIENCE = 60.0
HEARABLE = range(500, 2001, 50)  # every tone a test may send
_LENGTH = re.compile(rb"^(?:content-length|l)\s*:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)


class StreamSocket(SipSocket):
    """The same over one TCP connection that the phone opens and the edge uses both ways."""

    def __init__(self, server: Address, on_request: Callable[[Message], None], tls: ssl.SSLContext | None) -> None:
        super().__init__(server, on_request)
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, host: str, port: int = 0) -> None:
        reader, self._writer = await asyncio.open_connection(*self.server, ssl=self._tls, local_addr=(host, port))
        self.address = self._writer.get_extra_info("sockname")[:2]
        self._reading = asyncio.create_task(self._read(reader))

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()

    async def closed(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def new_via(self) -> str:
        return super().new_via().replace("/UDP", "/TLS" if self._tls else "/TCP")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lstrip(b"\r\n")
                if head and (length := _LENGTH.search(head)):
                    self.datagram_received(head + await reader.readexactly(int(length.group(1))), self.server)

    def _write(self, data: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)


class EdgePhone(Phone):
    """`got` are the messages of each call, in order, by its Call-ID."""

    def __init__(
        self,
        number: str,
        domain: str,
        *,
        server: Address,
        tone_hz: int,
        password: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        transport: Transport = "udp",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(number, domain, server=server, tone_hz=tone_hz, password=password, host=host, port=port)
        self.transport = transport
        self.got: dict[str, list[Message]] = {}
        self._routes: dict[str, list[str]] = {}
        if transport != "udp":
            self.socket = StreamSocket(server, self._on_request, tls)
        received = self.socket.datagram_received

        def keep(data: bytes, addr: Address) -> None:
            if len(data) >= 16:
                self._keep(Message.parse(data))
            received(data, addr)

        self.socket.datagram_received = keep  # type: ignore[method-assign]

    async def close(self) -> None:
        await super().close()
        if isinstance(self.socket, StreamSocket):
            await self.socket.closed()

    @property
    def contact(self) -> str:
        plain = super().contact
        return plain if self.transport == "udp" else plain.replace(">", f";transport={self.transport}>")

    def headers(self, method: str, identity: tuple[str, str, str], sequence: int, extra: Headers) -> Headers:
        route = [("Route", each) for each in self._routes.get(identity[2], ())]
        return super().headers(method, identity, sequence, [*route, *extra])

    async def message(self, content_type: str, body: str) -> Message:
        """Out of a dialog, to itself as in the specification's sample."""
        sender = f"<sip:{self.number}@{self.domain}>"
        identity = (f"{sender};tag={new_token()}", sender, new_token())
        answer, _ = await self.authenticated(
            "MESSAGE", f"sip:{self.domain}", identity, 1, [("Content-Type", content_type)], body
        )
        return answer

    async def message_within(self, call: Call, content_type: str, body: str) -> Message:
        """In the dialog of a call, which may be somebody else's: then all is copied but the name."""
        if call.phone is self:
            return await call._request("MESSAGE", [("Content-Type", content_type)], body)
        identity = (f"<sip:{self.number}@{self.domain}>;tag={tag_in(call.local)}", call.remote, call.call_id)
        answer, _ = await self.authenticated(
            "MESSAGE", call.target, identity, 1, [("Content-Type", content_type)], body
        )
        return answer

    async def talk_to(self, number: str, callee: EdgePhone, *, extra: Headers | None = None) -> tuple[Call, Call]:
        """Dials; `callee` answers; they hear each other."""
        theirs = await self.dial(number, extra=extra)
        ours = await callee.incoming(PATIENCE)
        await theirs.until_ringing(PATIENCE)  # a busy switch says no 180 when the 200 is there already
        ours.answer()
        await theirs.until_answered(PATIENCE)
        await until_heard(theirs, ours.audio.tone_hz)
        await until_heard(ours, theirs.audio.tone_hz)
        return theirs, ours

    def _keep(self, message: Message) -> None:
        call_id, routes = message.get("call-id"), message.all("record-route")
        self.got.setdefault(call_id, []).append(message)
        if message.method != "INVITE" or not routes or call_id in self._routes:
            return
        if message.is_request:
            self._routes[call_id] = routes
        elif 200 <= message.status < 300:
            self._routes[call_id] = routes[::-1]


async def until_heard(call: Call, hz: int) -> None:
    """Whoever is on this leg hears that tone and no other, so what was sent before it has passed the switch."""
    async with asyncio.timeout(PATIENCE):
        while await call.hears(HEARABLE, seconds=0.5) != {hz}:
            pass


async def say(speaking: Call, hz: int, heard_by: Call) -> None:
    speaking.audio.tone_hz = hz
    await until_heard(heard_by, hz)


async def part(leaving: Call, other: Call) -> None:
    await leaving.hang_up()
    await other.until_ended(PATIENCE)
