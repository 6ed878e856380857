"""Calls as tables: each line is a second and what happened in it, as a switch would tell it."""

from datetime import UTC, datetime
from typing import Any

from cdr import callevent_json
from cdr.callevents import CallEvent

EPOCH = 1_679_476_800  # the specification's example happens shortly after
SESSION = "690852418417594368"


def at(second: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + second, UTC)


def ext(number: str, name: str = "") -> dict[str, Any]:
    return {"number": number, "kind": "extension", "display_name": name}


def outside(number: str, **more: Any) -> dict[str, Any]:
    return {"number": number, "kind": "external", **more}


def service(number: str, name: str = "") -> dict[str, Any]:
    return {"number": number, "kind": "service", "display_name": name}


def events(*lines: tuple[float, str, dict[str, Any]], session: str = SESSION) -> list[CallEvent]:
    """Each line: second, type, fields; the ids count up. `session_id` among the fields puts it into another session."""
    return [
        callevent_json.read({"id": f"{session}-{n}", "session_id": session, "at": EPOCH + second, "type": kind} | more)
        for n, (second, kind, more) in enumerate(lines)
    ]


def spec_call() -> list[CallEvent]:
    """The specification's example: caller > trunk > IVR > queue > agent."""
    return events(
        (
            51,
            "call.started",
            {
                "call_id": "b6PEEYEcn5speSovMAybCw..",
                "did": "18800606",
                "caller": outside("1888722", domain="192.168.0.16"),
                "callee": service("5000", "Main menu"),
                "trunk": "AudioCodes",
            },
        ),
        (51, "target.added", {"target_id": "ivr", "callee": service("5000"), "destination": "sip:5000@10.0.0.1:8922"}),
        (51, "target.ringing", {"target_id": "ivr"}),
        (51, "target.answered", {"target_id": "ivr"}),
        (57, "target.ended", {"target_id": "ivr", "end_reason": "referred"}),
        (
            57,
            "target.added",
            {"target_id": "queue", "callee": service("8000"), "destination": "sip:8000@10.0.0.1:8916"},
        ),
        (57, "target.answered", {"target_id": "queue"}),
        (58, "target.added", {"target_id": "102", "callee": ext("102", "Ann"), "destination": "sip:102@10.0.0.2:9070"}),
        (58, "target.ringing", {"target_id": "102"}),
        (58, "target.added", {"target_id": "103", "callee": ext("103", "Bob"), "destination": "sip:103@10.0.0.3:9530"}),
        (58, "target.ringing", {"target_id": "103"}),
        (62, "target.answered", {"target_id": "103"}),
        (62, "target.ended", {"target_id": "102", "end_reason": "None"}),
        (62, "target.ended", {"target_id": "queue", "end_reason": "referred"}),
        (70, "target.ended", {"target_id": "103", "end_reason": "None"}),
        (70, "call.ended", {"ended_reason": "callee_disconnect", "status_code": 0}),
    )
