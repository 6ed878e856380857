"""The waveform of a file in few numbers: the loudest sample of each stretch, 0 to 127, per channel.

A stretch is 50 ms. From 200 s on, where that would be more than 4,000 points, stretches are merged two by two, so that
any file has at most 4,000: in an hour-long one a point is 1.6 s. Points lie one after the other, a byte per channel in
each; how long one is follows from the duration of the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FINEST_MS = 50
MOST_POINTS = 4_000
MOST_CHANNELS = 2  # caller and callee; what a file has beyond them is not drawn
LOUDEST = 127


class Collector:
    """Takes samples as they are decoded, in memory that does not grow with the file."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        self.channels = min(channels, MOST_CHANNELS)
        self._stretch = max(1, sample_rate * FINEST_MS // 1000)
        self._points: list[list[int]] = []
        self._merged = 1  # stretches in one point
        self._open: list[int] = [0] * self.channels  # the point that is being made
        self._open_stretches = 0
        self._loudest: list[int] = [0] * self.channels  # of the stretch that is being read
        self._read = 0

    def add(self, samples: Any) -> None:
        """16-bit samples as a numpy array of the shape (channels, number)."""
        position, total = 0, samples.shape[1]
        while position < total:
            until = min(total, position + self._stretch - self._read)
            piece = samples[: self.channels, position:until].astype("int32")
            loudest = abs(piece).max(axis=1)
            self._loudest = [max(pair) for pair in zip(self._loudest, loudest.tolist(), strict=True)]
            self._read += until - position
            position = until
            if self._read == self._stretch:
                self._end_stretch()

    def finish(self) -> bytes:
        if self._read:
            self._end_stretch()
        if self._open_stretches:
            self._end_point()
        return bytes(value for point in self._points for value in point)

    def _end_stretch(self) -> None:
        self._open = [max(pair) for pair in zip(self._open, self._loudest, strict=True)]
        self._open_stretches += 1
        self._loudest, self._read = [0] * self.channels, 0
        if self._open_stretches == self._merged:
            self._end_point()

    def _end_point(self) -> None:
        self._points.append([min(LOUDEST, -(-value * LOUDEST // 32_768)) for value in self._open])
        self._open, self._open_stretches = [0] * self.channels, 0
        if len(self._points) == MOST_POINTS:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [[max(both) for both in zip(first, second, strict=True)] for first, second in pairs]
            self._merged *= 2


@dataclass(frozen=True, slots=True)
class Peaks:
    """The waveform of a stretch of sound: one sequence of points for each channel."""

    duration_ms: int
    channels: tuple[bytes, ...]

    @property
    def points(self) -> int:
        return len(self.channels[0]) if self.channels else 0


def stored(peaks: bytes, channels: int, duration_ms: int) -> Peaks:
    """Peaks as a file's row keeps them."""
    drawn = min(channels, MOST_CHANNELS)
    return Peaks(duration_ms, tuple(peaks[lane::drawn] for lane in range(drawn)) if peaks else ())


def joined(parts: Sequence[Peaks]) -> Peaks:
    """Those of several files one after the other, in steps of one length; a lane that a file lacks is its first."""
    duration_ms = sum(part.duration_ms for part in parts)
    lanes = max((len(part.channels) for part in parts), default=0) if duration_ms else 0
    wanted = min(MOST_POINTS, -(-duration_ms // FINEST_MS))
    return Peaks(duration_ms, tuple(_lane(parts, lane, wanted, duration_ms) for lane in range(lanes)))


def _lane(parts: Sequence[Peaks], lane: int, wanted: int, duration_ms: int) -> bytes:
    drawn = bytearray(wanted)
    began = 0
    for part in parts:
        values = part.channels[min(lane, len(part.channels) - 1)] if part.channels else b""
        for index, value in enumerate(values):
            since = began + part.duration_ms * index // len(values)
            until = began + part.duration_ms * (index + 1) // len(values)
            first = min(wanted - 1, since * wanted // duration_ms)
            last = min(wanted, max(first + 1, -(-until * wanted // duration_ms)))
            for point in range(first, last):
                drawn[point] = max(drawn[point], value)
        began += part.duration_ms
    return bytes(drawn)
