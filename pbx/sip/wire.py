"""A SIP request as its datagram holds it, read strictly (RFC 3261 sections 7, 8.1.1 and 18.3). Pure.

The stack answers retransmissions; it would swallow, or cut without a word, what is refused here in words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

DATAGRAM_MAX = 8_000  # bytes: ten times what a phone sends; the stack cuts what is longer than 8,192
HEADERS_MAX = 64
_START = re.compile(r"([A-Z]{2,20}) (\S{1,1024}) SIP/2\.0", re.ASCII)
_SHORT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "l": "content-length", "c": "content-type"}
_NAMES = {"via": "Via", "from": "From", "to": "To", "call-id": "Call-ID", "cseq": "CSeq"}  # of what a response repeats
_ONCE = ("from", "to", "call-id", "cseq")  # must stand, and once
# Phones that answer a challenge under the same branch are heard, though RFC 3261 section 22.2 has them take a new one.
_OF_TRANSACTION = (*_NAMES, "max-forwards", "authorization", "proxy-authorization")
_HOST_NAME = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?"
_CSEQ = re.compile(r"([0-9]{1,10})\s+([A-Z]{2,20})", re.ASCII)
_VIA = re.compile(rf"SIP/2\.0/[A-Z]{{2,4}}\s+{_HOST_NAME}\s*(;.*)?", re.ASCII)
_BAD_RPORT = re.compile(r";\s*rport\s*=\s*(?![0-9]{1,5}\s*(?:;|$))", re.ASCII)
_PLAIN_URI = rf"sips?:(?:[^@\s<>;]*@)?{_HOST_NAME}(?:;[^<>\s]*)?"
_URI = re.compile(_PLAIN_URI, re.IGNORECASE | re.ASCII)
_ADDRESS = re.compile(
    rf"""(?:"(?:[^"\\]|\\.)*"\s*|[^<>":]*)<sips?:(?:[^@\s<>]*@)?{_HOST_NAME}(?:[;?][^<>\s]*)?>\s*(?:;.*)?"""
    rf"""|{_PLAIN_URI}""",
    re.IGNORECASE | re.ASCII,
)
_HOST = re.compile(r"sips?:(?:[^@\s;?>]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r";\s*tag\s*=\s*[^;\s]+", re.IGNORECASE | re.ASCII)


class UnreadableError(Exception):
    """A datagram that is no request we can take. `reply` is the whole response; None when nobody can be told."""

    def __init__(self, code: int, phrase: str, warning: str, reply: bytes | None) -> None:
        super().__init__(f"{code} {warning}")
        self.code, self.phrase, self.warning, self.reply = code, phrase, warning, reply


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    uri: str
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)  # names in lower case and long form
    body: bytes = b""

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(value for each, value in self.headers if each == name)

    def first(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    def head(self) -> bytes:
        """What tells a transaction from another, for the stack, which keeps it and need not read the rest."""
        lines = [f"{name}: {value}" for name, value in self.headers if name in _OF_TRANSACTION]
        return "\r\n".join([f"{self.method} {self.uri} SIP/2.0", *lines, "Content-Length: 0", "", ""]).encode()

    @property
    def has_to_tag(self) -> bool:
        return _TAG.search(self.first("to").rpartition(">")[2] or self.first("to")) is not None


def host_of(value: str) -> str:
    """The host of the URI in a header's value or a request line, in lower case; "" when there is none."""
    found = _HOST.search(value)
    return found.group(1).lower() if found else ""


def read(datagram: bytes) -> Request:
    head, separator, body = datagram.partition(b"\r\n\r\n")
    try:
        lines = _unfolded(head.decode("utf-8"))
    except UnicodeDecodeError:
        raise UnreadableError(400, "Bad Request", "The headers are not UTF-8", None) from None
    start = _START.fullmatch(lines[0])
    if start is None:
        raise UnreadableError(400, "Bad Request", "The request line cannot be read", None)
    headers = _headers(lines[1:])
    request = Request(start.group(1), start.group(2), headers, body)
    _check(request, datagram, bool(separator))
    return request


def response(request: Request, code: int, phrase: str, warning: str = "", *more: tuple[str, str]) -> bytes:
    """A response without a transaction: Via, From, To, Call-ID and CSeq as they came (RFC 3261 section 8.2.6.2)."""
    lines = [f"SIP/2.0 {code} {phrase}"]
    lines += [f"{_NAMES[name]}: {value}" for name, value in request.headers if name in _NAMES]
    lines += [f"{name}: {value}" for name, value in more]
    if warning:
        lines.append(f"Warning: {warning_value(warning)}")
    return ("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode()


def warning_value(text: str) -> str:
    """The value of a Warning header: code 399, miscellaneous (RFC 3261 section 20.43)."""
    plain = "".join(char if char.isprintable() else " " for char in text)[:300]
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'399 voxledger "{escaped}"'


def _unfolded(head: str) -> list[str]:
    lines: list[str] = []
    for line in head.split("\r\n"):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return lines


def _headers(lines: Sequence[str]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if colon and name:
            headers.append((_SHORT.get(name, name), value.strip()))
    return headers[: HEADERS_MAX + 1]


def _check(request: Request, datagram: bytes, has_end: bool) -> None:
    trouble = _trouble(request, datagram, has_end)
    if trouble is None:
        return
    code, phrase, warning = trouble
    can_answer = bool(request.first("via")) and request.method != "ACK"
    raise UnreadableError(code, phrase, warning, response(request, code, phrase, warning) if can_answer else None)


def _trouble(request: Request, datagram: bytes, has_end: bool) -> tuple[int, str, str] | None:
    if len(datagram) > DATAGRAM_MAX:
        return 413, "Request Entity Too Large", f"At most {DATAGRAM_MAX} bytes are taken"
    if len(request.headers) > HEADERS_MAX:
        return 400, "Bad Request", f"At most {HEADERS_MAX} headers are taken"
    if not has_end:
        return 400, "Bad Request", "The headers have no end"
    if any("\r" in value or "\n" in value or "\0" in value for _, value in request.headers):
        return 400, "Bad Request", "A header holds a control character"
    if not request.first("via"):
        return 400, "Bad Request", "There is no Via header"
    for name in _ONCE:
        if len(request.all(name)) != 1 or not request.first(name):
            return 400, "Bad Request", f"There must be one {_NAMES[name]} header"
    if not _URI.fullmatch(request.uri):
        return 416, "Unsupported URI Scheme", "The request is for no SIP URI"
    if unread := _unread_header(request):
        return 400, "Bad Request", f"The {unread} header cannot be read"
    return _length_trouble(request)


def _unread_header(request: Request) -> str:
    """The stack falls silent on what it cannot read: each header that it reads is looked at before."""
    for value in ",".join(request.all("via")).split(","):
        via = _VIA.fullmatch(value.strip())
        if via is None or _BAD_RPORT.search(via.group(1) or ""):
            return "Via"
    for name in ("from", "to"):
        if not _ADDRESS.fullmatch(request.first(name)):
            return _NAMES[name]
    counted = _CSEQ.fullmatch(request.first("cseq"))
    return "" if counted and counted.group(2) == request.method else "CSeq"


def _length_trouble(request: Request) -> tuple[int, str, str] | None:
    """Over UDP a body may be longer than told and would be cut (RFC 3261 section 18.3): a command never is."""
    told = request.all("content-length")
    if not told:
        return None
    if len(told) > 1 or not (told[0].isascii() and told[0].isdigit()):
        return 400, "Bad Request", "The Content-Length cannot be read"
    if int(told[0][:9]) != len(request.body):
        return 400, "Bad Request", f"Content-Length says {told[0][:9]}, the body has {len(request.body)} bytes"
    return None
