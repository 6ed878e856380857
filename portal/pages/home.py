"""The first page of a tenant: today beside the same weekday, when calls come in, who waits to be called back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Min
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import requires, signed_in
from accounts.roles import Permission
from cdr import charts, columns, reports
from cdr.figures import day_of
from cdr.ladder import minutes
from cdr.missed import missed_callers
from cdr.models import LiveSession
from cdr.reports import Sums
from cdr.selectors import page_of, sees_all, simulators, visible_calls
from portal.pages.pushes import pushes
from recordings import quota
from tenants.models import Tenant
from tenants.schemas import current_schema

LATEST = 8
MISSED = 6
IN_PROGRESS = 100
WEEKS = 4
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WORKING_HOURS = range(8, 18)  # shown also when nothing came in
_STORAGE_FRESH = 60  # seconds


@dataclass(frozen=True)
class Stat:
    """A figure and how it stands beside last week: `change` is the difference, `state` says whether that is good."""

    name: str
    figure: str
    unit: str = ""
    beside: str = ""
    change: str = ""
    state: str = ""
    href: str = ""
    hint: str = ""


@requires(Permission.OWN_CALLS)
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    person = signed_in(request)
    calls = visible_calls(person, person.may)
    everyone = sees_all(person.may)
    now = timezone.localtime()
    day, week_ago = _days(now)
    if everyone:
        today, before = (reports.until_the_minute(start, end) for start, end in (day, week_ago))
        hours = reports.by_hour_of(*day)
        hours_before = reports.by_hour_of(week_ago[0], _midnight_after(week_ago[0]))
    else:
        today, hours = day_of(calls, *day)
        before, _ = day_of(calls, *week_ago)
        _, hours_before = day_of(calls, week_ago[0], _midnight_after(week_ago[0]))
    waiting = missed_callers(calls, now)
    weekday = f"{week_ago[0]:%A} {week_ago[0].day} {week_ago[0]:%B}"
    context = {
        "now": now,
        "weekday": weekday,
        "stats": [*_stats(today, before), _missed_stat(len(waiting.callers), today), *_live_stat(everyone=everyone)],
        "chart": _chart(hours, hours_before, now, weekday),
        "hours": [row for row in _rows(hours, hours_before) if row["sums"].calls or row["before"]],
        "spoken": _busiest_words(hours),
        "missed": waiting.callers[:MISSED],
        "missed_more": max(0, len(waiting.callers) - MISSED),
        "latest": page_of(calls, limit=LATEST).rows,
        "simulators": simulators(),
        "shown": columns.chosen(None) - {"ring_time", "ended_time"},
        "own_only": not everyone,
        "quota_level": quota.level_noted(_tenant()) if person.may(Permission.COMPANY) else "",
        "storage": _storage(now) if person.may(Permission.RECORDINGS_VIEW) else None,
        "pushes": pushes(now) if person.may(Permission.EVENT_URL) else None,
    }
    if everyone:
        context |= _when_calls_come(day[0])
    return render(request, "portal/home.html", context)


def _days(now: datetime) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
    """Today, and the same weekday a week ago until the same minute of its clock."""
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    minute = now.replace(second=0, microsecond=0) - timedelta(days=7)
    return (midnight, _midnight_after(midnight)), (datetime.combine(minute.date(), time(), now.tzinfo), minute)


def _midnight_after(midnight: datetime) -> datetime:
    return datetime.combine(midnight.date() + timedelta(days=1), time(), midnight.tzinfo)


def _stats(today: Sums, before: Sums) -> list[Stat]:
    address = f"{reverse('cdr-list')}?period=today"
    stats = [
        Stat(
            "Calls", f"{today.calls:,}", beside=f"beside {before.calls:,}", change=_signed(today.calls - before.calls),
            href=address,
        ),
        _answered_stat(today, before, f"{address}&status=answered"),
    ]  # fmt: skip
    if today.average_wait is not None or before.average_wait is not None:
        stats.append(_wait_stat(today.average_wait, before.average_wait))
    talk = Stat(
        "Talking Time", minutes(today.talk_seconds), beside=f"beside {minutes(before.talk_seconds)}", href=address
    )
    return [*stats, talk]


def _answered_stat(today: Sums, before: Sums, href: str) -> Stat:
    share, was = today.answered_percent, before.answered_percent
    beside = "no calls a week ago" if was is None else f"beside {was:.1f} %"
    if share is None:
        return Stat("Answered", "–", beside=beside, href=href)
    change = "" if was is None else _signed(round(share - was, 1))
    return Stat("Answered", f"{share:.1f}", "%", beside, change, _judged(share - (was or share)), href)


def _wait_stat(now: int | None, was: int | None) -> Stat:
    change = "" if now is None or was is None or now == was else f"{'−' if now < was else '+'}{minutes(abs(now - was))}"
    return Stat(
        "Waiting, average", "–" if now is None else minutes(now),
        beside="nobody waited a week ago" if was is None else f"beside {minutes(was)}", change=change,
        state=_judged((was or 0) - (now or 0)) if change else "",
        hint="From the start of a call until a person answered.",
    )  # fmt: skip


def _missed_stat(waiting: int, today: Sums) -> Stat:
    return Stat(
        "Missed, not called back", f"{waiting:,}", beside=f"{today.missed:,} missed today", href="#missed",
        hint="Callers of the last seven days whom nobody has talked to since.",
    )  # fmt: skip


def _live_stat(*, everyone: bool) -> list[Stat]:
    """How many calls are in progress, and how long the one has waited that waits longest."""
    if not everyone:
        return []
    rows = LiveSession.objects.filter(ended_time=None, merged_into="").order_by("-start_time", "session_id")
    count = len(rows.values_list("pk")[:IN_PROGRESS])
    ringing = rows.filter(answered_time=None).order_by()[:IN_PROGRESS]
    oldest = LiveSession.objects.filter(pk__in=ringing.values("pk")).aggregate(oldest=Min("start_time"))["oldest"]
    beside = "none is waiting"
    if oldest:
        beside = f"waiting for up to {minutes(max(0, int((timezone.now() - oldest).total_seconds())))}"
    figure = f"{count}+" if count == IN_PROGRESS else str(count)
    return [Stat("In progress", figure, beside=beside if count else "right now", href=reverse("live-calls"))]


def _signed(number: float) -> str:
    return f"{'+' if number > 0 else '−'}{abs(number):,}" if number else ""


def _judged(gain: float) -> str:
    return "good" if gain > 0.05 else "bad" if gain < -0.05 else ""


Hours = Sequence[tuple[datetime, Sums]]


def _rows(hours: Hours, before: Hours) -> list[dict[str, Any]]:
    """Hour by hour with the calls of the same hour of the clock a week ago."""
    by_clock: dict[int, int] = {}
    for start, sums in before:
        clock = timezone.localtime(start).hour
        by_clock[clock] = by_clock.get(clock, 0) + sums.calls
    return [
        {"start": start, "sums": sums, "before": by_clock.get(timezone.localtime(start).hour, 0)}
        for start, sums in hours
    ]


def _chart(hours: Hours, before: Hours, now: datetime, weekday: str) -> charts.BarChart:
    bars = []
    for row in _rows(hours, before):
        start, sums = row["start"], row["sums"]
        bars.append(
            charts.Column(
                label=str(timezone.localtime(start).hour),
                title=f"{_hour_words(start, sums)}; {weekday} {row['before']:,} calls",
                good=sums.answered,
                bad=sums.others,
                before=row["before"],
                under_way=start <= now < start + timedelta(hours=1),
            )
        )
    return charts.bar_chart(bars, every=2)


def _hour_words(start: datetime, sums: Sums) -> str:
    hour = timezone.localtime(start).hour
    return f"{hour}:00 to {(hour + 1) % 24}:00, {sums.answered:,} answered, {sums.others:,} not"


def _busiest_words(hours: Hours) -> str:
    start, sums = max(hours, key=lambda hour: hour[1].calls)
    return f"Busiest so far: {_hour_words(start, sums)}." if sums.calls else "No calls yet."


def _when_calls_come(midnight: datetime) -> dict[str, Any]:
    """What came in during the last whole weeks, by weekday and hour of the reader's clock."""
    since = datetime.combine(midnight.date() - timedelta(weeks=WEEKS), time(), midnight.tzinfo)
    found = reports.by_weekday_and_hour(since, midnight, timezone.get_current_timezone_name())
    used = [hour for _, hour in found] or list(_WORKING_HOURS)
    hours = range(min(*used, _WORKING_HOURS.start), max(*used, _WORKING_HOURS.stop - 1) + 1)
    names = [f"{hour}:00" for hour in hours]
    values = {(weekday, hour - hours.start): count for (weekday, hour), count in found.items()}
    most = max(found, key=lambda place: found[place], default=None)
    return {
        "heat": charts.heat_map(WEEKDAYS, names, values, "calls"),
        "heat_spoken": f"Busiest: {WEEKDAYS[most[0]]} at {most[1]}:00." if most else "No calls yet.",
        "heat_days": WEEKDAYS,
        "heat_rows": [(name, [values.get((day, index), 0) for day in range(7)]) for index, name in enumerate(names)],
        "heat_empty": not found,
        "weeks": WEEKS,
    }


def _storage(now: datetime) -> quota.Usage:
    """Adding it up reads a row for each file: once a minute is enough."""
    key = f"{current_schema()}:home-storage"
    found: quota.Usage | None = cache.get(key)
    if found is None:
        found = quota.usage_of(_tenant(), now)
        cache.set(key, found, _STORAGE_FRESH)
    return found


def _tenant() -> Tenant:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant
