"""What a finished call is: the record and its targets, as plain values derived from a session."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from cdr.callevents import EndReason, PartyKind
from cdr.models import CallStatus, Direction
from cdr.rating import Rate, leg_cost
from cdr.session import Leg, Session, is_external

# SIP statuses of a call that simply was not answered; any other is a failure.
_NOT_ANSWERED = frozenset({0, 408, 480, 487})
_HANG_UPS = frozenset({EndReason.CALLER_DISCONNECT, EndReason.CALLEE_DISCONNECT})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    """One target. `end_reason` is empty for None."""

    callee: str
    caller: str
    kind: str
    start_time: datetime
    ended_time: datetime
    target_id: str = ""
    callee_display_name: str = ""
    destination: str = ""
    call_type: str = "normal_call"
    trunk_name: str = ""
    outbound_caller_id: str = ""
    ring_time: datetime | None = None
    answered_time: datetime | None = None
    end_reason: str = ""
    status_code: int = 0
    cost: Decimal | None = None
    held: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One finished call. Times are None when never; durations are whole seconds; `end_reason` is empty for None."""

    session_id: str
    direction: str
    caller: str
    callee: str
    start_time: datetime
    ended_time: datetime
    status: str
    call_id: str = ""
    caller_display_name: str = ""
    caller_domain: str = ""
    callee_display_name: str = ""
    callee_domain: str = ""
    final_display_name: str = ""
    did: str = ""
    trunk_name: str = ""
    outbound_caller_id: str = ""
    ring_time: datetime | None = None
    answered_time: datetime | None = None
    ring_duration: int = 0
    talk_duration: int = 0
    status_code: int = 0
    end_reason: str = ""
    user_data: str = ""
    cost: Decimal | None = None
    extensions: list[str] = field(default_factory=list)
    incomplete: bool = False
    merged_sessions: list[str] = field(default_factory=list)
    targets: list[TargetRecord] = field(default_factory=list)


def record_of(session: Session, *, sip_domain: str = "", rates: Sequence[Rate] = ()) -> Record:
    """The record of an ended session. `sip_domain` is the tenant's primary one."""
    started = session.started
    legs = list(session.legs.values())
    # Clocks run backwards: a call ends after it began, and after whatever happened to its legs.
    ended = max([session.ended_time or max(_times(session)), started.at, *(_latest(leg) for leg in legs)])
    targets = [_target_of(leg, session, ended, rates) for leg in legs]
    answered = session.answered_time
    ring = min((leg.ring_time for leg in legs if leg.ring_time), default=None)
    reason, status_code = _verdict(session)
    costs = [target.cost for target in targets if target.cost is not None]
    return Record(
        session_id=session.session_id,
        call_id=session.call_id,
        direction=direction_of(session).value,
        caller=session.caller.number,
        caller_display_name=session.caller.display_name,
        caller_domain=started.caller.domain or ("" if is_external(started.caller) else sip_domain),
        callee=started.callee.number,
        callee_display_name=started.callee.display_name or _name_of_callee(session),
        callee_domain=started.callee.domain or started.domain or sip_domain,
        final_display_name=_final_display_name(session),
        did=started.did,
        trunk_name=started.trunk or next((leg.trunk for leg in legs if leg.trunk), ""),
        outbound_caller_id=started.outbound_caller_id
        or next((leg.outbound_caller_id for leg in legs if leg.outbound_caller_id), ""),
        start_time=started.at,
        ring_time=ring,
        answered_time=answered,
        ended_time=ended,
        ring_duration=seconds_between(ring, answered or ended),
        talk_duration=seconds_between(answered, ended),
        status=status_of(answered=answered is not None, status_code=status_code).value,
        status_code=status_code,
        end_reason=reason,
        user_data=started.user_data,
        cost=sum(costs, Decimal(0)) if costs else None,
        extensions=extensions_of(session),
        incomplete=session.incomplete,
        merged_sessions=session.merged,
        targets=targets,
    )


def direction_of(session: Session) -> Direction:
    """From the caller and the targets answered or tried (`spec/api.md`, "Direction is derived")."""
    callees = [leg.callee for leg in session.legs.values()] or [session.started.callee]
    to_outside = any(is_external(callee) for callee in callees)
    if is_external(session.started.caller):
        return Direction.INBOUND_OUTBOUND if to_outside and session.legs else Direction.INBOUND
    return Direction.OUTBOUND if to_outside else Direction.INTERNAL


def status_of(*, answered: bool, status_code: int) -> CallStatus:
    if answered:
        return CallStatus.ANSWERED
    return CallStatus.NOANSWER if status_code in _NOT_ANSWERED else CallStatus.FAILED


def seconds_between(start: datetime | None, end: datetime | None) -> int:
    """Whole seconds between two times as Unix seconds show them; never below zero."""
    if start is None or end is None:
        return 0
    return max(0, int(end.timestamp()) - int(start.timestamp()))


def word(reason: EndReason | None) -> str:
    """An end reason as the record keeps it: empty for None."""
    return "" if reason is None or reason is EndReason.NONE else str(reason)


def _verdict(session: Session) -> tuple[str, int]:
    """Why the call ended and its SIP status: what the switch said, else what its targets tell."""
    reason, status_code = session.ended_reason, session.status_code
    last = max(session.legs.values(), key=lambda leg: leg.ended_time or session.started.at, default=None)
    answered = session.answered_time is not None
    if reason is None and last and not session.incomplete and (not answered or last.end_reason in _HANG_UPS):
        reason = last.end_reason
    if status_code is None:
        status_code = 0 if answered or session.incomplete else _status_of_last(last, reason)
    return word(reason), status_code


def _status_of_last(last: Leg | None, reason: EndReason | None) -> int:
    if reason is EndReason.CANCELLED:
        return (last and last.status_code) or 487
    return 404 if last is None else last.status_code or 0


def _target_of(leg: Leg, session: Session, call_ended: datetime, rates: Sequence[Rate]) -> TargetRecord:
    ended = max(leg.ended_time or call_ended, _latest(leg))
    billed = is_external(leg.callee)
    talk = seconds_between(leg.answered_time, ended)
    return TargetRecord(
        target_id=leg.target_id,
        kind=str(leg.callee.kind),
        call_type=str(leg.call_type),
        caller=leg.caller.number,
        callee=leg.callee.number,
        callee_display_name=leg.callee.display_name,
        destination=leg.destination,
        trunk_name=leg.trunk or session.started.trunk,
        outbound_caller_id=leg.outbound_caller_id,
        start_time=leg.start_time,
        ring_time=leg.ring_time,
        answered_time=leg.answered_time,
        ended_time=ended,
        end_reason=word(leg.end_reason),
        status_code=leg.status_code or 0,
        cost=leg_cost(rates, leg.callee.number, leg.start_time, talk) if billed and rates else None,
        held=[[start.isoformat(), (end or ended).isoformat()] for start, end in leg.held],
    )


def _latest(leg: Leg) -> datetime:
    """The last thing that happened to the leg before its end."""
    return max(time for time in (leg.start_time, leg.ring_time, leg.answered_time) if time)


def _name_of_callee(session: Session) -> str:
    number = session.started.callee.number
    names = (leg.callee.display_name for leg in session.legs.values() if leg.callee.number == number)
    return next(names, "")


def _final_display_name(session: Session) -> str:
    """The name of the one last talked to: the last answered target that is a person, else the last answered."""
    answered = sorted((leg for leg in session.legs.values() if leg.answered_time), key=_answered_time)
    people = [leg for leg in answered if leg.callee.kind is not PartyKind.SERVICE]
    last = (people or answered)[-1:] or list(session.legs.values())[-1:]
    return last[0].callee.display_name if last else session.started.callee.display_name


def _answered_time(leg: Leg) -> datetime:
    return leg.answered_time or leg.start_time


def extensions_of(session: Session) -> list[str]:
    """Every extension that took part, in the order of its first leg: whose own call this is."""
    parties = [session.caller, *(party for leg in session.legs.values() for party in (leg.caller, leg.callee))]
    return list(dict.fromkeys(party.number for party in parties if party.kind is PartyKind.EXTENSION and party.number))


def _times(session: Session) -> list[datetime]:
    times = [session.started.at]
    for leg in session.legs.values():
        times += [time for time in (leg.start_time, leg.ring_time, leg.answered_time, leg.ended_time) if time]
    return times
