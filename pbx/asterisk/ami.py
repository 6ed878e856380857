"""The manager interface on the wire: bytes in, messages out, and actions as bytes. No sockets here.

A message is a block of `Key: value` lines closed by an empty one. A key that comes more than once (ChanVariable,
Output) holds a list.
"""

import unicodedata
from collections.abc import Mapping

Message = dict[str, str | list[str]]

LINE_MAX = 16 * 1024  # Asterisk itself cuts at much less
MESSAGE_MAX = 256 * 1024
_BANNER = "Asterisk Call Manager/"


class Parser:
    """Cuts a stream of bytes into messages, wherever the reads happened to break it.

    What no message can be (a line without a colon, an endless line, an endless message) is left out and counted: the
    stream goes on behind it.
    """

    def __init__(self, *, line_max: int = LINE_MAX, message_max: int = MESSAGE_MAX) -> None:
        self.version = ""
        self.malformed = 0
        self._line_max = line_max
        self._message_max = message_max
        self._rest = b""  # the beginning of a line whose end has not come
        self._skipping_line = False
        self._message: Message = {}
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        found: list[Message] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping_line:
                self._skipping_line = False
            elif len(line) > self._line_max:
                self.malformed += 1
            else:
                self._take_line(line.removesuffix(b"\r"), found)
        if len(self._rest) > self._line_max:
            if not self._skipping_line:
                self.malformed += 1
            self._skipping_line = True
            self._rest = b""
        return found

    def _take_line(self, line: bytes, found: list[Message]) -> None:
        if not line:
            if self._message and self._size <= self._message_max:
                found.append(self._message)
            self._message, self._size = {}, 0
            return
        self._size += len(line)
        if self._size > self._message_max:
            if self._message:
                self.malformed += 1
            self._message = {}
            return
        text = line.decode("utf-8", "replace")
        key, colon, value = text.partition(":")
        if colon:
            self._add(key.strip(), value.strip())
        elif text.startswith(_BANNER) and not self._message:
            self.version = text.removeprefix(_BANNER).strip()
        else:
            self.malformed += 1

    def _add(self, key: str, value: str) -> None:
        present = self._message.get(key)
        if present is None:
            self._message[key] = value
        elif isinstance(present, list):
            present.append(value)
        else:
            self._message[key] = [present, value]


def plain(value: str) -> str:
    """Without control characters, which nothing in a call needs and a caller may have put there."""
    if value.isprintable():
        return value
    return "".join(char for char in value if unicodedata.category(char) not in {"Cc", "Cs"})


def text(message: Message, key: str) -> str:
    """The (first) value of a key; what Asterisk does not know it calls `<unknown>`, and that is nothing."""
    value = message.get(key, "")
    if isinstance(value, list):
        value = value[0]
    return "" if value == "<unknown>" else plain(value)


def variables(message: Message, key: str = "ChanVariable") -> dict[str, str]:
    """The channel variables that manager.conf's `channelvars` puts on each event of a channel; empty ones left out."""
    values = message.get(key, [])
    pairs = (plain(pair).partition("=") for pair in (values if isinstance(values, list) else [values]))
    return {name: value for name, _, value in pairs if value}


def encode_action(name: str, fields: Mapping[str, str] | None = None) -> bytes:
    """An action as it goes over the wire. A line break in a value would smuggle in another field, or another action."""
    lines = [("Action", name), *(fields or {}).items()]
    for key, value in lines:
        if any(char in "\r\n\0" for char in key + value) or not key or ":" in key:
            raise ValueError(f"The field {key!r} of the action {name!r} cannot be sent.")
    return "".join(f"{key}: {value}\r\n" for key, value in lines).encode() + b"\r\n"
