"""The trash: what is deleted waits there for a week, can be brought back, and then goes for good.

What is gone for good leaves its row with its segments, gaps, decisions and plays, and the hash and size of each file.
Before the first of its bytes is removed all of its data keys are, for good: from then on nobody can read what a store
that is away still has of it, or a backup.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Literal

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from cdr.models import CDR
from events.recording_messages import RecordingFact, tell
from recordings import vault
from recordings.errors import VaultError
from recordings.models import Recording, RecordingFile
from tenants.changes import SYSTEM, Actor, announce
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import current_schema

log = structlog.get_logger(__name__)

DAYS_IN_TRASH = 7
FINISHED = (Recording.State.READY, Recording.State.FAILED)
Cause = Literal["person", "trash", "quota"]

# Called with a recording that goes, in the transaction in which its keys do: for files that were made of its files.
cleaners: list[Callable[[Recording], None]] = []


class HeldError(RefusedError):
    """A legal hold forbids it."""

    def __init__(self, recording: Recording) -> None:
        super().__init__("legal_hold", f"A legal hold keeps this recording: {recording.legal_hold_reason}")


@transaction.atomic
def trash(actor: Actor, recording: Recording) -> Recording:
    """Takes it out of every list and player. What is there already stays as it is."""
    row = _locked(recording)
    if row.state == Recording.State.TRASHED:
        return row
    refuse_held(row)
    _refuse_unfinished(row)
    put_in_trash([row], timezone.now(), f"Deleted by {actor.name}.")
    announce(actor, "recording.trashed", subject=subject_of(row), subject_id=row.pk)
    return row


@transaction.atomic
def restore(actor: Actor, recording: Recording) -> Recording:
    """Back from the trash, unless the tenant does not keep recordings of that age any more."""
    row = _locked(recording)
    if row.state != Recording.State.TRASHED:
        raise RefusedError("not_in_trash", "This recording is not in the trash.")
    days = _tenant().recording_days
    if row.created_at < timezone.now() - timedelta(days=days):
        raise RefusedError(
            "past_retention",
            f"It is older than the {days} days that recordings are kept, and would come back here at once."
            " Keep recordings longer, or put a legal hold on it.",
        )
    take_out(row)
    announce(actor, "recording.restored", subject=subject_of(row), subject_id=row.pk)
    return row


def delete_now(actor: Actor, recording: Recording) -> Recording:
    """For good, without waiting for the week to end. A store that is away is asked again by the housekeeping."""
    with transaction.atomic():
        row = _locked(recording)
        if row.state == Recording.State.DELETED:
            return row
        if row.state != Recording.State.TRASHED:
            raise RefusedError("not_in_trash", "Only what is in the trash is deleted at once. Delete it first.")
        refuse_held(row)
        if row.purge_began_at is None:
            announce(actor, "recording.deleted", subject=subject_of(row), subject_id=row.pk, before={"bytes": row.size})
            _begin_purge(actor, row, "person")
    try:
        return _end_purge(actor, row.pk) or row
    except VaultError as error:
        raise RefusedError(
            error.code, f"{error.message} It is being deleted for good as soon as the store allows it."
        ) from error


def in_trash(before: tuple[datetime, int] | None = None) -> "QuerySet[Recording]":
    """What was put there last comes first; `before` is the time and id of the last one seen."""
    rows = Recording.objects.filter(state=Recording.State.TRASHED).order_by("-trashed_at", "-pk")
    if before is None:
        return rows
    at, pk = before
    return rows.filter(trashed_at__lte=at).filter(Q(trashed_at__lt=at) | Q(pk__lt=pk))


def put_in_trash(rows: Iterable[Recording], at: datetime, why: str) -> None:
    """For rows the caller has locked and looked at."""
    kept = list(rows)
    ids = [row.pk for row in kept]
    Recording.objects.filter(pk__in=ids).update(state=Recording.State.TRASHED, trashed_at=at, deletion=why)
    for row in kept:
        row.state, row.trashed_at, row.deletion = Recording.State.TRASHED, at, why
    mark_calls({row.session_id for row in kept})


def take_out(row: Recording) -> None:
    """What was ready is ready again, and what had failed has; a file that came meanwhile is looked at."""
    from recordings import completion  # which puts nothing away, but marks calls by this

    if row.purge_began_at is not None:
        raise RefusedError("being_deleted", "This recording is being deleted for good: it cannot come back any more.")
    row.state = Recording.State.READY if row.ready_at else Recording.State.FAILED
    row.trashed_at, row.deletion = None, ""
    row.save(update_fields=["state", "trashed_at", "deletion"])
    mark_calls({row.session_id})
    completion.settle_soon([row.session_id])


def _begin_purge(actor: Actor, row: Recording, cause: Cause) -> None:
    """Of a locked recording. Committed before the first byte goes: from then on it cannot come back, however often its
    deletion is cut short, for its keys are gone."""
    if row.state != Recording.State.TRASHED:
        put_in_trash([row], timezone.now(), row.deletion)
    if row.purge_began_at is None:
        row.purge_began_at = timezone.now()
        row.deletion = f"{row.deletion} {_WORDS[cause].format(name=actor.name)}".strip()[:300]
        row.save(update_fields=["purge_began_at", "deletion"])
    _lose_keys(row)
    for clean in cleaners:
        clean(row)


def _files_of(row: Recording) -> "QuerySet[RecordingFile]":
    """Those of its segments, what was joined of them, and what is in quarantine beside them."""
    beside = Q(said_recording_id=str(row.pk), segment=None) | Q(joined_of=row)
    return RecordingFile.objects.filter(Q(segment__recording=row) | beside)


def _lose_keys(row: Recording) -> None:
    """And the waveforms, which show when somebody spoke. Hashes and sizes stay."""
    _files_of(row).update(state=RecordingFile.State.DELETED, wrapped_key=b"", peaks=b"")


@transaction.atomic
def _end_purge(actor: Actor, recording_id: int) -> Recording | None:
    """Removes the bytes: what is cut short here is done again. None: somebody else did it."""
    row = Recording.objects.select_for_update().get(pk=recording_id)
    if row.state == Recording.State.DELETED:
        return None
    now = timezone.now()
    _lose_keys(row)  # of what came since it was begun
    for storage_key in list(_files_of(row).values_list("storage_key", flat=True)):
        vault.remove(storage_key)
    row.state, row.deleted_at = Recording.State.DELETED, now
    row.save(update_fields=["state", "deleted_at"])
    mark_calls({row.session_id})
    _tell_deleted(actor, row, now)
    return row


_WORDS: dict[Cause, str] = {
    "person": "Deleted for good by {name}.",
    "trash": f"Gone for good after {DAYS_IN_TRASH} days in the trash.",
    "quota": "Gone for good because the disk quota was full.",
}


def purge_older(now: datetime, limit: int) -> int:
    """Empties the trash of what has been in it for its days, and of what was begun and cut short; each recording by
    itself, so that one that cannot be deleted now holds up no other. Returns how many went."""
    is_due = Q(trashed_at__lt=now - timedelta(days=DAYS_IN_TRASH)) | Q(purge_began_at__isnull=False)
    due = Recording.objects.filter(is_due, state=Recording.State.TRASHED, legal_hold=False)
    return purge_each(list(due.order_by("trashed_at", "pk").values_list("pk", flat=True)[:limit]), cause="trash")


def purge_each(ids: Iterable[int], *, cause: Cause) -> int:
    """By the system, and noted in the audit trail as one."""
    gone: list[Recording] = []
    for recording_id in ids:
        try:
            row = _end_purge(SYSTEM, recording_id) if _may_go(recording_id, cause) else None
        except VaultError as error:  # the store is away; the next run tries again
            log.error("recording not deleted", recording_id=str(recording_id), error=error.code)
            continue
        if row is not None:
            gone.append(row)
    if gone:
        announce(SYSTEM, "recordings.deleted", subject=_many(gone), after={**_summary(gone), "why": _WORDS[cause]})
    return len(gone)


@transaction.atomic
def _may_go(recording_id: int, cause: Cause) -> bool:
    """Unless somebody has taken it out of the trash or put a hold on it meanwhile."""
    row = Recording.objects.select_for_update().get(pk=recording_id)
    from_where = (Recording.State.TRASHED,) if cause == "trash" else (Recording.State.TRASHED, *FINISHED)
    if row.legal_hold or row.state not in from_where:
        return False
    _begin_purge(SYSTEM, row, cause)
    return True


def note_trashed(rows: list[Recording], why: str) -> None:
    """The audit trail's word for many that the system put into the trash together."""
    announce(SYSTEM, "recordings.trashed", subject=_many(rows), after={**_summary(rows), "why": why})


def delete_file(file: RecordingFile) -> None:
    """Its bytes, its data key, and the waveform, which shows when somebody spoke. Its hash and size stay."""
    vault.delete(file)
    file.peaks = b""
    file.save(update_fields=["peaks"])


def mark_calls(session_ids: Iterable[str]) -> None:
    """A call is shown as recorded as long as one of its recordings can be played."""
    wanted = set(session_ids)
    ready = Recording.objects.filter(session_id__in=wanted, state=Recording.State.READY)
    playable = set(ready.values_list("session_id", flat=True))
    CDR.objects.filter(session_id__in=wanted - playable, recorded=True).update(recorded=False)
    CDR.objects.filter(session_id__in=playable, recorded=False).update(recorded=True)


def refuse_held(row: Recording) -> None:
    if row.legal_hold:
        raise HeldError(row)


def subject_of(row: Recording) -> str:
    """A recording as the audit trail names it."""
    return f"{row.get_medium_display()} {row.caller} to {row.callee}, {row.session_id}"


def _refuse_unfinished(row: Recording) -> None:
    if row.state == Recording.State.DELETED:
        raise RefusedError("deleted", "This recording has been deleted for good.")
    if row.ended_at is None:
        raise RefusedError("still_recording", "The call goes on. Stop its recording, and delete it once the call ends.")
    if row.state not in FINISHED:
        raise RefusedError("still_processing", "Its file is still being taken in. Try again in a moment.")


def _tell_deleted(actor: Actor, row: Recording, at: datetime) -> None:
    cdr_id = CDR.objects.filter(session_id=row.session_id).values_list("pk", flat=True).first()
    fact = RecordingFact(
        type="recording_deleted", at=at, session_id=row.session_id, cdr_id=cdr_id or 0, recording_id=str(row.pk),
        medium="video" if row.medium == "video" else "audio", actor=actor, reason=row.deletion,
    )  # fmt: skip
    tell(_tenant(), [fact])


def _many(rows: list[Recording]) -> str:
    return f"{len(rows)} recording{'' if len(rows) == 1 else 's'}"


def _summary(rows: list[Recording]) -> dict[str, object]:
    times = [row.created_at for row in rows]
    return {
        "bytes": sum(row.size for row in rows),
        "oldest": min(times).isoformat(timespec="seconds"),
        "newest": max(times).isoformat(timespec="seconds"),
    }


def _locked(recording: Recording) -> Recording:
    return Recording.objects.select_for_update().get(pk=recording.pk)


def _tenant() -> Tenant:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant
