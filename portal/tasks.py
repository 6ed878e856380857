"""Background work of the installation itself."""

from typing import Any

from celery import shared_task
from celery.signals import worker_ready
from django.utils import timezone

from tenants.models import WorkerHeartbeat
from tenants.schemas import enter_public

HEARTBEAT_SECONDS = 15.0
BEAT: dict[str, dict[str, Any]] = {
    "heartbeat": {
        "task": "portal.tasks.heartbeat",
        "schedule": HEARTBEAT_SECONDS,
        "options": {"expires": HEARTBEAT_SECONDS},  # a late one proves nothing
    }
}


@shared_task
def heartbeat() -> None:
    """Proves that scheduler, broker and worker work together; /readyz reads it."""
    enter_public()
    WorkerHeartbeat.objects.update_or_create(name="worker", defaults={"seen_at": timezone.now()})


@worker_ready.connect
def _first_beat(**_: Any) -> None:
    """The first one at once, so that a restart is ready as soon as its worker is."""
    heartbeat.delay()
