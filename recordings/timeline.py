"""Where the seconds of a recording stand in its call: what was recorded, what is missing and why. Pure.

The files lie one after the other, so that a gap takes no time in them; but a pause that was filled with silence does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

SHORTEST = timedelta(milliseconds=250)  # what no gap explains and is shorter is the switches' clocks, no loss


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment as its switch told it, with the length of the file it left; 0: it left none."""

    since: datetime
    until: datetime
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A gap of the ledger. `only_sound`: the picture goes on meanwhile."""

    since: datetime
    until: datetime
    reason: str
    told: str
    only_sound: bool = False


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the call, and from which to which millisecond of the recording it is; `gap` says why it is missing."""

    since: datetime
    until: datetime
    begin_ms: int
    end_ms: int
    gap: Missing | None = None

    @property
    def length(self) -> timedelta:
        return self.until - self.since

    @property
    def is_cut(self) -> bool:
        """It takes no time in the recording."""
        return self.end_ms == self.begin_ms


def stretches_of(pieces: Sequence[Piece], gaps: Sequence[Missing], *, silent_pauses: bool) -> list[Stretch]:
    """In order of time. The recording's milliseconds are those of its files, whatever the clocks of switches say."""
    if not pieces:
        return []
    pieces = sorted(pieces, key=lambda piece: piece.since)
    gaps = sorted(gaps, key=lambda gap: gap.since)
    found: list[Stretch] = []
    at = 0
    opening = min([pieces[0].since, *(gap.since for gap in gaps)])
    for before, piece in pairwise([None, *pieces]):
        assert piece is not None  # noqa: S101 - only the first of the list is
        found += _between(before.until if before else opening, piece.since, gaps, at)
        found += _inside(piece, gaps, at, silent_pauses=silent_pauses)
        at += piece.duration_ms
    last = max(piece.until for piece in pieces)
    found += _between(last, max([last, *(gap.until for gap in gaps)]), gaps, at)
    return _joined(found)


def _between(since: datetime, until: datetime, gaps: Sequence[Missing], at: int) -> list[Stretch]:
    """Between two segments nothing was recorded; what no gap explains is told as that."""
    found: list[Stretch] = []
    for gap in gaps:
        begin, end = max(gap.since, since), min(gap.until, until)
        if begin >= end:
            continue
        if begin - since > SHORTEST:
            found.append(_unexplained(since, begin, at))
        found.append(Stretch(begin, end, at, at, gap))
        since = end
    if until - since > SHORTEST:
        found.append(_unexplained(since, until, at))
    return found


def _inside(piece: Piece, gaps: Sequence[Missing], at: int, *, silent_pauses: bool) -> list[Stretch]:
    if not piece.duration_ms:
        lost = Missing(piece.since, piece.until, "missing", "The file of this part is missing")
        return [Stretch(piece.since, piece.until, at, at, lost)]
    parts = _parts(piece, gaps)
    whole = _ms(piece.until - piece.since)
    cut = sum(_ms(until - since) for since, until, gap in parts if gap and not gap.only_sound)
    # A switch that cannot do as the setting says does the other thing: the length of the file tells which.
    is_silent = silent_pauses
    if cut and abs(piece.duration_ms - whole) != abs(piece.duration_ms - (whole - cut)):
        is_silent = abs(piece.duration_ms - whole) < abs(piece.duration_ms - (whole - cut))
    taken = [0 if gap and not gap.only_sound and not is_silent else _ms(until - since) for since, until, gap in parts]
    if not any(taken):  # the file holds something all the same
        taken = [1] * len(parts)
    total, passed = sum(taken), 0
    found = []
    for (since, until, gap), length in zip(parts, taken, strict=True):
        begin = at + piece.duration_ms * passed // total
        passed += length
        found.append(Stretch(since, until, begin, at + piece.duration_ms * passed // total, gap))
    return found


def _parts(piece: Piece, gaps: Sequence[Missing]) -> list[tuple[datetime, datetime, Missing | None]]:
    """The segment cut up at the gaps that lie in it. Where picture and sound are missing, the picture's gap counts."""
    parts: list[tuple[datetime, datetime, Missing | None]] = []
    for since, until, gap in _cut(piece.since, piece.until, [gap for gap in gaps if not gap.only_sound]):
        parts += [(since, until, gap)] if gap else _cut(since, until, [gap for gap in gaps if gap.only_sound])
    return parts


def _cut(since: datetime, until: datetime, gaps: Sequence[Missing]) -> list[tuple[datetime, datetime, Missing | None]]:
    parts: list[tuple[datetime, datetime, Missing | None]] = []
    for gap in gaps:
        begin, end = max(gap.since, since), min(gap.until, until)
        if begin >= end:
            continue
        if begin > since:
            parts.append((since, begin, None))
        parts.append((begin, end, gap))
        since = end
    if since < until or not parts:
        parts.append((since, until, None))
    return parts


def _unexplained(since: datetime, until: datetime, at: int) -> Stretch:
    return Stretch(since, until, at, at, Missing(since, until, "unknown", "Nothing was recorded"))


def _joined(found: Sequence[Stretch]) -> list[Stretch]:
    """A gap that reaches over the end of a segment is one."""
    joined: list[Stretch] = []
    for stretch in found:
        last = joined[-1] if joined else None
        if last and stretch.gap is not None and last.gap == stretch.gap:
            joined[-1] = replace(last, until=stretch.until, end_ms=stretch.end_ms)
        else:
            joined.append(stretch)
    return joined


def _ms(length: timedelta) -> int:
    return round(length.total_seconds() * 1000)
