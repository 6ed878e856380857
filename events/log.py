"""The tenant's event log: the one place where an event gets its id and its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F, Max

from events.models import Event, EventCounter


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

    The counter row stays locked until the commit, so ids become visible in their order.
    """
    if not drafts:
        return []
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An event is written in the transaction of its fact.")
    last = _take_ids(len(drafts))
    sequences = _last_sequences({draft.session_id for draft in drafts})
    written: list[Event] = []
    for event_id, draft in enumerate(drafts, last - len(drafts) + 1):
        sequences[draft.session_id] = sequence = sequences.get(draft.session_id, 0) + 1
        written.append(
            Event(
                id=event_id, type=draft.type, session_id=draft.session_id, sequence=sequence, time=draft.time,
                body=_render(draft.document, event_id), body_v22=_render(draft.v22, event_id) if draft.v22 else "",
            )
        )  # fmt: skip
    Event.objects.bulk_create(written)
    return written


def _take_ids(count: int) -> int:
    if not EventCounter.objects.filter(pk=1).update(last_id=F("last_id") + count):
        EventCounter.objects.get_or_create(pk=1)
        EventCounter.objects.filter(pk=1).update(last_id=F("last_id") + count)
    return EventCounter.objects.values_list("last_id", flat=True).get(pk=1)


def _last_sequences(session_ids: set[str]) -> dict[str, int]:
    found = (
        Event.objects.filter(session_id__in=session_ids).values_list("session_id").annotate(Max("sequence")).order_by()
    )
    return dict(found)


def _render(document: dict[str, Any], event_id: int) -> str:
    return orjson.dumps({**document, "event_id": str(event_id)}).decode()
