"""The example message that the test button sends: the call of the documentation, in the tenant's name."""

from datetime import datetime
from typing import Any

from tenants.models import Tenant

SESSION_ID = "690852418417594368"
_LEGS = (
    # callee, port, starts, rings, answered, ends, end reason: in seconds after the call began
    ("5000", 8922, 0, 0, 0, 6, "referred"),
    ("8000", 8916, 6, 6, 6, 11, "referred"),
    ("102", 9070, 7, 7, None, 11, "None"),
    ("103", 9530, 7, 7, 11, 19, "None"),
)
_DURATION = 19


def call_cdr(tenant: Tenant, ended: datetime, *, profile: str) -> dict[str, Any]:
    start = int(ended.timestamp()) - _DURATION
    v16 = {
        "answered_time": str(start),
        "call_id": "b6PEEYEcn5speSovMAybCw..",
        "callee": "5000",
        "callee_domain": "test.io",
        "caller": "1888722",
        "caller_display_name": "",
        "caller_domain": "192.168.0.16",
        "did_cid": "18800606",
        "direction": "in",
        "ended_reason": "callee_disconnect",
        "ended_time": str(start + _DURATION),
        "event_type": "call_cdr",
        "outbound_caller_id": "",
        "ring_time": str(start),
        "session_id": SESSION_ID,
        "start_time": str(start),
        "status_code": "0",
        "tenant_id": str(tenant.pk),
        "tenant_name": tenant.name,
        "trunk_name": "AudioCodes",
        "user_data": "",
        "call_targets": [_target(number, start, *leg) for number, leg in enumerate(_LEGS, 1)],
    }
    return v16 if profile == "v16" else _as_v22(v16)


def _target(
    number: int, start: int, callee: str, port: int, begins: int, rings: int, answered: int | None, ends: int, why: str
) -> dict[str, Any]:
    return {
        "answered_time": "0" if answered is None else str(start + answered),
        "call_type": "normal_call",
        "callee": callee,
        "caller": "1888722",
        "destination": f"sip:{callee}@192.168.0.20:{port}",
        "end_reason": why,
        "ended_time": str(start + ends),
        "id": str(number),
        "outbound_caller_id": "",
        "ring_time": str(start + rings),
        "start_time": str(start + begins),
        "status_code": 0,
        "trunk_name": "AudioCodes",
    }


def _as_v22(v16: dict[str, Any]) -> dict[str, Any]:
    did = v16["did_cid"]
    document = {"did" if name == "did_cid" else name: value for name, value in v16.items() if name != "call_targets"}
    targets = []
    for target in v16["call_targets"]:
        answered, ended = int(target["answered_time"]), int(target["ended_time"])
        rang = (answered or ended) - int(target["ring_time"])
        targets.append(
            {
                **target,
                "did": did,
                "ring_duration": str(rang),
                "status": "answered" if answered else "noanswer",
                "talk_duration": str(ended - answered if answered else 0),
            }
        )
    return document | {
        "call_status": "answered",
        "direction": "inbound",
        "ring_duration": "0",
        "talk_duration": _DURATION,
        "call_targets": targets,
    }
