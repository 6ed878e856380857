"""Sending again in bulk, and sending what an endpoint missed: chosen, counted, and then released so many a second.

A release gives deliveries a due time a little ahead, evenly spread, so that live events keep their place between them.
How far it has come is in the database: a worker that dies is followed by the next sweep.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from events import log
from events.deliveries import send_again
from events.endpoints import EndpointError, live_endpoints, missed
from events.models import Delivery, Endpoint, Event, Redelivery
from events.types import EVENT_TYPES
from tenants.changes import Actor, announce
from tenants.errors import RefusedError

RATE = 10  # a second, unless the caller says otherwise
RATE_MAX = 100
AHEAD = timedelta(seconds=10)  # so far ahead of now deliveries get their due time; the sweep comes more often

What = Redelivery.What


@dataclass(frozen=True)
class Selection:
    """What to send. Bounds are inclusive; times are those at which events were written."""

    what: str = What.UNACKNOWLEDGED
    delivery_state: str = ""
    event_type: str = ""
    session_id: str = ""
    from_event: int | None = None
    to_event: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None


def planned(endpoint: Endpoint, selection: Selection, *, rate: int = RATE) -> Redelivery:
    """Counted and not begun: `total` says how many it would send."""
    _check(selection, rate)
    first, last = _bounds(endpoint, selection)
    plan = Redelivery(
        endpoint=endpoint, what=selection.what, delivery_state=selection.delivery_state,
        event_type=selection.event_type, session_id=selection.session_id, rate=rate,
        from_event=first, to_event=last, last_event=first - 1,
    )  # fmt: skip
    plan.total = _remaining(plan).count()
    return plan


def start_redelivery(endpoint: Endpoint, selection: Selection, *, actor: Actor, rate: int = RATE) -> Redelivery:
    if not live_endpoints().filter(pk=endpoint.pk, enabled=True).exists():
        raise RefusedError("endpoint_disabled", "The endpoint is switched off. Enable it, then send again.")
    plan = planned(endpoint, selection, rate=rate)
    if not plan.total:
        raise RefusedError("nothing_to_send", "There is nothing of this kind to send.")
    try:
        with transaction.atomic():
            plan.save()
            announce(
                actor, "endpoint.redelivery_started", subject=endpoint.url, subject_id=endpoint.pk, after=_told(plan)
            )
    except IntegrityError as error:
        raise RefusedError(
            "redelivery_running", "Something is being sent again to this endpoint already. Wait for it, or stop it."
        ) from error
    return plan


def stop_redelivery(redelivery: Redelivery, *, actor: Actor) -> None:
    """What it has released so far still goes out."""
    with transaction.atomic():
        stopped = Redelivery.objects.filter(pk=redelivery.pk, state=Redelivery.State.RUNNING).update(
            state=Redelivery.State.STOPPED, finished_at=timezone.now()
        )
        if not stopped:
            raise RefusedError("redelivery_not_running", "It is not running any more.")
        endpoint = redelivery.endpoint
        announce(actor, "endpoint.redelivery_stopped", subject=endpoint.url, subject_id=endpoint.pk)


def newest_redelivery(endpoint: Endpoint) -> Redelivery | None:
    return Redelivery.objects.filter(endpoint=endpoint).order_by("-id").first()


def _told(plan: Redelivery) -> dict[str, Any]:
    names = ("what", "delivery_state", "event_type", "session_id", "from_event", "to_event", "rate", "total")
    return {name: str(getattr(plan, name)) for name in names if getattr(plan, name) != ""}


def _check(selection: Selection, rate: int) -> None:
    if selection.what not in What.values:
        raise EndpointError("what", "what_unknown", f"what is one of {', '.join(What.values)}.")
    if selection.delivery_state and selection.delivery_state not in Delivery.State.values:
        states = ", ".join(Delivery.State.values)
        raise EndpointError("delivery_state", "delivery_state_unknown", f"delivery_state is one of {states}.")
    if selection.delivery_state and selection.what == What.MISSED:
        raise EndpointError("delivery_state", "delivery_state_of_missed", "What was missed has no delivery yet.")
    if selection.event_type and selection.event_type not in EVENT_TYPES:
        raise EndpointError("event_type", "event_type_unknown", f"There is no event type {selection.event_type[:40]}.")
    if len(selection.session_id) > 128 or "\0" in selection.session_id:
        raise EndpointError("session_id", "session_id_malformed", "A session id has at most 128 characters.")
    if not 1 <= rate <= RATE_MAX:
        raise EndpointError("rate", "rate_out_of_range", f"The rate is from 1 to {RATE_MAX} a second.")


def _bounds(endpoint: Endpoint, selection: Selection) -> tuple[int, int]:
    """The ids it reaches from and to. What was missed begins at the switching off, when nothing else is said."""
    span = log.span()
    first = max(span.first, selection.from_event or 0)
    last = span.last if selection.to_event is None else min(span.last, selection.to_event)
    unbounded = selection.from_time is None and selection.from_event is None
    if selection.what == What.MISSED and unbounded and endpoint.missed_after is not None:
        first = max(first, endpoint.missed_after + 1)
    if selection.from_time is not None:
        found = Event.objects.filter(written_at__gte=selection.from_time).aggregate(first=Min("id"))["first"]
        first = max(first, span.last + 1 if found is None else found)
    if selection.to_time is not None:
        found = Event.objects.filter(written_at__lte=selection.to_time).aggregate(last=Max("id"))["last"]
        last = min(last, 0 if found is None else found)
    return first, last


# --- What is still to be sent -----------------------------------------------------------------------------------


def _remaining(redelivery: Redelivery) -> "QuerySet[Delivery] | QuerySet[Event]":
    return _missed(redelivery) if redelivery.what == What.MISSED else _sent(redelivery)


def _missed(redelivery: Redelivery) -> "QuerySet[Event]":
    found = missed(redelivery.endpoint, after=redelivery.last_event).filter(id__lte=redelivery.to_event)
    if redelivery.event_type:
        found = found.filter(type=redelivery.event_type)
    if redelivery.session_id:
        found = found.filter(session_id=redelivery.session_id)
    return found


def _sent(redelivery: Redelivery) -> "QuerySet[Delivery]":
    """A delivery that has not been tried yet goes out anyway."""
    found = Delivery.objects.filter(
        endpoint=redelivery.endpoint_id, event__gt=redelivery.last_event, event__lte=redelivery.to_event
    ).exclude(state=Delivery.State.PENDING, attempts_made=0)
    if redelivery.what == What.UNACKNOWLEDGED:
        found = found.exclude(state=Delivery.State.DELIVERED)
    if redelivery.delivery_state:
        found = found.filter(state=redelivery.delivery_state)
    if redelivery.event_type:
        found = found.filter(event__type=redelivery.event_type)
    if redelivery.session_id:
        found = found.filter(session_id=redelivery.session_id)
    return found.order_by("event_id")


# --- Releasing --------------------------------------------------------------------------------------------------


def running_redeliveries() -> "QuerySet[Redelivery]":
    return Redelivery.objects.filter(state=Redelivery.State.RUNNING).order_by("id")


def release(redelivery_id: int, now: datetime) -> int:
    """Gives the next ones their due time, and says how many; none while the endpoint is off or lags behind."""
    with transaction.atomic():
        running = running_redeliveries().select_for_update(skip_locked=True, of=("self",))
        redelivery = running.select_related("endpoint").filter(pk=redelivery_id).first()
        if redelivery is None or not redelivery.endpoint.enabled or _lags(redelivery, now):
            return 0
        start = max(redelivery.released_until, now)
        step = timedelta(seconds=1 / redelivery.rate)
        room = int((now + AHEAD - start) / step)
        if room <= 0:
            return 0
        released, last = _release(redelivery, start, step, room, now)
        redelivery.done += released
        redelivery.last_event = last
        redelivery.released_until = start + released * step
        if last >= redelivery.to_event:
            redelivery.state = Redelivery.State.DONE
            redelivery.finished_at = now
            _forget_missed(redelivery.endpoint)
        redelivery.save(update_fields=["done", "last_event", "released_until", "state", "finished_at"])
    return released


def prune_finished(*, before: datetime, batch: int = 1000) -> int:
    """Removes those that ended before a moment; at most `batch`, so call it again."""
    ended = Redelivery.objects.filter(finished_at__lt=before).order_by("id")
    ids = list(ended.values_list("id", flat=True)[:batch])
    Redelivery.objects.filter(pk__in=ids).delete()
    return len(ids)


def offers_missed(endpoint: Endpoint) -> bool:
    """Whether its page should offer to send what passed it by: not while that is under way."""
    return (
        endpoint.enabled
        and endpoint.missed_after is not None
        and not (running_redeliveries().filter(endpoint=endpoint, what=What.MISSED).exists())
    )


def _forget_missed(endpoint: Endpoint) -> None:
    """Once nothing is left of it, whichever selections sent it; what one of them left out stays on offer."""
    on = live_endpoints().select_for_update(no_key=True).filter(pk=endpoint.pk, enabled=True).first()
    if on is not None and on.missed_after is not None and not missed(on, after=on.missed_after).exists():
        Endpoint.objects.filter(pk=on.pk).update(missed_since=None, missed_after=None)


def _lags(redelivery: Redelivery, now: datetime) -> bool:
    """The receiver is slower than the rate: more would only queue before what is live."""
    most = max(100, int(redelivery.rate * AHEAD.total_seconds()))
    due = Delivery.objects.filter(endpoint=redelivery.endpoint_id, next_attempt_at__lte=now, replay=True)
    return due.order_by()[:most].count() >= most


def _release(redelivery: Redelivery, start: datetime, step: timedelta, room: int, now: datetime) -> tuple[int, int]:
    """How many were released, and the event up to which nothing is left."""
    if redelivery.what == What.MISSED:
        events = list(_missed(redelivery).only("id", "session_id")[:room])
        due = {event.pk: start + n * step for n, event in enumerate(events)}
        _send_missed(redelivery.endpoint, events, due, now)
        return len(events), events[-1].pk if len(events) == room else redelivery.to_event
    found = list(_sent(redelivery).values_list("id", "event_id")[:room])
    released = send_again(
        {pk: start + n * step for n, (pk, _) in enumerate(found)}, now,
        but_acknowledged=redelivery.what == What.UNACKNOWLEDGED,
    )  # fmt: skip
    return released, int(found[-1][1] or 0) if len(found) == room else redelivery.to_event


def _send_missed(endpoint: Endpoint, events: list[Event], due: dict[int, datetime], now: datetime) -> None:
    """An event that has a delivery, which ended in vain, keeps it; the others get one."""
    ended = dict(Delivery.objects.filter(endpoint=endpoint, event__in=due).values_list("event", "id"))
    send_again({pk: due[event] for event, pk in ended.items() if event is not None}, now)
    Delivery.objects.bulk_create(
        Delivery(
            endpoint=endpoint, event=event, session_id=event.session_id, replay=True, profile=endpoint.profile,
            created_at=now, started_at=due[event.pk], next_attempt_at=due[event.pk],
        )
        for event in events
        if event.pk not in ended
    )  # fmt: skip
