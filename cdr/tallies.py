"""Counting calls as they are written: what each record adds to the quarter of an hour in which it began.

The ledger calls `apply` in the transaction that writes, corrects or deletes records, after it told of them: it holds
the counter of the tenant's event log then, so that no two transactions count at a time and none waits for another in a
circle.
`recount` derives the same from the ledger itself, by SQL, for what was written before there were tallies.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from django.db import connection, transaction

from cdr.models import CallStatus, Direction
from cdr.records import Record, seconds_between
from events import log as event_log

QUARTER = timedelta(minutes=15)
# Subject, value, bucket, direction.
Key = tuple[str, str, datetime, str]
# Calls, answered, missed, met, wait_seconds, talk_seconds, billed, cost.
Amounts = list[int | Decimal]

_MISSABLE = frozenset({Direction.INBOUND.value, Direction.INBOUND_OUTBOUND.value})
_AMOUNTS = ("calls", "answered", "missed", "met", "wait_seconds", "talk_seconds", "billed", "cost")
_LONGEST_VALUE = 100
_NOTHING = Decimal(0)
_ADD = (
    f"INSERT INTO cdr_tally (subject, value, bucket, direction, {', '.join(_AMOUNTS)})"  # noqa: S608 - our own names
    " SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[],"
    " %s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::int[], %s::numeric[])"
    " ON CONFLICT (subject, bucket, value, direction) DO UPDATE SET "
    + ", ".join(f"{name} = cdr_tally.{name} + excluded.{name}" for name in _AMOUNTS)
)
_DROP_EMPTY = "DELETE FROM cdr_tally WHERE calls = 0 AND bucket = ANY(%s)"


def tallied(added: Iterable[Record], taken: Iterable[Record] = ()) -> dict[Key, Amounts]:
    """What these records add, less what those that are gone had added."""
    sums: dict[Key, Amounts] = {}
    for record in added:
        _count(sums, record, 1)
    for record in taken:
        _count(sums, record, -1)
    return sums


def apply(sums: Mapping[Key, Amounts]) -> None:
    """Inside the transaction of the records, which holds the counter of the event log."""
    changed = sorted((key, amounts) for key, amounts in sums.items() if any(amounts))
    if not changed:
        return
    rows = [(*key, *amounts) for key, amounts in changed]
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [list(column) for column in zip(*rows, strict=True)])
        shrunk = {bucket for (_, _, bucket, _), amounts in changed if amounts[0] < 0}
        if shrunk:
            cursor.execute(_DROP_EMPTY, [list(shrunk)])


def _count(sums: dict[Key, Amounts], record: Record, sign: int) -> None:
    bucket = bucket_of(int(record.start_time.timestamp()) // 900)
    direction = record.direction
    answered = record.status == CallStatus.ANSWERED.value
    missed = not answered and direction in _MISSABLE
    met_at = min((t.answered_time for t in record.targets if t.answered_time and t.kind != "service"), default=None)
    wait = seconds_between(record.start_time, met_at)
    whole = (
        sign, sign * answered, sign * missed, sign * (met_at is not None), sign * wait, sign * record.talk_duration,
        sign * (record.cost is not None), sign * (record.cost or _NOTHING),
    )  # fmt: skip
    _add(sums, ("", "", bucket, direction), whole)
    _add(sums, ("end_reason", record.end_reason, bucket, direction), whole)
    if record.trunk_name:
        _add(sums, ("trunk", record.trunk_name, bucket, direction), whole)
    if record.did:
        _add(sums, ("did", record.did, bucket, direction), whole)
    for number in record.extensions:
        is_caller = number == record.caller
        own_answer = met_at if is_caller else None
        own_talk = record.talk_duration if is_caller else 0
        own_answered = answered and is_caller
        billed, cost = 0, _NOTHING
        for target in record.targets:
            if target.callee == number and target.kind == "extension" and target.answered_time:
                own_answered = True
                own_answer = min(own_answer or target.answered_time, target.answered_time)
                own_talk += seconds_between(target.answered_time, target.ended_time)
            if target.caller == number and target.cost is not None:
                billed, cost = 1, cost + target.cost
        own = (
            sign, sign * own_answered, sign * missed, sign * (own_answer is not None),
            sign * seconds_between(record.start_time, own_answer), sign * own_talk, sign * billed, sign * cost,
        )  # fmt: skip
        _add(sums, ("extension", number[:_LONGEST_VALUE], bucket, direction), own)


def _add(sums: dict[Key, Amounts], key: Key, amounts: Iterable[int | Decimal]) -> None:
    standing = sums.get(key)
    if standing is None:
        sums[key] = list(amounts)
    else:
        for place, amount in enumerate(amounts):
            standing[place] += amount


@lru_cache(maxsize=1024)
def bucket_of(quarter: int) -> datetime:
    """The beginning of a quarter of an hour, counted from 1970."""
    return datetime.fromtimestamp(quarter * 900, UTC)


@transaction.atomic
def recount(since: datetime, until: datetime) -> None:
    """Counts the calls of a span again from the ledger. Both ends are the beginning of a quarter."""
    event_log.hold()  # whoever writes records waits, and counts after this
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM cdr_tally WHERE bucket >= %s AND bucket < %s", [since, until])
        cursor.execute(COUNT, [since, until])


# What the migration, too, fills the tallies with.
COUNT = """
WITH told AS (
    SELECT c.id, c.caller, c.direction, c.trunk_name, c.did, c.end_reason, c.extensions, c.start_time,
        to_timestamp(floor(extract(epoch FROM c.start_time) / 900) * 900) AS bucket,
        (c.status = 'answered')::int AS answered,
        (c.status <> 'answered' AND c.direction IN ('inbound', 'inbound_outbound'))::int AS missed,
        (SELECT min(t.answered_time) FROM cdr_target t WHERE t.cdr_id = c.id AND t.kind <> 'service') AS met_at,
        c.talk_duration AS talk, c.cost
    FROM cdr_cdr c WHERE c.start_time >= %s AND c.start_time < %s
), own AS (
    SELECT told.*, number,
        coalesce(bool_or(t.callee = number AND t.kind = 'extension' AND t.answered_time IS NOT NULL), false) AS took,
        least(
            CASE WHEN told.caller = number THEN told.met_at END,
            min(t.answered_time) FILTER (WHERE t.callee = number AND t.kind = 'extension')
        ) AS own_answer,
        coalesce(sum(greatest(0,
            floor(extract(epoch FROM t.ended_time)) - floor(extract(epoch FROM t.answered_time))
        )) FILTER (WHERE t.callee = number AND t.kind = 'extension' AND t.answered_time IS NOT NULL), 0) AS own_talk,
        sum(t.cost) FILTER (WHERE t.caller = number) AS own_cost
    FROM told CROSS JOIN LATERAL jsonb_array_elements_text(told.extensions) AS number
        LEFT JOIN cdr_target t ON t.cdr_id = told.id
    GROUP BY told.id, told.caller, told.direction, told.trunk_name, told.did, told.end_reason, told.extensions,
        told.start_time, told.bucket, told.answered, told.missed, told.met_at, told.talk, told.cost, number
), whole AS (
    SELECT bucket, direction, trunk_name, did, end_reason, answered, missed, (met_at IS NOT NULL)::int AS met,
        coalesce(greatest(0, floor(extract(epoch FROM met_at)) - floor(extract(epoch FROM start_time))), 0) AS wait,
        talk, (cost IS NOT NULL)::int AS billed, coalesce(cost, 0) AS cost
    FROM told
), counted AS (
    SELECT '' AS subject, '' AS value, bucket, direction, answered, missed, met, wait, talk, billed, cost FROM whole
    UNION ALL SELECT 'end_reason', end_reason, bucket, direction, answered, missed, met, wait, talk, billed, cost
        FROM whole
    UNION ALL SELECT 'trunk', trunk_name, bucket, direction, answered, missed, met, wait, talk, billed, cost
        FROM whole WHERE trunk_name <> ''
    UNION ALL SELECT 'did', did, bucket, direction, answered, missed, met, wait, talk, billed, cost
        FROM whole WHERE did <> ''
    UNION ALL SELECT 'extension', left(number, 100), bucket, direction,
        (took OR (caller = number AND answered = 1))::int, missed, (own_answer IS NOT NULL)::int,
        coalesce(greatest(0, floor(extract(epoch FROM own_answer)) - floor(extract(epoch FROM start_time))), 0),
        own_talk + CASE WHEN caller = number THEN talk ELSE 0 END, (own_cost IS NOT NULL)::int, coalesce(own_cost, 0)
        FROM own
)
INSERT INTO cdr_tally
    (subject, value, bucket, direction, calls, answered, missed, met, wait_seconds, talk_seconds, billed, cost)
SELECT subject, value, bucket, direction, count(*), sum(answered), sum(missed), sum(met), sum(wait), sum(talk),
    sum(billed), sum(cost)
FROM counted GROUP BY subject, value, bucket, direction
"""
