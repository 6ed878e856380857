"""Takes in the files that switches deliver: whole and proven, or not at all.

A file of a segment that has none is stored and examined. The same file again is the one that is there. What is whole
but belongs nowhere, or to a segment that has another one, is kept in quarantine and refused with the reason; what is
broken on its way leaves nothing behind, for the switch still has it.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from recordings import completion, vault
from recordings.errors import VaultError
from recordings.examiner import HEAD_BYTES, MP4, WAV, UnfitError, refuse_mislabelled
from recordings.models import Recording, RecordingFile, Segment
from tenants.errors import RefusedError
from tenants.models import Switch, SwitchCommand, Tenant
from tenants.schemas import current_schema, in_schema

log = structlog.get_logger(__name__)

PUBLIC = "public"
KEPT = "The file is kept in quarantine."
_ID_MAX = 64
CONTENT_TYPES = {
    "audio/wav": WAV,
    "audio/x-wav": WAV,
    "audio/wave": WAV,
    "audio/vnd.wave": WAV,
    "video/mp4": MP4,
}
DIGESTS = ("sha256", "sha512", "sha1", "md5")  # that a sender may prove a file by
_GOING = (Tenant.State.DELETING, Tenant.State.FAILED)
_HELD = (RecordingFile.State.STORED, RecordingFile.State.READY)


# Called with a file that no recording is known for, and the code and sentence of its refusal, in its transaction. One
# that refuses it by a FileRefusedError has nothing kept.
keepers: list[Callable[[RecordingFile, str, str], None]] = []


class FileRefusedError(RefusedError):
    """A file is not taken. `kept` is its row when it lies in quarantine."""

    def __init__(self, code: str, message: str, kept: RecordingFile | None = None) -> None:
        super().__init__(code, message)
        self.kept = kept


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What somebody says that he sends."""

    switch: Switch
    recording_id: str
    segment: int
    content_type: str


@dataclass(frozen=True, slots=True)
class _Refusal:
    code: str
    message: str


_Entered = tuple[RecordingFile, _Refusal | None]


def receive(
    switch: Switch,
    recording_id: str,
    segment: int,
    chunks: Iterable[bytes],
    *,
    content_type: str,
    digests: Mapping[str, bytes],
    expected_size: int | None,
) -> RecordingFile:
    """Streams a file into the vault, in whatever schema the caller is. `digests` are by the names in DIGESTS."""
    delivery = _Delivery(switch, _printable(recording_id), segment, _content_type_of(content_type))
    _refuse_size(expected_size)
    with in_schema(_schema_of(switch, recording_id)):
        _refuse_before_reading(delivery)
        try:
            file, refusal = _take_in(delivery, chunks, digests, expected_size)
        except VaultError as error:
            log.error("file not stored", recording_id=recording_id, segment=segment, error=error.code)
            raise FileRefusedError(error.code, f"{error.message} Nothing was kept: send it again.") from error
    if refusal:
        log.warning("file quarantined", recording_id=recording_id, segment=segment, reason=refusal.code)
        raise FileRefusedError(refusal.code, refusal.message, kept=file)
    log.info("file received", recording_id=recording_id, segment=segment, size=file.size, state=file.state)
    return file


def _printable(recording_id: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in recording_id)[:_ID_MAX]


def place(switch: Switch, file: RecordingFile) -> RecordingFile:
    """A file of no recording, from the quarantine of the public schema, where the caller is: delivered anew to the
    tenant whose it is by now. There it may still contradict another one; then that tenant's quarantine has it."""
    if _schema_of(switch, file.said_recording_id) == PUBLIC:
        refusal = _unknown(_Delivery(switch, file.said_recording_id, file.said_segment, file.content_type))
        raise FileRefusedError(refusal.code, refusal.message, kept=file)
    try:
        placed = receive(
            switch,
            file.said_recording_id,
            file.said_segment,
            vault.read(file),
            content_type=file.content_type,
            digests={"sha256": bytes.fromhex(file.sha256)},
            expected_size=file.size,
        )
    except FileRefusedError as error:
        if error.kept is None:
            raise
        placed = error.kept
    vault.delete(file)
    return placed


# --- Whose it is -------------------------------------------------------------------------------------------


def _schema_of(switch: Switch, recording_id: str) -> str:
    """Of the tenant in whose call this switch was told to make that recording. Another switch's is unknown to it."""
    told = SwitchCommand.objects.filter(recording_id=recording_id, switch=switch).order_by("id")
    is_ours = recording_id.isascii() and recording_id.isdigit()
    tenant_id = told.values_list("tenant_id", flat=True).first() if is_ours else None
    tenant = Tenant.objects.filter(pk=tenant_id).first() if tenant_id else None
    if tenant is not None and tenant.state in _GOING:
        raise FileRefusedError("recording_deleted", "The tenant of this recording is being deleted.")
    return tenant.schema_name if tenant else PUBLIC


def _refuse_before_reading(delivery: _Delivery) -> None:
    if current_schema() == PUBLIC:
        _refuse_full_quarantine()
    else:
        _refuse_deleted(Recording.objects.filter(pk=int(delivery.recording_id)).first())


def _refuse_deleted(recording: Recording | None) -> None:
    if recording is not None and recording.state == Recording.State.DELETED:
        raise FileRefusedError("recording_deleted", "This recording was deleted. Its files are not wanted any more.")


def _refuse_full_quarantine() -> None:
    """Switches that send what belongs nowhere do not fill the disk."""
    strays = RecordingFile.objects.filter(state=RecordingFile.State.QUARANTINED, segment=None)
    if (strays.aggregate(total=Sum("size"))["total"] or 0) >= settings.RECORDING_QUARANTINE_MAX:
        raise FileRefusedError(
            "quarantine_full", "It belongs to no segment, and the quarantine of such files is full. Nothing was kept."
        )


# --- Reading -----------------------------------------------------------------------------------------------


def _content_type_of(given: str) -> str:
    known = CONTENT_TYPES.get(given.partition(";")[0].strip().lower())
    if known is None:
        raise FileRefusedError("wrong_type", "The Content-Type must be audio/wav or video/mp4.")
    return known


def _refuse_size(size: int | None) -> None:
    if size == 0:
        raise FileRefusedError("empty_file", "The file is empty.")
    if size is not None and size > settings.RECORDING_FILE_MAX:
        raise FileRefusedError("too_large", f"A file may have at most {settings.RECORDING_FILE_MAX} bytes.")


def _take_in(
    delivery: _Delivery, chunks: Iterable[bytes], digests: Mapping[str, bytes], expected_size: int | None
) -> _Entered:
    with vault.writer() as writer:
        _release_connection()
        head = _write(writer, chunks, digests, expected_size)
        stored = writer.close()
        entered = _enter(delivery, stored, head)  # when it fails the writer takes the bytes away again
    if entered[0].storage_key != stored.storage_key:
        vault.discard(stored.storage_key)
    return entered


def _write(
    writer: vault.Writer, chunks: Iterable[bytes], digests: Mapping[str, bytes], expected_size: int | None
) -> bytes:
    """Returns the first bytes, which tell what the file is."""
    head = b""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in digests}
    for chunk in chunks:
        _refuse_size(writer.size + len(chunk) or None)
        head += chunk[: HEAD_BYTES - len(head)]
        writer.write(chunk)
        for each in hashes.values():
            each.update(chunk)
    _refuse_size(writer.size)
    if expected_size is not None and writer.size != expected_size:
        raise FileRefusedError(
            "cut_off", f"{expected_size} bytes were announced, {writer.size} came. Nothing was kept: send it again."
        )
    wrong = sorted(name for name, each in hashes.items() if each.digest() != digests[name])
    if wrong:
        raise FileRefusedError(
            "digest_mismatch", f"What came does not have the announced {wrong[0]}. Nothing was kept: send it again."
        )
    return head


def _release_connection() -> None:
    """A file may take an hour to come, and the pool has few connections."""
    if not connection.in_atomic_block:
        connection.close()


# --- Into the books ----------------------------------------------------------------------------------------


@transaction.atomic
def _enter(delivery: _Delivery, stored: vault.Stored, head: bytes) -> _Entered:
    if current_schema() == PUBLIC:
        return _quarantine(delivery, stored, _unknown(delivery))
    recording = Recording.objects.select_for_update().filter(pk=int(delivery.recording_id)).first()
    if recording is None:
        return _quarantine(delivery, stored, _unknown(delivery))
    _refuse_deleted(recording)
    segment = Segment.objects.filter(recording=recording, number=delivery.segment).first()
    if segment is None:
        refusal = _Refusal("unknown_segment", f"This recording has no segment {delivery.segment}.")
        return _quarantine(delivery, stored, refusal)
    if delivery.content_type != (MP4 if recording.medium == "video" else WAV):
        refusal = _Refusal("wrong_medium", f"This is a recording of {recording.medium}, not {delivery.content_type}.")
        return _quarantine(delivery, stored, refusal)
    return _attach(delivery, stored, head, recording, segment)


def _unknown(delivery: _Delivery) -> _Refusal:
    return _Refusal("unknown_recording", f"This switch was told of no recording {delivery.recording_id}.")


def _attach(delivery: _Delivery, stored: vault.Stored, head: bytes, recording: Recording, segment: Segment) -> _Entered:
    there = RecordingFile.objects.filter(segment=segment).first()
    if there is not None:
        if (there.sha256, there.size) == (stored.sha256, stored.size):
            return there, None
        if there.state in _HELD:
            refusal = _Refusal("conflict", f"Segment {segment.number} has another file, which came before.")
            return _quarantine(delivery, stored, refusal)
        if there.state == RecordingFile.State.QUARANTINED:
            _refuse_full_quarantine()
        there.segment = None  # it was no good: this one takes its place
        there.save(update_fields=["segment"])
    file = _row(delivery, stored)
    file.segment = segment
    try:
        refuse_mislabelled(head, delivery.content_type)
    except UnfitError as error:
        file.state, file.problem = RecordingFile.State.QUARANTINED, str(error)
        file.save()
        completion.settle_soon([recording.session_id])
        return file, _Refusal("mislabelled", f"{error} It is kept in quarantine.")
    file.save()
    completion.probe_soon(file)
    return file, None


def _quarantine(delivery: _Delivery, stored: vault.Stored, refusal: _Refusal) -> _Entered:
    """Once, however often it is sent."""
    refusal = _Refusal(refusal.code, f"{refusal.message} {KEPT}")
    known = RecordingFile.objects.filter(
        segment=None,
        state=RecordingFile.State.QUARANTINED,
        said_recording_id=delivery.recording_id,
        said_segment=delivery.segment,
        switch_id=delivery.switch.pk,
        sha256=stored.sha256,
    ).first()
    if known is not None:
        return known, refusal
    _refuse_full_quarantine()
    file = _row(delivery, stored)
    file.state, file.problem = RecordingFile.State.QUARANTINED, refusal.message
    file.save()
    if current_schema() == PUBLIC:
        for keep in keepers:
            keep(file, refusal.code, refusal.message)
    return file, refusal


def _row(delivery: _Delivery, stored: vault.Stored) -> RecordingFile:
    return RecordingFile(
        said_recording_id=delivery.recording_id,
        said_segment=delivery.segment,
        switch_id=delivery.switch.pk,
        storage_key=stored.storage_key,
        wrapped_key=stored.wrapped_key,
        size=stored.size,
        sha256=stored.sha256,
        content_type=delivery.content_type,
        received_at=timezone.now(),
    )
