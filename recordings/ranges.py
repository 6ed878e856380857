"""Which bytes a Range header asks for (RFC 9110, section 14). Pure.

One range is served. A header with several, of another unit, or that is malformed is ignored, as the RFC allows, and
the whole is sent; one that lies beyond the end cannot be satisfied.
"""

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.ASCII | re.IGNORECASE)


class UnsatisfiableError(Exception):
    """Nothing of the file lies in the range."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` to before `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def span_of(header: str, size: int) -> Span | None:
    """None for the whole."""
    found = _ONE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:  # the last so many bytes
        length = min(_number(last), size)
        if not length:
            raise UnsatisfiableError
        return Span(size - length, size)
    start, end = _number(first), _number(last) + 1 if last else size
    if end <= start and last:
        return None
    if start >= size:
        raise UnsatisfiableError
    return Span(start, min(end, size))


def _number(digits: str) -> int:
    return int(digits) if len(digits) < 19 else 10**18
