"""A segment's tracks: one party's voice each, in a file of its own on the Asterisk; and the one WAV they make together.

A file's name says all that is needed to put it in its place, so that nothing is lost with a connector that dies.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

FOLDER = "voxledger"  # below Asterisk's folder of stored recordings
RATE = 8000
LONGEST_MS = 48 * 60 * 60 * 1000  # a clock that was set must not make a file of years
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_BLOCK = RATE  # samples that are mixed at once
_FRAME = RATE // 100  # Asterisk writes whole frames, of 10 ms or a multiple
_NEAR = RATE // 5  # by so much the clock may be wrong about where a track begins
_NAME = re.compile(
    rf"{FOLDER}/(?P<recording>\d{{1,20}})-(?P<segment>\d{{1,6}})-(?P<stretch>\d{{1,6}})-(?P<began>\d{{1,15}})"
    r"-(?P<lane>first|other)-(?P<channel>[0-9A-Za-z_]{1,100})"
)


class BrokenTrackError(Exception):
    """A file that is none of Asterisk's WAVs; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Track:
    recording_id: str
    segment: int
    stretch: int  # a pause ends one, its end begins the next
    began_ms: int  # Unix time
    is_first: bool  # the caller, or who has been in the call the longest
    channel: str

    @property
    def name(self) -> str:
        """What ARI calls the file; MixMonitor adds `.wav`."""
        lane = "first" if self.is_first else "other"
        return f"{FOLDER}/{self.recording_id}-{self.segment}-{self.stretch}-{self.began_ms}-{lane}-{self.channel}"


def track_of(name: str) -> Track | None:
    """None: the file is somebody else's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Track(
        recording_id=found["recording"],
        segment=int(found["segment"]),
        stretch=int(found["stretch"]),
        began_ms=int(found["began"]),
        is_first=found["lane"] == "first",
        channel=found["channel"],
    )


def label_of(uniqueid: str) -> str:
    """A channel's Uniqueid as a file's name can hold it."""
    return re.sub(r"[^0-9A-Za-z]", "_", uniqueid)[:100]


@dataclass(frozen=True, slots=True)
class Sound:
    """A track that was fetched."""

    track: Track
    path: Path


@dataclass(slots=True)
class _Piece:
    """Where a file is heard: in samples of the whole."""

    sound: Sound
    start: int
    end: int


def is_complete(path: Path) -> bool:
    """Asterisk writes the length into the header when it closes the file; before, the file may still grow."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    return len(head) == _HEADER.size and size - _HEADER.size == _checked(head, path)


def write_wav(target: Path, sounds: Sequence[Sound], *, dual_tracks: bool, keeps_pauses: bool) -> None:
    """Puts the tracks in their places on one time line: mixed, or the first party left and the others right.

    A pause is left out, or is silence when `keeps_pauses`.
    """
    pieces = _placed(sounds, keeps_pauses=keeps_pauses)
    length = max((piece.end for piece in pieces), default=0)
    lanes = [[piece for piece in pieces if piece.sound.track.is_first == is_first] for is_first in (True, False)]
    with target.open("wb") as file:
        file.write(_header(length, channels=2 if dual_tracks else 1))
        if dual_tracks:
            for left, right in zip(*(_blocks(lane, length) for lane in lanes), strict=True):
                file.write(np.column_stack((left, right)).tobytes())
        else:
            for block in _blocks(pieces, length):
                file.write(block.tobytes())


def _placed(sounds: Sequence[Sound], *, keeps_pauses: bool) -> list[_Piece]:
    pieces: list[_Piece] = []
    beginning = min((sound.track.began_ms for sound in sounds), default=0)
    end = 0
    for number in sorted({sound.track.stretch for sound in sounds}):
        stretch = sorted(
            (each for each in sounds if each.track.stretch == number), key=lambda each: each.track.began_ms
        )
        began = stretch[0].track.began_ms
        offset = _samples(began - beginning) if keeps_pauses else end
        last: dict[str, _Piece] = {}  # of each channel
        for sound in stretch:
            start = offset + _samples(sound.track.began_ms - began)
            if former := last.get(sound.track.channel):
                start = _join(former, sound, start)
            piece = last[sound.track.channel] = _Piece(sound, start, start + _length(sound.path))
            pieces.append(piece)
        end = max([end, *(piece.end for piece in pieces)])
    return pieces


def _join(former: _Piece, sound: Sound, start: int) -> int:
    """Where a channel's next track begins, `start` by the clock; what both have of the same voice is heard once.

    The next one was started before the former was stopped, so it has the last frames of that one, or the very next.
    """
    by_clock = former.end - start
    if abs(by_clock) > _NEAR:
        former.end = min(former.end, start)
        return start
    overlaps = _overlaps(former.sound.path, sound.path)
    former.end -= min(overlaps, key=lambda each: abs(each - by_clock), default=0)
    return former.end


def _overlaps(former: Path, following: Path) -> list[int]:
    """How many samples at the end of one track may be those at the beginning of the next."""
    length, others = _length(former), _length(following)
    most = min(length, others, 2 * _NEAR)
    with former.open("rb") as file:
        tail = _read(file, length - most, most)
    with following.open("rb") as file:
        head = _read(file, 0, most)
    return [each for each in range(_FRAME, most + 1, _FRAME) if np.array_equal(tail[most - each :], head[:each])]


def _length(path: Path) -> int:
    return max(0, path.stat().st_size - _HEADER.size) // 2


def _samples(milliseconds: int) -> int:
    return min(milliseconds, LONGEST_MS) * RATE // 1000


def _blocks(pieces: Sequence[_Piece], length: int) -> Iterator[Samples]:
    """The pieces together, a block at a time, so that an hour needs no more memory than a second."""
    files: dict[Path, BinaryIO] = {}
    try:
        for start in range(0, length, _BLOCK):
            end = min(start + _BLOCK, length)
            mixed = np.zeros(end - start, dtype=np.int32)
            for piece in pieces:
                first, last = max(start, piece.start), min(end, piece.end)
                if first < last:
                    path = piece.sound.path
                    if path not in files:
                        files[path] = _opened(path)
                    mixed[first - start : last - start] += _read(files[path], first - piece.start, last - first)
            yield np.clip(mixed, -32768, 32767).astype("<i2")
    finally:
        for file in files.values():
            file.close()


def _opened(path: Path) -> BinaryIO:
    file = path.open("rb")
    try:
        _checked(file.read(_HEADER.size), path)
    except BrokenTrackError:
        file.close()
        raise
    return file


def _read(file: BinaryIO, start: int, count: int) -> Samples:
    file.seek(_HEADER.size + 2 * start)
    return np.frombuffer(file.read(2 * count).ljust(2 * count, b"\0"), dtype="<i2")


def _checked(head: bytes, path: Path) -> int:
    """The bytes of sound that the header promises."""
    if len(head) == _HEADER.size:
        riff, _, wave, fmt, _, code, channels, rate, _, _, bits, data, length = _HEADER.unpack(head)
        is_wave = (riff, wave, fmt, data) == (b"RIFF", b"WAVE", b"fmt ", b"data")
        if is_wave and (code, channels, rate, bits) == (1, 1, RATE, 16):
            return int(length)
    raise BrokenTrackError(f"{path.name} is no WAV as Asterisk writes it.")


def _header(samples: int, *, channels: int) -> bytes:
    size = 2 * channels * samples
    rest = (b"WAVE", b"fmt ", 16, 1, channels, RATE, 2 * channels * RATE, 2 * channels, 16, b"data", size)
    return _HEADER.pack(b"RIFF", size + 36, *rest)
