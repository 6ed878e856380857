"""Examples of every message, as the test button sends them: the call of the documentation, in the tenant's name."""

from datetime import datetime, timedelta
from typing import Any, get_args

from events.recording_messages import RecordingFact, RecordingFile, RecordingType, recording_message
from tenants.changes import SYSTEM, Actor
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
_CDR_ID = "690852418417594369"
# Of a call in progress: when each is told, in seconds after the call began, and the leg that it tells of.
_PROGRESS = {"call_start": 0, "call_update_info": 8}
_LEG_PROGRESS = {
    "cdr_target_add": (7, "103"),
    "cdr_target_ringing": (7, "103"),
    "cdr_target_answer": (11, "103"),
    "cdr_target_noanswer": (11, "102"),
    "cdr_target_fail": (9, "102"),
    "cdr_target_end": (19, "103"),
}
_RECORDING_ID = "690852418417594370"
_AGENT = Actor(kind="phone", name="103")
# Of its recording: seconds after the call began, who did it, and why.
_RECORDING: dict[RecordingType, tuple[int, Actor, str]] = {
    "recording_started": (11, SYSTEM, "the tenant records all calls"),
    "recording_paused": (14, _AGENT, "*48"),
    "recording_resumed": (16, _AGENT, "*49"),
    "recording_stopped": (19, SYSTEM, "the call ended"),
    "recording_ready": (21, SYSTEM, ""),
    "recording_failed": (21, SYSTEM, "the file is empty"),
    "recording_deleted": (30, Actor(kind="user", name="admin"), ""),
}
_OF_A_SEGMENT = get_args(RecordingType)[:4]
EXAMPLES: tuple[str, ...] = ("call_cdr", "cdr_updated", "cdr_deleted", *_PROGRESS, *_LEG_PROGRESS, *_RECORDING)


def example(event_type: str, tenant: Tenant, ended: datetime, *, profile: str) -> dict[str, Any]:
    """The message without its `event_id`; `event_type` is one of `EXAMPLES`."""
    if event_type in _PROGRESS:
        return _call_message(event_type, tenant, ended)
    if event_type in _LEG_PROGRESS:
        return _leg_message(event_type, tenant, ended)
    if event_type == "cdr_deleted":
        return _gone(tenant, ended)
    for recording_type in _RECORDING:
        if recording_type == event_type:
            return _recording_message(recording_type, tenant, ended)
    record = call_cdr(tenant, ended, profile=profile)
    if event_type == "call_cdr":
        return record
    return record | {
        "event_type": event_type,
        "caller_display_name": "Ann Example",
        "changes": {"caller_display_name": ["", "Ann Example"]},
    }


def _call_message(event_type: str, tenant: Tenant, ended: datetime) -> dict[str, Any]:
    return {
        "event_type": event_type,
        "call_id": "b6PEEYEcn5speSovMAybCw..",
        "callee": "sip:5000@test.io",
        "callee_display_name": "",
        "caller": "sip:1888722@192.168.0.16",
        "caller_display_name": "",
        "cdr_id": _CDR_ID,
        "direction": "inbound",
        "session_id": SESSION_ID,
        "tenant_id": str(tenant.pk),
        "time": str(int(ended.timestamp()) - _DURATION + _PROGRESS[event_type]),
        "user_data": "",
        "did": "18800606",
        "outbound_caller_id": "",
    }


def _leg_message(event_type: str, tenant: Tenant, ended: datetime) -> dict[str, Any]:
    after, callee = _LEG_PROGRESS[event_type]
    return {
        "event_type": event_type,
        "time": str(int(ended.timestamp()) - _DURATION + after),
        "session_id": SESSION_ID,
        "cdr_id": _CDR_ID,
        "tenant_id": str(tenant.pk),
        "direction": "inbound",
        "destination": f"sip:{callee}@192.168.0.20:9530",
        "caller": "1888722",
        "callee": callee,
        "did": "18800606",
        "outbound_caller_id": "",
    }


def _gone(tenant: Tenant, ended: datetime) -> dict[str, Any]:
    return {
        "event_type": "cdr_deleted",
        "session_id": SESSION_ID,
        "tenant_id": str(tenant.pk),
        "time": str(int(ended.timestamp())),
    }


def _recording_message(recording_type: RecordingType, tenant: Tenant, ended: datetime) -> dict[str, Any]:
    after, actor, reason = _RECORDING[recording_type]
    began = ended - timedelta(seconds=_DURATION)
    fact = RecordingFact(
        type=recording_type, at=began + timedelta(seconds=after), session_id=SESSION_ID, cdr_id=int(_CDR_ID),
        recording_id=_RECORDING_ID, medium="audio", actor=actor, reason=reason,
        segment=1 if recording_type in _OF_A_SEGMENT else None,
        file=_file(tenant, began) if recording_type == "recording_ready" else None,
    )  # fmt: skip
    return recording_message(fact, tenant)


def _file(tenant: Tenant, began: datetime) -> RecordingFile:
    return RecordingFile(
        duration_ms=6000,
        size=96044,
        sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        content_type="audio/wav",
        file_name=f"{tenant.pk}_{SESSION_ID}_1888722_1_{began:%Y%m%d-%H%M%S}.wav",
    )


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
