"""Background work of this room. `BEAT` is its share of the scheduler's table."""

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from recordings import bulk, completion, control, lookagain, retention
from tenants import outbox
from tenants.models import Tenant
from tenants.schemas import current_schema
from tenants.tasks import tenant_task

COMMAND_PATIENCE = timedelta(seconds=15)  # so long a switch has to confirm a command
HOUSEKEEPING = timedelta(minutes=2)  # so long one tenant's housekeeping may take before the others' turn

BEAT: dict[str, dict[str, Any]] = {
    "recordings-expire-commands": {
        "task": "recordings.tasks.expire_commands", "schedule": 3.0, "options": {"expires": 3},
    },
    "recordings-resume-long-pauses": {
        "task": "recordings.tasks.resume_long_pauses", "schedule": 5.0, "options": {"expires": 5},
    },
    "recordings-look-again-where-due": {
        "task": "recordings.tasks.look_again_where_due", "schedule": 5.0, "options": {"expires": 5},
    },
    "recordings-sweep-files": {
        "task": "recordings.tasks.sweep_files", "schedule": 20.0, "options": {"expires": 20},
    },
    "recordings-keep-house": {
        "task": "recordings.tasks.keep_house", "schedule": 600.0, "options": {"expires": 600},
    },
    "recordings-tend-zips": {
        "task": "recordings.tasks.tend_bulks", "schedule": 300.0, "options": {"expires": 300},
    },
}  # fmt: skip


@shared_task
def expire_commands() -> int:
    return outbox.expire(timezone.now() - COMMAND_PATIENCE)


@shared_task
def resume_long_pauses() -> None:
    limited = Tenant.objects.filter(state=Tenant.State.ACTIVE, longest_pause_seconds__gt=0)
    for schema in limited.values_list("schema_name", flat=True).iterator():
        resume_long_pauses_of.delay(schema)


@tenant_task()
def resume_long_pauses_of() -> int:
    return control.resume_long_pauses(_tenant(), timezone.now())


@tenant_task()
def probe_file(file_id: int) -> int:
    return completion.probe_waiting(file_id)


@tenant_task()
def settle_calls(session_ids: list[str]) -> None:
    completion.settle_calls(session_ids)


@shared_task
def sweep_files() -> None:
    """Also of suspended tenants: what was recorded of them is theirs."""
    kept = Tenant.objects.filter(state__in=(Tenant.State.ACTIVE, Tenant.State.SUSPENDED)).exclude(schema_name="public")
    for schema in kept.values_list("schema_name", flat=True).iterator():
        sweep_files_of.delay(schema)


@tenant_task(expires=20)
def sweep_files_of() -> int:
    return completion.sweep(timezone.now())


@shared_task
def keep_house() -> None:
    """Retention, the trash and the quota of each tenant. Of a suspended one nothing is deleted."""
    active = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public")
    for schema in active.values_list("schema_name", flat=True).iterator():
        keep_house_of.delay(schema)


@tenant_task()
def keep_house_of() -> int:
    tenant, moved, begun = _tenant(), 0, timezone.now()
    while timezone.now() - begun < HOUSEKEEPING:
        in_this_round = retention.keep_house(tenant, timezone.now())
        moved += in_this_round
        if not in_this_round:
            break
    return moved


@tenant_task()
def make_bulk(bulk_id: int) -> None:
    bulk.make(bulk_id)


@shared_task
def tend_bulks() -> None:
    active = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public")
    for schema in active.values_list("schema_name", flat=True).iterator():
        tend_bulks_of.delay(schema)


@tenant_task()
def tend_bulks_of() -> None:
    bulk.tend(timezone.now())


@tenant_task()
def look_again() -> int:
    """A switch was changed."""
    return lookagain.look_again(_tenant())


@shared_task
def look_again_where_due() -> None:
    """What a lost or failed task has left undone."""
    for schema in lookagain.due(timezone.now()):
        look_again.delay(schema)


def _tenant() -> Tenant:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant
