"""Background work of this room: deliveries and forgetting. `BEAT` is its share of the scheduler's table."""

import asyncio
import threading
from functools import partial
from typing import Any

import redis
import structlog
from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.utils import timezone

from events import caught, courier, deliveries, log, notices, redeliveries
from events.wake import courier_channel
from tenants.models import Tenant
from tenants.schemas import current_schema, in_schema
from tenants.tasks import tenant_task

COURIERS = 1  # at work at the same time, counted by their listening; more is harmless
BUDGET_SECONDS = 120.0
PRUNE_ROUNDS = 200  # batches of one tenant in one run; the next run goes on

BEAT: dict[str, dict[str, Any]] = {
    # Whatever wake was lost: a courier comes within two seconds and finds what is due.
    "events-deliver": {"task": "events.tasks.deliver", "schedule": 2.0, "options": {"expires": 2}},
    "events-tell-failing": {"task": "events.tasks.tell_failing", "schedule": 300.0, "options": {"expires": 300}},
    "events-redeliver": {"task": "events.tasks.redeliver", "schedule": 5.0, "options": {"expires": 5}},
    "events-end-tests": {"task": "events.tasks.end_tests", "schedule": 30.0, "options": {"expires": 30}},
    "events-prune": {"task": "events.tasks.prune", "schedule": 3600.0, "options": {"expires": 3600}},
}

_leaving = threading.Event()
_log = structlog.get_logger(__name__)


def _redis() -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_LOCATION, socket_timeout=1, socket_connect_timeout=1)


@shared_task(bind=True, acks_late=False)
def deliver(self: "Task[Any, Any]") -> None:
    """Carries due deliveries, unless enough couriers are at it. Not acknowledged late: the next sweep replaces it."""
    if _leaving.is_set():
        return
    channel = courier_channel()
    with _redis() as client:
        listening = dict(client.pubsub_numsub(channel))
    if listening.get(channel.encode(), 0) >= COURIERS:
        return
    asyncio.run(
        courier.work(
            budget_seconds=BUDGET_SECONDS,
            worker=str(self.request.hostname or ""),
            hand_over=lambda: deliver.apply_async(countdown=0),
        )
    )


@worker_shutting_down.connect
def _stop_couriers(sender: str, **_: Any) -> None:
    """The couriers of this worker leave at once, so that it need not wait for their time to be up; none comes after."""
    _leaving.set()
    try:
        with _redis() as client:
            client.publish(courier_channel(), courier.STOP + str(sender).encode())
    except (redis.RedisError, OSError) as error:
        _log.warning("couriers not told to stop", error=type(error).__name__)


@shared_task
def tell_failing() -> None:
    """Administrators hear of endpoints that fail; a tenant's mails go in a task of its own."""
    now = timezone.now()
    for schema in _active_schemas():
        with in_schema(schema):
            untold = notices.is_something_untold(now)
        if untold:
            tell_failing_of.delay(schema)


@tenant_task()
def tell_failing_of() -> None:
    notices.tell_administrators(Tenant.objects.get(schema_name=current_schema()), timezone.now())


@shared_task
def redeliver() -> None:
    """Releases the next of what is being sent again, where something is."""
    for schema in _active_schemas():
        with in_schema(schema):
            is_running = redeliveries.running_redeliveries().exists()
        if is_running:
            redeliver_of.delay(schema)


@tenant_task()
def redeliver_of() -> None:
    for redelivery_id in redeliveries.running_redeliveries().values_list("id", flat=True):
        redeliveries.release(redelivery_id, timezone.now())


@shared_task
def end_tests() -> None:
    """Tests that nobody waits for any more, since the process that did is gone."""
    for schema in _active_schemas():
        with in_schema(schema):
            deliveries.end_interrupted_tests(timezone.now())


def _active_schemas() -> list[str]:
    with in_schema("public"):
        active = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public")
        return list(active.values_list("schema_name", flat=True))


@shared_task
def prune() -> None:
    """Old events go, tenant by tenant, each in a task of its own."""
    with in_schema("public"):
        schemas = list(Tenant.objects.exclude(schema_name="public").values_list("schema_name", flat=True))
    for schema in schemas:
        prune_tenant.delay(schema)


@tenant_task()
def prune_tenant() -> None:
    now = timezone.now()
    caught.forget(now)
    before = now - log.kept_for()
    for forget_some in (
        deliveries.prune_deleted,
        partial(deliveries.prune_tests, before=before),
        partial(redeliveries.prune_finished, before=before),
        partial(deliveries.stop_outdated, before=before, now=now),
        partial(log.prune, before=before),
    ):
        for _ in range(PRUNE_ROUNDS):
            if not forget_some():
                break
