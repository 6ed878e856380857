"""What a person would write down of each recorded flow, by the specification's table of reasons: whole records, their
times in seconds after the call began."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from cdr.records import Record

Call = dict[str, Any]


def leg(callee: str, times: tuple[float, float | None, float | None, float], end_reason: str, **more: Any) -> Call:
    """Start, ring, answer and end; a device of an acme extension that 101 calls, unless `more` says else."""
    start, ring, answered, ended = times
    return {
        "callee": callee,
        "caller": "101",
        "kind": "extension",
        "start_time": start,
        "ring_time": ring,
        "answered_time": answered,
        "ended_time": ended,
        "callee_display_name": "",
        "destination": "",
        "call_type": "normal_call",
        "trunk_name": "",
        "outbound_caller_id": "",
        "end_reason": end_reason,
        "status_code": 0,
        "cost": None,
        "held": [],
    } | more


def call(session_id: str, callee: str, ended: float, end_reason: str, targets: list[Call], **more: Any) -> Call:
    return {
        "session_id": session_id,
        "direction": "internal",
        "caller": "101",
        "caller_display_name": "Alice",
        "caller_domain": "acme.test",
        "callee": callee,
        "callee_display_name": "",
        "callee_domain": "acme.test",
        "final_display_name": "",
        "start_time": 0,
        "ended_time": ended,
        "ring_time": min((each["ring_time"] for each in targets if each["ring_time"] is not None), default=None),
        "answered_time": min((each["answered_time"] for each in targets if each["answered_time"]), default=None),
        "status": "answered",
        "status_code": 0,
        "end_reason": end_reason,
        "did": "",
        "trunk_name": "",
        "outbound_caller_id": "",
        "user_data": "",
        "cost": None,
        "incomplete": False,
        "merged_sessions": [],
        "targets": targets,
    } | more


TRUNK = {
    "caller": "1888722", "caller_display_name": "Bob", "caller_domain": "192.168.0.16", "trunk_name": "AudioCodes",
}  # fmt: skip
VIA_TRUNK = {"caller": "1888722", "trunk_name": "AudioCodes"}
SERVICE = VIA_TRUNK | {"kind": "service"}
DEVICE_102 = {"destination": "sip:102-0x562830620c10@127.0.0.1:5221"}
DEVICE_103 = {"destination": "sip:103-0x564dbecdfc10@127.0.0.1:5241"}
MOBILE = VIA_TRUNK | {"kind": "external", "destination": "sip:555123@127.0.0.1:5098", "outbound_caller_id": "18800606"}


def transferred(session_id: str, call_id: str, *times: float) -> list[Call]:
    """103 sends a caller from outside on to a mobile; in the end the test hung up on both."""
    rang, answered, left, dialled, picked_up, hung_up, *over = times
    return [
        call(
            session_id,
            "103",
            (over or [hung_up])[0],
            "",
            [
                leg("103", (rang, rang, answered, left), "referred", **VIA_TRUNK | DEVICE_103),
                leg("555123", (dialled, dialled, picked_up, hung_up), "", **MOBILE),
            ],
            **TRUNK,
            call_id=call_id,
            direction="inbound_outbound",
            did="18800607",
            outbound_caller_id="18800606",
            extensions=["103"],
        )
    ]


EXPECTED: dict[str, list[Call]] = {
    "extension_to_extension": [
        call(
            "218a24f6-6349-4990-926b-96171f074ae1",
            "102",
            3.18,
            "caller_disconnect",
            [leg("102", (0, 0, 0.04, 3.18), "caller_disconnect", destination="sip:102-0x558094b45c10@127.0.0.1:5221")],
            call_id="05aaeb8e40e3e1ac",
            extensions=["101", "102"],
        )
    ],
    "ivr_queue_agent": [
        call(
            "7001254c-c356-4a47-bac5-a3016b558616",
            "5000",
            5.78,
            "callee_disconnect",
            [
                leg("5000", (0, 0, 0.02, 1.68), "referred", **SERVICE, destination="sip:5000@acme.test"),
                leg("8000", (1.68, 1.68, 1.68, 1.72), "referred", **SERVICE, destination="sip:8000@acme.test"),
                leg("102", (1.68, 1.7, None, 1.74), "", **VIA_TRUNK | DEVICE_102),
                leg("103", (1.68, 1.7, 1.72, 5.78), "", **VIA_TRUNK | DEVICE_103),
            ],
            **TRUNK,
            call_id="1-17648@127.0.0.1",
            direction="inbound",
            did="18800606",
            extensions=["102", "103"],
        )
    ],
    "no_answer_forward": [
        call(
            "43a2665a-8c9b-4a3d-84de-649920b12563",
            "104",
            7.0,
            "callee_disconnect",
            [
                leg(
                    "104", (0, 0, None, 3.84), "", status_code=408, destination="sip:104-0x559a27dc0c10@127.0.0.1:5261"
                ),
                leg("103", (3.86, 3.86, 3.88, 6.98), "callee_disconnect", **DEVICE_103),
            ],
            call_id="d9ed8ceb8d552e82",
            extensions=["101", "104", "103"],
        )
    ],
    "transferred_to_mobile": transferred(
        "6047f69e-6eb7-460b-adfb-4e9eaaf7e6c5", "1-18262@127.0.0.1", 0.02, 0.02, 3.16, 3.16, 3.96, 7.04
    ),
    "recording_moved": transferred(
        "b38f670a-d0fd-4874-96e3-54a629bede83", "1-18283@127.0.0.1", 0.02, 0.02, 3.14, 3.16, 3.98, 7.02, 7.04
    ),
    "dialplan_stops_recording": transferred(
        "a76f193a-cc7d-4bab-9375-884e7a3fefbc", "1-25020@127.0.0.1", 0, 0.02, 3.14, 3.14, 3.96, 6.04
    ),
    "failures": [
        call(
            "28aa9bee-4360-4370-9d64-a6855786cca2",
            "102",
            1.54,
            "callee_disconnect",
            [leg("102", (0.02, 0.02, None, 1.54), "callee_disconnect", status_code=486, **DEVICE_102)],
            call_id="683f8cf237bc09ee",
            extensions=["101", "102"],
            status="failed",
            status_code=486,
        ),
        call(
            "432d6657-43c3-427f-bb4a-86db303dc12d",
            "105",
            0.0,
            "",
            [],
            call_id="07fb48831f74594b",
            extensions=["101"],
            status="noanswer",
            status_code=480,
        ),
        call(
            "f075fe50-a85e-4ef1-bef6-b7d80b9c4c02",
            "777",
            0.02,
            "",
            [],
            call_id="56fad865ffcf9858",
            extensions=["101"],
            status="failed",
            status_code=404,
        ),
    ],
    "feature_codes": [
        call(
            "60a221b0-afaf-4787-8b95-656e3866e8ff",
            "103",
            24.14,
            "",
            [leg("103", (0, 0.02, 0.02, 24.14), "", **DEVICE_103)],
            call_id="f5af3aab02659d7d",
            extensions=["101", "103"],
        )
    ],
    "wav_and_mp4": [
        call(
            "d5f0f27c-1f96-4a06-b976-4162b20686a2",
            "103",
            14.98,
            "",
            [leg("103", (0, 0, 0.02, 14.98), "", **DEVICE_103)],
            call_id="d8f06de639793d5d",
            extensions=["101", "103"],
        )
    ],
}


def plain(record: Record) -> Call:
    """All of a record but what follows from the rest: ids of targets, durations."""
    told = asdict(record)
    for name in ("ring_duration", "talk_duration"):
        del told[name]
    for target in told["targets"]:
        del target["target_id"]
    began = record.start_time
    return {
        name: [_timed(each, began) for each in value] if name == "targets" else value
        for name, value in _timed(told, began).items()
    }


def _timed(told: Call, began: datetime) -> Call:
    return {
        name: round((value - began).total_seconds(), 2) if isinstance(value, datetime) else value
        for name, value in told.items()
    }
