"""Housekeeping of calls: close what fell silent, forget the events of what ended long ago."""

from datetime import datetime, timedelta

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from cdr import calls, exports, rates
from tenants.models import Tenant
from tenants.schemas import current_schema
from tenants.tasks import tenant_task

BEAT = {
    "keep-house-of-calls": {"task": "cdr.tasks.keep_house", "schedule": 60.0},
    "drop-old-exports": {"task": "cdr.tasks.drop_old_exports", "schedule": 600.0},
}


@shared_task(name="cdr.tasks.keep_house")
def keep_house() -> None:
    active = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public")
    for schema in active.values_list("schema_name", flat=True):
        keep_house_of.delay(schema)


@tenant_task(name="cdr.tasks.keep_house_of")
def keep_house_of() -> None:
    now = timezone.now()
    tenant = Tenant.objects.get(schema_name=current_schema())
    with transaction.atomic():
        calls.close_silent_sessions(tenant, now - timedelta(hours=settings.CALL_SILENT_HOURS))
    while calls.forget_ended_sessions(now - calls.KEEP_ENDED):
        pass


@tenant_task(name="cdr.tasks.run_export")
def run_export(export_id: int) -> None:
    exports.run(export_id)


@shared_task(name="cdr.tasks.drop_old_exports")
def drop_old_exports() -> None:
    for schema in Tenant.objects.exclude(schema_name="public").values_list("schema_name", flat=True):
        drop_old_exports_of.delay(schema)


@tenant_task(name="cdr.tasks.drop_old_exports_of")
def drop_old_exports_of() -> None:
    while exports.drop_old(timezone.now()):
        pass


@tenant_task(name="cdr.tasks.rate_again_of")
def rate_again_of(since: str, until: str) -> None:
    tenant = Tenant.objects.get(schema_name=current_schema())
    rates.rate_all_again(tenant, datetime.fromisoformat(since), datetime.fromisoformat(until))
