"""A day of calls that are only some of the tenant's, such as a person's own: no tallies hold them, so they are read."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from cdr.models import CDR, CallStatus, Direction
from cdr.reports import NOTHING, Sums

MOST = 20_000  # calls that are read at most, the newest: far more than one person has in a day
_ANSWERED = Q(status=CallStatus.ANSWERED)
_CAME_IN = Q(direction__in=[Direction.INBOUND, Direction.INBOUND_OUTBOUND])


def day_of(calls: "QuerySet[CDR]", since: datetime, until: datetime) -> tuple[Sums, list[tuple[datetime, Sums]]]:
    """The sums of the span and of each of its hours. How long callers waited for a person is not among them."""
    since, until = since.astimezone(UTC), until.astimezone(UTC)  # a difference within one zone is of its clock
    span = calls.filter(start_time__gte=since, start_time__lt=until).order_by("-start_time", "-pk")[:MOST]
    starts = [since + timedelta(hours=number) for number in range(-(-(until - since) // timedelta(hours=1)))]
    counts: dict[str, Any] = {}
    for number, start in enumerate(starts):
        within = Q(start_time__gte=start, start_time__lt=start + timedelta(hours=1))
        counts[f"calls_{number}"] = Count("pk", filter=within)
        counts[f"answered_{number}"] = Count("pk", filter=within & _ANSWERED)
        counts[f"missed_{number}"] = Count("pk", filter=within & ~_ANSWERED & _CAME_IN)
        counts[f"talk_{number}"] = Sum("talk_duration", filter=within, default=0)
    found = span.aggregate(**counts)
    hours = [
        Sums(
            calls=found[f"calls_{number}"],
            answered=found[f"answered_{number}"],
            missed=found[f"missed_{number}"],
            talk_seconds=found[f"talk_{number}"],
        )
        for number in range(len(starts))
    ]
    return sum(hours, NOTHING), list(zip(starts, hours, strict=True))
