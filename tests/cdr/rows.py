"""CDRs written straight into the tables, for tests of what reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cdr.models import CDR, Target

NOON = datetime(2023, 3, 22, 12, 0, 0, tzinfo=UTC)


def make_call(number: int = 1, **given: Any) -> CDR:
    """An answered inbound call that began `number` minutes after noon."""
    start = given.pop("start_time", NOON + timedelta(minutes=number))
    values: dict[str, Any] = {
        "session_id": f"69085241841759{number:04}",
        "call_id": f"call-{number}@192.0.2.8",
        "direction": "inbound",
        "caller": "1888722",
        "callee": "101",
        "callee_display_name": "Front desk",
        "did": "18800606",
        "trunk_name": "AudioCodes",
        "start_time": start,
        "ring_time": start + timedelta(seconds=1),
        "answered_time": start + timedelta(seconds=5),
        "ended_time": start + timedelta(seconds=65),
        "ring_duration": 4,
        "talk_duration": 60,
        "status": "answered",
        "end_reason": "caller_disconnect",
        "extensions": ["101"],
    }
    return CDR.objects.create(**values | given)


def make_target(call: CDR, position: int = 0, **given: Any) -> Target:
    """The extension that answered the call."""
    values: dict[str, Any] = {
        "cdr": call,
        "position": position,
        "kind": "extension",
        "caller": call.caller,
        "callee": "101",
        "callee_display_name": "Front desk",
        "destination": "192.0.2.21:9070",
        "trunk_name": call.trunk_name,
        "start_time": call.start_time,
        "ring_time": call.ring_time,
        "answered_time": call.answered_time,
        "ended_time": call.ended_time,
        "end_reason": "caller_disconnect",
    }
    return Target.objects.create(**values | given)
