"""The verbs on calls: apply what a switch tells, write the record when a call ended, correct it when more is told.

All of them work inside one tenant's schema and inside the caller's transaction.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import orjson
import structlog
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from cdr import callevent_json, ledger, progress
from cdr.callevents import CallEnded, CallEvent, CallStarted, PartyKind, SessionMerged
from cdr.models import CDR, CallEventRow, Direction, LiveSession
from cdr.records import direction_of, extensions_of, record_of
from cdr.session import Session, fold
from events.log import Draft, append
from tenants.models import Tenant

log = structlog.get_logger(__name__)

KEEP_ENDED = timedelta(hours=24)  # so long a late event can still correct a record
_REAP_AT_ONCE = 500
_ADVANCE = (
    "UPDATE cdr_livesession SET caller = %s, callee = %s, direction = %s, answered_time = %s, ended_time = %s,"
    " last_event_at = %s, merged_into = %s, incomplete = %s, extensions = %s, call_ids = %s"
    " WHERE session_id = %s"
)

Listener = Callable[[Tenant, int, Sequence[Session], Sequence[CallEvent]], None]

# The recordings room listens here: called with the sessions that events changed, and with the events that are new,
# in the same transaction; an event may name a session that was merged into one of these (`Session.merged`).
listeners: list[Listener] = []


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event; code and message only when it was rejected."""

    status: Literal["applied", "duplicate", "rejected"]
    code: str = ""
    message: str = ""


APPLIED = Outcome("applied")
DUPLICATE = Outcome("duplicate")
CLOSED = Outcome(
    "rejected", "session_closed", "This session is not open: it ended long ago, or its call.started was never applied."
)
BEFORE_START = Outcome("rejected", "times_reversed", "It is dated before the start of its call.")
_CLOCKS_DIFFER = timedelta(seconds=5)  # so far an event may be dated before its call's start


def apply(tenant: Tenant, switch_id: int, events: Sequence[CallEvent]) -> list[Outcome]:
    """Takes events of one switch for sessions of this tenant, and answers for each in the same order."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Call events are applied in a transaction.")
    _open_sessions(switch_id, events)
    live = _lock({event.session_id for event in events} | {e.into for e in events if isinstance(e, SessionMerged)})
    refused = {index: refusal for index, event in enumerate(events) if (refusal := _admit(event, live))}
    stored = _store(switch_id, [(i, event) for i, event in enumerate(events) if i not in refused])
    changed = {_root(live, events[index].session_id) for index in stored}
    if changed:
        _settle(tenant, switch_id, live, changed, [events[index] for index in sorted(stored)])
    return [refused.get(index) or (APPLIED if index in stored else DUPLICATE) for index in range(len(events))]


def _open_sessions(switch_id: int, events: Iterable[CallEvent]) -> None:
    """A row for each session that starts here; not for one whose record stands already and whose events are gone."""
    first: dict[str, CallStarted] = {}
    for event in events:
        if isinstance(event, CallStarted):
            first.setdefault(event.id, event)
    if not first:
        return
    # A start under an id that stands already is a repeat: it opens nothing.
    known = CallEventRow.objects.filter(switch_id=switch_id, event_id__in=first).values_list("event_id", flat=True)
    repeated = set(known)
    started: dict[str, CallStarted] = {}
    for event_id, event in first.items():
        if event_id not in repeated:
            started.setdefault(event.session_id, event)
    recorded = set(CDR.objects.filter(session_id__in=started).values_list("session_id", flat=True))
    opened = sorted((session_id, event) for session_id, event in started.items() if session_id not in recorded)
    LiveSession.objects.bulk_create(
        [
            LiveSession(
                session_id=session_id,
                switch_id=switch_id,
                caller=event.caller.number,
                callee=event.callee.number,
                direction=Direction.INTERNAL,
                start_time=event.at,
                cdr_id=cdr_id,
            )
            for cdr_id, (session_id, event) in zip(ledger.take_cdr_ids(len(opened)), opened, strict=True)
        ],
        ignore_conflicts=True,
    )


def _lock(session_ids: set[str]) -> dict[str, LiveSession]:
    """The sessions and all merged with them, locked in one order so that no two callers wait for each other."""
    wanted = set(session_ids)
    while True:
        related = LiveSession.objects.filter(Q(session_id__in=wanted) | Q(merged_into__in=wanted))
        closure = {each for pair in related.values_list("session_id", "merged_into") for each in pair if each}
        if closure <= wanted:
            break
        wanted |= closure
    rows = LiveSession.objects.select_for_update().filter(session_id__in=wanted).order_by("session_id")
    live = {row.session_id: row for row in rows}
    if any(row.merged_into and row.merged_into not in wanted for row in live.values()):
        return _lock(wanted | {row.merged_into for row in live.values() if row.merged_into})
    return live


def _root(live: dict[str, LiveSession], session_id: str) -> str:
    while live[session_id].merged_into:
        session_id = live[session_id].merged_into
    return session_id


def _admit(event: CallEvent, live: dict[str, LiveSession]) -> Outcome | None:
    """Why the event cannot be taken, or None; an admitted merge counts at once for the events after it."""
    if event.session_id not in live:
        return CLOSED
    if event.at < live[event.session_id].start_time - _CLOCKS_DIFFER:
        return BEFORE_START
    if not isinstance(event, SessionMerged) or live[event.session_id].merged_into == event.into:
        return None
    if event.into not in live:
        return Outcome("rejected", "unknown_session", f"There is no session {event.into!r} to merge into.")
    if _root(live, event.into) == _root(live, event.session_id):
        return Outcome("rejected", "bad_value", "A session cannot be merged into itself.")
    live[event.session_id].merged_into = event.into
    return None


def _store(switch_id: int, events: Sequence[tuple[int, CallEvent]]) -> set[int]:
    """Keeps the events that are new and returns their indexes; a key that stands already is a duplicate."""
    first: dict[str, tuple[int, CallEvent]] = {}
    for index, event in events:
        first.setdefault(event.id, (index, event))
    if not first:
        return set()
    ids = list(first)
    # One text with separators, which JSON never holds raw, spares psycopg the escaping of an array of texts.
    bodies = b"\x1e".join(orjson.dumps(callevent_json.write(event)) for _, event in first.values()).decode()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cdr_calleventrow (switch_id, event_id, session_id, body)"
            " SELECT %s, event_id, session_id, body"
            " FROM unnest(%s::text[], %s::text[], string_to_array(%s, E'\\x1e')) WITH ORDINALITY"
            " AS given (event_id, session_id, body, place)"
            " ORDER BY place ON CONFLICT (switch_id, event_id) DO NOTHING RETURNING event_id",
            [switch_id, ids, [event.session_id for _, event in first.values()], bodies],
        )
        return {first[event_id][0] for (event_id,) in cursor.fetchall()}


def _settle(
    tenant: Tenant, switch_id: int, live: dict[str, LiveSession], roots: set[str], told: Sequence[CallEvent]
) -> None:
    members: dict[str, list[str]] = defaultdict(list)
    for session_id in live:
        if (root := _root(live, session_id)) in roots:
            members[root].append(session_id)
    events = events_of(session_id for group in members.values() for session_id in group)
    changed: list[Session] = []
    finished: list[Session] = []
    corrected: list[Session] = []
    for root, group in members.items():
        session = fold((event for session_id in group for event in events.get(session_id, ())), root)
        if session is None:
            continue
        if session.is_ended:
            (corrected if live[root].ended_time else finished).append(session)
        _advance(live, group, session)
        changed.append(session)
    absorbed = [session_id for group in members.values() for session_id in group if live[session_id].merged_into]
    _save(live, [session_id for group in members.values() for session_id in group])
    # Before anything is told: whoever else changes a record locks it first, and the tenant's counter after it.
    ledger.lock([*absorbed, *(each.session_id for each in corrected)])
    for listener in listeners:
        listener(tenant, switch_id, changed, told)
    wanted = frozenset(tenant.event_types).intersection(progress.TYPES)
    if not (absorbed or finished or corrected or wanted):
        return
    terms = ledger.terms_of(tenant)
    records = [record_of(each, sip_domain=terms.sip_domain, rates=terms.rates) for each in (*finished, *corrected)]
    if wanted:
        append(
            list(_progress(tenant, live, {each.session_id: each for each in changed}, told, terms.sip_domain, wanted))
        )
    if absorbed:
        ledger.delete(tenant, absorbed)  # ended before its merge was told
    ledger.write(tenant, switch_id, records[: len(finished)], {each: live[each].cdr_id for each in roots})
    ledger.correct(tenant, switch_id, records[len(finished) :])


def _progress(
    tenant: Tenant,
    live: dict[str, LiveSession],
    sessions: dict[str, Session],
    told: Sequence[CallEvent],
    sip_domain: str,
    wanted: frozenset[str],
) -> Iterator[Draft]:
    """What the tenant wants to hear of a call while it lasts, in the order in which the switch told it."""
    for event in told:
        session = sessions.get(_root(live, event.session_id))
        if session is None:
            continue
        cdr_id = live[session.session_id].cdr_id
        message = progress.message_of(event, session, cdr_id=cdr_id, tenant=tenant, sip_domain=sip_domain)
        if message and message["event_type"] in wanted:
            yield Draft(message["event_type"], session.session_id, timezone.now(), message)


def _advance(live: dict[str, LiveSession], group: Sequence[str], session: Session) -> None:
    row = live[session.session_id]
    row.caller, row.callee = session.caller.number, session.started.callee.number
    row.direction = direction_of(session)
    row.answered_time, row.ended_time, row.incomplete = session.answered_time, session.ended_time, session.incomplete
    row.extensions, row.call_ids = extensions_of(session), session.call_ids()
    row.last_event_at = now = timezone.now()
    for session_id in group:
        if live[session_id].merged_into and live[session_id].ended_time is None:
            live[session_id].ended_time = now


def _save(live: dict[str, LiveSession], session_ids: Sequence[str]) -> None:
    rows = [live[session_id] for session_id in session_ids]
    with connection.cursor() as cursor:
        cursor.executemany(
            _ADVANCE,
            [
                (
                    row.caller,
                    row.callee,
                    str(row.direction),
                    row.answered_time,
                    row.ended_time,
                    row.last_event_at,
                    row.merged_into,
                    row.incomplete,
                    orjson.dumps(row.extensions).decode(),
                    orjson.dumps(row.call_ids).decode(),
                    row.session_id,
                )
                for row in rows
            ],
        )


def events_of(session_ids: Iterable[str]) -> dict[str, list[CallEvent]]:
    """The events kept of each session, in the order in which they arrived."""
    found: dict[str, list[CallEvent]] = defaultdict(list)
    rows = CallEventRow.objects.filter(session_id__in=list(session_ids)).order_by("id")
    for session_id, body in rows.values_list("session_id", "body"):
        found[session_id].append(callevent_json.read(orjson.loads(body)))
    return found


def root_of(session_id: str) -> str:
    """The session as which this one goes on; itself when it was merged into none."""
    while into := LiveSession.objects.filter(session_id=session_id).values_list("merged_into", flat=True).first():
        session_id = into
    return session_id


def sessions_now(session_ids: Sequence[str]) -> list[Session]:
    """Sessions in progress (or ended within KEEP_ENDED) with all their legs, in the order of their ids given."""
    merged: dict[str, list[str]] = defaultdict(list)
    root = {session_id: session_id for session_id in session_ids}
    found = list(session_ids)
    while found:
        absorbed = LiveSession.objects.filter(merged_into__in=found).order_by("session_id")
        pairs = list(absorbed.values_list("merged_into", "session_id"))
        for into, session_id in pairs:
            root[session_id] = root[into]
            merged[root[into]].append(session_id)
        found = [session_id for _, session_id in pairs]
    events = events_of([*session_ids, *(each for group in merged.values() for each in group)])
    folded = (
        fold((event for each in (session_id, *merged[session_id]) for event in events.get(each, ())), session_id)
        for session_id in session_ids
    )
    return [session for session in folded if session is not None]


def sessions_in_progress() -> QuerySet[LiveSession]:
    """Calls that have not ended, newest first."""
    return LiveSession.objects.filter(ended_time=None).order_by("-start_time", "session_id")


def look_again(tenant: Tenant, session_ids: Sequence[str]) -> None:
    """Has the listeners look at calls in progress once more, when something else than the call changed."""
    live = _lock(set(session_ids))
    by_switch: dict[int, list[str]] = defaultdict(list)
    for session_id, row in live.items():
        if row.ended_time is None and not row.merged_into:
            by_switch[row.switch_id].append(session_id)
    for switch_id, ids in by_switch.items():
        sessions = sessions_now(ids)
        for listener in listeners:
            listener(tenant, switch_id, sessions, ())


def session_with_call_id(call_id: str, extension: str = "") -> str | None:
    """The call in progress that has a SIP dialog of this Call-ID.

    Whoever calls makes it up, and may take somebody else's. Of several calls it is the one in which the extension is
    connected by that very dialog, else connected at all, else the newest.
    """
    rows = sessions_in_progress().filter(call_ids__contains=[call_id], merged_into="")
    ids = rows.values_list("session_id", flat=True)
    found = list(ids[:2])
    if len(found) < 2:
        return found[0] if found else None
    candidates = sessions_now(list(ids.filter(extensions__contains=[extension])))
    nearest = max(candidates, key=lambda session: _nearness(session, call_id, extension), default=None)
    return nearest.session_id if nearest else found[0]


def _nearness(session: Session, call_id: str, extension: str) -> int:
    """2: the extension is connected by the dialog of that Call-ID; 1: by another one; 0: it is not."""
    if extension not in {party.number for party in session.connected_parties() if party.kind is PartyKind.EXTENSION}:
        return 0
    callers = [] if session.caller_left else [(session.caller.number, session.call_id)]
    dialogs = [*callers, *((leg.callee.number, leg.call_id) for leg in session.legs.values() if leg.is_connected)]
    return 2 if (extension, call_id) in dialogs else 1


def close_lost_sessions(tenant: Tenant, switch_id: int, session_ids: Sequence[str], at: datetime | None = None) -> int:
    """Closes sessions whose end nobody saw, marked incomplete: at the time given, else when they were last heard of."""
    events = events_of(session_ids)
    ends = [
        CallEnded(
            id=f"lost:{hashlib.sha256(session_id.encode()).hexdigest()}",
            session_id=session_id,
            at=at or max(event.at for event in told),
            incomplete=True,
        )
        for session_id, told in events.items()
    ]
    applied = sum(outcome is APPLIED for outcome in apply(tenant, switch_id, ends)) if ends else 0
    if applied:
        log.warning("sessions closed as incomplete", tenant=tenant.schema_name, sessions=applied)
    return applied


def close_silent_sessions(tenant: Tenant, silent_since: datetime) -> int:
    """The reaper: closes what has told nothing since then."""
    silent = sessions_in_progress().filter(last_event_at__lt=silent_since).values_list("switch_id", "session_id")
    by_switch: dict[int, list[str]] = defaultdict(list)
    for switch_id, session_id in silent[:_REAP_AT_ONCE]:
        by_switch[switch_id].append(session_id)
    return sum(close_lost_sessions(tenant, switch_id, ids) for switch_id, ids in by_switch.items())


def forget_ended_sessions(before: datetime) -> int:
    """Drops the events of sessions that ended before then, with those merged into them; their records stay."""
    ended = LiveSession.objects.filter(ended_time__lt=before, merged_into="")
    old = merged = list(ended.values_list("session_id", flat=True)[:_REAP_AT_ONCE])
    while merged := list(LiveSession.objects.filter(merged_into__in=merged).values_list("session_id", flat=True)):
        old += merged
    CallEventRow.objects.filter(session_id__in=old).delete()
    LiveSession.objects.filter(session_id__in=old).delete()
    return len(old)
