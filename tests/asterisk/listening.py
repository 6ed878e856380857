"""Listens to a recording: which tones sound when, a tenth of a second at a time."""

import struct
from collections.abc import Iterable

from tests.asterisk.audio import RATE, strength

BLOCK = RATE // 10
LOUD = 1500
HEADER = 44


class Recorded:
    """A WAV as the portal has it: one lane, or two."""

    def __init__(self, wav: bytes) -> None:
        riff, _, wave, _, _, _, lanes, rate, _, _, bits, data, length = struct.unpack(
            "<4sI4s4sIHHIIHH4sI", wav[:HEADER]
        )
        if (riff, wave, data, rate, bits) != (b"RIFF", b"WAVE", b"data", RATE, 16) or length != len(wav) - HEADER:
            raise AssertionError(f"not a whole 16 bit WAV of {RATE} Hz: {wav[:HEADER]!r}, {len(wav)} bytes")
        samples = struct.unpack(f"<{length // 2}h", wav[HEADER:])
        self.lanes = [samples[lane::lanes] for lane in range(lanes)]
        self.seconds = len(self.lanes[0]) / RATE

    def line(self, hz: int, lane: int = 0) -> str:
        """`###...` where the tone sounds and where it does not."""
        samples = self.lanes[lane]
        blocks = (samples[i : i + BLOCK] for i in range(0, len(samples) - BLOCK + 1, BLOCK))
        return "".join("#" if strength(list(block), hz) > LOUD else "." for block in blocks)

    def lines(self, tones: Iterable[int], lane: int = 0) -> dict[int, str]:
        return {hz: line for hz in tones if "#" in (line := self.line(hz, lane))}
