"""The `call_cdr` document of a finished call, v16 or v22, read into a Record (`spec/facts.md`, section 1)."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from cdr import callevent_json as reading
from cdr.callevent_json import CallEventError
from cdr.callevents import CallType, EndReason, PartyKind
from cdr.models import Direction
from cdr.rating import Rate, leg_cost
from cdr.records import Record, TargetRecord, seconds_between, status_of

TARGETS_MAX = 200

_DIRECTIONS = {
    "in": Direction.INBOUND,
    "out": Direction.OUTBOUND,
    "in2out": Direction.INBOUND_OUTBOUND,
    "ext": Direction.INTERNAL,
    **{str(direction): direction for direction in Direction},
}
_CALL_TYPES = {
    **{str(kind): str(kind) for kind in CallType},
    "callback_call": str(CallType.CALLBACK),
    "queue_callback_call": str(CallType.QUEUE_CALLBACK),
    "none": str(CallType.NORMAL),
    "": str(CallType.NORMAL),
}
_END_REASONS = {str(reason): str(reason) for reason in EndReason} | {"None": "", "none": "", "": ""}
_OUTWARD = frozenset({Direction.OUTBOUND, Direction.INBOUND_OUTBOUND})
Document = Mapping[str, Any]
_text = reading.read_text


def session_id_of(document: object) -> str:
    if not isinstance(document, dict):
        raise CallEventError("malformed_document", "A CDR must be a JSON object.")
    event_type = document.get("event_type") or "call_cdr"
    if event_type != "call_cdr":
        raise CallEventError("unknown_type", f"This door takes call_cdr, not {str(event_type)[:60]!r}.")
    return _text(document, "session_id", reading.ID_MAX, required=True)


def addresses_of(document: Document) -> tuple[tuple[str, ...], str, str]:
    """What finds the tenant: the SIP domains to try in turn, the DID, the trunk."""
    domains = (
        _text(document, "callee_domain", reading.DOMAIN_MAX),
        _text(document, "caller_domain", reading.DOMAIN_MAX),
    )
    did = _text(document, "did_cid", reading.NUMBER_MAX) or _text(document, "did", reading.NUMBER_MAX)
    return domains, did, _text(document, "trunk_name", reading.TRUNK_MAX)


def numbers_of(document: Document) -> set[str]:
    """Every number that may be an extension."""
    numbers = [document.get("caller")]
    numbers += [target.get("callee") for target in _targets(document) if isinstance(target, dict)]
    return {str(number) for number in numbers if isinstance(number, str | int)}


def read(document: Document, extensions: Container[str], rates: Sequence[Rate] = ()) -> Record:
    """The record a document tells. It does not say who is what: `extensions` knows the tenant's own numbers."""
    start, ended = _time(document, "start_time"), _time(document, "ended_time", "end_time")
    if start is None or ended is None:
        raise CallEventError("missing_field", "start_time and ended_time are needed.")
    if ended < start:
        raise CallEventError("times_reversed", "ended_time lies before start_time.")
    direction = _direction(document)
    outward = direction in _OUTWARD
    targets = [_target(each, ended, extensions, rates, outward=outward) for each in _targets(document)]
    ring, answered = _time(document, "ring_time"), _time(document, "answered_time")
    status_code = _status_code(document)
    caller = _text(document, "caller", reading.NUMBER_MAX)
    callee = _text(document, "callee", reading.NUMBER_MAX)
    costs = [target.cost for target in targets if target.cost is not None]
    talked = [target for target in targets if target.answered_time]
    people = [target for target in talked if target.kind != PartyKind.SERVICE] or talked or targets
    mine = [caller] if direction in (Direction.INTERNAL, Direction.OUTBOUND) or caller in extensions else []
    mine += [target.callee for target in targets if target.kind == PartyKind.EXTENSION]
    return Record(
        session_id=session_id_of(document),
        call_id=_text(document, "call_id", reading.CALL_ID_MAX),
        direction=direction.value,
        caller=caller,
        caller_display_name=reading.clean_name(document.get("caller_display_name"), "caller_display_name"),
        caller_domain=_text(document, "caller_domain", reading.DOMAIN_MAX),
        callee=callee,
        callee_display_name=reading.clean_name(document.get("callee_display_name"), "callee_display_name"),
        callee_domain=_text(document, "callee_domain", reading.DOMAIN_MAX),
        final_display_name=people[-1].callee_display_name if people else "",
        did=_text(document, "did_cid", reading.NUMBER_MAX) or _text(document, "did", reading.NUMBER_MAX),
        trunk_name=_text(document, "trunk_name", reading.TRUNK_MAX),
        outbound_caller_id=_text(document, "outbound_caller_id", reading.NUMBER_MAX),
        start_time=start,
        ring_time=ring,
        answered_time=answered,
        ended_time=ended,
        ring_duration=seconds_between(ring, answered or ended),
        talk_duration=seconds_between(answered, ended),
        status=status_of(answered=answered is not None, status_code=status_code).value,
        status_code=status_code,
        end_reason=_end_reason(document),
        user_data=reading.read_user_data(document),
        cost=sum(costs, Decimal(0)) if costs else None,
        extensions=list(dict.fromkeys(number for number in mine if number)),
        targets=targets,
    )


def _target(
    document: object, call_ended: datetime, extensions: Container[str], rates: Sequence[Rate], *, outward: bool
) -> TargetRecord:
    if not isinstance(document, dict):
        raise CallEventError("bad_value", "call_targets must hold objects.")
    callee = _text(document, "callee", reading.NUMBER_MAX)
    trunk = _text(document, "trunk_name", reading.TRUNK_MAX)
    reason = _end_reason(document)
    kind = _kind(callee, reason, known=callee in extensions, outside=outward and bool(trunk))
    answered = _time(document, "answered_time")
    start = _time(document, "start_time")
    if start is None:
        raise CallEventError("missing_field", "A target needs its start_time.")
    ended = _time(document, "ended_time", "end_time") or call_ended
    call_type = document.get("call_type") or ""
    if not isinstance(call_type, str) or call_type not in _CALL_TYPES:
        raise CallEventError("bad_value", f"There is no call_type {str(call_type)[:60]!r}.")
    return TargetRecord(
        callee=callee,
        caller=_text(document, "caller", reading.NUMBER_MAX),
        kind=kind,
        start_time=start,
        ended_time=ended,
        target_id=_text(document, "id", reading.ID_MAX),
        callee_display_name=reading.clean_name(document.get("callee_display_name"), "callee_display_name"),
        destination=_text(document, "destination", reading.DESTINATION_MAX),
        call_type=_CALL_TYPES[call_type],
        trunk_name=trunk,
        outbound_caller_id=_text(document, "outbound_caller_id", reading.NUMBER_MAX),
        ring_time=_time(document, "ring_time"),
        answered_time=answered,
        end_reason=reason,
        status_code=_status_code(document),
        cost=_cost(document, callee, start, seconds_between(answered, ended), rates) if kind == "external" else None,
    )


def _kind(callee: str, reason: str, *, known: bool, outside: bool) -> str:
    """An unknown inner number that handed the call on was an IVR or a queue; any other is taken for an extension."""
    if known:
        return "extension"
    if outside:
        return "external"
    return "service" if reason == EndReason.REFERRED else "extension"


def _cost(document: Document, number: str, start: datetime, talk: int, rates: Sequence[Rate]) -> Decimal | None:
    """Our own price when the tenant has any, else the one the switch gives."""
    if rates:
        return leg_cost(rates, number, start, talk)
    given = document.get("cost")
    if given in (None, "") or isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        cost = Decimal(str(given)).quantize(Decimal("0.00001"))
    except InvalidOperation as error:
        raise CallEventError("bad_value", "cost must be a number.") from error
    return cost if 0 <= cost < 10**9 else None


def _targets(document: Document) -> Sequence[Any]:
    targets = document.get("call_targets") or ()
    if not isinstance(targets, list | tuple):
        raise CallEventError("bad_value", "call_targets must be an array.")
    if len(targets) > TARGETS_MAX:
        raise CallEventError("too_long", f"call_targets may have at most {TARGETS_MAX} items.")
    return targets


def _direction(document: Document) -> Direction:
    value = document.get("direction")
    if value in (None, ""):
        raise CallEventError("missing_field", "direction is missing.")
    direction = _DIRECTIONS.get(value) if isinstance(value, str) else None
    if direction is None:
        raise CallEventError("bad_value", f"direction must be one of: {', '.join(_DIRECTIONS)}.")
    return direction


def _end_reason(document: Document) -> str:
    value = document.get("ended_reason") or document.get("end_reason") or ""
    if not isinstance(value, str) or value not in _END_REASONS:
        raise CallEventError("bad_value", f"There is no end reason {str(value)[:60]!r}.")
    return _END_REASONS[value]


def _status_code(document: Document) -> int:
    if document.get("status_code") in ("0", 0):
        return 0  # nearly all there is
    return reading.read_status_code(document) or 0


def _time(document: Document, name: str, other: str = "") -> datetime | None:
    """Unix seconds as string or int, "0" for never; RFC 3339 too."""
    value = document.get(name) or (document.get(other) if other else None)
    if not value or value == "0":
        return None
    return reading.read_time(value, name)
