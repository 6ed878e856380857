"""What is missing and what is left over: recordings without a file, calls without a recording, files without a call.

Each with its reason in words, and what can be done about it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import AuditEntry, Extension
from accounts.selectors import last_change
from cdr.callevents import Party, PartyKind
from cdr.models import CDR, CallStatus
from recordings import completion, policy, trash
from recordings.control import settings_now
from recordings.errors import VaultError
from recordings.examiner import MP4, WAV
from recordings.models import Decision, Recording, RecordingFile, Segment
from recordings.policy import Settings, Situation, Verdict
from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.models import Tenant

CALLS_AT_ONCE = 500
MOST_CALLS = 5_000  # that one page looks through
CONTENT_TYPES = {"audio": WAV, "video": MP4}

Key = tuple[datetime, int]  # the time and id of the last one seen


# --- Recordings without a file -------------------------------------------------------------------------------


def without_file(now: datetime, before: Key | None = None) -> "QuerySet[Recording]":
    """Those that failed, and those whose file is awaited longer than files may take."""
    patience = timedelta(minutes=settings.RECORDING_FILE_MINUTES)
    failed = Q(state=Recording.State.FAILED, ended_at__isnull=False)
    late = Q(state=Recording.State.PROCESSING, ended_at__lt=now - patience)
    rows = Recording.objects.filter(failed | late).order_by("-created_at", "-pk")
    if before is None:
        return rows
    at, pk = before
    return rows.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(pk__lt=pk))


def reason_of(recording: Recording) -> str:
    return recording.problem or "Its file is awaited longer than files may take."


# --- Calls without a recording -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Missing:
    """An answered call that should have been recorded, and why it is believed so."""

    call: CDR
    reason: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found among the calls looked through; `last` is where to go on, None at the end."""

    found: list[Missing]
    last: CDR | None
    looked_at: int


def without_recording(tenant: Tenant, limit: int, before: Key | None = None) -> Looked:
    """The newest first. A bounded number of calls is looked through, so that a page may hold none and still go on."""
    found: list[Missing] = []
    looked_at, last = 0, before
    while looked_at < MOST_CALLS:
        calls = list(_unrecorded(last)[:CALLS_AT_ONCE])
        for call, missing in zip(calls, _judged(tenant, calls), strict=True):
            looked_at += 1
            if missing:
                found.append(missing)
            if len(found) == limit:
                return Looked(found, call, looked_at)
        if len(calls) < CALLS_AT_ONCE:
            return Looked(found, None, looked_at)
        last = (calls[-1].start_time, calls[-1].pk)
    return Looked(found, calls[-1], looked_at)


def _unrecorded(before: Key | None) -> "QuerySet[CDR]":
    rows = CDR.objects.filter(status=CallStatus.ANSWERED, recorded=False).order_by("-start_time", "-pk")
    if before is None:
        return rows
    at, pk = before
    return rows.filter(start_time__lte=at).filter(Q(start_time__lt=at) | Q(pk__lt=pk))


def _judged(tenant: Tenant, calls: Sequence[CDR]) -> list[Missing | None]:
    ids = {each for call in calls for each in (call.session_id, *call.merged_sessions)}
    begun = Recording.objects.filter(Q(session_id__in=ids) | Q(switch_session_id__in=ids))
    has_recording = {each for pair in begun.values_list("session_id", "switch_session_id") for each in pair}
    decided: dict[str, bool] = {}
    for session_id, record in Decision.objects.filter(session_id__in=ids).values_list("session_id", "record"):
        decided[session_id] = decided.get(session_id, False) or record
    switches = _switches_of(tenant, {number for call in calls for number in call.extensions})
    return [None if _ids(call) & has_recording else _judge(call, decided, switches) for call in calls]


@dataclass(frozen=True, slots=True)
class _Switches:
    """The switches as they are now, and since when: what was before, they say nothing of."""

    rules: Settings
    company_since: datetime | None
    own_since: Mapping[str, datetime]

    def were_so(self, verdict: Verdict, at: datetime) -> bool:
        since = self.own_since.get(verdict.extension) if verdict.extension else self.company_since
        return since is None or at >= since


def _switches_of(tenant: Tenant, numbers: Collection[str]) -> _Switches:
    company = last_change(tenant.pk, "company.changed", "enable_extension_audio_recording")
    number_of = {
        str(pk): number for pk, number in Extension.objects.filter(number__in=numbers).values_list("pk", "number")
    }
    entries = AuditEntry.objects.filter(
        subject_id__in=number_of, action__in=("extension.created", "extension.changed"), after__has_key="record_audio"
    )
    own = {number_of[entry.subject_id]: entry.at for entry in entries.order_by("at", "id")}
    return _Switches(settings_now(tenant, numbers), company.at if company else None, own)


def _ids(call: CDR) -> set[str]:
    return {call.session_id, *call.merged_sessions}


def _judge(call: CDR, decided: Mapping[str, bool], switches: _Switches) -> Missing | None:
    decisions = [decided[each] for each in _ids(call) if each in decided]
    if any(decisions):
        return Missing(call, "It was decided to record it, but no recording was ever begun.")
    if decisions or not call.extensions:
        return None
    connected = [Party(number, PartyKind.EXTENSION) for number in call.extensions]
    verdict = policy.decide("audio", Situation(connected, has_video=False, was_recording=False), switches.rules)
    if not verdict.record or not switches.were_so(verdict, call.start_time):
        return None
    whose = f"extension {verdict.extension}" if verdict.extension else "the company"
    return Missing(call, f"Recording was on for {whose}, but the switch told of the call only when it was over.")


# --- Files without a call ------------------------------------------------------------------------------------


def quarantined(before: Key | None = None) -> "QuerySet[RecordingFile]":
    """What was delivered and cannot be used: it belongs to no segment, or is no good."""
    rows = (
        RecordingFile.objects.filter(state=RecordingFile.State.QUARANTINED)
        .select_related("segment__recording")
        .defer("peaks")
        .order_by("-received_at", "-pk")
    )
    if before is None:
        return rows
    at, pk = before
    return rows.filter(received_at__lte=at).filter(Q(received_at__lt=at) | Q(pk__lt=pk))


def places_for(file: RecordingFile, session_id: str = "") -> list[Segment]:
    """Segments of its medium that have no good file: of the recording that its sender named, or of a call."""
    wanted = Q(recording_id=_recording_named(file))
    if session_id:
        wanted = Q(recording__session_id=session_id) | Q(recording__switch_session_id=session_id)
    medium = next((medium for medium, kind in CONTENT_TYPES.items() if kind == file.content_type), "")
    put_away = (Recording.State.TRASHED, Recording.State.DELETED)
    rows = Segment.objects.filter(wanted, recording__medium=medium).exclude(recording__state__in=put_away)
    taken = Q(file__state__in=(RecordingFile.State.STORED, RecordingFile.State.READY))
    found = rows.exclude(taken).exclude(file=file).select_related("recording").order_by("recording_id", "number")
    return list(found[:100])


def owner_of(file: RecordingFile) -> Recording | None:
    """The recording whose file it is, in a segment or beside them; what a hold on it keeps."""
    if file.segment_id is not None:
        return Recording.objects.filter(segments=file.segment_id).first()
    named = _recording_named(file)
    return Recording.objects.filter(pk=named).first() if named is not None else None


def _recording_named(file: RecordingFile) -> int | None:
    named = file.said_recording_id
    return int(named) if named.isascii() and named.isdigit() and int(named) < 2**63 else None


@transaction.atomic
def assign(actor: Actor, file: RecordingFile, segment_id: int) -> RecordingFile:
    """Gives it to a segment that has no good file. It is examined anew; what is no good is quarantined again."""
    segment = Segment.objects.select_related("recording").filter(pk=segment_id).first()
    if segment is None:
        raise RefusedError("unknown_segment", "There is no such segment.")
    recording, owner = _locked_both(segment.recording_id, owner_of(file))
    row = _locked(file)
    if owner is not None and owner != recording:
        trash.refuse_held(owner)  # with another recording it could be deleted
    if recording.state in (Recording.State.TRASHED, Recording.State.DELETED):
        raise RefusedError("deleted", "This recording is in the trash or deleted. Restore it first.")
    if CONTENT_TYPES[recording.medium] != row.content_type:
        raise RefusedError("wrong_medium", f"This is a recording of {recording.medium}, not {row.content_type}.")
    there = RecordingFile.objects.select_for_update().filter(segment=segment).first()
    if there is not None and there.state in (RecordingFile.State.STORED, RecordingFile.State.READY):
        raise RefusedError("conflict", f"Segment {segment.number} has a file.")
    if there is not None:
        there.segment = None
        there.save(update_fields=["segment"])
    came_under = {"recording_id": row.said_recording_id, "segment": row.said_segment}
    row.segment, row.state, row.problem = segment, RecordingFile.State.STORED, ""
    row.said_recording_id, row.said_segment = str(recording.pk), segment.number  # from now on it goes with this one
    row.probe_until, row.probe_tries = None, 0
    row.save(
        update_fields=[
            "segment", "state", "problem", "said_recording_id", "said_segment", "probe_until", "probe_tries",
        ]
    )  # fmt: skip
    announce(
        actor, "recording_file.assigned", subject=trash.subject_of(recording), subject_id=recording.pk,
        before=came_under, after={"segment": segment.number, "sha256": row.sha256},
    )  # fmt: skip
    completion.probe_soon(row)
    return row


def _locked_both(recording_id: int, owner: Recording | None) -> tuple[Recording, Recording | None]:
    wanted = {recording_id} | ({owner.pk} if owner else set())
    rows = {row.pk: row for row in Recording.objects.select_for_update().filter(pk__in=wanted).order_by("pk")}
    return rows[recording_id], rows[owner.pk] if owner else None


@transaction.atomic
def delete_file(actor: Actor, file: RecordingFile) -> None:
    """For good. A recording whose other segments are good becomes ready without it."""
    known = owner_of(file)
    recording = Recording.objects.select_for_update().filter(pk=known.pk).first() if known else None
    row = _locked(file)
    if owner_of(row) != recording:
        raise RefusedError("conflict", "This file was given to another recording at this moment. Look again.")
    if recording is not None:
        trash.refuse_held(recording)
    try:
        trash.delete_file(row)
    except VaultError as error:
        raise RefusedError(error.code, f"{error.message} Nothing was deleted.") from error
    _note(actor, "recording_file.deleted", row)
    if recording is not None:
        completion.settle_soon([recording.session_id])


@transaction.atomic
def note_download(actor: Actor, file: RecordingFile) -> None:
    """Somebody looks what it is: it may be somebody's voice."""
    _note(actor, "recording_file.downloaded", file)


def _note(actor: Actor, action: str, file: RecordingFile) -> None:
    subject = f"Quarantined file of recording {file.said_recording_id or 'unknown'}"
    about = {"bytes": file.size, "sha256": file.sha256, "problem": file.problem}
    announce(actor, action, subject=subject, subject_id=file.pk, before=about)


def _locked(file: RecordingFile) -> RecordingFile:
    row = RecordingFile.objects.select_for_update().get(pk=file.pk)
    if row.state != RecordingFile.State.QUARANTINED:
        raise RefusedError("not_quarantined", "This file is not in quarantine any more.")
    return row
