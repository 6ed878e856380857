"""What happens while a call lasts, as messages: `call_start`, `call_update_info` and `cdr_target_*`.

All values are strings; caller and callee of `call_start` are SIP URIs (`spec/facts.md`, section 1).
"""

from typing import Any

from cdr.callevents import (
    CallerLeft,
    CallEvent,
    CallStarted,
    MediaChanged,
    Party,
    PartyUpdated,
    TargetAdded,
    TargetAnswered,
    TargetEnded,
    TargetRinging,
)
from cdr.documents import unix
from cdr.models import CallStatus
from cdr.records import direction_of, status_of
from cdr.session import Leg, Session
from tenants.models import Tenant

CALL_START = "call_start"
CALL_UPDATE_INFO = "call_update_info"
TARGET_ADD = "cdr_target_add"
TARGET_RINGING = "cdr_target_ringing"
TARGET_ANSWER = "cdr_target_answer"
TARGET_NOANSWER = "cdr_target_noanswer"
TARGET_FAIL = "cdr_target_fail"
TARGET_END = "cdr_target_end"
TYPES = (
    CALL_START,
    CALL_UPDATE_INFO,
    TARGET_ADD,
    TARGET_RINGING,
    TARGET_ANSWER,
    TARGET_NOANSWER,
    TARGET_FAIL,
    TARGET_END,
)


def message_of(
    event: CallEvent, session: Session, *, cdr_id: int, tenant: Tenant, sip_domain: str
) -> dict[str, Any] | None:
    """The message that tells this event, without its `event_id`; None for an event that has none."""
    match event:
        case CallStarted():
            return _call(CALL_START, event, session, cdr_id, tenant, sip_domain)
        case PartyUpdated(number=None, display_name=None):
            return None  # only a Call-ID: nothing that this message would tell
        case PartyUpdated() | MediaChanged() | CallerLeft():
            return _call(CALL_UPDATE_INFO, event, session, cdr_id, tenant, sip_domain)
        case TargetAdded() | TargetRinging() | TargetAnswered() | TargetEnded():
            leg = session.leg_of(event.session_id, event.target_id)
            return None if leg is None else _target(_target_type(event, leg), event, leg, session, cdr_id, tenant)
    return None


def _target_type(event: CallEvent, leg: Leg) -> str:
    match event:
        case TargetAdded():
            return TARGET_ADD
        case TargetRinging():
            return TARGET_RINGING
        case TargetAnswered():
            return TARGET_ANSWER
    ended = {CallStatus.ANSWERED: TARGET_END, CallStatus.NOANSWER: TARGET_NOANSWER, CallStatus.FAILED: TARGET_FAIL}
    return ended[status_of(answered=leg.answered_time is not None, status_code=leg.status_code or 0)]


def _call(
    kind: str, event: CallEvent, session: Session, cdr_id: int, tenant: Tenant, sip_domain: str
) -> dict[str, Any]:
    started = session.started
    return {
        "event_type": kind,
        "call_id": started.call_id,
        "callee": _uri(started.callee, started.domain or sip_domain),
        "callee_display_name": started.callee.display_name,
        "caller": _uri(session.caller, sip_domain),
        "caller_display_name": session.caller.display_name,
        "cdr_id": str(cdr_id),
        "direction": direction_of(session).value,
        "session_id": session.session_id,
        "tenant_id": str(tenant.pk),
        "time": unix(event.at),
        "user_data": started.user_data,
        "did": started.did,
        "outbound_caller_id": started.outbound_caller_id,
    }


def _target(kind: str, event: CallEvent, leg: Leg, session: Session, cdr_id: int, tenant: Tenant) -> dict[str, Any]:
    return {
        "event_type": kind,
        "time": unix(event.at),
        "session_id": session.session_id,
        "cdr_id": str(cdr_id),
        "tenant_id": str(tenant.pk),
        "direction": direction_of(session).value,
        "destination": leg.destination,
        "caller": leg.caller.number,
        "callee": leg.callee.number,
        "did": session.started.did,
        "outbound_caller_id": leg.outbound_caller_id or session.started.outbound_caller_id,
    }


def _uri(party: Party, domain: str) -> str:
    host = party.domain or domain
    return f"sip:{party.number}@{host}" if host else f"sip:{party.number}"
