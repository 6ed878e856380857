"""When a recording is complete: its files examined, each segment accounted for, and the outcome told.

A file is examined by a task; what a dead worker left, the sweep takes up again. A recording is ready when every segment
that ran has a good file, and failed when one has a bad one. When the time that files have to come is over, it is ready
with what came, and says what is missing; it has failed when nothing came.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from threading import BoundedSemaphore
from typing import Literal

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from cdr.models import CDR, LiveSession
from events import recording_messages
from events.recording_messages import RecordingFact, tell
from recordings import joined, probe, trash, vault
from recordings.errors import GoneError, VaultError
from recordings.examiner import MP4, WAV, UnfitError
from recordings.models import Recording, RecordingFile, Segment
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tenants.schemas import current_schema

log = structlog.get_logger(__name__)

MARGIN = timedelta(minutes=1)  # after the longest that an examination may last its worker is dead
MOST_TRIES = 5
AT_ONCE = 100
_EMPTY = "It holds no moment of sound: the switch had nothing to record. It was discarded."
_MISSED = re.compile(r" ?The files? of segments? [\d, ]+ (?:is|are) missing: the switch did not deliver \w+ in time\.")
_UNDECIDED = (Recording.State.PROCESSING, Recording.State.FAILED, Recording.State.READY)

_slots = BoundedSemaphore(probe.processors())


# --- Later -------------------------------------------------------------------------------------------------


def probe_soon(file: RecordingFile) -> None:
    """Once the transaction is through. A broker that is away delays it until the sweep."""
    from recordings import tasks  # which imports this

    schema, file_id = current_schema(), file.pk
    transaction.on_commit(lambda: tasks.probe_file.delay(schema, file_id), robust=True)


def settle_soon(session_ids: Sequence[str]) -> None:
    """Of calls whose recordings may have become complete: one ended after its files had come, or one is no good."""
    from recordings import tasks

    schema, wanted = current_schema(), sorted(set(session_ids))
    transaction.on_commit(lambda: tasks.settle_calls.delay(schema, wanted), robust=True)


# --- Examining ---------------------------------------------------------------------------------------------


@contextmanager
def a_slot() -> Iterator[bool]:
    """Whether this process may examine another file now; if not, the one at work or the sweep comes to it."""
    has = _slots.acquire(blocking=False)
    try:
        yield has
    finally:
        if has:
            _slots.release()


def probe_waiting(file_id: int | None = None) -> int:
    """Examines what waits in this schema, this file first, and settles their recordings. Returns how many."""
    done = 0
    with a_slot() as may:
        while may and (file := _claim(file_id)):
            _probe(file)
            done, file_id = done + 1, None
    return done


def _claim(file_id: int | None) -> RecordingFile | None:
    """One that nobody is at; this one if it can be had, else the oldest."""
    now = timezone.now()
    free = RecordingFile.objects.filter(Q(probe_until=None) | Q(probe_until__lt=now), state=RecordingFile.State.STORED)
    oldest = list(free.order_by("received_at", "id").values_list("pk", "size")[:8])
    wanted = list(free.filter(pk=file_id).values_list("pk", "size")) if file_id else []
    for each, size in wanted + oldest:
        until = now + probe.longest(size) + MARGIN
        if free.filter(pk=each).update(probe_until=until, probe_tries=F("probe_tries") + 1):
            return RecordingFile.objects.get(pk=each)
    return None


def _probe(file: RecordingFile) -> None:
    try:
        found = _examined(file)
    except VaultError as error:
        if file.probe_tries < MOST_TRIES and not isinstance(error, GoneError):
            log.error("file not examined, its store fails", file_id=str(file.pk), error=error.code)
            return  # the sweep comes again
        found = error.message
    _note(file, found)


def _examined(file: RecordingFile) -> probe.Probed | str | None:
    """What it is, or what is wrong with it, or None when nothing is in it."""
    if file.probe_tries > MOST_TRIES:
        return f"It could not be examined in {MOST_TRIES} attempts."
    opened = vault.open_file(file)
    _release_connection()
    try:
        return probe.probe(opened, file.size, file.content_type)
    except UnfitError as error:
        return str(error)
    except probe.NothingRecordedError:
        return None
    finally:
        opened.close()


def _release_connection() -> None:
    """An examination may take minutes, and the pool has few connections."""
    if not connection.in_atomic_block:
        connection.close()


def _note(file: RecordingFile, found: probe.Probed | str | None) -> None:
    with transaction.atomic():
        segment = Segment.objects.filter(file=file).first()
        if segment is not None:  # its recording first, in the order in which everybody locks
            Recording.objects.select_for_update().filter(pk=segment.recording_id).first()
        row = RecordingFile.objects.select_for_update().filter(pk=file.pk, state=RecordingFile.State.STORED).first()
        if row is None:
            return  # deleted meanwhile
        _write_down(row, found)
        row.probed_at = timezone.now()
        row.save()
    log.info("file examined", file_id=str(row.pk), state=row.state, problem=row.problem)
    if found is None:
        vault.delete(row)
    if segment is not None:
        settle(segment.recording_id)


def _write_down(row: RecordingFile, found: probe.Probed | str | None) -> None:
    match found:
        case probe.Probed():
            row.state = RecordingFile.State.READY
            for name in ("duration_ms", "audio_codec", "video_codec", "channels", "sample_rate", "width", "height"):
                setattr(row, name, getattr(found, name))
            row.data_offset, row.data_size, row.peaks = found.data_offset, found.data_size, found.peaks
        case None:
            row.state, row.problem = RecordingFile.State.DELETED, _EMPTY
        case str():
            row.state, row.problem = RecordingFile.State.QUARANTINED, found[:300]


# --- Judging -----------------------------------------------------------------------------------------------


class Outcome(Enum):
    WAITS = "waits"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """`problem` of a recording that is ready: what it has to do without."""

    outcome: Outcome
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A segment, and what has become of its file; `state` is empty while none has come."""

    number: int
    ran: bool
    state: str = ""
    problem: str = ""


def judge(segments: Sequence[Delivered], *, files_are_due: bool) -> Judgement:
    """Of a recording whose call is over. A segment that held nothing is none."""
    wanted = [each for each in segments if each.ran or each.state]
    if not wanted:
        waits = Judgement(Outcome.WAITS)
        return Judgement(Outcome.FAILED, "Nothing was recorded: no segment ever ran.") if files_are_due else waits
    bad = next((each for each in wanted if each.state == RecordingFile.State.QUARANTINED), None)
    if bad is not None:
        return Judgement(Outcome.FAILED, f"The file of segment {bad.number} is quarantined. {bad.problem}")
    if any(each.state == RecordingFile.State.STORED for each in wanted):
        return Judgement(Outcome.WAITS)
    missing = [str(each.number) for each in wanted if not each.state]
    if missing and not files_are_due:
        return Judgement(Outcome.WAITS)
    is_any_good = any(each.state == RecordingFile.State.READY for each in wanted)
    if missing:
        return Judgement(Outcome.READY if is_any_good else Outcome.FAILED, _missed(missing))
    if not is_any_good:
        return Judgement(Outcome.FAILED, "Nothing was recorded: no file holds any sound or picture.")
    return Judgement(Outcome.READY)


def _missed(numbers: Sequence[str]) -> str:
    if len(numbers) == 1:
        return f"The file of segment {numbers[0]} is missing: the switch did not deliver it in time."
    return f"The files of segments {', '.join(numbers)} are missing: the switch did not deliver them in time."


def settle_calls(session_ids: Sequence[str]) -> None:
    """Their recordings of which anything was delivered; and what their records say of it, which may be newer."""
    delivered = Recording.objects.filter(session_id__in=session_ids, segments__file__isnull=False).distinct()
    for recording_id in list(delivered.order_by("pk").values_list("pk", flat=True)):
        settle(recording_id)
    trash.mark_calls(session_ids)


def settle(recording_id: int) -> None:
    """Brings a recording to what its files make of it. Harmless at any time and any number of times."""
    files = _settle(recording_id, None)
    if files is not None:
        with _what_is_played(recording_id, files) as whole:
            _settle(recording_id, whole)


@dataclass(frozen=True, slots=True)
class _Whole:
    """The one file that these make."""

    file_ids: tuple[int, ...]
    size: int = 0
    sha256: str = ""
    made: vault.Stored | None = None
    problem: str = ""


@transaction.atomic
def _settle(recording_id: int, whole: _Whole | None) -> list[RecordingFile] | None:
    """Returns the files that must first be joined, which no transaction should wait for."""
    recording = Recording.objects.select_for_update().filter(pk=recording_id, state__in=_UNDECIDED).first()
    if recording is None or recording.ended_at is None:
        return None
    files = joined.files_of(recording)
    if recording.state == Recording.State.READY and not _are_newer(files, recording.ready_at):
        return None
    judgement = judge(_delivered(recording), files_are_due=recording.ended_at < timezone.now() - _patience())
    if judgement.outcome is Outcome.READY:
        if whole is None and len(files) == 1:
            whole = _Whole((files[0].pk,), files[0].size, files[0].sha256)
        if whole is None or whole.file_ids != tuple(file.pk for file in files):
            if whole is None:
                return files
            _discard(whole)
            return None
        _become_ready(recording, files, whole, judgement.problem)
    elif judgement.outcome is Outcome.FAILED:
        _become_failed(recording, files, judgement.problem)
    return None


def _are_newer(files: Sequence[RecordingFile], moment: datetime | None) -> bool:
    return moment is None or any(file.probed_at is None or file.probed_at > moment for file in files)


def _discard(whole: _Whole) -> None:
    """Another file came while these were joined; its own examination settles the recording."""
    if whole.made:
        vault.discard(whole.made.storage_key)


def _patience() -> timedelta:
    return timedelta(minutes=settings.RECORDING_FILE_MINUTES)


def _delivered(recording: Recording) -> list[Delivered]:
    files = {row.segment_id: row for row in RecordingFile.objects.filter(segment__recording=recording).defer("peaks")}
    found = []
    for segment in Segment.objects.filter(recording=recording).order_by("number"):
        file = files.get(segment.pk)
        state, problem = (file.state, file.problem) if file else ("", "")
        found.append(Delivered(segment.number, segment.started_at is not None, state, problem))
    return found


@contextmanager
def _what_is_played(recording_id: int, files: Sequence[RecordingFile]) -> Iterator[_Whole]:
    """Joins the files. What was made for it is taken away again when it cannot be used."""
    ids = tuple(file.pk for file in files)
    if joined.are_alike(files):
        media = joined.Joined(Recording.objects.get(pk=recording_id))
        yield _Whole(ids, media.size, joined.digest_of(media.read()))
        return
    try:
        made = joined.make(files)
    except UnfitError as error:
        yield _Whole(ids, problem=f"The files of its segments cannot be joined: {error} Each is kept as it came.")
        return
    try:
        yield _Whole(ids, made.size, made.sha256, made)
    except BaseException:
        vault.discard(made.storage_key)
        raise


def _become_ready(recording: Recording, files: Sequence[RecordingFile], whole: _Whole, lack: str) -> None:
    """`lack` is what is missing of it; what the switch could not do during the call stays said beside it."""
    if whole.problem:
        _become_failed(recording, files, whole.problem)
        return
    for former in RecordingFile.objects.filter(joined_of=recording):
        former.delete()
        transaction.on_commit(partial(vault.discard, former.storage_key))
    if whole.made:
        _keep_joined(recording, files[0], whole.made)
    said = "" if recording.state == Recording.State.FAILED else _MISSED.sub("", recording.problem)
    recording.problem = f"{said[: max(0, 299 - len(lack))]} {lack}".strip()[:300]
    recording.state, recording.ready_at = Recording.State.READY, timezone.now()
    recording.duration_ms = sum(file.duration_ms for file in files)
    recording.size, recording.sha256 = whole.size, whole.sha256
    recording.save(update_fields=["state", "problem", "ready_at", "duration_ms", "size", "sha256"])
    if lack:
        log.error("recording lacks files", recording_id=str(recording.pk), problem=lack)
    trash.mark_calls([recording.session_id])
    _tell(recording, "recording_ready", lack)


def _keep_joined(recording: Recording, first: RecordingFile, made: vault.Stored) -> None:
    RecordingFile.objects.create(
        joined_of=recording,
        said_recording_id=str(recording.pk),
        switch_id=recording.switch_id,
        state=RecordingFile.State.READY,
        storage_key=made.storage_key,
        wrapped_key=made.wrapped_key,
        size=made.size,
        sha256=made.sha256,
        content_type=first.content_type,
        probed_at=timezone.now(),
    )


def _become_failed(recording: Recording, files: Sequence[RecordingFile], problem: str) -> None:
    if recording.state == Recording.State.FAILED and recording.problem == problem[:300]:
        return
    recording.state, recording.problem = Recording.State.FAILED, problem[:300]
    recording.duration_ms = sum(file.duration_ms for file in files)
    recording.size = sum(file.size for file in files)
    recording.save(update_fields=["state", "problem", "duration_ms", "size"])
    log.error("recording failed", recording_id=str(recording.pk), problem=recording.problem)
    trash.mark_calls([recording.session_id])
    _tell(recording, "recording_failed", recording.problem)


def _tell(recording: Recording, what: Literal["recording_ready", "recording_failed"], reason: str) -> None:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    cdr_id = CDR.objects.filter(session_id=recording.session_id).values_list("pk", flat=True).first()
    live = LiveSession.objects.filter(session_id=recording.session_id).values_list("cdr_id", flat=True)
    file = None
    if what == "recording_ready":
        media = joined.Joined(recording)
        file = recording_messages.RecordingFile(
            duration_ms=recording.duration_ms,
            size=recording.size,
            sha256=recording.sha256,
            content_type=MP4 if recording.medium == "video" else WAV,
            file_name=media.file_name,
        )
    fact = RecordingFact(
        type=what, at=timezone.now(), session_id=recording.session_id, cdr_id=cdr_id or live.first() or 0,
        recording_id=str(recording.pk), medium="video" if recording.medium == "video" else "audio", actor=SYSTEM,
        reason=reason, file=file,
    )  # fmt: skip
    tell(tenant, [fact])


# --- What was left behind ----------------------------------------------------------------------------------


def sweep(now: datetime) -> int:
    """Fails what was awaited too long, settles what is complete, and examines what a dead worker left; bounded."""
    processing = Recording.objects.filter(state=Recording.State.PROCESSING)
    stored = RecordingFile.State.STORED
    due = processing.filter(Q(ended_at__lt=now - _patience()) | Q(segments__file__isnull=False))
    waiting = due.exclude(segments__file__state=stored).order_by("created_at", "pk").distinct()
    ids = list(waiting.values_list("pk", flat=True)[:AT_ONCE])
    for recording_id in ids:
        settle(recording_id)
    return len(ids) + probe_waiting()
