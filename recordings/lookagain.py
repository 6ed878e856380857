"""A recording switch that is changed acts on the calls in progress, once for however many changes come together.

The change itself leaves a mark in the database. A task that is lost, or fails, leaves it there, and the sweep sends
another.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from cdr import calls
from tenants.changes import Change
from tenants.models import CallsToLookAt, Tenant
from tenants.schemas import current_schema

GATHER_SECONDS = 1  # changes that come within this act together
GRACE = timedelta(seconds=5)  # so long the task that the change sent has
AGAIN_AFTER = timedelta(seconds=60)  # so long the next one has, and so long what failed waits
AT_ONCE = 100  # calls that one transaction looks at again
_SWITCHES = frozenset(
    {
        "record_audio",
        "record_video",
        "enable_extension_audio_recording",
        "enable_extension_video_recording",
        "record_external_calls",
    }
)

log = structlog.get_logger(__name__)


# --- Marked ------------------------------------------------------------------------------------------------


def on_change(change: Change) -> None:
    """Listens to `tenants.changes`. A broker that is away fails no change: the sweep makes up for it."""
    if _SWITCHES.isdisjoint(change.after):
        return
    concerned = _tenants(change)
    marked = set(CallsToLookAt.objects.filter(tenant__in=concerned).values_list("tenant_id", flat=True))
    _mark([tenant.pk for tenant in concerned], timezone.now())
    fresh = [tenant.schema_name for tenant in concerned if tenant.pk not in marked]
    transaction.on_commit(lambda: _send(fresh), robust=True)


def _tenants(change: Change) -> list[Tenant]:
    if current_schema() != "public":
        return list(Tenant.objects.filter(schema_name=current_schema()))
    active = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public")
    if change.action == "tenant.changed":
        active = active.filter(pk=int(change.subject_id))
    return list(active.order_by("pk"))  # whoever marks several does so in one order


def _mark(tenant_ids: Sequence[int], now: datetime) -> None:
    rows = [CallsToLookAt(tenant_id=tenant_id, changed_at=now, due_at=now + GRACE) for tenant_id in tenant_ids]
    CallsToLookAt.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["tenant"], update_fields=["changed_at", "due_at"]
    )


def _send(schemas: Sequence[str]) -> None:
    from recordings.tasks import look_again  # the tasks stand on this module

    for schema in schemas:
        look_again.apply_async((schema,), countdown=GATHER_SECONDS)


def due(now: datetime) -> list[str]:
    """The schemas to send a task for, each with its time from now on."""
    kept = (Tenant.State.ACTIVE, Tenant.State.SUSPENDED)
    rows = CallsToLookAt.objects.filter(due_at__lte=now, tenant__state__in=kept)
    found = list(rows.values_list("tenant_id", "tenant__schema_name"))
    CallsToLookAt.objects.filter(tenant__in=[pk for pk, _ in found]).update(due_at=now + AGAIN_AFTER)
    return [schema for _, schema in found]


# --- Looked at ---------------------------------------------------------------------------------------------


def look_again(tenant: Tenant) -> int:
    """The calls in progress of this schema, again as long as switches are changed meanwhile. Returns how many."""
    marks = CallsToLookAt.objects.filter(tenant=tenant)
    looked_at = 0
    while True:
        changed_at = marks.values_list("changed_at", flat=True).first()
        done, failed = _look_at_all(tenant)
        looked_at += done
        if failed:
            marks.update(due_at=timezone.now() + AGAIN_AFTER)
            return looked_at
        if changed_at is None or marks.filter(changed_at=changed_at).delete()[0] or not marks.exists():
            return looked_at


def _look_at_all(tenant: Tenant) -> tuple[int, int]:
    """How many were looked at, and how many could not be."""
    looked_at, failed, last = 0, 0, ""
    while ids := _answered_after(last):
        if _look_at(tenant, ids):
            looked_at += len(ids)
        else:  # one of them holds up no other
            well = [session_id for session_id in ids if _look_at(tenant, [session_id])]
            looked_at, failed = looked_at + len(well), failed + len(ids) - len(well)
        last = ids[-1]
    return looked_at, failed


def _answered_after(session_id: str) -> list[str]:
    answered = calls.sessions_in_progress().filter(answered_time__isnull=False, session_id__gt=session_id)
    return list(answered.order_by("session_id").values_list("session_id", flat=True)[:AT_ONCE])


def _look_at(tenant: Tenant, session_ids: Sequence[str]) -> bool:
    try:
        with transaction.atomic():
            calls.look_again(tenant, session_ids)
    except Exception:  # whatever one call meets, the others follow the switch
        log.exception("calls not looked at again", sessions=len(session_ids), first=session_ids[0])
        return False
    return True
