"""Looks into files that strangers made. Runs in a process of its own that has no settings, no keys, no database and
little memory; `recordings.probe` starts it and hands it what it asks to read.

It speaks by its standard streams: it asks `R file offset length` and is answered `length bytes`; at the end it says
`D length json`, then `P length peaks`. Only sound formats that browsers play are let in.
"""

import io
import json
import resource
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from recordings.peaks import Collector

if TYPE_CHECKING:
    import av
    from _typeshed import WriteableBuffer

WAV: Final = "audio/wav"
MP4: Final = "video/mp4"
ASK = struct.Struct(">cBQI")
LENGTH = struct.Struct(">I")
HEAD_BYTES = 64  # so much tells what a file is

MOST_HOURS = 48
MOST_CHANNELS = 8
MOST_TRACKS = 8
MOST_PIXELS = 8192 * 4320
SAMPLE_RATES = range(4_000, 192_001)
WAV_CODECS = frozenset({"pcm_s16le", "pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_mulaw", "pcm_alaw"})
VIDEO_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "h263"})
SOUND_CODECS = frozenset({"aac", "mp3", "opus", "flac", "ac3", *WAV_CODECS})
_CODINGS = frozenset({1, 3, 6, 7, 0xFFFE})  # PCM, floating point, A-law, u-law, and "see further on"
_UNFINISHED = frozenset({0, 0xFFFFFFFF})  # what a header says of a length it never learned
_LOOK_AHEAD = 100  # packets; by then each track has begun
_CUT_OFF_S = 2  # a container may promise so much more than its tracks hold


class UnfitError(Exception):
    """What is wrong with a file, in a sentence."""


@dataclass(frozen=True, slots=True)
class WavForm:
    """Where the samples of a WAV lie, and how many bytes a moment of them takes."""

    data_offset: int
    data_size: int
    channels: int
    sample_rate: int
    block: int


# --- What it is --------------------------------------------------------------------------------------------

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"OggS", "an Ogg file"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"ID3", "an MP3 file"),
    (0, b"\xff\xfb", "an MP3 file"),
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska file"),
    (0, b"RF64", "an RF64 file, a WAV beyond 4 GiB"),
    (0, b"RIFX", "a RIFX file"),
    (8, b"AVI ", "an AVI file"),
)


def kind_of(head: bytes) -> str:
    """The content type of a WAV or an MP4 by its first bytes, else what it looks like in words."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return WAV
    if head[4:8] == b"ftyp":
        return MP4
    for place, magic, words in _MAGIC:
        if head[place : place + len(magic)] == magic:
            return words
    return "a text" if head.lstrip()[:1] in (b"<", b"{", b"[") else "neither a WAV nor an MP4 file"


def refuse_mislabelled(head: bytes, content_type: str) -> None:
    kind = kind_of(head)
    if kind == content_type:
        return
    names = {WAV: "a WAV file", MP4: "an MP4 file"}
    raise UnfitError(f"It was announced as {names[content_type]}, but it is {names.get(kind, kind)}.")


# --- WAV ---------------------------------------------------------------------------------------------------


def wav_form(file: BinaryIO, size: int) -> WavForm:
    """Reads the chunks before the samples. A length that was never filled in means: to the end of the file."""
    file.seek(12)
    position, form = 12, b""
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"data":
            return _samples(form, position, length, size)
        if name == b"fmt ":
            form = file.read(min(length, 40))
        position += length + (length & 1)
    raise UnfitError("It has no samples: the WAV file ends within its header.")


def _samples(form: bytes, offset: int, length: int, size: int) -> WavForm:
    if len(form) < 16:
        raise UnfitError("Its header does not say how it is recorded.")
    coding, channels, sample_rate, _, block, _ = struct.unpack("<HHIIHH", form[:16])
    if coding not in _CODINGS:
        raise UnfitError(f"Its sound has the coding 0x{coding:04X}, which is not taken: PCM and G.711 are.")
    if not 1 <= channels <= MOST_CHANNELS or sample_rate not in SAMPLE_RATES or not 1 <= block <= 8 * channels:
        raise UnfitError(f"Its header is absurd: {channels} channels at {sample_rate} Hz.")
    there = size - offset
    if length not in _UNFINISHED and length > there:
        second = block * sample_rate
        raise UnfitError(
            f"It is cut off: its header promises {length / second:.1f} s of sound, {there / second:.1f} s are there."
        )
    samples = there if length in _UNFINISHED else length
    return WavForm(offset, samples - samples % block, channels, sample_rate, block)


def _examine_wav(file: BinaryIO, size: int) -> tuple[dict[str, Any], bytes]:
    form = wav_form(file, size)
    if form.data_size == 0:
        return {"is_empty": True}, b""
    if form.data_size > MOST_HOURS * 3600 * form.block * form.sample_rate:
        raise UnfitError(f"It says that it lasts more than {MOST_HOURS} hours.")
    with _opened(file, "wav") as container:
        if len(container.streams.audio) != 1:
            raise UnfitError("It has no sound that can be read.")
        stream = container.streams.audio[0]
        codec = stream.codec_context.name
        if codec not in WAV_CODECS:
            raise UnfitError(f"Its sound is {codec}, which is not taken: PCM and G.711 are.")
        peaks = _peaks_of(container, stream, form.channels, form.sample_rate)
    found = {
        "duration_ms": form.data_size // form.block * 1000 // form.sample_rate,
        "audio_codec": codec, "channels": form.channels, "sample_rate": form.sample_rate,
        "data_offset": form.data_offset, "data_size": form.data_size,
    }  # fmt: skip
    return found, peaks


# --- MP4 ---------------------------------------------------------------------------------------------------


def _examine_mp4(file: BinaryIO, _size: int) -> tuple[dict[str, Any], bytes]:
    with _opened(file, "mp4") as container:
        if len(container.streams) > MOST_TRACKS:
            raise UnfitError(f"It has {len(container.streams)} tracks; {MOST_TRACKS} at most are taken.")
        video = _video_of(container)
        sound = container.streams.audio[0] if container.streams.audio else None
        if sound is not None:
            _refuse_sound(sound)
        promised = (container.duration or 0) / 1_000_000
        if promised > MOST_HOURS * 3600:
            raise UnfitError(f"It says that it lasts more than {MOST_HOURS} hours.")
        collector = Collector(sound.codec_context.channels, sound.codec_context.sample_rate) if sound else None
        lasted = _walk(container, video, sound, collector)
    if lasted <= 0:
        return {"is_empty": True}, b""
    if promised - lasted > max(_CUT_OFF_S, promised / 20):
        raise UnfitError(f"It is cut off: it promises {promised:.1f} s, {lasted:.1f} s are there.")
    found = {
        "duration_ms": int(lasted * 1000), "video_codec": video.codec_context.name,
        "width": video.codec_context.width, "height": video.codec_context.height,
        "audio_codec": sound.codec_context.name if sound else "",
        "channels": sound.codec_context.channels if sound else 0,
        "sample_rate": sound.codec_context.sample_rate if sound else 0,
    }  # fmt: skip
    return found, collector.finish() if collector else b""


def _video_of(container: Any) -> Any:
    if not container.streams.video:
        raise UnfitError("It has no picture: an MP4 without video is not taken.")
    video = container.streams.video[0]
    context = video.codec_context
    if context.name not in VIDEO_CODECS:
        raise UnfitError(f"Its picture is {context.name}, which is not taken.")
    if not 0 < context.width * context.height <= MOST_PIXELS:
        raise UnfitError(f"Its picture is absurdly large: {context.width} × {context.height}.")
    return video


def _refuse_sound(stream: Any) -> None:
    context = stream.codec_context
    if context.name not in SOUND_CODECS:
        raise UnfitError(f"Its sound is {context.name}, which is not taken.")
    if not 1 <= context.channels <= MOST_CHANNELS or context.sample_rate not in SAMPLE_RATES:
        raise UnfitError(f"Its sound is absurd: {context.channels} channels at {context.sample_rate} Hz.")


def _walk(container: Any, video: Any, sound: Any, collector: Collector | None) -> float:
    """Reads every packet; decodes all of the sound, and of the picture as much as proves that it can be. Returns how
    many seconds there are."""
    import av

    frames = heard = mute = 0
    lasted = Fraction(0)
    resampler = av.AudioResampler(format="s16p") if sound else None
    for packet in container.demux([video, *([sound] if sound else [])]):
        if packet.size:
            lasted = max(lasted, _end_of(packet))
        if packet.stream is video:
            frames += _frames(packet) if not frames else 0
        elif collector and resampler:
            try:
                heard += _listen(packet, resampler, collector)
            except av.FFmpegError:
                mute += 1
        if lasted > MOST_HOURS * 3600:
            raise UnfitError(f"It lasts more than {MOST_HOURS} hours.")
    if lasted and not frames:
        raise UnfitError("No picture of it can be decoded.")
    if mute and not heard:
        raise UnfitError("Its sound cannot be decoded.")
    return float(lasted)


def _frames(packet: Any) -> int:
    import av

    try:
        return len(packet.decode())
    except av.FFmpegError:
        return 0


def _end_of(packet: Any) -> Fraction:
    at = packet.pts if packet.pts is not None else packet.dts
    return Fraction(0) if at is None else (at + (packet.duration or 0)) * packet.time_base


def _listen(packet: Any, resampler: "av.AudioResampler", collector: Collector) -> int:
    heard = 0
    for frame in packet.decode():
        for plain in resampler.resample(frame):
            collector.add(plain.to_ndarray())
            heard += 1
    return heard


def _peaks_of(container: Any, stream: Any, channels: int, sample_rate: int) -> bytes:
    import av

    collector = Collector(channels, sample_rate)
    resampler = av.AudioResampler(format="s16p")
    for packet in container.demux(stream):
        _listen(packet, resampler, collector)
    return collector.finish()


def _opened(file: BinaryIO, form: str) -> Any:
    import av

    file.seek(0)
    try:
        container = av.open(file, format=form, options={"enable_drefs": "0"})
    except av.InvalidDataError:
        raise UnfitError("It cannot be opened: it is damaged, or was cut off before its index was written.") from None
    for stream in container.streams:
        stream.codec_context.thread_count = 1
    return container


# --- Joining -----------------------------------------------------------------------------------------------


def join_wav(files: list[BinaryIO], out: BinaryIO) -> None:
    """WAV files of several forms as one: 16 bits, with the most channels and the highest rate that any of them has."""
    import av

    forms = [_form_of(file) for file in files]
    rate, channels = max(rate for rate, _ in forms), max(channels for _, channels in forms)
    layout = "stereo" if channels > 1 else "mono"
    with av.open(out, "w", format="wav") as joined:
        track = joined.add_stream("pcm_s16le", rate=rate, layout=layout)
        for file in files:
            resampler = av.AudioResampler(format="s16", layout=layout, rate=rate)
            with _opened(file, "wav") as container:
                for frame in container.decode(container.streams.audio[0]):
                    _encode(resampler.resample(frame), track, joined)
            _encode(resampler.resample(None), track, joined)
        joined.mux(track.encode(None))


def _form_of(file: BinaryIO) -> tuple[int, int]:
    with _opened(file, "wav") as container:
        context = container.streams.audio[0].codec_context
        return context.sample_rate, context.channels


def _encode(frames: list[Any], track: Any, joined: Any) -> None:
    for frame in frames:
        frame.pts = None  # one after the other, whatever each began with
        joined.mux(track.encode(frame))


def join_mp4(files: list[BinaryIO], out: BinaryIO) -> None:
    """One after the other, without decoding: what was recorded is what is played."""
    import av

    with av.open(out, "w", format="mp4") as joined:
        tracks: dict[str, _Track] = {}
        offset = Fraction(0)
        for file in files:
            with _opened(file, "mp4") as container:
                offset = _append(container, joined, tracks, offset)


@dataclass(frozen=True, slots=True)
class _Track:
    """A track that is being written, in the coding of the first segment."""

    stream: Any
    codec: str
    extradata: bytes

    @classmethod
    def begun(cls, joined: Any, stream: Any) -> "_Track":
        context = stream.codec_context
        return cls(joined.add_stream_from_template(stream), context.name, bytes(context.extradata or b""))


def _append(container: Any, joined: Any, tracks: "dict[str, _Track]", offset: Fraction) -> Fraction:
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    if not tracks:
        tracks.update({stream.type: _Track.begun(joined, stream) for stream in streams})
    before = {stream.type: _before_pictures(stream, tracks.get(stream.type)) for stream in streams}
    packets = (packet for packet in container.demux(streams) if packet.dts is not None and packet.size)
    first = list(islice(packets, _LOOK_AHEAD))
    # Sound may begin before nought, and so may pictures that others refer to: nothing may begin before what stands.
    offset -= min((packet.dts * packet.time_base for packet in first), default=Fraction(0)) if offset else 0
    end = offset
    for packet in chain(first, packets):
        end = max(end, offset + _end_of(packet))
        packet = _with(before[packet.stream.type], packet)
        shift = round(offset / packet.time_base)
        packet.pts, packet.dts = (packet.pts if packet.pts is not None else packet.dts) + shift, packet.dts + shift
        packet.stream = tracks[packet.stream.type].stream
        joined.mux(packet)
    return end


def _before_pictures(stream: Any, track: _Track | None) -> bytes:
    """What must stand before each whole picture because the track's header speaks of another segment's."""
    if track is None:
        raise UnfitError(f"One segment has {stream.type}, the first has none.")
    codec, own = stream.codec_context.name, bytes(stream.codec_context.extradata or b"")
    if codec != track.codec:
        raise UnfitError(f"The {stream.type} of the segments is not coded alike: {track.codec} and {codec}.")
    if own == track.extradata:
        return b""
    if codec != "h264" or own[4:5] != track.extradata[4:5]:
        raise UnfitError(f"The {stream.type} of the segments is not coded alike.")
    return parameter_sets(own)


def parameter_sets(extradata: bytes) -> bytes:
    """The SPS and PPS of an avcC header (ISO/IEC 14496-15, 5.3.3.1) as units that may stand in the stream."""
    if len(extradata) < 7 or extradata[0] != 1 or extradata[4] & 3 != 3:
        raise UnfitError("The picture of the segments is not coded alike.")
    units, place = b"", 5
    for mask in (0x1F, 0xFF):
        count, place = extradata[place] & mask, place + 1
        for _ in range(count):
            length = int.from_bytes(extradata[place : place + 2], "big")
            units += length.to_bytes(4, "big") + extradata[place + 2 : place + 2 + length]
            place += 2 + length
    return units


def _with(before: bytes, packet: Any) -> Any:
    import av

    if not before or not packet.is_keyframe:
        return packet
    whole = av.Packet(before + bytes(packet))
    whole.pts, whole.dts, whole.duration = packet.pts, packet.dts, packet.duration
    whole.time_base, whole.stream, whole.is_keyframe = packet.time_base, packet.stream, True
    return whole


# --- Asked by the portal -----------------------------------------------------------------------------------


class Asked(io.RawIOBase):
    """A file that the portal reads for this process."""

    def __init__(self, number: int, size: int, out: BinaryIO, answers: BinaryIO) -> None:
        self._number, self._size, self._out, self._answers = number, size, out, answers
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        into = memoryview(buffer).cast("B")
        wanted = min(len(into), self._size - self._at)
        if wanted <= 0:
            return 0
        self._out.write(ASK.pack(b"R", self._number, self._at, wanted))
        self._out.flush()
        (length,) = LENGTH.unpack(self._answers.read(LENGTH.size))
        into[:length] = self._answers.read(length)
        self._at += length
        return int(length)


def main() -> None:
    task = json.loads(sys.argv[2])
    out, answers = sys.stdout.buffer, sys.stdin.buffer
    try:
        _confine(task)
        found, peaks = _work(task, out, answers)
    except UnfitError as error:
        found, peaks = {"problem": str(error)}, b""
    except MemoryError:
        found, peaks = {"problem": "It takes too much memory to read."}, b""
    except (ValueError, OSError, ArithmeticError, struct.error) as error:  # av's own errors are of these kinds
        found, peaks = {"problem": f"It cannot be read: {_plain(error)}."}, b""
    said = json.dumps(found).encode()
    out.write(ASK.pack(b"D", 0, 0, len(said)) + said)
    out.write(ASK.pack(b"P", 0, 0, len(peaks)) + peaks)
    out.flush()


def _work(task: Mapping[str, Any], out: BinaryIO, answers: BinaryIO) -> tuple[dict[str, Any], bytes]:
    files = list(_files(task, out, answers))
    if task["do"] == "join":
        with open(task["into"], "w+b", closefd=False) as into:
            (join_wav if task["content_type"] == WAV else join_mp4)(files, into)
        return {}, b""
    size, content_type = task["sizes"][0], task["content_type"]
    refuse_mislabelled(files[0].read(HEAD_BYTES), content_type)
    return (_examine_wav if content_type == WAV else _examine_mp4)(files[0], size)


def _files(task: Mapping[str, Any], out: BinaryIO, answers: BinaryIO) -> Iterator[BinaryIO]:
    for number, size in enumerate(task["sizes"]):
        yield io.BufferedReader(Asked(number, size, out, answers), buffer_size=task["buffer"])


def _confine(task: Mapping[str, Any]) -> None:
    """Imports first: afterwards neither a file can be opened beyond a few, nor a process or thread begun."""
    import av
    import numpy

    av.logging.set_level(None)
    numpy.zeros(1)
    for limit, most in (
        (resource.RLIMIT_AS, task["memory"]),
        (resource.RLIMIT_CPU, task["cpu"]),
        (resource.RLIMIT_FSIZE, task["file"]),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        with suppress(ValueError, OSError):  # a system may forbid one of them; time is watched from outside anyway
            resource.setrlimit(limit, (most, most))


def _plain(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(char for char in said if char.isprintable())[:120].rstrip(".")
