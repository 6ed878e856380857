"""The one way in for what a switch tells: each event finds its tenant, waits for its call, or goes to quarantine.

An event is answered with what became of it; none is ever lost, and a bad one never takes its neighbours along.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from django.utils import timezone

from cdr import callevent_json, calls
from cdr.callevents import CallEvent, CallStarted, SessionMerged
from pbx import held, quarantine
from pbx.http import bodies
from pbx.models import Quarantined
from pbx.quarantine import Reject
from pbx.routes import CONFLICT, Refusal, Route, TenantFinder, claim, open_tenant, routes_of
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema

log = structlog.get_logger(__name__)

MOST_AHEAD = timedelta(minutes=5)  # so far a switch's clock may be ahead of ours
NEVER_STARTED = Refusal("call_not_started", "Its call.started never came.")
IN_FUTURE = Refusal("time_in_future", "It is dated more than 5 minutes in the future: check the clock of the switch.")
TOO_MANY_HELD = Refusal(
    "too_many_held",
    "Its call.started has not come, and too many events wait for theirs. It was not kept: send it again.",
)
BROKEN = Refusal("not_applicable", "It could not be applied. The log says why.")
_SEEN_EVERY = timedelta(seconds=5)
_DEADLOCK_OR_SERIALIZATION = frozenset({"40P01", "40001"})
_TRIES = 3
_SWEPT_AT_ONCE = 1_000

Status = Literal["applied", "held", "duplicate", "rejected"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one event or document; code and message only when it was rejected."""

    id: str
    status: Status
    code: str = ""
    message: str = ""


def take(switch: Switch, events: Sequence[CallEvent]) -> list[Result]:
    """Takes events in the order in which they came, and answers for each in the same order."""
    results = _keep_rejected(switch, events, settle(switch, events))
    note_seen(switch)
    return results


def take_documents(switch: Switch, documents: Sequence[Any]) -> list[Result]:
    """The same for events as JSON objects; one that cannot be read is kept as it is."""
    results: dict[int, Result] = {}
    readable: list[tuple[int, CallEvent]] = []
    unreadable: dict[int, Reject] = {}
    for index, document in enumerate(documents):
        try:
            readable.append((index, callevent_json.read(document)))
        except callevent_json.CallEventError as error:
            event_id, session_id = _named(document, "id"), _named(document, "session_id")
            results[index] = Result(event_id, "rejected", error.code, error.message)
            refusal = Refusal(error.code, error.message)
            unreadable[index] = Reject(
                Quarantined.Kind.EVENT, bodies.written(document), refusal, session_id=session_id, event_id=event_id
            )
    if unreadable:
        kept = quarantine.keep(switch.pk, list(unreadable.values()))
        for index, is_kept in zip(unreadable, kept, strict=True):
            results[index] = results[index] if is_kept else not_kept(results[index])
    taken = take(switch, [event for _, event in readable])
    results |= {index: result for (index, _), result in zip(readable, taken, strict=True)}
    return [results[index] for index in range(len(documents))]


def settle(switch: Switch, events: Sequence[CallEvent], *, may_wait: bool = True) -> list[Result]:
    """Applies what can be applied. Rejected ones are only answered for: keeping them is the caller's part.

    With `may_wait` off an event whose call has not started is rejected instead of being held.
    """
    places = _places(switch, events, timezone.now() + MOST_AHEAD)
    results: dict[int, Result] = {}
    by_tenant: dict[int, tuple[Tenant, list[int]]] = {}
    early: list[int] = []
    for index, (event, place) in enumerate(zip(events, places, strict=True)):
        if isinstance(place, Refusal):
            results[index] = _refused(event, place)
        elif place is None:
            early.append(index)
        else:
            by_tenant.setdefault(place.pk, (place, []))[1].append(index)
    for tenant, indexes in by_tenant.values():
        applied = _apply(switch, tenant, [events[index] for index in indexes])
        results |= dict(zip(indexes, applied, strict=True))
    if early:
        waiting = [events[index] for index in early]
        answered = _hold(switch, waiting) if may_wait else [_refused(event, NEVER_STARTED) for event in waiting]
        results |= dict(zip(early, answered, strict=True))
    return [results[index] for index in range(len(events))]


def sweep_held(now: datetime, *, patience: timedelta) -> int:
    """Applies what was overtaken by its call's start, and gives up what has waited too long. Returns how many left."""
    left = 0
    for switch_id, session_id in held.overtaken(_SWEPT_AT_ONCE):
        if (switch := Switch.objects.filter(pk=switch_id).first()) is not None:
            left += _release(switch, session_id)
    for switch_id in held.switches_with_expired(now - patience):
        with transaction.atomic():
            most = min(_SWEPT_AT_ONCE, quarantine.room(switch_id))  # what finds no room there goes on waiting here
            expired = held.take_expired(switch_id, now - patience, most) if most > 0 else []
            quarantine.keep(switch_id, [_reject(event, NEVER_STARTED) for event in expired], was_promised=True)
        left += len(expired)
    return left


# --- Where an event belongs --------------------------------------------------------------------------------


def _places(switch: Switch, events: Sequence[CallEvent], latest: datetime) -> list[Tenant | Refusal | None]:
    """Each event's tenant, or why it has none; None when its call has not started."""
    into = {event.into for event in events if isinstance(event, SessionMerged)}
    routes = routes_of({event.session_id for event in events} | into)
    finder = TenantFinder()
    finder.learn(route.tenant_id for route in routes.values() if route.switch_id == switch.pk)
    started: dict[str, Tenant | Refusal] = {}
    places: list[Tenant | Refusal | None] = [None] * len(events)
    for index, event in enumerate(events):
        if event.at > latest:
            places[index] = IN_FUTURE
        elif isinstance(event, CallStarted):
            known = routes.get(event.session_id)
            place = _place_of_start(switch, event, finder, known)
            first = started.setdefault(event.session_id, place)
            places[index] = place if _same(first, place) else CONFLICT
    homeless: list[int] = []
    for index, event in enumerate(events):
        if places[index] is not None:
            continue
        if isinstance(event, SessionMerged) and event.into not in routes and event.into not in started:
            continue  # it waits for the session that goes on
        if (route := routes.get(event.session_id)) is not None:
            places[index] = _place_by_route(switch, finder, route)
        elif event.session_id in started:
            places[index] = started[event.session_id]
        else:
            homeless.append(index)
    if homeless:
        refused = quarantine.waiting_starts(switch.pk, {events[index].session_id for index in homeless})
        for index in homeless:
            places[index] = refused.get(events[index].session_id)
    return places


def _place_of_start(switch: Switch, event: CallStarted, finder: TenantFinder, route: Route | None) -> Tenant | Refusal:
    found = finder.at(event.domain, event.did, event.trunk)
    if route is None:
        return open_tenant(found)
    if found is not None and found.pk != route.tenant_id:
        return CONFLICT
    return _place_by_route(switch, finder, route)


def _place_by_route(switch: Switch, finder: TenantFinder, route: Route) -> Tenant | Refusal:
    return open_tenant(finder.by_id(route.tenant_id)) if route.switch_id == switch.pk else CONFLICT


def _same(first: Tenant | Refusal, second: Tenant | Refusal) -> bool:
    return isinstance(first, Refusal) or isinstance(second, Refusal) or first.pk == second.pk


# --- Into the tenant ---------------------------------------------------------------------------------------


def _apply(switch: Switch, tenant: Tenant, events: Sequence[CallEvent]) -> list[Result]:
    """One transaction for all of them; only when it fails each goes by itself, so that the bad one is found."""
    with in_schema(tenant.schema_name):
        try:
            return _apply_with_patience(switch, tenant, events)
        except OperationalError:
            raise  # the database is away or overloaded: no event is to blame, the switch sends them again
        except Exception:  # whatever one event did must not reach its neighbours
            if len(events) == 1:
                log.exception("event not applied", tenant=tenant.schema_name, session_id=events[0].session_id)
                return [_refused(events[0], BROKEN)]
            log.warning("events are applied one by one", tenant=tenant.schema_name, events=len(events), exc_info=True)
    starts_first = sorted(range(len(events)), key=lambda index: not isinstance(events[index], CallStarted))
    alone = {index: _apply(switch, tenant, [events[index]])[0] for index in starts_first}
    return [alone[index] for index in range(len(events))]


def _apply_with_patience(switch: Switch, tenant: Tenant, events: Sequence[CallEvent]) -> list[Result]:
    for left in reversed(range(_TRIES)):
        try:
            return _apply_together(switch, tenant, events)
        except OperationalError as error:
            if not left or getattr(error.__cause__, "sqlstate", None) not in _DEADLOCK_OR_SERIALIZATION:
                raise
    raise AssertionError("unreachable")


def _apply_together(switch: Switch, tenant: Tenant, events: Sequence[CallEvent]) -> list[Result]:
    starts = {event.session_id for event in events if isinstance(event, CallStarted)}
    with transaction.atomic():
        routes = claim(switch.pk, tenant.pk, starts)
        foreign = {session_id for session_id, route in routes.items() if route != Route(switch.pk, tenant.pk)}
        early = held.take_back(switch.pk, starts - foreign)
        own = [event for event in events if event.session_id not in foreign]
        outcomes = calls.apply(tenant, switch.pk, [*own, *early])
        late_rejects = [
            _reject(event, Refusal(outcome.code, outcome.message))
            for event, outcome in zip(early, outcomes[len(own) :], strict=True)
            if outcome.status == "rejected"
        ]
        if late_rejects:
            quarantine.keep(switch.pk, late_rejects, was_promised=True)
    answers = iter(outcomes)
    return [
        _refused(event, CONFLICT) if event.session_id in foreign else _result(event, next(answers)) for event in events
    ]


def _hold(switch: Switch, events: Sequence[CallEvent]) -> list[Result]:
    started = routes_of({event.session_id for event in events})
    fresh, known = held.hold(switch.pk, events, started, most=settings.QUARANTINE_MAX)
    # The call may have started, by another request, while these were laid aside.
    for session_id in routes_of({held.awaited(event, started) for event in events}):
        _release(switch, session_id)
    results = []
    for event in events:
        if event.id in fresh:
            results.append(Result(event.id, "held"))
            fresh.discard(event.id)
            known.add(event.id)
        else:
            results.append(Result(event.id, "duplicate") if event.id in known else _refused(event, TOO_MANY_HELD))
    if any(result.status == "rejected" for result in results):
        log.error("too many events held", switch=switch.name, held=settings.QUARANTINE_MAX)
    return results


def _release(switch: Switch, session_id: str) -> int:
    """Applies what waits for a session that has started meanwhile."""
    with transaction.atomic():
        events = held.take_back(switch.pk, [session_id])
        _keep_rejected(switch, events, settle(switch, events), was_promised=True)
    return len(events)


# --- Answers -----------------------------------------------------------------------------------------------


def note_seen(switch: Switch) -> None:
    now = timezone.now()
    if switch.last_event_at is None or now - switch.last_event_at > _SEEN_EVERY:
        Switch.objects.filter(pk=switch.pk).update(last_event_at=now)
        switch.last_event_at = now


def _result(event: CallEvent, outcome: calls.Outcome) -> Result:
    return Result(event.id, outcome.status, outcome.code, outcome.message)


def _refused(event: CallEvent, refusal: Refusal) -> Result:
    return Result(event.id, "rejected", refusal.code, refusal.message)


def _keep_rejected(
    switch: Switch, events: Sequence[CallEvent], results: Sequence[Result], *, was_promised: bool = False
) -> list[Result]:
    """The results as they are told: of what could not be kept they say so."""
    rejects = {
        index: _reject(event, Refusal(result.code, result.message))
        for index, (event, result) in enumerate(zip(events, results, strict=True))
        if result.status == "rejected" and result.code != TOO_MANY_HELD.code
    }
    if not rejects:
        return list(results)
    log.warning("events quarantined", switch=switch.name, **Counter(each.refusal.code for each in rejects.values()))
    kept = quarantine.keep(switch.pk, list(rejects.values()), was_promised=was_promised)
    lost = {index for index, is_kept in zip(rejects, kept, strict=True) if not is_kept}
    return [not_kept(result) if index in lost else result for index, result in enumerate(results)]


def not_kept(result: Result) -> Result:
    told = quarantine.not_kept(Refusal(result.code, result.message))
    return Result(result.id, "rejected", told.code, told.message)


def _reject(event: CallEvent, refusal: Refusal) -> Reject:
    raw = held.written(event).encode()
    return Reject(Quarantined.Kind.EVENT, raw, refusal, session_id=event.session_id, event_id=event.id)


def _named(document: Any, name: str) -> str:
    """An id as far as it can be told, for the answer and the list; what is odd about it is in the raw form."""
    value = document.get(name) if isinstance(document, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else "\ufffd" for char in value)[: callevent_json.ID_MAX]
