"""A day in figures: how many calls, answered, missed, talked for how long, hour by hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet, Sum

from cdr.models import CDR, CallStatus, Direction

MOST = 200_000  # calls that a figure reads at most; beyond, it says so
_MISSED = ~Q(status=CallStatus.ANSWERED) & Q(direction__in=[Direction.INBOUND, Direction.INBOUND_OUTBOUND])


@dataclass(frozen=True)
class Hour:
    start: datetime
    answered: int
    others: int


@dataclass(frozen=True)
class Figures:
    calls: int
    answered: int
    missed: int  # came in and met nobody
    talk_seconds: int
    hours: Sequence[Hour]

    @property
    def is_cut(self) -> bool:
        return self.calls >= MOST

    @property
    def answered_percent(self) -> float | None:
        return self.answered / self.calls * 100 if self.calls else None


def figures_of(calls: "QuerySet[CDR]", since: datetime, until: datetime) -> Figures:
    """One query over the span's newest calls, at most MOST. An hour is 60 minutes, also when clocks change."""
    starts = []
    start = since
    while start < until:
        starts.append(start)
        start += timedelta(hours=1)
    counts = {"calls": Count("pk"), "answered": Count("pk", filter=Q(status=CallStatus.ANSWERED))}
    for number, start in enumerate(starts):
        within = Q(start_time__gte=start, start_time__lt=start + timedelta(hours=1))
        counts[f"answered_{number}"] = Count("pk", filter=within & Q(status=CallStatus.ANSWERED))
        counts[f"others_{number}"] = Count("pk", filter=within & ~Q(status=CallStatus.ANSWERED))
    span = calls.filter(start_time__gte=since, start_time__lt=until).order_by("-start_time", "-pk")[:MOST]
    found = span.aggregate(**counts, missed=Count("pk", filter=_MISSED), talk=Sum("talk_duration"))
    hours = [Hour(start, found[f"answered_{number}"], found[f"others_{number}"]) for number, start in enumerate(starts)]
    return Figures(found["calls"], found["answered"], found["missed"], found["talk"] or 0, hours)
