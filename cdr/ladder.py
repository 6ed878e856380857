"""The ladder of a call: one row per leg on one axis of time, in percent, ready to be drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cdr.models import CDR, Target
from cdr.records import seconds_between

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_TICKS = 9
_LANE = 2.375  # rem, as in ladder.css
_ROOM_FOR_TEXT = 9.0  # percent
_HANDED_ON = frozenset({"referred", "redirected", "replaced", "blind_transfer_complete"})


@dataclass(frozen=True)
class Block:
    """One thing a leg did, from `x` for `width` percent."""

    kind: str
    x: str
    width: str
    title: str
    text: str = ""
    text_x: str = ""


@dataclass(frozen=True)
class Span:
    """A stretch of a track; `what` is said of it, with its times behind it."""

    kind: str
    since: datetime
    until: datetime
    what: str


@dataclass(frozen=True)
class Track:
    """What a higher room draws under the legs: one thing that went on during the call."""

    symbol: str
    name: str
    note: str
    spans: Sequence[Span]


@dataclass(frozen=True)
class Row:
    symbol: str
    number: str
    name: str
    spoken: str
    total: str
    blocks: Sequence[Block]
    after: str = ""  # said behind the last block, from `after_x`
    after_x: str = ""
    is_track: bool = False


@dataclass(frozen=True)
class Tick:
    x: str
    label: str
    label_fits: bool  # beside the time of day at the beginning


@dataclass(frozen=True)
class Hand:
    """A dotted line where one leg handed the call on to another."""

    x: str
    top: str
    bottom: str


@dataclass(frozen=True)
class Ladder:
    start: datetime
    total: str
    ticks: Sequence[Tick]
    rows: Sequence[Row]
    hands: Sequence[Hand] = field(default=())


@dataclass(frozen=True)
class _Scale:
    start: datetime
    seconds: float

    def at(self, moment: datetime) -> float:
        return min(100.0, max(0.0, (moment - self.start).total_seconds() / self.seconds * 100))

    def block(self, kind: str, since: datetime, until: datetime, what: str, text: str = "") -> Block:
        x, end = self.at(since), self.at(until)
        width = max(end - x, 0.35)  # what was brief must still be seen
        title = f"{what}, {self.clock(since)} to {self.clock(until)}"
        return Block(kind, percent(x), percent(width), title, text if width >= _ROOM_FOR_TEXT else "", percent(x))

    def clock(self, moment: datetime) -> str:
        return minutes(seconds_between(self.start, moment))


def percent(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"


def minutes(seconds: int) -> str:
    """0:38, 9:28, 1:02:10."""
    whole, rest = divmod(seconds, 60)
    hours, whole = divmod(whole, 60)
    return f"{hours}:{whole:02}:{rest:02}" if hours else f"{whole}:{rest:02}"


def ladder_of(call: CDR, targets: Sequence[Target], tracks: Sequence[Track] = ()) -> Ladder:
    end = max([call.ended_time, *(target.ended_time for target in targets)])
    seconds = max((end - call.start_time).total_seconds(), 1.0)
    scale = _Scale(call.start_time, seconds)
    rows = [_caller(call, targets, scale, end), *(_row(target, scale) for target in targets)]
    rows += [_track(track, scale) for track in tracks]
    total = minutes(seconds_between(call.start_time, end))
    return Ladder(call.start_time, total, _ticks(seconds), rows, _hands(targets, scale))


def _ticks(seconds: float) -> list[Tick]:
    """Round marks between the beginning and the end, none so near the end that its label would touch it."""
    step = next((step for step in _STEPS if seconds / step <= _TICKS), _STEPS[-1])
    marks = range(step, int(seconds) + 1, step)
    places = [(mark / seconds * 100, mark) for mark in marks if mark / seconds < 0.95]
    return [Tick(percent(place), minutes(mark), place > _ROOM_FOR_TEXT) for place, mark in places]


def _caller(call: CDR, targets: Sequence[Target], scale: _Scale, end: datetime) -> Row:
    answered = [target for target in targets if target.answered_time]
    blocks = []
    reached = call.start_time
    for target in sorted(answered, key=lambda target: target.answered_time or end):
        since = target.answered_time or end
        if since > reached:
            blocks.append(scale.block("ringing", reached, since, "Waiting for an answer", "Ringing"))
        blocks += _answered_blocks(target, scale)
        reached = max(reached, target.ended_time)
    if not answered:
        blocks.append(scale.block("ringing", reached, end, "Waiting for an answer", "Ringing"))
    spoken = ", ".join(block.title for block in blocks)
    return Row("phone", call.caller, "caller", f"{call.caller}: {spoken}", _length(call.start_time, end), blocks)


def _row(target: Target, scale: _Scale) -> Row:
    blocks = []
    answered = target.answered_time
    rang_until = answered or target.ended_time
    rang_from = target.ring_time or (target.start_time if not answered else None)
    if rang_from and rang_until > rang_from:
        blocks.append(scale.block("ringing", rang_from, rang_until, f"{target.callee} rang"))
    blocks += _answered_blocks(target, scale)
    spoken = ", ".join(block.title for block in blocks) or "never reached"
    total = _length(answered or rang_from or target.start_time, target.ended_time)
    symbol = {"service": "ivr", "external": "trunk"}.get(target.kind, "agent")
    end = scale.at(target.ended_time)
    after = _after(target) if end < 100 - _ROOM_FOR_TEXT else ""
    return Row(
        symbol,
        target.callee,
        target.callee_display_name,
        f"{target.callee}: {spoken}. {_after(target)}".strip(),
        total,
        blocks,
        after,
        percent(end),
    )


def _track(track: Track, scale: _Scale) -> Row:
    blocks = [
        scale.block(span.kind, span.since, span.until, span.what, _length(span.since, span.until))
        for span in track.spans
    ]
    spoken = ", ".join(block.title for block in blocks)
    return Row(track.symbol, track.name, track.note, f"{track.name}: {spoken}", "", blocks, is_track=True)


def _answered_blocks(target: Target, scale: _Scale) -> list[Block]:
    if target.answered_time is None:
        return []
    name = target.callee_display_name or target.callee
    length = _length(target.answered_time, target.ended_time)
    if target.kind == "service":
        return [scale.block("service", target.answered_time, target.ended_time, f"With {name}", f"{name} {length}")]
    blocks = []
    since = target.answered_time
    for held_from, held_until in _holds(target):
        blocks.append(_talk(scale, since, held_from, name))
        blocks.append(scale.block("held", held_from, held_until, "Held", "Held"))
        since = held_until
    blocks.append(_talk(scale, since, target.ended_time, name))
    return blocks


def _talk(scale: _Scale, since: datetime, until: datetime, name: str) -> Block:
    return scale.block("talking", since, until, f"Talking with {name}", f"Talking {_length(since, until)}")


def _holds(target: Target) -> Iterable[tuple[datetime, datetime]]:
    for since, until in target.held:
        yield datetime.fromisoformat(since), datetime.fromisoformat(until)


def _after(target: Target) -> str:
    """Why the leg ended, where its row has room for it."""
    if target.answered_time is None and not target.end_reason:
        return "no answer" if target.status_code in (0, 408) else str(target.status_code)
    words = target.end_reason.replace("_", " ")
    return words if target.end_reason not in ("caller_disconnect", "callee_disconnect") else "hung up"


def _hands(targets: Sequence[Target], scale: _Scale) -> list[Hand]:
    """From a leg that handed the call on to the first later one that began when it ended."""
    hands = []
    slack = timedelta(seconds=1)
    for index, target in enumerate(targets):
        if target.end_reason not in _HANDED_ON:
            continue
        later = (
            number
            for number, other in enumerate(targets)
            if number > index and other.start_time >= target.ended_time - slack
        )
        heir = next(later, None)
        if heir is not None:
            hands.append(Hand(percent(scale.at(target.ended_time)), _middle(index + 1), _middle(heir + 1)))
    return hands


def _middle(row: int) -> str:
    return f"{(row + 0.5) * _LANE:.4g}rem"


def _length(since: datetime, until: datetime) -> str:
    return minutes(seconds_between(since, until))
