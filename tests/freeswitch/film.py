"""Telephones with a camera: each shows one colour, in H.264 over RTP (RFC 6184)."""

import asyncio
import re
import secrets
import struct
from fractions import Fraction
from functools import lru_cache
from io import BytesIO

import av
import numpy as np

from tests.asterisk.audio import Address
from tests.asterisk.phone import Call, Phone
from tests.asterisk.sip import Headers, Message, new_token

RATE, FRAMES, KIND, PIECE = 90_000, 10, 96, 1000
WIDTH, HEIGHT = 320, 240
COLOURS = {"blue": (20, 40, 200), "green": (20, 170, 60), "red": (210, 30, 30)}


@lru_cache
def _pictures(colour: str) -> tuple[tuple[bytes, ...], ...]:
    """One second, which joins seamlessly to the next: each picture as its NAL units."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAMES), Fraction(FRAMES)
    encoder.options = {"profile": "baseline", "preset": "ultrafast", "tune": "zerolatency", "g": str(FRAMES)}
    encoder.thread_count = 1
    shown = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), COLOURS[colour], dtype=np.uint8), format="rgb24")
    found = []
    for number in range(FRAMES):
        shown.pts = number
        coded = b"".join(bytes(packet) for packet in encoder.encode(shown))
        found.append(tuple(unit.rstrip(b"\0") for unit in re.split(rb"\x00{2,3}\x01", coded) if unit))
    return tuple(found)


def _payloads(unit: bytes) -> list[bytes]:
    """A NAL unit as it is, or in pieces (FU-A)."""
    if len(unit) <= PIECE:
        return [unit]
    pieces = [unit[1:][place : place + PIECE] for place in range(0, len(unit) - 1, PIECE)]
    heads = [
        unit[0] & 0x1F | (0x80 if i == 0 else 0) | (0x40 if i == len(pieces) - 1 else 0) for i in range(len(pieces))
    ]
    return [bytes((unit[0] & 0xE0 | 28, head)) + piece for head, piece in zip(heads, pieces, strict=True)]


class Camera(asyncio.DatagramProtocol):
    """Sends its colour for as long as there is somebody to send it to."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.remote: Address | None = None
        self.received = 0  # packets
        self._transport: asyncio.DatagramTransport | None = None
        self._pump: asyncio.Task[None] | None = None

    async def open(self, host: str) -> int:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self._pump = loop.create_task(self._send_pictures())
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.received += 1

    async def _send_pictures(self) -> None:
        source, sequence, stamp = secrets.randbits(32), secrets.randbits(16), secrets.randbits(31)
        number, colour = 0, self.colour
        while True:
            if self.colour != colour:
                number, colour = 0, self.colour  # another film begins with its key frame
            if self.remote is not None and self._transport is not None:
                payloads = [each for unit in _pictures(colour)[number % FRAMES] for each in _payloads(unit)]
                for place, payload in enumerate(payloads):
                    last = 0x80 if place == len(payloads) - 1 else 0
                    header = struct.pack("!BBHII", 0x80, KIND | last, sequence, stamp, source)
                    self._transport.sendto(header + payload, self.remote)
                    sequence = (sequence + 1) & 0xFFFF
                number += 1
                stamp = (stamp + RATE // FRAMES) & 0xFFFFFFFF
            await asyncio.sleep(1 / FRAMES)


class VideoCall(Call):
    def __init__(self, phone: "VideoPhone", call_id: str, *, incoming: bool) -> None:
        super().__init__(phone, call_id, incoming=incoming)
        self.camera = Camera(phone.colour)
        self._video_port = 0

    async def open_audio(self) -> None:
        await super().open_audio()
        self._video_port = await self.camera.open(self.phone.host)

    def close(self) -> None:
        super().close()
        self.camera.close()

    def _sdp(self) -> str:
        video = (
            f"m=video {self._video_port} RTP/AVP {KIND}",
            f"a=rtpmap:{KIND} H264/{RATE}",
            f"a=fmtp:{KIND} profile-level-id=42E01F;packetization-mode=1",
            "a=sendrecv",
        )
        return super()._sdp() + "\r\n".join(video) + "\r\n"

    def _take_media(self, sdp: str) -> None:
        super()._take_media(sdp)
        host, port = re.search(r"^c=IN IP4 (\S+)", sdp, re.M), re.search(r"^m=video (\d+)", sdp, re.M)
        if host and port and int(port.group(1)):
            self.camera.remote = (host.group(1), int(port.group(1)))

    def _end(self, by: str) -> None:
        super()._end(by)  # type: ignore[arg-type]
        self.camera.remote = None


class VideoPhone(Phone):
    """Shows `colour`."""

    colour = "blue"

    async def dial(self, number: str, *, caller: str = "", extra: Headers | None = None) -> VideoCall:
        call = VideoCall(self, new_token(), incoming=False)
        call.local = f"<sip:{self.number}@{self.domain}>;tag={new_token()}"
        call.remote = f"<sip:{number}@{self.domain}>"
        call.target = f"sip:{number}@{self.domain}"
        self.calls[call.call_id] = call
        await call.open_audio()
        self.spawn(call.run_invite(extra or []))
        return call

    async def _ring(self, invite: Message) -> None:
        call = VideoCall(self, invite.get("call-id"), incoming=True)
        self.calls[call.call_id] = call
        await call.open_audio()
        call.on_invite(invite)
        self._incoming.put_nowait(call)


def colours_in(mp4: bytes) -> list[str]:
    """Which colour each picture of a film is nearest to."""
    found = []
    with av.open(BytesIO(mp4)) as container:
        for frame in container.decode(video=0):
            mean = frame.to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
            far = {name: float(np.abs(mean - np.array(colour)).sum()) for name, colour in COLOURS.items()}
            nearest = min(far, key=lambda name: far[name])
            found.append(nearest if far[nearest] < 120 else "other")
    return found
