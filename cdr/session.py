"""A session as its events tell it. The fold is pure and starts from all events, ordered by time, so that an event that
comes late or out of order needs no rule of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from cdr.callevents import (
    CALLER_LEG,
    CallEnded,
    CallerLeft,
    CallEvent,
    CallStarted,
    CallType,
    EndReason,
    MediaChanged,
    Medium,
    Party,
    PartyHeld,
    PartyKind,
    PartyUnheld,
    PartyUpdated,
    SessionMerged,
    TargetAdded,
    TargetAnswered,
    TargetEnded,
    TargetRinging,
)

# Among events of one instant: what opens comes before what closes. The rest keeps the order in which it arrived.
_RANK: dict[type[CallEvent], int] = {
    CallStarted: 0,
    TargetAdded: 1,
    TargetRinging: 2,
    TargetAnswered: 3,
    TargetEnded: 5,
    CallerLeft: 6,
    SessionMerged: 7,
    CallEnded: 9,
}
_OTHERWISE = 4


@dataclass(slots=True)
class Leg:
    """A target: a device, IVR, queue, agent or trunk that was tried. Times are None when it never happened."""

    target_id: str
    callee: Party
    caller: Party
    start_time: datetime
    destination: str = ""
    call_type: CallType = CallType.NORMAL
    trunk: str = ""
    outbound_caller_id: str = ""
    call_id: str = ""
    ring_time: datetime | None = None
    answered_time: datetime | None = None
    ended_time: datetime | None = None
    end_reason: EndReason | None = None
    status_code: int | None = None
    held: list[tuple[datetime, datetime | None]] = field(default_factory=list)

    @property
    def is_connected(self) -> bool:
        return self.answered_time is not None and self.ended_time is None


LegKey = tuple[str, str]  # session_id and target_id: two sessions that are merged may use the same target_id


@dataclass(slots=True)
class Session:
    """One call with all its legs, as far as its events tell it."""

    session_id: str
    started: CallStarted
    caller: Party
    legs: dict[LegKey, Leg] = field(default_factory=dict)
    media: frozenset[Medium] = frozenset()
    caller_left: EndReason | None = None
    caller_left_time: datetime | None = None
    call_id: str = ""  # of the caller's dialog
    caller_held: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    ended_time: datetime | None = None
    ended_reason: EndReason | None = None
    status_code: int | None = None
    merged_into: str = ""
    merged: list[str] = field(default_factory=list)  # the sessions that this one took in
    incomplete: bool = False

    @property
    def is_ended(self) -> bool:
        return self.ended_time is not None

    @property
    def answered_time(self) -> datetime | None:
        return min((leg.answered_time for leg in self.legs.values() if leg.answered_time), default=None)

    def leg_of(self, session_id: str, target_id: str) -> Leg | None:
        """The leg that an event of that session means."""
        return _leg(self.legs, session_id, target_id)

    def call_ids(self) -> list[str]:
        """The SIP Call-IDs of the legs that are in the call, as far as the switch told them."""
        callers = [] if self.caller_left else [self.call_id]
        return sorted({*callers, *(leg.call_id for leg in self.legs.values() if leg.ended_time is None)} - {""})

    def connected_parties(self) -> list[Party]:
        """Who is in the call now: the caller once answered and until it leaves, and every answered target."""
        connected = [leg.callee for leg in self.legs.values() if leg.is_connected]
        if connected and self.caller_left is None:
            return [self.caller, *connected]
        return connected


def fold(events: Iterable[CallEvent], session_id: str) -> Session | None:
    """The session `session_id` out of its events and those of the sessions merged into it, in the order they arrived.

    None when its `call.started` is not among them.
    """
    arrived = list(events)
    ordered = sorted(arrived, key=lambda event: (event.at, _RANK.get(type(event), _OTHERWISE)))
    sessions: dict[str, Session] = {}
    for event in arrived:  # the start that came first counts, whatever a second one is dated
        if isinstance(event, CallStarted) and event.session_id not in sessions:
            sessions[event.session_id] = _open(event)
    root = sessions.get(session_id)
    if root is None:
        return None
    legs: dict[LegKey, Leg] = {}
    for event in ordered:
        if (session := sessions.get(event.session_id)) is not None:
            _apply(session, legs, event)
    root.legs = legs
    root.merged = [other for other in sessions if other != session_id]
    if root.ended_time is not None:
        _close_open_legs(root)
    return root


def _open(event: CallStarted) -> Session:
    return Session(
        session_id=event.session_id, started=event, caller=event.caller, media=event.media, call_id=event.call_id
    )


def _leg(legs: dict[LegKey, Leg], session_id: str, target_id: str) -> Leg | None:
    """The session's own leg; after a merge, the switch may tell of the other's legs under the remaining session."""
    own = legs.get((session_id, target_id))
    return own or next((leg for (_, name), leg in legs.items() if name == target_id), None)


def _apply(session: Session, legs: dict[LegKey, Leg], event: CallEvent) -> None:
    match event:
        case TargetAdded():
            _add_leg(session, legs, event)
        case TargetRinging():
            if (leg := _leg(legs, event.session_id, event.target_id)) and leg.ring_time is None:
                leg.ring_time = event.at
        case TargetAnswered():
            if (leg := _leg(legs, event.session_id, event.target_id)) and leg.answered_time is None:
                leg.answered_time = event.at
                leg.ring_time = leg.ring_time or event.at
        case TargetEnded():
            if (leg := _leg(legs, event.session_id, event.target_id)) and leg.ended_time is None:
                _end_leg(leg, event.at, event.end_reason, event.status_code)
        case CallerLeft():
            session.caller_left, session.caller_left_time = event.end_reason, event.at
        case PartyUpdated():
            _update_party(session, legs, event)
        case PartyHeld():
            _held_of(session, legs, event.leg).append((event.at, None))
        case PartyUnheld():
            _unhold(_held_of(session, legs, event.leg), event.at)
        case MediaChanged():
            session.media = event.media
        case SessionMerged():
            session.merged_into = event.into
        case CallEnded():
            _end(session, event)


def _end(session: Session, event: CallEnded) -> None:
    """The first end that a switch saw counts; one that nobody saw only while there is no other."""
    if session.ended_time is None or (session.incomplete and not event.incomplete):
        session.ended_time, session.incomplete = event.at, event.incomplete
        session.ended_reason, session.status_code = event.ended_reason, event.status_code


def _add_leg(session: Session, legs: dict[LegKey, Leg], event: TargetAdded) -> None:
    if (session.session_id, event.target_id) not in legs:
        legs[session.session_id, event.target_id] = Leg(
            target_id=event.target_id,
            callee=event.callee,
            caller=event.caller or session.caller,
            start_time=event.at,
            destination=event.destination,
            call_type=event.call_type,
            trunk=event.trunk,
            outbound_caller_id=event.outbound_caller_id,
            call_id=event.call_id,
        )


def _end_leg(leg: Leg, at: datetime, reason: EndReason | None, status_code: int | None) -> None:
    leg.ended_time = at
    leg.end_reason, leg.status_code = reason, status_code
    _unhold(leg.held, at)


def _update_party(session: Session, legs: dict[LegKey, Leg], event: PartyUpdated) -> None:
    if event.leg == CALLER_LEG:
        session.caller = _updated(session.caller, event)
        session.call_id = event.call_id or session.call_id
    elif leg := _leg(legs, session.session_id, event.leg):
        leg.callee = _updated(leg.callee, event)
        leg.call_id = event.call_id or leg.call_id


def _updated(party: Party, event: PartyUpdated) -> Party:
    return Party(
        number=party.number if event.number is None else event.number,
        kind=party.kind,
        display_name=party.display_name if event.display_name is None else event.display_name,
        domain=party.domain,
    )


def _held_of(session: Session, legs: dict[LegKey, Leg], leg: str) -> list[tuple[datetime, datetime | None]]:
    if leg == CALLER_LEG:
        return session.caller_held
    found = _leg(legs, session.session_id, leg)
    return found.held if found else []


def _unhold(held: list[tuple[datetime, datetime | None]], at: datetime) -> None:
    if held and held[-1][1] is None:
        held[-1] = (held[-1][0], at)


def _close_open_legs(session: Session) -> None:
    """A call that ended has no open leg: what the switch left open ended with the call, for the call's reason."""
    ended = session.ended_time
    assert ended is not None  # noqa: S101 - the caller checked; tells the type checker
    cancelled = session.ended_reason is EndReason.CANCELLED
    for leg in session.legs.values():
        if leg.ended_time is not None:
            continue
        if leg.answered_time is not None:
            _end_leg(leg, ended, session.ended_reason, 0)
        elif cancelled:
            _end_leg(leg, ended, EndReason.CANCELLED, session.status_code or 487)
        else:
            _end_leg(leg, ended, EndReason.NONE, 0)
    _unhold(session.caller_held, ended)


def is_external(party: Party) -> bool:
    return party.kind is PartyKind.EXTERNAL
