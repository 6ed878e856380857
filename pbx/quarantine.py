"""What could not be applied and is kept until somebody runs it again or discards it."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from pbx.models import Quarantined
from pbx.routes import Refusal
from recordings import files, vault
from recordings.errors import VaultError
from recordings.files import FileRefusedError
from recordings.models import RecordingFile
from tenants.changes import SYSTEM, Actor, announce

# What settled things are kept for, so that one can see what was done with them.
KEPT_AFTER_SETTLING = timedelta(days=30)
_PRUNED_AT_ONCE = 5_000
_FILES_AT_ONCE = 200
_GROUPED = 10_000
MESSAGE_MAX = 500
FULL = "quarantine_full"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reject:
    """Something to keep: what the switch sent, and why it was not used."""

    kind: Quarantined.Kind
    raw: bytes
    refusal: Refusal
    session_id: str = ""
    event_id: str = ""


def keep(switch_id: int, rejects: Sequence[Reject], *, was_promised: bool = False) -> list[bool]:
    """Which of them are kept now. The same bytes from the same switch wait only once, however often it tries again.

    What waits longest stays: once as many of a switch wait as may, what comes anew is not kept, unless it was promised
    to be, when the switch was told that it is held.
    """
    digests = [hashlib.sha256(reject.raw).hexdigest() for reject in rejects]
    kinds = {reject.kind for reject in rejects}
    mine = waiting().filter(switch_id=switch_id, kind__in=kinds, digest__in=digests)
    known = set(mine.values_list("kind", "digest"))
    free = len(rejects) if was_promised else room(switch_id)
    fresh: dict[tuple[str, str], Reject] = {}
    kept: list[bool] = []
    for reject, digest in zip(rejects, digests, strict=True):
        key = (str(reject.kind), digest)
        if key not in known and key not in fresh and len(fresh) < free:
            fresh[key] = reject
        kept.append(key in known or key in fresh)
    _write(switch_id, fresh)
    if not all(kept):
        log.error("quarantine full", switch_id=str(switch_id), waiting=settings.QUARANTINE_MAX, lost=kept.count(False))
    return kept


def _write(switch_id: int, fresh: Mapping[tuple[str, str], Reject]) -> None:
    Quarantined.objects.bulk_create(
        (
            Quarantined(
                switch_id=switch_id,
                kind=reject.kind,
                session_id=reject.session_id,
                event_id=reject.event_id,
                code=reject.refusal.code,
                message=reject.refusal.message[:MESSAGE_MAX],
                raw=reject.raw,
                digest=digest,
            )
            for (_, digest), reject in fresh.items()
        ),
        ignore_conflicts=True,
        batch_size=1000,
    )


def room(switch_id: int) -> int:
    """How many more of this switch may wait."""
    most = settings.QUARANTINE_MAX
    return int(most - waiting().filter(switch_id=switch_id).order_by()[:most].count())


def full_switches() -> list[int]:
    """Switches of which nothing more is kept until something of theirs is settled."""
    switches = waiting().order_by("switch_id").values_list("switch_id", flat=True).distinct()
    return [switch_id for switch_id in switches if room(switch_id) <= 0]


def not_kept(refusal: Refusal) -> Refusal:
    """What the switch is told of a reject that was not kept."""
    return Refusal(
        FULL,
        f"{refusal.message} It was not kept: {settings.QUARANTINE_MAX} rejected ones of this switch wait in quarantine"
        " already. Settle them there, then send it again.",
    )


def keep_file(file: RecordingFile, code: str, message: str) -> None:
    """Listens to `recordings.files`: a file of no known recording. Its bytes are in the vault of the public schema."""
    told = {
        "file_id": str(file.pk),
        "recording_id": file.said_recording_id,
        "segment": file.said_segment,
        "content_type": file.content_type,
        "size": file.size,
        "sha256": file.sha256,
    }
    if not all(keep(file.switch_id, [Reject(Quarantined.Kind.FILE, orjson.dumps(told), Refusal(code, message))])):
        raise FileRefusedError(FULL, not_kept(Refusal(code, message.removesuffix(files.KEPT).strip())).message)


def file_of(row: Quarantined) -> RecordingFile | None:
    """In the public schema. None when its bytes are gone."""
    found = RecordingFile.objects.filter(pk=int(orjson.loads(bytes(row.raw))["file_id"]))
    return found.exclude(state=RecordingFile.State.DELETED).first()


def waiting() -> QuerySet[Quarantined]:
    return Quarantined.objects.filter(state=Quarantined.State.WAITING)


def waiting_starts(switch_id: int, session_ids: Collection[str]) -> dict[str, Refusal]:
    """Sessions of which something waits that had no tenant: what else comes of them waits for the same reason."""
    rows = (
        waiting()
        .filter(
            switch_id=switch_id,
            session_id__in=session_ids,
            kind=Quarantined.Kind.EVENT,
            code__in=["unknown_tenant", "tenant_suspended", "tenant_not_ready"],
        )
        .values_list("session_id", "code", "message")
    )
    return {session_id: Refusal(code, message) for session_id, code, message in rows}


@dataclass(frozen=True, slots=True)
class Group:
    """All that waits for one reason."""

    code: str
    count: int


def groups() -> list[Group]:
    """By code, the largest first, among the newest that wait."""
    newest = waiting().order_by("-id").values_list("code", flat=True)[:_GROUPED]
    return [Group(code, count) for code, count in Counter(newest).most_common()]


@transaction.atomic
def discard(actor: Actor, rows: QuerySet[Quarantined]) -> int:
    """Takes them out of the queue; the bytes stay for a month. Returns how many were still waiting."""
    ids = list(rows.filter(state=Quarantined.State.WAITING).values_list("pk", flat=True)[:_PRUNED_AT_ONCE])
    count = Quarantined.objects.filter(pk__in=ids, state=Quarantined.State.WAITING).update(
        state=Quarantined.State.DISCARDED, settled_at=timezone.now()
    )
    if count:
        subject = f"{count} quarantined" if count > 1 else f"Quarantined {ids[0]}"
        announce(actor, "quarantine.discarded", subject=subject, subject_id=ids[0] if count == 1 else "")
    return count


def expire_files() -> int:
    """Takes out of the queue the files of which for so many days nobody has said whose they are. Their bytes are
    somebody's voice and go at once. Returns how many."""
    days = settings.RECORDING_QUARANTINE_DAYS
    old = waiting().filter(kind=Quarantined.Kind.FILE, received_at__lt=timezone.now() - timedelta(days=days))
    gone = sum(
        _expire_file(row_id) for row_id in list(old.order_by("pk").values_list("pk", flat=True)[:_FILES_AT_ONCE])
    )
    if gone:
        subject = f"{gone} file{'' if gone == 1 else 's'} of no recording"
        announce(SYSTEM, "quarantine.discarded", subject=subject, after={"why": f"They waited for {days} days."})
    return gone


@transaction.atomic
def _expire_file(row_id: int) -> bool:
    row = waiting().select_for_update(skip_locked=True).filter(pk=row_id).first()
    if row is None:
        return False
    try:
        if (file := file_of(row)) is not None:
            vault.delete(file)
    except VaultError as error:  # the store is away; the next run tries again
        log.error("quarantined file not deleted", quarantined_id=str(row_id), error=error.code)
        transaction.set_rollback(True)
        return False
    row.state, row.settled_at = Quarantined.State.DISCARDED, timezone.now()
    row.save(update_fields=["state", "settled_at"])
    return True


def prune() -> int:
    """Deletes what was settled long ago, a bounded number at a time."""
    old = Quarantined.objects.filter(settled_at__lt=timezone.now() - KEPT_AFTER_SETTLING).order_by("settled_at")
    rows = list(old.values_list("pk", "kind")[:_PRUNED_AT_ONCE])
    for row in Quarantined.objects.filter(pk__in=[pk for pk, kind in rows if kind == Quarantined.Kind.FILE]):
        if (file := file_of(row)) is not None:
            vault.delete(file)
    return Quarantined.objects.filter(pk__in=[pk for pk, _ in rows]).delete()[0]
