"""The event socket on the wire: bytes in, frames out, and events as messages. No sockets here.

A frame is a block of `Key: value` lines closed by an empty one, and a body when it says Content-Length. The length is
all that tells where the next frame begins: once it cannot be believed the stream is lost, and only a new connection
helps.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Message = dict[str, str | list[str]]

HEADERS_MAX = 64 * 1024
BODY_MAX = 32 * 1024 * 1024  # the list of some ten thousand channels
_KEY = re.compile(rb"[A-Za-z][A-Za-z0-9_-]{0,63}")
_LENGTH = re.compile(r"[0-9]{1,10}")


class BrokenStreamError(Exception):
    """These bytes are no event socket's, or we have lost our place among them; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Frame:
    headers: Mapping[str, str]  # keys in lower case
    body: bytes = b""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


@dataclass(slots=True)
class Parser:
    """Cuts a stream of bytes into frames, wherever the reads happened to break it."""

    headers_max: int = HEADERS_MAX
    body_max: int = BODY_MAX
    _data: bytearray = field(default_factory=bytearray)
    _headers: dict[str, str] | None = None  # of a frame whose body has not come
    _length: int = 0
    _searched: int = 0  # so far there is no end of the headers

    def feed(self, data: bytes) -> list[Frame]:
        self._data += data
        found: list[Frame] = []
        while (frame := self._next()) is not None:
            found.append(frame)
        return found

    def _next(self) -> Frame | None:
        if self._headers is None and not self._take_headers():
            return None
        if self._headers is None or len(self._data) < self._length:
            return None
        frame = Frame(self._headers, bytes(self._data[: self._length]))
        del self._data[: self._length]
        self._headers = None
        return frame

    def _take_headers(self) -> bool:
        blank = 0
        while self._data[blank : blank + 1] == b"\n":  # some answers end with one too many
            blank += 1
        del self._data[:blank]
        end = self._data.find(b"\n\n", max(0, self._searched - 1))
        if max(end, len(self._data) if end < 0 else 0) > self.headers_max:
            raise BrokenStreamError(f"The event socket sent headers of more than {self.headers_max} bytes.")
        if end < 0:
            self._searched = len(self._data)
            return False
        self._headers = dict(_header(line) for line in bytes(self._data[:end]).split(b"\n"))
        del self._data[: end + 2]
        self._searched = 0
        self._length = self._length_of(self._headers)
        return True

    def _length_of(self, headers: Mapping[str, str]) -> int:
        if "content-type" not in headers:
            raise BrokenStreamError("The event socket sent something without a Content-Type.")
        given = headers.get("content-length", "0")
        if not _LENGTH.fullmatch(given) or int(given) > self.body_max:
            raise BrokenStreamError(f"The event socket announced a body of {given[:20]!r} bytes.")
        return int(given)


def _header(line: bytes) -> tuple[str, str]:
    key, colon, value = line.partition(b":")
    if not colon or not _KEY.fullmatch(key):
        raise BrokenStreamError("The event socket sent something that is no header.")
    return key.decode().lower(), value.decode("utf-8", "replace").strip()


def message_of(body: bytes) -> Message | None:
    """An event, or a channel's dump, as JSON; None when it is none."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(told, dict):
        return None
    message: Message = {}
    for key, value in told.items():
        if isinstance(value, str):
            message[key] = value
        elif isinstance(value, list):
            message[key] = [each for each in value if isinstance(each, str)]
    return message


def rows_of(body: str) -> list[Mapping[str, Any]] | None:
    """The rows of a `show ... as json`; None when it is none."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    rows = told.get("rows", []) if isinstance(told, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def plain(value: str) -> str:
    """Without control characters, which nothing in a call needs and a caller may have put there."""
    if value.isprintable():
        return value
    return "".join(char for char in value if unicodedata.category(char) not in {"Cc", "Cs"})


def text(message: Message, key: str) -> str:
    """The (last) value of a header: one that was set again holds them all."""
    value = message.get(key, "")
    if isinstance(value, list):
        value = value[-1] if value else ""
    return plain(value)


def variable(message: Message, name: str) -> str:
    return text(message, f"variable_{name}")


def encode(command: str) -> bytes:
    """A command as it goes over the wire. A line break in it would smuggle in another one."""
    if any(char in "\r\n\0" for char in command) or not command.strip():
        raise ValueError("A command is one line of text.")
    return f"{command}\n\n".encode()
