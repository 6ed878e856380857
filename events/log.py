"""The tenant's event log: the one place where an event gets its id and its bytes, and where readers find it again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import Min, QuerySet
from django.utils import timezone

from events import wake
from events.models import Event, EventCounter
from tenants.models import Tenant
from tenants.schemas import current_schema

_COLUMNS = ("id", "type", "session_id", "sequence", "time", "written_at", "body", "body_v22")
_row = attrgetter(*_COLUMNS)


@dataclass(frozen=True)
class Draft:
    """An event before it has an id. `document` is the v16 payload; `v22` only when that profile differs."""

    type: str
    session_id: str
    time: datetime
    document: dict[str, Any]
    v22: dict[str, Any] | None = None


def append(drafts: Sequence[Draft]) -> list[Event]:
    """Writes events and their deliveries; call it last in the transaction of the fact they tell.

    The counter row stays locked until the commit, so ids become visible in their order. Readers are woken after it.
    """
    if not drafts:
        return []
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An event is written in the transaction of its fact.")
    opened = [(_opened(draft.document), _opened(draft.v22) if draft.v22 else "") for draft in drafts]
    last = _take_ids(len(drafts))
    first = last - len(drafts) + 1
    sequences = _last_sequences({draft.session_id for draft in drafts})
    now = timezone.now()
    written: list[Event] = []
    for event_id, (draft, (v16, v22)) in enumerate(zip(drafts, opened, strict=True), first):
        sequences[draft.session_id] = sequence = sequences.get(draft.session_id, 0) + 1
        written.append(
            Event(
                id=event_id, type=draft.type, session_id=draft.session_id, sequence=sequence, time=draft.time,
                written_at=now, body=_closed(v16, str(event_id)), body_v22=v22 and _closed(v22, str(event_id)),
            )
        )  # fmt: skip
    _copy(written)
    due = _insert_deliveries(first, last, now)
    schema = current_schema()
    transaction.on_commit(lambda: wake.readers(schema, deliveries=due > 0))
    return written


def render(document: dict[str, Any], event_id: str) -> str:
    """The bytes of a payload: what every door hands out. `event_id` stands last at the top level."""
    return _closed(_opened(document), event_id)


def _opened(document: dict[str, Any]) -> str:
    """All of a payload but its id: the counter is held for as short a time as can be."""
    return orjson.dumps(document)[:-1].decode()


def _closed(opened: str, event_id: str) -> str:
    return f'{opened},"event_id":"{event_id}"}}'


def _take_ids(count: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_eventcounter (id, last_id) VALUES (1, %s)"
            " ON CONFLICT (id) DO UPDATE SET last_id = events_eventcounter.last_id + excluded.last_id"
            " RETURNING last_id",
            [count],
        )
        return int(cursor.fetchone()[0])


def hold() -> int:
    """The id given last; until this transaction ends nobody gets another one."""
    return _take_ids(0)


def _last_sequences(session_ids: set[str]) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT session_id, max(sequence) FROM ("
            " SELECT session_id, sequence FROM events_event WHERE session_id = ANY(%(ids)s)"
            " UNION ALL SELECT session_id, sequence FROM events_prunedsession WHERE session_id = ANY(%(ids)s)) told"
            " GROUP BY session_id",
            {"ids": list(session_ids)},
        )
        return dict(cursor.fetchall())


def _copy(events: Iterable[Event]) -> None:
    """COPY takes four times as many rows a second as the next best way, and as many for a single row."""
    columns = ", ".join(_COLUMNS)
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(f"COPY events_event ({columns}) FROM STDIN") as copy,
    ):
        for event in events:
            copy.write_row(_row(event))


def _insert_deliveries(first: int, last: int, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_delivery (endpoint_id, event_id, session_id, profile, state, attempts_made, step,"
            " started_at, next_attempt_at, replay, test_body, created_at)"
            " SELECT endpoint.id, event.id, event.session_id, endpoint.profile, 'pending', 0, 0,"
            " %(now)s, %(now)s, false, '', %(now)s"
            " FROM events_event event JOIN events_endpoint endpoint"
            " ON endpoint.enabled AND endpoint.deleted_at IS NULL AND endpoint.event_types @> to_jsonb(event.type)"
            " WHERE event.id BETWEEN %(first)s AND %(last)s ORDER BY event.id, endpoint.id",
            {"now": now, "first": first, "last": last},
        )
        return int(cursor.rowcount)


# --- Reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """What the log holds: ids from `first` to `last` without a hole; empty when `first` is above `last`."""

    first: int
    last: int

    def misses_after(self, since: int) -> bool:
        """Whether events above `since` were already pruned."""
        return since + 1 < self.first


def span() -> Span:
    """Everything up to `last` is committed: a later read finds no event below it that was not there."""
    last = EventCounter.objects.filter(pk=1).values_list("last_id", flat=True).first() or 0
    first = Event.objects.aggregate(first=Min("id"))["first"]
    return Span(first=last + 1 if first is None else first, last=last)


def events_after(since: int, *, types: Sequence[str] = ()) -> QuerySet[Event]:
    """Events above `since` in the order of their ids; the caller slices."""
    found = Event.objects.filter(id__gt=since)
    return (found.filter(type__in=types) if types else found).order_by("id")


# --- Forgetting -------------------------------------------------------------------------------------------------

# So long a delivery that ended in vain is shown, however old its event is.
SHOWN_AFTER_END = timedelta(days=1)


def kept_for() -> timedelta:
    """How long the tenant of this schema wants its events kept."""
    return timedelta(days=Tenant.objects.values_list("event_log_days", flat=True).get(schema_name=current_schema()))


def prune(*, before: datetime, batch: int = 1000) -> int:
    """Deletes the oldest events written before a moment, with their deliveries; at most `batch`, so call it again.

    Always a prefix of the log: a reader's cursor is either kept whole or known to have a gap. It ends before an event
    that is still on its way to an endpoint (`deliveries.stop_outdated` ends that), or just ended in vain.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(id) FROM (SELECT id FROM events_event WHERE written_at < %s"
            " AND id < (SELECT min(id) FROM events_event) + %s) old",
            [before, batch],
        )
        last = cursor.fetchone()[0]
        if last is None:
            return 0
        cursor.execute(
            "SELECT min(d.event_id) - 1 FROM events_delivery d JOIN events_endpoint e ON e.id = d.endpoint_id"
            " WHERE d.event_id <= %s AND e.deleted_at IS NULL"
            " AND (d.finished_at IS NULL OR (d.state <> 'delivered' AND d.finished_at > %s))",
            [last, timezone.now() - SHOWN_AFTER_END],
        )
        before_the_first_held = cursor.fetchone()[0]
        last = last if before_the_first_held is None else before_the_first_held
        cursor.execute(
            "DELETE FROM events_attempt WHERE delivery_id IN (SELECT id FROM events_delivery WHERE event_id <= %s)",
            [last],
        )
        cursor.execute("DELETE FROM events_delivery WHERE event_id <= %s", [last])
        cursor.execute(
            "INSERT INTO events_prunedsession (session_id, sequence)"
            " SELECT session_id, max(sequence) FROM events_event WHERE id <= %s GROUP BY session_id ORDER BY session_id"
            " ON CONFLICT (session_id) DO UPDATE SET sequence = excluded.sequence",
            [last],
        )
        cursor.execute("DELETE FROM events_event WHERE id <= %s", [last])
        return int(cursor.rowcount)
