"""Scriptable telephones: what a person or a trunk's far end does with a call, one method each.

A phone speaks SIP and G.711 over UDP to one switch. Its calls tell what happened to them and which tones they hear.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

from tests.asterisk.audio import Address, RtpStream, tones_in
from tests.asterisk.sip import Headers, Message, SipError, SipSocket, digest_answer, new_token, tag_in, uri_in, user_in

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER, INFO, UPDATE"
PATIENCE = 60.0  # seconds a step of a scenario may take before it is a failure


class Phone:
    """One device. An extension registers; a trunk's far end has no password, and names any caller it likes."""

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
        display_name: str = "",
    ) -> None:
        self.number = number
        self.domain = domain
        self.tone_hz = tone_hz
        self.host = host
        self.display_name = display_name
        self.calls: dict[str, Call] = {}
        self.socket = SipSocket(server, self._on_request)
        self._password = password
        self._port = port
        self._incoming: asyncio.Queue[Call] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self.socket.open(self.host, self._port)

    async def close(self) -> None:
        for call in self.calls.values():
            call.close()
        for task in self._tasks:
            task.cancel()
        self.socket.close()
        await asyncio.sleep(0)  # only now does asyncio let go of the port

    @property
    def contact(self) -> str:
        host, port = self.socket.address
        return f"<sip:{self.number}@{host}:{port}>"

    async def register(self, *, expires: int = 600) -> None:
        """Adds this device to its extension; `expires=0` takes it away."""
        uri, own = f"sip:{self.domain}", f"<sip:{self.number}@{self.domain}>"
        identity = (f"{own};tag={new_token()}", own, new_token())
        answer, _ = await self.authenticated("REGISTER", uri, identity, 1, [("Expires", str(expires))])
        if answer.status != 200:
            raise SipError(f"{self.number}@{self.domain} was not registered: {answer.start_line}")

    async def dial(self, number: str, *, caller: str = "", extra: Headers | None = None) -> Call:
        """Sends the INVITE and returns at once; `caller` is for a trunk's far end."""
        call = Call(self, new_token(), incoming=False)
        call.local = f"{self.display_name} <sip:{caller or self.number}@{self.domain}>;tag={new_token()}".lstrip()
        call.remote = f"<sip:{number}@{self.domain}>"
        call.target = f"sip:{number}@{self.domain}"
        self.calls[call.call_id] = call
        await call.open_audio()
        self.spawn(call.run_invite(extra or []))
        return call

    async def incoming(self, timeout: float = PATIENCE) -> Call:
        """The next call that rings here."""
        try:
            return await asyncio.wait_for(self._incoming.get(), timeout)
        except TimeoutError:
            raise SipError(f"{self.number}@{self.domain} did not ring within {timeout:.0f} s") from None

    async def answer(self, *, after: float = 0.0) -> Call:
        """Waits for a call, lets it ring for `after` seconds, answers it."""
        call = await self.incoming()
        await asyncio.sleep(after)
        call.answer()
        return call

    def spawn(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def authenticated(
        self,
        method: str,
        uri: str,
        identity: tuple[str, str, str],
        sequence: int,
        extra: Headers,
        body: str = "",
    ) -> tuple[Message, int]:
        """The final answer and the CSeq number it took; a challenge is answered once. `identity`: From, To, Call-ID."""
        credentials: Headers = []
        while True:
            headers = self.headers(method, identity, sequence, [*credentials, *extra])
            answer = await self.socket.request(method, uri, headers, body)
            if answer.status not in (401, 407) or credentials:
                return answer, sequence
            credentials = self.credentials(answer, method, uri)
            sequence += 1

    def credentials(self, challenge: Message, method: str, uri: str) -> Headers:
        asked, given = ("www-authenticate", "Authorization")
        if challenge.status == 407:
            asked, given = ("proxy-authenticate", "Proxy-Authorization")
        value = digest_answer(
            challenge.get(asked), username=self.number, password=self._password, method=method, uri=uri
        )
        return [(given, value)]

    def headers(self, method: str, identity: tuple[str, str, str], sequence: int, extra: Headers) -> Headers:
        sender, recipient, call_id = identity
        return [
            ("Via", self.socket.new_via()),
            ("Max-Forwards", "70"),
            ("From", sender),
            ("To", recipient),
            ("Call-ID", call_id),
            ("CSeq", f"{sequence} {method}"),
            ("Contact", self.contact),
            ("User-Agent", "Voxledger test phone"),
            ("Allow", ALLOW),
            ("Supported", "replaces"),
            *extra,
        ]

    def _on_request(self, request: Message) -> None:
        if request.method == "ACK":
            return
        call = self.calls.get(request.get("call-id"))
        if call is not None:
            call.on_request(request)
        elif request.method == "INVITE":
            self.spawn(self._ring(request))
        elif request.method in ("OPTIONS", "NOTIFY"):
            self.socket.reply(request, 200, tag=new_token())
        else:
            self.socket.reply(request, 481, tag=new_token())

    async def _ring(self, invite: Message) -> None:
        call = Call(self, invite.get("call-id"), incoming=True)
        self.calls[call.call_id] = call
        await call.open_audio()
        call.on_invite(invite)
        self._incoming.put_nowait(call)


class Call:
    """One leg, as its phone lives it."""

    def __init__(self, phone: Phone, call_id: str, *, incoming: bool) -> None:
        self.phone = phone
        self.call_id = call_id
        self.is_incoming = incoming
        self.local = self.remote = self.target = ""
        self.session_id = ""  # X-Session-Id of the INVITE that rang here
        self.session_id_headers = 0
        self.caller_number = ""
        self.ringing = asyncio.Event()
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        self.ended_by: Literal["us", "them", ""] = ""
        self.status = 0  # the final SIP status of the INVITE
        self.transfer_status: asyncio.Queue[int] = asyncio.Queue()  # what NOTIFYs say about our REFER
        self.audio = RtpStream(phone.tone_hz)
        self.is_holding = False
        self._audio_port = 0
        self._invite: Message | None = None
        self._sent_invite: tuple[str, Headers] = ("", [])
        self._sequence = 0
        self._session_version = 0

    # --- what the person at the phone does ---

    def answer(self) -> None:
        if self._invite is None or self.ended.is_set():
            raise SipError(f"{self.phone.number} has no ringing call to answer")
        self._reply_with_media(self._invite, 200)
        self._set_up(200)

    def reject(self, status: int = 486) -> None:
        self._refuse(status, [])

    def redirect(self, number: str) -> None:
        """A 302: the phone forwards the call itself."""
        self._refuse(302, [("Contact", f"<sip:{number}@{self.phone.domain}>")])

    async def cancel(self) -> None:
        """Gives up while it rings."""
        uri, headers = self._sent_invite
        kept = [(name, value) for name, value in headers if name in ("Via", "Max-Forwards", "From", "To", "Call-ID")]
        sequence = next(value for name, value in headers if name == "CSeq").split()[0]
        await self.phone.socket.request("CANCEL", uri, [*kept, ("CSeq", f"{sequence} CANCEL")])
        await self.until_ended()

    async def hang_up(self) -> None:
        if self.ended.is_set():
            return
        self._end("us")
        await self._request("BYE")

    async def press(self, digits: str, *, gap: float = 0.12) -> None:
        for digit in digits:
            self.audio.press(digit)
            await asyncio.sleep(0.16 + gap)

    async def hold(self) -> None:
        self.is_holding = True
        self.audio.sending = False
        await self._reinvite()

    async def unhold(self) -> None:
        self.is_holding = False
        await self._reinvite()
        self.audio.sending = True

    async def transfer(self, number: str) -> int:
        """A blind transfer of the other party; the status of the REFER."""
        return await self._refer(f"sip:{number}@{self.phone.domain}")

    async def transfer_to_call(self, consulted: Call) -> int:
        """An attended transfer: the other party is joined to that of our second call."""
        ours, theirs = tag_in(consulted.local), tag_in(consulted.remote)
        replaces = quote(f"{consulted.call_id};to-tag={theirs};from-tag={ours}", safe="")
        number = user_in(consulted.local if consulted.is_incoming else consulted.remote)
        return await self._refer(f"sip:{number}@{self.phone.domain}?Replaces={replaces}")

    async def send_tone(self, hz: int) -> None:
        self.audio.tone_hz = hz

    # --- what it can tell ---

    async def until_ringing(self, timeout: float = PATIENCE) -> None:
        await self._until(self.ringing, "ring", timeout)

    async def until_answered(self, timeout: float = PATIENCE) -> None:
        await self._until(self.answered, "be answered", timeout)

    async def until_ended(self, timeout: float = PATIENCE) -> None:
        await self._until(self.ended, "end", timeout)

    async def until_transferred(self, timeout: float = PATIENCE) -> int:
        """The final status the switch reports for our REFER."""
        try:
            async with asyncio.timeout(timeout):
                while (status := await self.transfer_status.get()) < 200:
                    pass
                return status
        except TimeoutError:
            raise SipError(f"{self.phone.number} was not told how its transfer went") from None

    async def hears(self, candidates: Iterable[int], *, seconds: float = 0.8) -> set[int]:
        """Listens from now on, and says which tones there were."""
        start = time.monotonic()
        await asyncio.sleep(seconds)
        return tones_in(self.audio.audio_since(start), candidates)

    # --- the protocol ---

    async def open_audio(self) -> None:
        self._audio_port = await self.audio.open(self.phone.host)

    def close(self) -> None:
        self.audio.close()

    async def run_invite(self, extra: Headers) -> None:
        credentials: Headers = []
        content = [("Content-Type", "application/sdp")]
        while True:
            self._sequence += 1
            identity = (self.local, self.remote, self.call_id)
            headers = self.phone.headers("INVITE", identity, self._sequence, [*credentials, *extra, *content])
            self._sent_invite = (self.target, headers)
            final = await self.phone.socket.request(
                "INVITE", self.target, headers, self._sdp(), timeout=120, on_provisional=self._on_provisional
            )
            if final.status < 300:
                break
            via = headers[0]
            ack = [via, ("Max-Forwards", "70"), ("From", self.local), ("To", final.get("to"))]
            self.phone.socket.send(
                "ACK", self.target, [*ack, ("Call-ID", self.call_id), ("CSeq", f"{self._sequence} ACK")]
            )
            if final.status not in (401, 407) or credentials:
                self.status = final.status
                self._end("them")
                return
            credentials = self.phone.credentials(final, "INVITE", self.target)
        self.remote = final.get("to")
        self.target = uri_in(final.get("contact"))
        self._take_media(final.body)
        self._acknowledge()
        self._set_up(final.status)

    def on_invite(self, invite: Message) -> None:
        self._invite = invite
        self._sequence = 100
        self.local = f"{invite.get('to')};tag={new_token()}"
        self.remote = invite.get("from")
        self.target = uri_in(invite.get("contact"))
        self.session_id = invite.get("x-session-id")
        self.session_id_headers = len(invite.all("x-session-id"))
        self.caller_number = user_in(invite.get("from"))
        self._take_media(invite.body)
        self.phone.socket.reply(invite, 180, tag=tag_in(self.local), extra=[("Contact", self.phone.contact)])
        self.ringing.set()

    def on_request(self, request: Message) -> None:
        reply = self.phone.socket.reply
        match request.method:
            case "INVITE" | "UPDATE" if request.body:
                self._take_media(request.body)
                self._reply_with_media(request, 200)
            case "BYE":
                reply(request, 200)
                self._end("them")
            case "CANCEL":
                reply(request, 200, tag=tag_in(self.local))
                if self._invite is not None and not self.answered.is_set():
                    reply(self._invite, 487, tag=tag_in(self.local))
                    self.status = 487
                    self._end("them")
            case "NOTIFY":
                reply(request, 200)
                if found := re.match(r"SIP/2\.0 (\d{3})", request.body):
                    self.transfer_status.put_nowait(int(found.group(1)))
            case "INVITE":  # an offer is expected of us
                self._reply_with_media(request, 200)
            case _:
                reply(request, 200)

    def _on_provisional(self, answer: Message) -> None:
        if answer.status in (180, 183):
            self.ringing.set()

    def _set_up(self, status: int) -> None:
        self.status = status
        self.audio.sending = True
        self.answered.set()

    def _end(self, by: Literal["us", "them"]) -> None:
        if not self.ended.is_set():
            self.ended_by = by
            self.audio.sending = False
            self.ended.set()

    def _refuse(self, status: int, extra: Headers) -> None:
        if self._invite is None or self.answered.is_set() or self.ended.is_set():
            raise SipError(f"{self.phone.number} has no ringing call to refuse")
        self.phone.socket.reply(self._invite, status, tag=tag_in(self.local), extra=extra)
        self.status = status
        self._end("us")

    async def _refer(self, target: str) -> int:
        sender = f"<sip:{self.phone.number}@{self.phone.domain}>"
        return (await self._request("REFER", [("Refer-To", f"<{target}>"), ("Referred-By", sender)])).status

    async def _reinvite(self) -> None:
        answer = await self._request("INVITE", [("Content-Type", "application/sdp")], self._sdp())
        if answer.status != 200:
            raise SipError(f"{self.phone.number}: the re-INVITE was answered {answer.start_line}")
        self._take_media(answer.body)
        self._acknowledge()

    async def _request(self, method: str, extra: Headers | None = None, body: str = "") -> Message:
        identity = (self.local, self.remote, self.call_id)
        answer, self._sequence = await self.phone.authenticated(
            method, self.target, identity, self._sequence + 1, extra or [], body
        )
        return answer

    def _acknowledge(self) -> None:
        identity = (self.local, self.remote, self.call_id)
        self.phone.socket.send("ACK", self.target, self.phone.headers("ACK", identity, self._sequence, []))

    def _reply_with_media(self, request: Message, status: int) -> None:
        extra = [("Contact", self.phone.contact), ("Allow", ALLOW), ("Supported", "replaces")]
        self.phone.socket.reply(
            request,
            status,
            tag=tag_in(self.local),
            extra=[*extra, ("Content-Type", "application/sdp")],
            body=self._sdp(),
        )

    def _sdp(self) -> str:
        self._session_version += 1
        direction = "sendonly" if self.is_holding else "sendrecv"
        lines = (
            "v=0",
            f"o=- 1 {self._session_version} IN IP4 {self.phone.host}",
            "s=-",
            f"c=IN IP4 {self.phone.host}",
            "t=0 0",
            f"m=audio {self._audio_port} RTP/AVP 0 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            f"a={direction}",
        )
        return "\r\n".join(lines) + "\r\n"

    def _take_media(self, sdp: str) -> None:
        host, port = re.search(r"^c=IN IP4 (\S+)", sdp, re.M), re.search(r"^m=audio (\d+)", sdp, re.M)
        if host and port:
            self.audio.remote = (host.group(1), int(port.group(1)))

    async def _until(self, event: asyncio.Event, what: str, timeout: float) -> None:
        waiters = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.ended.wait())}
        _, pending = await asyncio.wait(waiters, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for waiter in pending:
            waiter.cancel()
        if not event.is_set():
            raise SipError(
                f"the call of {self.phone.number} did not {what} within {timeout:.0f} s (status {self.status})"
            )
