"""What the doors show of deliveries: the log with its filters, and the state of an endpoint at a glance."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, OuterRef, Q, QuerySet, Subquery

from events.models import Attempt, Delivery, Endpoint

HEALTH_OF = timedelta(hours=24)
HEALTH_DELIVERIES = 20_000
PENDING_SHOWN = 10_000
LATENCIES = 1000


@dataclass(frozen=True)
class LogFilters:
    """What narrows the log of deliveries. Times are those of the deliveries; bounds are inclusive.

    `failing` are those tried in vain that will be tried again. Tests have no event, so its type finds none of them.
    """

    state: str = ""
    failing: bool = False
    endpoint: int | None = None
    event: int | None = None
    event_type: str = ""
    session_id: str = ""
    from_time: datetime | None = None
    to_time: datetime | None = None


def deliveries_log(filters: LogFilters | None = None) -> "QuerySet[Delivery]":
    """Newest first, with the endpoint and what its last attempt brought; the caller slices."""
    filters = filters or LogFilters()
    last = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-id")
    found = Delivery.objects.filter(endpoint__deleted_at=None).select_related("endpoint", "event")
    if filters.state:
        found = found.filter(state=filters.state)
    if filters.failing:
        found = found.filter(state=Delivery.State.PENDING, step__gt=0)
    if filters.endpoint is not None:
        found = found.filter(endpoint=filters.endpoint)
    if filters.event is not None:
        found = found.filter(event=filters.event)
    if filters.event_type:
        found = found.filter(event__type=filters.event_type)
    if filters.session_id:
        found = found.filter(session_id=filters.session_id)
    if filters.from_time is not None:
        found = found.filter(created_at__gte=filters.from_time)
    if filters.to_time is not None:
        found = found.filter(created_at__lte=filters.to_time)
    return found.annotate(
        last_status=Subquery(last.values("status")[:1]),
        last_reason=Subquery(last.values("reason")[:1]),
        last_latency_ms=Subquery(last.values("latency_ms")[:1]),
    ).order_by("-id")


@dataclass(frozen=True)
class Health:
    """What became of an endpoint's deliveries of the last day, and what waits. Counts stop at their limit."""

    delivered: int
    gave_up: int
    is_more: bool
    pending: int
    failing: int  # of those pending: tried in vain, waiting for another try
    pending_is_more: bool
    oldest_pending: datetime | None
    p95_latency_ms: int | None


def health_of(endpoint: Endpoint, now: datetime) -> Health:
    """Bounded, since pages ask for it again and again: it looks at no more rows than the limits above say."""
    since = now - HEALTH_OF
    of_endpoint = Delivery.objects.filter(endpoint=endpoint, event__isnull=False)
    newest = of_endpoint.order_by("-id")
    recent = Q(created_at__gte=since)
    ended = newest[:HEALTH_DELIVERIES].aggregate(
        all=Count("pk", filter=recent),
        delivered=Count("pk", filter=recent & Q(state=Delivery.State.DELIVERED)),
        gave_up=Count("pk", filter=recent & Q(state__in=[Delivery.State.EXHAUSTED, Delivery.State.STOPPED])),
    )
    waiting = of_endpoint.filter(state=Delivery.State.PENDING).order_by()[: PENDING_SHOWN + 1].aggregate(
        all=Count("pk"), failing=Count("pk", filter=Q(step__gt=0)), oldest=Min("created_at")
    )  # fmt: skip
    acknowledged = Attempt.objects.filter(
        delivery__in=newest.values("pk")[:LATENCIES], at__gte=since, status__range=(200, 299)
    )
    took = sorted(ms for ms in acknowledged.values_list("latency_ms", flat=True) if ms is not None)
    return Health(
        delivered=ended["delivered"],
        gave_up=ended["gave_up"],
        is_more=ended["all"] == HEALTH_DELIVERIES,
        pending=min(waiting["all"], PENDING_SHOWN),
        failing=min(waiting["failing"], PENDING_SHOWN),
        pending_is_more=waiting["all"] > PENDING_SHOWN,
        oldest_pending=waiting["oldest"],
        p95_latency_ms=took[math.ceil(len(took) * 0.95) - 1] if took else None,
    )
