"""Legal hold: a recording that must be kept, whatever retention, the quota or a person says."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from recordings import trash
from recordings.models import Recording
from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.values import text

reason_of = text(300)


@transaction.atomic
def place_hold(actor: Actor, recording: Recording, reason: Any) -> Recording:
    """Also on a call that still goes on. What waits in the trash comes back out of it."""
    why = reason_of(reason)
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
        actor, "recording.hold_placed", subject=trash.subject_of(row), subject_id=row.pk, after={"reason": why}
    )  # fmt: skip
    return row


@transaction.atomic
def release_hold(actor: Actor, recording: Recording, reason: Any) -> Recording:
    """From now on retention and deletion apply to it again."""
    why = reason_of(reason)
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


def held() -> "QuerySet[Recording]":
    return Recording.objects.filter(legal_hold=True).order_by("-created_at", "-pk")
