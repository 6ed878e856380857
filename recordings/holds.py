"""Legal hold: a recording that must be kept, whatever retention, the quota or a person says."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import AuditEntry
from recordings import trash
from recordings.models import Recording
from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.values import clean_fields, text

PLACED = "recording.hold_placed"


@transaction.atomic
def place_hold(actor: Actor, recording: Recording, reason: Any) -> Recording:
    """Also on a call that still goes on. What waits in the trash comes back out of it."""
    why = _reason(reason)
    row = Recording.objects.select_for_update().get(pk=recording.pk)
    if row.state == Recording.State.DELETED:
        raise RefusedError("deleted", "This recording has been deleted for good: there is nothing to hold.")
    if row.legal_hold:
        raise RefusedError("held_already", f"It is held already: {row.legal_hold_reason}")
    if row.state == Recording.State.TRASHED:
        trash.take_out(row)
    row.legal_hold, row.legal_hold_reason = True, why
    row.save(update_fields=["legal_hold", "legal_hold_reason"])
    announce(
        actor, PLACED, subject=trash.subject_of(row), subject_id=row.pk, after={"reason": why}
    )  # fmt: skip
    return row


@transaction.atomic
def release_hold(actor: Actor, recording: Recording, reason: Any) -> Recording:
    """From now on retention and deletion apply to it again."""
    why = _reason(reason)
    row = Recording.objects.select_for_update().get(pk=recording.pk)
    if not row.legal_hold:
        raise RefusedError("not_held", "There is no legal hold on this recording.")
    before = row.legal_hold_reason
    row.legal_hold, row.legal_hold_reason = False, ""
    row.save(update_fields=["legal_hold", "legal_hold_reason"])
    announce(
        actor, "recording.hold_released", subject=trash.subject_of(row), subject_id=row.pk,
        before={"reason": before}, after={"reason": why},
    )  # fmt: skip
    return row


def _reason(given: Any) -> str:
    return str(clean_fields({"reason": given}, {"reason": text(300)})["reason"])


def held(before: tuple[datetime, int] | None = None) -> "QuerySet[Recording]":
    """The newest recording first; `before` is the time and id of the last one seen."""
    rows = Recording.objects.filter(legal_hold=True).order_by("-created_at", "-pk")
    if before is None:
        return rows
    at, pk = before
    return rows.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(pk__lt=pk))


def placed_by(recordings: Iterable[Recording]) -> dict[str, AuditEntry]:
    """What the audit trail says of the latest hold on each."""
    ids = [str(row.pk) for row in recordings]
    entries = AuditEntry.objects.filter(subject_id__in=ids, action=PLACED).order_by("at", "id")
    return {entry.subject_id: entry for entry in entries}
