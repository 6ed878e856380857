"""A recording as one file: what is played and downloaded.

One segment is its file as it came. Several WAV segments of one form are put behind a fresh header while they are read;
nothing is copied. All others are joined once, into a file that is stored beside them.
"""

import hashlib
import re
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Literal, cast
from zoneinfo import ZoneInfo

from django.conf import settings

from recordings import peaks, probe, vault
from recordings.errors import GoneError
from recordings.examiner import MP4, WAV
from recordings.models import Recording, RecordingFile
from recordings.peaks import Peaks
from recordings.stores import INCOMING
from tenants.models import Tenant
from tenants.schemas import current_schema

BLOCK = 256 * 1024
HEADER_BYTES = 44
_CODINGS = {  # the code in a WAV's header, and bits a sample
    "pcm_u8": (1, 8),
    "pcm_s16le": (1, 16),
    "pcm_s24le": (1, 24),
    "pcm_s32le": (1, 32),
    "pcm_f32le": (3, 32),
    "pcm_alaw": (6, 8),
    "pcm_mulaw": (7, 8),
}
_MOST_SAID = 0xFFFFFFFF
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_NAME_PART = 64


class Joined:
    """The file of a recording whose segments are all there. Opening it asks the database, reading it does not."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.files = files_of(recording)
        if not self.files:
            raise GoneError
        self._whole = self._one_file()

    @property
    def content_type(self) -> str:
        return content_type_of(self.recording)

    @property
    def size(self) -> int:
        return self._whole.size if self._whole else HEADER_BYTES + sum(file.data_size for file in self.files)

    @property
    def etag(self) -> str:
        """Strong: the same as long as every byte is."""
        if self._whole:
            return f'"{self._whole.sha256}"'
        return f'"{hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()}"'

    @property
    def duration_ms(self) -> int:
        return sum(file.duration_ms for file in self.files)

    @property
    def file_name(self) -> str:
        return file_name_of(self.recording, Tenant.objects.get(schema_name=current_schema()))

    def read(self, start: int = 0, end: int | None = None) -> "Iterator[bytes]":
        """The bytes from `start` to before `end`, a block at a time. What is missing shows at once."""
        until = self.size if end is None else min(end, self.size)
        if self._whole:
            return vault.read(self._whole, start, until)
        return _Chain(self._stretches(min(max(start, 0), until), until))

    def peaks(self) -> Peaks:
        return peaks.joined([peaks.stored(bytes(file.peaks), file.channels, file.duration_ms) for file in self.files])

    def _one_file(self) -> RecordingFile | None:
        if len(self.files) == 1:
            return self.files[0]
        if are_alike(self.files):
            return None
        made = RecordingFile.objects.filter(joined_of=self.recording, state=RecordingFile.State.READY).first()
        if made is None:
            raise GoneError
        return made

    def _stretches(self, start: int, end: int) -> Iterator[Iterator[bytes]]:
        header = wav_header(self.files[0], sum(file.data_size for file in self.files))
        if start < len(header):
            yield iter([header[start:end]])
        begins = len(header)
        for file in self.files:
            first, last = max(start - begins, 0), min(end - begins, file.data_size)
            if first < last:
                yield vault.read(file, file.data_offset + first, file.data_offset + last)
            begins += file.data_size


class _Chain(Iterator[bytes]):
    """Stretches one after the other, all of them opened before the first is read."""

    def __init__(self, stretches: Iterator[Iterator[bytes]]) -> None:
        self._left: list[Iterator[bytes]] = []
        try:
            self._left.extend(stretches)
        except BaseException:
            self.close()
            raise

    def __next__(self) -> bytes:
        while self._left:
            if block := next(self._left[0], b""):
                return block
            self._left.pop(0)
        raise StopIteration

    def close(self) -> None:
        for stretch in self._left:
            if close := getattr(stretch, "close", None):
                close()
        self._left = []


def content_type_of(recording: Recording) -> Literal["audio/wav", "video/mp4"]:
    return MP4 if recording.medium == "video" else WAV


def file_name_of(recording: Recording, tenant: Tenant) -> str:
    """`<tenant id>_<session id>_<caller>_<n>_<date-time>`, in the tenant's zone, safe on any system."""
    began = recording.started_at or recording.created_at
    stamp = f"{began.astimezone(ZoneInfo(tenant.time_zone)):%Y%m%d-%H%M%S}"
    ending = "mp4" if content_type_of(recording) == MP4 else "wav"
    parts = (str(tenant.pk), _safe(recording.session_id), _safe(recording.caller), "1", stamp)
    return f"{'_'.join(parts)}.{ending}"


def offered_name(recording: Recording, tenant: Tenant) -> str | None:
    """The name of its file if there is one; asks nothing of the database for a row of `selectors.with_files`."""
    found = (getattr(segment, "file", None) for segment in recording.segments.all())
    files = [file for file in found if file is not None and file.state == RecordingFile.State.READY]
    made = getattr(recording, "joined_file", None)
    is_made = made is not None and made.state == RecordingFile.State.READY
    is_there = bool(files) and (len(files) == 1 or are_alike(files) or is_made)
    return file_name_of(recording, tenant) if is_there else None


def files_of(recording: Recording) -> list[RecordingFile]:
    """The good files of its segments, in their order."""
    rows = RecordingFile.objects.filter(segment__recording=recording, state=RecordingFile.State.READY)
    return list(rows.order_by("segment__number"))


def are_alike(files: Sequence[RecordingFile]) -> bool:
    """WAV files whose samples can stand one after the other."""
    forms = {(file.content_type, file.audio_codec, file.channels, file.sample_rate) for file in files}
    return len(forms) == 1 and files[0].content_type == WAV


def wav_header(file: RecordingFile, data_size: int) -> bytes:
    """For samples in the form of this file. Beyond 4 GiB the header says as much as it can."""
    code, bits = _CODINGS[file.audio_codec]
    block = file.channels * bits // 8
    form = struct.pack("<HHIIHH", code, file.channels, file.sample_rate, file.sample_rate * block, block, bits)
    riff = struct.pack("<I", min(_MOST_SAID, HEADER_BYTES - 8 + data_size))
    return b"RIFF" + riff + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack(
        "<I", min(_MOST_SAID, data_size)
    )  # fmt: skip


def make(files: Sequence[RecordingFile]) -> vault.Stored:
    """Joins files that cannot be joined while they are read. Until it is in the vault, the result has no name."""
    folder = Path(settings.MEDIA_ROOT) / INCOMING
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with ExitStack() as stack, tempfile.TemporaryFile(dir=folder) as into:
        opened = [(stack.enter_context(vault.open_file(file)), file.size) for file in files]
        probe.join(opened, cast(BinaryIO, into), files[0].content_type)
        into.seek(0)
        with vault.writer() as writer:
            while block := into.read(BLOCK):
                writer.write(block)
            return writer.close()


def digest_of(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _safe(part: str) -> str:
    return _UNSAFE.sub("-", part).strip(".-")[:_NAME_PART] or "unknown"
