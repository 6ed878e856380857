"""Housekeeping of what came in: events that wait for their call, and what has been in quarantine for long."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from pbx import intake, quarantine
from tenants.schemas import in_schema

BEAT = {
    "sweep-held-events": {"task": "pbx.tasks.sweep_held", "schedule": 10.0},
    "prune-quarantine": {"task": "pbx.tasks.prune_quarantine", "schedule": 3600.0},
}


@shared_task(name="pbx.tasks.sweep_held")
def sweep_held() -> None:
    """Runs often: an event that has waited HOLD_SECONDS is in quarantine at most ten seconds later."""
    with in_schema("public"):
        intake.sweep_held(timezone.now(), patience=timedelta(seconds=settings.HOLD_SECONDS))


@shared_task(name="pbx.tasks.prune_quarantine")
def prune_quarantine() -> None:
    with in_schema("public"):
        while quarantine.expire_files():
            pass
        while quarantine.prune():
            pass
