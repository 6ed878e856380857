"""As much of SIP over UDP as a test phone needs: messages, digest, and transactions (RFC 3261)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Address = tuple[str, int]
Headers = list[tuple[str, str]]

REASONS = {
    180: "Ringing",
    200: "OK",
    302: "Moved Temporarily",
    404: "Not Found",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    603: "Decline",
}


class SipError(Exception):
    """The other side did not do what the scenario needs."""


@dataclass(frozen=True)
class Message:
    start_line: str
    headers: tuple[tuple[str, str], ...]
    body: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Message:
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        start_line, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(start_line, tuple((name.strip().lower(), value.strip()) for name, _, value in pairs), body)

    @property
    def is_request(self) -> bool:
        return not self.start_line.startswith("SIP/2.0")

    @property
    def method(self) -> str:
        return self.start_line.split()[0] if self.is_request else self.get("cseq").split()[1]

    @property
    def status(self) -> int:
        return int(self.start_line.split()[1])

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]


def uri_in(header: str) -> str:
    found = re.search(r"<([^>]+)>", header) or re.match(r"([^;\s]+)", header)
    return found.group(1) if found else ""


def user_in(header: str) -> str:
    return uri_in(header).partition(":")[2].partition("@")[0]


def tag_in(header: str) -> str:
    found = re.search(r";tag=([^;>\s]+)", header)
    return found.group(1) if found else ""


def new_token() -> str:
    return secrets.token_hex(8)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def digest_answer(challenge: str, *, username: str, password: str, method: str, uri: str) -> str:
    """The credentials for an MD5 challenge, with or without qop (RFC 7616, RFC 2617)."""
    offered = {
        key.lower(): quoted or plain for key, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', challenge)
    }
    realm, nonce = offered["realm"], offered["nonce"]
    secret, request = _md5(f"{username}:{realm}:{password}"), _md5(f"{method}:{uri}")
    fields = f'Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm=MD5'
    if "qop" in offered:
        count, own = "00000001", new_token()
        response = _md5(f"{secret}:{nonce}:{count}:{own}:auth:{request}")
        fields += f', qop=auth, nc={count}, cnonce="{own}"'
    else:
        response = _md5(f"{secret}:{nonce}:{request}")
    if "opaque" in offered:
        fields += f', opaque="{offered["opaque"]}"'
    return f'{fields}, response="{response}"'


def _encode(start_line: str, headers: Iterable[tuple[str, str]], body: str) -> bytes:
    lines = [start_line, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class SipSocket(asyncio.DatagramProtocol):
    """One device's UDP socket: sends requests until they are answered, and hands over each incoming one once."""

    def __init__(self, server: Address, on_request: Callable[[Message], None]) -> None:
        self.server = server
        self.address: Address = ("", 0)
        self._on_request = on_request
        self._transport: asyncio.DatagramTransport | None = None
        self._answers: dict[tuple[str, str], asyncio.Queue[Message]] = {}
        self._replies: dict[tuple[str, str], bytes] = {}

    async def open(self, host: str, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        self.address = self._transport.get_extra_info("sockname")[:2]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def new_via(self) -> str:
        host, port = self.address
        return f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{new_token()};rport"

    def send(self, method: str, uri: str, headers: Headers, body: str = "") -> None:
        self._write(_encode(f"{method} {uri} SIP/2.0", headers, body))

    async def request(
        self,
        method: str,
        uri: str,
        headers: Headers,
        body: str = "",
        *,
        timeout: float = 32.0,
        on_provisional: Callable[[Message], None] | None = None,
    ) -> Message:
        """The final answer. `headers` begins with Via."""
        key = (_branch(headers[0][1]), method)
        answers = self._answers[key] = asyncio.Queue()
        pause: float | None = 0.5
        try:
            async with asyncio.timeout(timeout):
                self.send(method, uri, headers, body)
                while True:
                    try:
                        answer = await asyncio.wait_for(answers.get(), pause)
                    except TimeoutError:
                        self.send(method, uri, headers, body)
                        continue
                    if answer.status >= 200:
                        return answer
                    pause = None  # a provisional answer says that the request arrived
                    if on_provisional is not None:
                        on_provisional(answer)
        except TimeoutError:
            raise SipError(f"no answer to {method} {uri} within {timeout:.0f} s") from None
        finally:
            del self._answers[key]

    def reply(
        self, request: Message, status: int, *, tag: str = "", extra: Headers | None = None, body: str = ""
    ) -> None:
        to = request.get("to")
        if tag and not tag_in(to):
            to += f";tag={tag}"
        headers = [("Via", via) for via in request.all("via")]
        headers += [("Record-Route", route) for route in request.all("record-route")]
        headers += [(name, request.get(name)) for name in ("From",)]
        headers += [("To", to), ("Call-ID", request.get("call-id")), ("CSeq", request.get("cseq")), *(extra or [])]
        data = _encode(f"SIP/2.0 {status} {REASONS.get(status, 'Unknown')}", headers, body)
        self._replies[_branch(request.get("via")), request.method] = data
        self._write(data)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if len(data) < 16:  # a keep-alive
            return
        message = Message.parse(data)
        key = (_branch(message.get("via")), message.method)
        if not message.is_request:
            if key in self._answers:
                self._answers[key].put_nowait(message)
        elif key in self._replies:
            self._write(self._replies[key])
        else:
            self._on_request(message)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.sendto(data, self.server)


def _branch(via: str) -> str:
    found = re.search(r";branch=([^;,\s]+)", via)
    return found.group(1) if found else via
