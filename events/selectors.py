"""What the doors show of deliveries: the log with its filters, and the state of an endpoint at a glance."""

import math
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery

from events.models import Attempt, Delivery, Endpoint

HEALTH_DELIVERIES = 1000
WAITING_SHOWN = 10_000
LATENCIES = 200


def deliveries_log(
    *, state: str = "", endpoint: int | None = None, event: int | None = None, session_id: str = ""
) -> "QuerySet[Delivery]":
    """Newest first, with the endpoint and what its last attempt brought; the caller slices."""
    last = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-id")
    found = Delivery.objects.filter(endpoint__deleted_at=None).select_related("endpoint", "event")
    if state:
        found = found.filter(state=state)
    if endpoint is not None:
        found = found.filter(endpoint=endpoint)
    if event is not None:
        found = found.filter(event=event)
    if session_id:
        found = found.filter(session_id=session_id)
    return found.annotate(
        last_status=Subquery(last.values("status")[:1]),
        last_reason=Subquery(last.values("reason")[:1]),
        last_latency_ms=Subquery(last.values("latency_ms")[:1]),
    ).order_by("-id")


@dataclass(frozen=True)
class Health:
    """What became of an endpoint's newest deliveries, and what waits. Counts stop at their limit."""

    delivered: int
    gave_up: int
    waiting: int
    waiting_is_more: bool
    oldest_waiting: datetime | None
    p95_latency_ms: int | None


def health_of(endpoint: Endpoint) -> Health:
    newest = Delivery.objects.filter(endpoint=endpoint, event__isnull=False).order_by("-id")
    states = list(newest.values_list("id", "state")[:HEALTH_DELIVERIES])
    pending = Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.PENDING)
    waiting = pending.order_by()[: WAITING_SHOWN + 1].count()
    timed = [pk for pk, state in states if state == Delivery.State.DELIVERED][:LATENCIES]
    took = sorted(
        ms for ms in Attempt.objects.filter(delivery__in=timed, status__range=(200, 299)).values_list(
            "latency_ms", flat=True
        ) if ms is not None
    )  # fmt: skip
    return Health(
        delivered=sum(state == Delivery.State.DELIVERED for _, state in states),
        gave_up=sum(state in {Delivery.State.EXHAUSTED, Delivery.State.STOPPED} for _, state in states),
        waiting=min(waiting, WAITING_SHOWN),
        waiting_is_more=waiting > WAITING_SHOWN,
        oldest_waiting=pending.order_by("next_attempt_at", "id").values_list("created_at", flat=True).first(),
        p95_latency_ms=took[math.ceil(len(took) * 0.95) - 1] if took else None,
    )
