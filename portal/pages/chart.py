"""The chart of calls by hour, as numbers ready to be drawn: percent across, units down."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from cdr.figures import Hour
from cdr.ladder import percent

HEIGHT = 168
_TOP = 14
_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_RULES = 3


@dataclass(frozen=True)
class Bar:
    x: str
    width: str
    hit_x: str
    hit_width: str
    middle: str
    label: str
    title: str
    answered_y: str
    answered_height: str
    others_y: str
    others_height: str
    under_way: bool
    labelled: bool


@dataclass(frozen=True)
class Chart:
    bars: Sequence[Bar]
    rules: Sequence[tuple[str, str, int]]  # the rule's height, its label's, its value
    spoken: str


def chart_of(hours: Sequence[Hour], now: datetime) -> Chart:
    most = max((hour.answered + hour.others for hour in hours), default=0)
    step = next((step for step in _STEPS if most <= step * _RULES), _STEPS[-1])
    top = max(step, -(-most // step) * step)
    unit = (HEIGHT - _TOP) / top
    share = 100 / max(len(hours), 1)
    bars = [_bar(hour, index, share, unit, now) for index, hour in enumerate(hours)]
    rules = [
        (f"{HEIGHT - value * unit:.1f}", f"{HEIGHT - value * unit + 4:.1f}", value)
        for value in range(step, top + 1, step)
    ]
    busiest = max(hours, key=lambda hour: hour.answered + hour.others, default=None)
    spoken = "No calls yet." if not busiest or not most else f"Busiest: {_words(busiest)}."
    return Chart(bars, rules, spoken)


def _bar(hour: Hour, index: int, share: float, unit: float, now: datetime) -> Bar:
    x = index * share
    answered, others = hour.answered * unit, hour.others * unit
    return Bar(
        x=percent(x + share * 0.2),
        width=percent(share * 0.6),
        hit_x=percent(x),
        hit_width=percent(share),
        middle=percent(x + share / 2),
        label=str(timezone.localtime(hour.start).hour),
        title=_words(hour),
        answered_y=f"{HEIGHT - answered:.1f}",
        answered_height=f"{answered:.1f}",
        others_y=f"{HEIGHT - answered - others:.1f}",
        others_height=f"{others:.1f}",
        under_way=hour.start <= now < hour.start.__class__.fromtimestamp(hour.start.timestamp() + 3600, now.tzinfo),
        labelled=index % 2 == 0,
    )


def _words(hour: Hour) -> str:
    start = timezone.localtime(hour.start).hour
    return f"{start}:00 to {(start + 1) % 24}:00, {hour.answered} answered, {hour.others} not"
