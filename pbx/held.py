"""Events that came before their `call.started` and wait for it."""

from collections.abc import Collection, Container, Sequence
from datetime import datetime

import orjson
from django.db.models import Exists, OuterRef, QuerySet

from cdr import callevent_json
from cdr.callevents import CallEvent, SessionMerged
from pbx.models import HeldEvent
from tenants.models import SessionRoute


def awaited(event: CallEvent, started: Container[str]) -> str:
    """The session an event waits for: its own, or, once that has started, the one it is to be merged into."""
    return event.into if isinstance(event, SessionMerged) and event.session_id in started else event.session_id


def hold(
    switch_id: int, events: Sequence[CallEvent], started: Container[str], *, most: int
) -> tuple[set[str], set[str]]:
    """Keeps as many as may wait of a switch, the first come first; the ids of those kept now, and of those that waited
    already. `started` holds sessions that have."""
    waiting = HeldEvent.objects.filter(switch_id=switch_id, event_id__in=[event.id for event in events])
    known = set(waiting.values_list("event_id", flat=True))
    free = most - HeldEvent.objects.filter(switch_id=switch_id).order_by()[:most].count()
    fresh = list({event.id: event for event in reversed(events) if event.id not in known}.values())[::-1][:free]
    HeldEvent.objects.bulk_create(
        [
            HeldEvent(switch_id=switch_id, event_id=event.id, session_id=awaited(event, started), body=written(event))
            for event in fresh
        ],
        ignore_conflicts=True,
    )
    return {event.id for event in fresh}, known


def take_back(switch_id: int, session_ids: Collection[str]) -> list[CallEvent]:
    """Takes the waiting events of these sessions out, in the order in which they came."""
    if not session_ids:
        return []
    rows = HeldEvent.objects.filter(switch_id=switch_id, session_id__in=session_ids).order_by("id")
    return _take(rows)


def take_expired(switch_id: int, before: datetime, limit: int) -> list[CallEvent]:
    """Takes out what waits since then, oldest first."""
    rows = HeldEvent.objects.filter(switch_id=switch_id, received_at__lt=before).order_by("received_at", "id")
    return _take(rows[:limit])


def switches_with_expired(before: datetime) -> list[int]:
    rows = HeldEvent.objects.filter(received_at__lt=before).order_by("switch_id")
    return list(rows.values_list("switch_id", flat=True).distinct())


def overtaken(limit: int) -> list[tuple[int, str]]:
    """Sessions that started while one of their events was being laid aside: switch and session_id."""
    routes = SessionRoute.objects.filter(session_id=OuterRef("session_id"), switch_id=OuterRef("switch_id"))
    rows = HeldEvent.objects.filter(Exists(routes)).order_by("switch_id", "session_id")
    return list(rows.values_list("switch_id", "session_id").distinct()[:limit])


def written(event: CallEvent) -> str:
    return orjson.dumps(callevent_json.write(event)).decode()


def _take(rows: "QuerySet[HeldEvent]") -> list[CallEvent]:
    found = list(rows.select_for_update(skip_locked=True))
    if found:
        HeldEvent.objects.filter(pk__in=[row.pk for row in found]).delete()
    return [callevent_json.read(orjson.loads(row.body)) for row in found]
