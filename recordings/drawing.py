"""A recording drawn: its waveform as paths, its gaps in their places, an axis. Pure; all positions are in percent.

A gap that takes no time in the recording is drawn as long as it was, but never so long that little is left to see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from recordings.peaks import LOUDEST, Peaks
from recordings.timeline import Stretch

BARS = 232  # of a recording without gaps; each is drawn three units of a thousand wide, with as much between
WIDEST_GAP = 1 / 8  # of what was recorded
NARROWEST_GAP = 1 / 80
AUDIBLE = 3  # of 127: below is a line's noise
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TICKS = 9


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch with where it is drawn."""

    stretch: Stretch
    x: float
    width: float

    @property
    def middle(self) -> float:
        return round(self.x + self.width / 2, 3)

    @property
    def seconds(self) -> int:
        """How long it was in the call."""
        return round(self.stretch.length.total_seconds())


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    seconds: int


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch in the table beside the drawing; `sound` is how much of it each lane is heard, in percent."""

    stretch: Stretch
    seconds: int
    begin_s: int
    end_s: int
    sound: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """`lanes` are paths in a box of 1000 by 100; `places` are the gaps; `scale` maps milliseconds to percent."""

    duration_ms: int
    lanes: tuple[str, ...]
    places: tuple[Place, ...]
    ticks: tuple[Tick, ...]
    scale: tuple[tuple[int, int, float, float], ...]
    rows: tuple[Row, ...]


def drawing_of(duration_ms: int, stretches: Sequence[Stretch], peaks: Peaks, *, lanes: int) -> Drawing:
    """With two lanes the first grows up and the second down; a single one does both."""
    places = _placed(stretches, duration_ms)
    recorded = [place for place in places if not place.stretch.is_cut]
    scale = tuple((p.stretch.begin_ms, p.stretch.end_ms, p.x, round(p.x + p.width, 3)) for p in recorded)
    drawn = peaks.channels[:lanes]
    paths = tuple(
        _path(values, duration_ms, scale, up=lane == 0, down=lane == 1 or len(drawn) == 1)
        for lane, values in enumerate(drawn)
    )
    return Drawing(
        duration_ms=duration_ms,
        lanes=paths,
        places=tuple(place for place in places if place.stretch.gap),
        ticks=tuple(_ticks(duration_ms, scale)),
        scale=scale,
        rows=tuple(_row(place, drawn, duration_ms) for place in places),
    )


def _placed(stretches: Sequence[Stretch], duration_ms: int) -> list[Place]:
    lengths = [_drawn_length(stretch, duration_ms) for stretch in stretches]
    total, x = sum(lengths) or 1, 0.0
    placed = []
    for stretch, length in zip(stretches, lengths, strict=True):
        width = 100 * length / total
        placed.append(Place(stretch, round(x, 3), round(width, 3)))
        x += width
    return placed


def _drawn_length(stretch: Stretch, duration_ms: int) -> float:
    if not stretch.is_cut:
        return stretch.end_ms - stretch.begin_ms
    length = stretch.length.total_seconds() * 1000
    return min(max(length, duration_ms * NARROWEST_GAP), duration_ms * WIDEST_GAP)


def _path(
    values: bytes, duration_ms: int, scale: Sequence[tuple[int, int, float, float]], *, up: bool, down: bool
) -> str:
    """A bar for each so many points; what is silent keeps a hair, so that one sees that something was recorded."""
    if not values or not duration_ms:
        return ""
    parts = []
    for begin, end, left, right in scale:
        count = max(1, round(BARS * (right - left) / 100))
        for bar in range(count):
            loudest = _loudest(
                values, begin + (end - begin) * bar / count, begin + (end - begin) * (bar + 1) / count, duration_ms
            )
            x = (left + (right - left) * (bar + 0.5) / count) * 10
            height = 1.5 + 45 * loudest / LOUDEST
            top = 50 - height if up else 50.0
            parts.append(f"M{x:.1f} {top:.1f}v{height * (up + down):.1f}")
    return "".join(parts)


def _loudest(values: bytes, since_ms: float, until_ms: float, duration_ms: int) -> int:
    first = min(len(values) - 1, int(since_ms * len(values) / duration_ms))
    last = max(first + 1, int(until_ms * len(values) / duration_ms))
    return max(values[first:last])


def _ticks(duration_ms: int, scale: Sequence[tuple[int, int, float, float]]) -> list[Tick]:
    """At round times of the recording, the last not so near the end that it meets the end's own label."""
    seconds = duration_ms / 1000
    step = next((step for step in _STEPS_S if seconds / step <= _MOST_TICKS), _STEPS_S[-1])
    return [Tick(_x(at * 1000, scale), at) for at in range(step, int(seconds - step * 0.4) + 1, step)]


def _x(ms: int, scale: Sequence[tuple[int, int, float, float]]) -> float:
    for begin, end, left, right in scale:
        if ms <= end:
            return round(left + (right - left) * (ms - begin) / (end - begin), 3)
    return 100.0


def _row(place: Place, lanes: Sequence[bytes], duration_ms: int) -> Row:
    stretch = place.stretch
    return Row(
        stretch=stretch,
        seconds=place.seconds,
        begin_s=round(stretch.begin_ms / 1000),
        end_s=round(stretch.end_ms / 1000),
        sound=() if stretch.is_cut else tuple(_heard(values, stretch, duration_ms) for values in lanes),
    )


def _heard(values: bytes, stretch: Stretch, duration_ms: int) -> int:
    first = stretch.begin_ms * len(values) // duration_ms
    part = values[first : max(first + 1, stretch.end_ms * len(values) // duration_ms)]
    return round(100 * sum(value >= AUDIBLE for value in part) / len(part)) if part else 0
