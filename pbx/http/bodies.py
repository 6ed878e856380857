"""What a switch sends, from bytes to JSON values: strict about the outer form, patient with what is inside a text."""

import json
import re
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, TypeVar

import orjson

_KEPT_DEPTH = 100
_LONG_NUMBER = re.compile(rb":\s*[0-9]{19}")  # may be an id beyond 64 bits, which a float would round
T = TypeVar("T")


class UnreadableError(Exception):
    """These bytes are not JSON. The text says where they stop being it."""


class TooManyError(Exception):
    """More documents than one request may hold."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a body: its very bytes, and its value or why it has none."""

    raw: bytes
    value: Any = None
    fault: str = ""


def parse(raw: bytes) -> Any:
    """The JSON value of UTF-8 bytes. A lone surrogate, which no text can hold, becomes U+FFFD."""
    try:
        if not _LONG_NUMBER.search(raw):
            return orjson.loads(raw)
        fault = "this is not JSON"  # unless the reading below, which keeps every digit, can read it
    except orjson.JSONDecodeError as error:
        fault = str(error)
    try:
        return _without_surrogates(json.loads(raw.decode(), parse_constant=_refuse, parse_int=_whole))
    except (ValueError, RecursionError):
        raise UnreadableError(f"{fault[:1].upper()}{fault[1:]}.") from None


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < 19 else digits


def documents_of(raw: bytes, most: int, *, one_a_line: bool = False) -> list[Document]:
    """One document, an array of them, or NDJSON: said by `one_a_line`, or seen when no other reading fits."""
    if one_a_line:
        return _bounded(_lines(raw, most), most)
    try:
        value = parse(raw)
    except UnreadableError as error:
        lines = _lines(raw, most)
        if any(isinstance(line.value, dict) for line in lines):
            return _bounded(lines, most)
        return [Document(raw, fault=str(error))]
    if isinstance(value, list):
        return [Document(b"", item) for item in _bounded(value, most)]
    return [Document(raw, value)]


def _bounded(found: list[T], most: int) -> list[T]:
    if len(found) > most:
        raise TooManyError
    return found


def bytes_of(raw: bytes, documents: list[Document]) -> list[bytes]:
    """The bytes of each document as they were sent; an array is cut into its items only here, for it is slow."""
    if all(document.raw for document in documents):
        return [document.raw for document in documents]
    try:
        return _items(raw.decode())
    except RecursionError:
        return [written(document.value) for document in documents]


def _items(text: str) -> list[bytes]:
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    found: list[bytes] = []
    while text[position := _after(text, position, " \t\r\n,")] != "]":
        _, end = decoder.raw_decode(text, position)
        found.append(text[position:end].encode())
        position = end
    return found


def written(value: Any) -> bytes:
    """A value as JSON whatever it holds; only what is nested beyond any use is cut off."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # an integer beyond 64 bits, or nested deeply
        return json.dumps(_cut(value, _KEPT_DEPTH)).encode()


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [_cut(item, depth - 1) for item in value] if depth else "…"
    if isinstance(value, dict):
        return {name: _cut(item, depth - 1) for name, item in value.items()} if depth else "…"
    return value


def _lines(raw: bytes, most: int) -> list[Document]:
    """One more than `most` at the most: enough to see that there are too many."""
    written_lines = (line.removesuffix(b"\n") for line in BytesIO(raw) if line.strip())
    return [document(line) for line in islice(written_lines, most + 1)]


def document(line: bytes) -> Document:
    """The bytes as one document, readable or not."""
    try:
        return Document(line, parse(line))
    except UnreadableError as error:
        return Document(line, fault=str(error))


def _after(text: str, position: int, skipped: str) -> int:
    while position < len(text) and text[position] in skipped:
        position += 1
    return position


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return value
