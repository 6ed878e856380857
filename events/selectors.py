"""What the doors show of deliveries: the log with its filters, and the state of an endpoint at a glance."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from events.models import Attempt, Delivery, Endpoint

HEALTH_SPAN = timedelta(hours=24)


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
    """What became of an endpoint's deliveries of the last day, and what waits."""

    delivered: int
    waiting: int
    gave_up: int
    oldest_waiting: datetime | None


def health_of(endpoint: Endpoint, now: datetime) -> Health:
    recent = Q(created_at__gt=now - HEALTH_SPAN)
    pending = Q(state=Delivery.State.PENDING)
    counts: Mapping[str, object] = Delivery.objects.filter(recent | pending, endpoint=endpoint).aggregate(
        delivered=Count("id", filter=Q(state=Delivery.State.DELIVERED) & recent),
        waiting=Count("id", filter=pending),
        gave_up=Count("id", filter=Q(state__in=[Delivery.State.EXHAUSTED, Delivery.State.STOPPED]) & recent),
        oldest_waiting=Min("created_at", filter=pending),
    )
    return Health(**counts)  # type: ignore[arg-type]


def is_failing(endpoint: Endpoint) -> bool:
    return endpoint.failing_since is not None and endpoint.failing_since < timezone.now() - timedelta(seconds=30)
