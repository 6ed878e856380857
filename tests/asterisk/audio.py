"""Sound on the line: each party plays a tone of its own over RTP, and says which tones it hears."""

from __future__ import annotations

import asyncio
import math
import secrets
import struct
import time
from collections import deque
from collections.abc import Iterable
from functools import lru_cache

RATE = 8000
FRAME = 160  # samples in 20 ms
ULAW, TELEPHONE_EVENT = 0, 101
DTMF_DIGITS = "0123456789*#ABCD"
DTMF_FRAMES = 8  # a press of 160 ms, the last three frames marked as its end (RFC 4733, 2.5.1.4)

Address = tuple[str, int]


def _encode(sample: int) -> int:
    """One linear sample as G.711 mu-law."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F) & 0xFF


def _decode(byte: int) -> int:
    byte = ~byte & 0xFF
    magnitude = ((((byte & 0x0F) << 3) + 132) << (byte >> 4 & 7)) - 132
    return -magnitude if byte & 0x80 else magnitude


LINEAR = [_decode(byte) for byte in range(256)]


@lru_cache
def tone_frames(hz: int) -> list[bytes]:
    """One second, which joins seamlessly to the next."""
    samples = (int(8000 * math.sin(2 * math.pi * hz * i / RATE)) for i in range(RATE))
    encoded = bytes(_encode(sample) for sample in samples)
    return [encoded[i : i + FRAME] for i in range(0, RATE, FRAME)]


def strength(samples: list[int], hz: int) -> float:
    """The amplitude at `hz` (Goertzel)."""
    factor = 2 * math.cos(2 * math.pi * hz / RATE)
    previous = before = 0.0
    for sample in samples:
        previous, before = sample + factor * previous - before, previous
    power = previous * previous + before * before - factor * previous * before
    return math.sqrt(max(0.0, power)) / (len(samples) / 2)


def tones_in(ulaw: bytes, candidates: Iterable[int]) -> set[int]:
    """The candidates that sound for at least 0.3 s; candidates are 50 Hz apart or more."""
    block = RATE // 10
    blocks = [[LINEAR[b] for b in ulaw[i : i + block]] for i in range(0, len(ulaw) - block + 1, block)]
    return {hz for hz in candidates if sum(strength(samples, hz) > 2000 for samples in blocks) >= 3}


class RtpStream(asyncio.DatagramProtocol):
    """Both directions of one call's audio."""

    def __init__(self, tone_hz: int) -> None:
        self.tone_hz = tone_hz
        self.sending = False
        self.remote: Address | None = None
        self.received: list[tuple[float, bytes]] = []  # arrival (monotonic clock), mu-law
        self.source = secrets.randbits(32)
        self.sequence = secrets.randbits(16)  # this and the timestamp begin anywhere (RFC 3550, 5.1)
        self.timestamp = secrets.randbits(32)
        self.seconds_said = 0.0
        self.events_received = 0  # packets of DTMF; a feature code must not reach the other party
        self._dtmf: deque[tuple[int, int]] = deque()  # event, frame of the press
        self._transport: asyncio.DatagramTransport | None = None
        self._pump: asyncio.Task[None] | None = None

    async def open(self, host: str) -> int:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self._pump = loop.create_task(self._send_frames())
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        if self._transport is not None:
            self._transport.close()

    def press(self, digit: str) -> None:
        event = DTMF_DIGITS.index(digit)
        self._dtmf.extend((event, frame) for frame in range(DTMF_FRAMES))

    def begin_another_stream(self, *, sequence: int) -> None:
        """As after a transfer or music on hold at the far end."""
        self.source = secrets.randbits(32)
        self.sequence = sequence & 0xFFFF

    def audio_since(self, moment: float) -> bytes:
        return b"".join(payload for arrived, payload in self.received if arrived >= moment)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if len(data) <= 12:
            return
        kind = data[1] & 0x7F
        if kind == ULAW:
            self.received.append((time.monotonic(), data[12:]))
        elif kind == TELEPHONE_EVENT:
            self.events_received += 1

    async def _send_frames(self) -> None:
        pressed_at = position = 0
        next_at = time.monotonic()
        while True:
            if self.sending and self.remote is not None and self._transport is not None:
                if self._dtmf:
                    event, frame = self._dtmf.popleft()
                    if frame == 0:
                        pressed_at = self.timestamp
                    ending = 0x80 if frame >= DTMF_FRAMES - 3 else 0
                    duration = min(frame + 1, DTMF_FRAMES - 2) * FRAME
                    kind = TELEPHONE_EVENT | (0x80 if frame == 0 else 0)
                    header = struct.pack("!BBHII", 0x80, kind, self.sequence, pressed_at, self.source)
                    packet = header + struct.pack("!BBH", event, ending | 10, duration)
                else:
                    frames = tone_frames(self.tone_hz)
                    packet = struct.pack("!BBHII", 0x80, ULAW, self.sequence, self.timestamp, self.source)
                    packet += frames[position % len(frames)]
                    position += 1
                    self.seconds_said += 0.02
                self.sequence = (self.sequence + 1) & 0xFFFF
                self.timestamp = (self.timestamp + FRAME) & 0xFFFFFFFF
                self._transport.sendto(packet, self.remote)
            # One that could not send in time does not talk faster after: Asterisk would drop what comes in a burst.
            next_at = max(next_at + 0.02, time.monotonic() - 0.02)
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
