"""WAV and MP4 files as switches write them, and as they should not."""

import math
import struct
import tempfile
from array import array
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy

WAV, MP4 = "audio/wav", "video/mp4"


def tone(seconds: float, frequency: float, rate: int = 8000, loudness: float = 0.5) -> "array[int]":
    step = 2 * math.pi * frequency / rate
    return array("h", (int(32767 * loudness * math.sin(step * index)) for index in range(int(seconds * rate))))


def wav(*channels: "array[int]", rate: int = 8000, code: int = 1, bits: int = 16, data: bytes | None = None) -> bytes:
    """16-bit PCM of these channels, or `data` as it is in another coding."""
    count = max(1, len(channels))
    if data is None:
        mixed = array("h", [0] * sum(map(len, channels)))
        for number, samples in enumerate(channels):
            mixed[number::count] = samples
        data = mixed.tobytes()
    block = count * bits // 8
    form = struct.pack("<HHIIHH", code, count, rate, rate * block, block, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def spoken(seconds: float = 1.0, frequency: float = 440) -> bytes:
    return wav(tone(seconds, frequency))


def mp4(
    seconds: float = 1.0, *, sound: bool = True, size: tuple[int, int] = (160, 120), codec: str = "libx264",
    options: dict[str, str] | None = None, shade: int = 0,
) -> bytes:  # fmt: skip
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:  # a name, for faststart opens it again
        _write_mp4(file.name, seconds, sound=sound, size=size, codec=codec, options=options or {}, shade=shade)
        return file.read()


def _write_mp4(
    name: str, seconds: float, *, sound: bool, size: tuple[int, int], codec: str, options: dict[str, str], shade: int
) -> None:
    with av.open(name, "w", format="mp4", options=options) as container:
        video = container.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio: Any = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number in range(int(seconds * 10)):
            picture = numpy.full((size[1], size[0], 3), (number * 20 + shade) % 255, dtype="uint8")
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio:
            samples = numpy.array([tone(seconds, 440)], dtype="int16")
            sounded = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            sounded.sample_rate, sounded.pts = 8000, 0
            container.mux(audio.encode(sounded))
            container.mux(audio.encode())


def ones_of(file: bytes) -> dict[str, Callable[[], bytes]]:
    """Ways to spoil a file."""
    return {
        "halved": lambda: file[: len(file) // 2],
        "headless": lambda: file[40:],
        "doubled": lambda: file + file,
        "zeroed": lambda: file[:100] + bytes(len(file) - 100),
    }
