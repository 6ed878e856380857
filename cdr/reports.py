"""Sums of calls over a span of time: by hour, day, extension, trunk, DID, end reason, direction; from the tallies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from django.db import connection

from cdr.tallies import QUARTER

Grouping = Literal["day", "hour", "extension", "trunk", "did", "end_reason", "direction"]
MOST_VALUES = 1000  # extensions, trunks or DIDs that one report lists

_SUMS = (
    "coalesce(sum(calls), 0), coalesce(sum(answered), 0), coalesce(sum(missed), 0), coalesce(sum(met), 0),"
    " coalesce(sum(wait_seconds), 0), coalesce(sum(talk_seconds), 0), coalesce(sum(billed), 0), coalesce(sum(cost), 0)"
)
# What a recount of less than a quarter gives, without tallies: the same columns straight from the ledger.
_FROM_LEDGER = """
SELECT count(*), count(*) FILTER (WHERE status = 'answered'),
    count(*) FILTER (WHERE status <> 'answered' AND direction IN ('inbound', 'inbound_outbound')),
    count(met_at),
    coalesce(sum(greatest(0, floor(extract(epoch FROM met_at)) - floor(extract(epoch FROM start_time)))), 0),
    coalesce(sum(talk_duration), 0), count(cost), coalesce(sum(cost), 0)
FROM (
    SELECT c.*, (
        SELECT min(t.answered_time) FROM cdr_target t WHERE t.cdr_id = c.id AND t.kind <> 'service'
    ) AS met_at
    FROM cdr_cdr c WHERE c.start_time >= %s AND c.start_time < %s
) told
"""
_KEYS: Mapping[str, str] = {
    "day": "(bucket AT TIME ZONE %(zone)s)::date",
    "hour": "extract(hour FROM bucket AT TIME ZONE %(zone)s)::int",
    "direction": "direction",
}
_SUBJECTS = frozenset({"extension", "trunk", "did", "end_reason"})


@dataclass(frozen=True, slots=True)
class Sums:
    """What calls add up to."""

    calls: int = 0
    answered: int = 0
    missed: int = 0  # came in and were not answered
    met: int = 0  # reached a person
    wait_seconds: int = 0  # of those, until then
    talk_seconds: int = 0
    billed: int = 0
    cost: Decimal = field(default=Decimal(0))

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(getattr(self, name) + getattr(other, name) for name in Sums.__slots__))

    @property
    def others(self) -> int:
        return self.calls - self.answered

    @property
    def answered_percent(self) -> float | None:
        return self.answered / self.calls * 100 if self.calls else None

    @property
    def average_wait(self) -> int | None:
        return round(self.wait_seconds / self.met) if self.met else None

    @property
    def average_talk(self) -> int | None:
        return round(self.talk_seconds / self.answered) if self.answered else None

    @property
    def billed_cost(self) -> Decimal | None:
        """None when nothing had a price."""
        return self.cost if self.billed else None


NOTHING = Sums()


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Which calls are summed. `since` belongs to the span, `until` does not; both begin a quarter of an hour."""

    since: datetime
    until: datetime
    direction: str = ""
    subject: str = ""  # extension, trunk, did or end_reason: only calls of `value`
    value: str = ""

    def sql(self, subject: str | None = None) -> tuple[str, dict[str, Any]]:
        conditions = ["subject = %(subject)s", "bucket >= %(since)s", "bucket < %(until)s"]
        if self.direction:
            conditions.append("direction = %(direction)s")
        if subject is None and self.subject:
            conditions.append("value = %(value)s")
        given = {
            "subject": self.subject if subject is None else subject, "value": self.value, "since": self.since,
            "until": self.until, "direction": self.direction,
        }  # fmt: skip
        return " AND ".join(conditions), given


def total(narrowing: Narrowing) -> Sums:
    where, given = narrowing.sql()
    return _sums(_rows(f"SELECT {_SUMS} FROM cdr_tally WHERE {where}", given)[0])  # noqa: S608 - conditions of our own


def until_the_minute(since: datetime, until: datetime) -> Sums:
    """All calls of a span that may end within a quarter of an hour: the rest comes from the ledger itself."""
    until = until.astimezone(UTC)
    whole = until - (until - datetime.min.replace(tzinfo=UTC)) % QUARTER
    sums = total(Narrowing(since, whole))
    if whole == until:
        return sums
    return sums + _sums(_rows(_FROM_LEDGER, [whole, until])[0])


def by_hour_of(since: datetime, until: datetime) -> list[tuple[datetime, Sums]]:
    """Hour after hour from the beginning; an hour is 60 minutes, also when clocks change."""
    since, until = since.astimezone(UTC), until.astimezone(UTC)  # a difference within one zone is of its clock
    where, given = Narrowing(since, until).sql()
    rows = _rows(
        "SELECT floor(extract(epoch FROM bucket - %(since)s) / 3600)::int AS hour,"  # noqa: S608
        f" {_SUMS} FROM cdr_tally WHERE {where} GROUP BY hour",
        given,
    )
    found = {row[0]: _sums(row[1:]) for row in rows}
    hours = -(-(until - since) // timedelta(hours=1))
    return [(since + timedelta(hours=hour), found.get(hour, NOTHING)) for hour in range(hours)]


def by_weekday_and_hour(since: datetime, until: datetime, zone: str) -> dict[tuple[int, int], int]:
    """Calls that came in, by (weekday, hour) of the zone's clock; Monday is 0."""
    rows = _rows(
        "SELECT extract(isodow FROM bucket AT TIME ZONE %(zone)s)::int - 1 AS weekday,"
        " extract(hour FROM bucket AT TIME ZONE %(zone)s)::int AS hour, sum(calls) FROM cdr_tally"
        " WHERE subject = '' AND bucket >= %(since)s AND bucket < %(until)s"
        " AND direction IN ('inbound', 'inbound_outbound') GROUP BY weekday, hour",
        {"since": since, "until": until, "zone": zone},
    )
    return {(weekday, hour): int(calls) for weekday, hour, calls in rows}


def grouped(narrowing: Narrowing, grouping: Grouping, zone: str) -> list[tuple[Any, Sums]]:
    """A report: each value with its sums. Days and hours in their order, without holes; others by their calls.

    By one subject and narrowed to another is not kept: `ValueError`.
    """
    if grouping in _SUBJECTS:
        if narrowing.subject not in ("", grouping):
            raise ValueError("Tallies hold one subject at a time.")
        return _by_value(narrowing, grouping)
    where, given = narrowing.sql()
    rows = _rows(
        f"SELECT {_KEYS[grouping]} AS key, {_SUMS} FROM cdr_tally WHERE {where} GROUP BY key ORDER BY key",  # noqa: S608
        given | {"zone": zone},
    )
    found = {row[0]: _sums(row[1:]) for row in rows}
    if grouping == "hour":
        return [(hour, found.get(hour, NOTHING)) for hour in range(24)]
    if grouping == "day":
        return [(day, found.get(day, NOTHING)) for day in days_of(narrowing, zone)]
    return sorted(found.items(), key=lambda pair: -pair[1].calls)


def days_of(narrowing: Narrowing, zone: str) -> list[date]:
    clock = ZoneInfo(zone)
    first = narrowing.since.astimezone(clock).date()
    last = (narrowing.until - timedelta(microseconds=1)).astimezone(clock).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _by_value(narrowing: Narrowing, subject: str) -> list[tuple[Any, Sums]]:
    where, given = narrowing.sql(subject)
    if narrowing.subject:
        where += " AND value = %(value)s"
    rows = _rows(
        f"SELECT value, {_SUMS} FROM cdr_tally WHERE {where}"  # noqa: S608
        f" GROUP BY value ORDER BY sum(calls) DESC, value LIMIT {MOST_VALUES}",
        given,
    )
    return [(row[0], _sums(row[1:])) for row in rows]


def _rows(statement: str, given: Mapping[str, Any] | Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        return list(cursor.fetchall())


def _sums(row: Sequence[Any]) -> Sums:
    calls, answered, missed, met, wait, talk, billed = (int(value) for value in row[:7])
    return Sums(calls, answered, missed, met, wait, talk, billed, Decimal(row[7]))
