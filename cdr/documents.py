"""The `call_cdr` message in its two spellings (`spec/facts.md`, section 1): v16, the default, and v22."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from cdr.models import CallStatus, Direction
from cdr.records import seconds_between, status_of
from tenants.models import Tenant

CALL_CDR = "call_cdr"
CDR_UPDATED = "cdr_updated"
CDR_DELETED = "cdr_deleted"

_V16_DIRECTION = {
    Direction.INBOUND: "in",
    Direction.OUTBOUND: "out",
    Direction.INBOUND_OUTBOUND: "in2out",
    Direction.INTERNAL: "ext",
}
_V22_STATUS = {CallStatus.ANSWERED: "answered", CallStatus.NOANSWER: "noanswer", CallStatus.FAILED: "fail"}
_V22_CALL_TYPE = {"callback": "callback_call", "queue_callback": "queue_callback_call"}


class Call(Protocol):
    """What a message needs of a call: a CDR row or a Record."""

    @property
    def session_id(self) -> str: ...
    @property
    def call_id(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def caller(self) -> str: ...
    @property
    def caller_display_name(self) -> str: ...
    @property
    def caller_domain(self) -> str: ...
    @property
    def callee(self) -> str: ...
    @property
    def callee_domain(self) -> str: ...
    @property
    def did(self) -> str: ...
    @property
    def trunk_name(self) -> str: ...
    @property
    def outbound_caller_id(self) -> str: ...
    @property
    def start_time(self) -> datetime: ...
    @property
    def ring_time(self) -> datetime | None: ...
    @property
    def answered_time(self) -> datetime | None: ...
    @property
    def ended_time(self) -> datetime: ...
    @property
    def ring_duration(self) -> int: ...
    @property
    def talk_duration(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def status_code(self) -> int: ...
    @property
    def end_reason(self) -> str: ...
    @property
    def user_data(self) -> str: ...


class CallTarget(Protocol):
    """What a message needs of a target: a Target row or a TargetRecord."""

    @property
    def call_type(self) -> str: ...
    @property
    def caller(self) -> str: ...
    @property
    def callee(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def trunk_name(self) -> str: ...
    @property
    def outbound_caller_id(self) -> str: ...
    @property
    def start_time(self) -> datetime: ...
    @property
    def ring_time(self) -> datetime | None: ...
    @property
    def answered_time(self) -> datetime | None: ...
    @property
    def ended_time(self) -> datetime: ...
    @property
    def end_reason(self) -> str: ...
    @property
    def status_code(self) -> int: ...
    @property
    def cost(self) -> Decimal | None: ...


Targets = Sequence[tuple[int, CallTarget]]  # each with its id in the database


def v16_document(call: Call, targets: Targets, tenant: Tenant, *, event_type: str = CALL_CDR) -> dict[str, Any]:
    """The specification's message, without the `event_id` that the event log adds. Times: Unix seconds as strings."""
    return {
        "answered_time": unix(call.answered_time),
        "call_id": call.call_id,
        "callee": call.callee,
        "callee_domain": call.callee_domain,
        "caller": call.caller,
        "caller_display_name": call.caller_display_name,
        "caller_domain": call.caller_domain,
        "did_cid": call.did,
        "direction": _V16_DIRECTION[Direction(call.direction)],
        "ended_reason": call.end_reason or "None",
        "ended_time": unix(call.ended_time),
        "event_type": event_type,
        "outbound_caller_id": call.outbound_caller_id,
        "ring_time": unix(call.ring_time),
        "session_id": call.session_id,
        "start_time": unix(call.start_time),
        "status_code": str(call.status_code),
        "tenant_id": str(tenant.pk),
        "tenant_name": tenant.name,
        "trunk_name": call.trunk_name,
        "user_data": call.user_data,
        "call_targets": [_v16_target(target_id, target) for target_id, target in targets],
    }


def v22_document(call: Call, targets: Targets, tenant: Tenant, *, event_type: str = CALL_CDR) -> dict[str, Any]:
    """The v22 spelling: `did`, longer direction words, status and durations."""
    return v22_of(v16_document(call, targets, tenant, event_type=event_type), call, targets)


def v22_of(v16: dict[str, Any], call: Call, targets: Targets) -> dict[str, Any]:
    """The same from the v16 document of the same call, for a writer who needs both."""
    document = v16.copy()
    document["did"] = document.pop("did_cid")
    told = document.pop("call_targets")
    document["direction"] = call.direction
    document["call_status"] = _V22_STATUS[CallStatus(call.status)]
    document["ring_duration"] = str(call.ring_duration)
    document["talk_duration"] = call.talk_duration
    document["call_targets"] = [
        _v22_target(v16_target, target, call.did) for v16_target, (_, target) in zip(told, targets, strict=True)
    ]
    return document


def unix(moment: datetime | None) -> str:
    return "0" if moment is None else str(int(moment.timestamp()))


def _v16_target(target_id: int, target: CallTarget) -> dict[str, Any]:
    return {
        "answered_time": unix(target.answered_time),
        "call_type": target.call_type,
        "callee": target.callee,
        "caller": target.caller,
        "destination": target.destination,
        "end_reason": target.end_reason or "None",
        "ended_time": unix(target.ended_time),
        "id": str(target_id),
        "outbound_caller_id": target.outbound_caller_id,
        "ring_time": unix(target.ring_time),
        "start_time": unix(target.start_time),
        "status_code": target.status_code,
        "trunk_name": target.trunk_name,
    }


def _v22_target(v16: dict[str, Any], target: CallTarget, did: str) -> dict[str, Any]:
    document = v16.copy()
    answered = target.answered_time
    document["call_type"] = _V22_CALL_TYPE.get(target.call_type, target.call_type)
    document["did"] = did
    document["ring_duration"] = str(seconds_between(target.ring_time, answered or target.ended_time))
    document["status"] = _V22_STATUS[status_of(answered=answered is not None, status_code=target.status_code)]
    document["talk_duration"] = str(seconds_between(answered, target.ended_time))
    if target.cost is not None:
        document["cost"] = str(target.cost)
    return document
