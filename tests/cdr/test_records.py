"""From a table of events to the one record, whole."""

import random
from decimal import Decimal
from typing import Any

import pytest

from cdr.callevents import CallEvent
from cdr.rating import Rate
from cdr.records import Record, TargetRecord, record_of
from cdr.session import fold
from tests.cdr.tables import SESSION, at, events, ext, outside, service, spec_call


def record(told: list[CallEvent], session_id: str = SESSION, **terms: Any) -> Record:
    session = fold(told, session_id)
    assert session is not None
    return record_of(session, sip_domain="test.io", **terms)


def target(callee: str, start: float, end: float, **more: Any) -> TargetRecord:
    for name in ("ring_time", "answered_time"):
        if name in more:
            more[name] = at(more[name])
    defaults: dict[str, Any] = {"caller": "101", "kind": "extension", "target_id": callee}
    return TargetRecord(callee=callee, start_time=at(start), ended_time=at(end), **(defaults | more))


def call(start: float, end: float, **more: Any) -> Record:
    for name in ("ring_time", "answered_time"):
        if name in more:
            more[name] = at(more[name])
    defaults: dict[str, Any] = {
        "session_id": SESSION,
        "direction": "internal",
        "caller": "101",
        "caller_domain": "test.io",
        "callee": "102",
        "callee_domain": "test.io",
        "extensions": ["101", "102"],
    }
    return Record(start_time=at(start), ended_time=at(end), **(defaults | more))


SPEC_TARGET = {"caller": "1888722", "trunk_name": "AudioCodes"}
SPEC_RECORD = call(
    51,
    70,
    direction="inbound",
    call_id="b6PEEYEcn5speSovMAybCw..",
    caller="1888722",
    caller_domain="192.168.0.16",
    callee="5000",
    callee_display_name="Main menu",
    final_display_name="Bob",
    did="18800606",
    trunk_name="AudioCodes",
    ring_time=51,
    answered_time=51,
    talk_duration=19,
    status="answered",
    end_reason="callee_disconnect",
    extensions=["102", "103"],
    targets=[
        target(
            "5000",
            51,
            57,
            target_id="ivr",
            kind="service",
            destination="sip:5000@10.0.0.1:8922",
            ring_time=51,
            answered_time=51,
            end_reason="referred",
            **SPEC_TARGET,
        ),
        target(
            "8000",
            57,
            62,
            target_id="queue",
            kind="service",
            destination="sip:8000@10.0.0.1:8916",
            ring_time=57,
            answered_time=57,
            end_reason="referred",
            **SPEC_TARGET,
        ),
        target(
            "102", 58, 62, callee_display_name="Ann", destination="sip:102@10.0.0.2:9070", ring_time=58, **SPEC_TARGET
        ),
        target(
            "103",
            58,
            70,
            callee_display_name="Bob",
            destination="sip:103@10.0.0.3:9530",
            ring_time=58,
            answered_time=62,
            **SPEC_TARGET,
        ),
    ],
)


def started(**more: Any) -> tuple[float, str, dict[str, Any]]:
    return (0, "call.started", {"caller": ext("101"), "callee": ext("102")} | more)


def rings(second: float, number: str, **more: Any) -> list[tuple[float, str, dict[str, Any]]]:
    added = {"target_id": number, "callee": ext(number)} | more
    return [(second, "target.added", added), (second, "target.ringing", {"target_id": added["target_id"]})]


def answers(second: float, leg: str) -> tuple[float, str, dict[str, Any]]:
    return (second, "target.answered", {"target_id": leg})


def ends(second: float, leg: str, reason: str, status: int = 0) -> tuple[float, str, dict[str, Any]]:
    return (second, "target.ended", {"target_id": leg, "end_reason": reason, "status_code": status})


def ended(second: float, reason: str, status: int = 0) -> tuple[float, str, dict[str, Any]]:
    return (second, "call.ended", {"ended_reason": reason, "status_code": status})


TRUNK = {"callee": outside("5551000"), "trunk": "AudioCodes"}

FLOWS = {
    "answered, the caller hangs up": (
        events(
            started(),
            *rings(1, "102"),
            answers(5, "102"),
            ends(15, "102", "caller_disconnect"),
            ended(15, "caller_disconnect"),
        ),
        call(
            0,
            15,
            ring_time=1,
            answered_time=5,
            ring_duration=4,
            talk_duration=10,
            status="answered",
            end_reason="caller_disconnect",
            targets=[target("102", 1, 15, ring_time=1, answered_time=5, end_reason="caller_disconnect")],
        ),
    ),
    "the caller gives up while it rings": (
        events(started(), *rings(1, "102"), ends(6, "102", "cancelled", 487), ended(6, "cancelled", 487)),
        call(
            0,
            6,
            ring_time=1,
            ring_duration=5,
            status="noanswer",
            status_code=487,
            end_reason="cancelled",
            targets=[target("102", 1, 6, ring_time=1, end_reason="cancelled", status_code=487)],
        ),
    ),
    "busy": (
        events(
            started(),
            (1, "target.added", {"target_id": "102", "callee": ext("102")}),
            ends(1, "102", "callee_disconnect", 486),
            ended(1, "callee_disconnect", 486),
        ),
        call(
            0,
            1,
            status="failed",
            status_code=486,
            end_reason="callee_disconnect",
            targets=[target("102", 1, 1, end_reason="callee_disconnect", status_code=486)],
        ),
    ),
    "nobody answers": (
        events(started(), *rings(1, "102"), ends(21, "102", "None", 408), ended(21, "None", 408)),
        call(
            0,
            21,
            ring_time=1,
            ring_duration=20,
            status="noanswer",
            status_code=408,
            targets=[target("102", 1, 21, ring_time=1, status_code=408)],
        ),
    ),
    "no answer, then forwarded": (
        events(
            started(),
            *rings(1, "102"),
            ends(11, "102", "None", 408),
            *rings(11, "103"),
            answers(13, "103"),
            ends(20, "103", "callee_disconnect"),
            ended(20, "callee_disconnect"),
        ),
        call(
            0,
            20,
            ring_time=1,
            answered_time=13,
            ring_duration=12,
            talk_duration=7,
            status="answered",
            end_reason="callee_disconnect",
            extensions=["101", "102", "103"],
            targets=[
                target("102", 1, 11, ring_time=1, status_code=408),
                target("103", 11, 20, ring_time=11, answered_time=13, end_reason="callee_disconnect"),
            ],
        ),
    ),
    "an unknown number": (
        events(started(callee=ext("999")), ended(0, "None", 404)),
        call(0, 0, callee="999", status="failed", status_code=404, extensions=["101"], targets=[]),
    ),
    "one extension on two devices": (
        events(
            started(),
            *rings(1, "102", target_id="desk"),
            *rings(1, "102", target_id="app"),
            answers(4, "app"),
            ends(4, "desk", "None"),
            ends(9, "app", "callee_disconnect"),
            ended(9, "callee_disconnect"),
        ),
        call(
            0,
            9,
            ring_time=1,
            answered_time=4,
            ring_duration=3,
            talk_duration=5,
            status="answered",
            end_reason="callee_disconnect",
            targets=[
                target("102", 1, 4, target_id="desk", ring_time=1),
                target("102", 1, 9, target_id="app", ring_time=1, answered_time=4, end_reason="callee_disconnect"),
            ],
        ),
    ),
    "a blind transfer by the callee, out over the trunk": (
        events(
            started(caller=outside("1888722", domain="sbc"), trunk="AudioCodes"),
            *rings(1, "102"),
            answers(2, "102"),
            ends(9, "102", "referred"),
            *rings(9, "mobile", **TRUNK),
            answers(12, "mobile"),
            ends(20, "mobile", "caller_disconnect"),
            ended(20, "caller_disconnect"),
        ),
        call(
            0,
            20,
            direction="inbound_outbound",
            caller="1888722",
            caller_domain="sbc",
            trunk_name="AudioCodes",
            ring_time=1,
            answered_time=2,
            ring_duration=1,
            talk_duration=18,
            status="answered",
            end_reason="caller_disconnect",
            extensions=["102"],
            targets=[
                target("102", 1, 9, ring_time=1, answered_time=2, end_reason="referred", **SPEC_TARGET),
                target(
                    "5551000",
                    9,
                    20,
                    target_id="mobile",
                    kind="external",
                    ring_time=9,
                    answered_time=12,
                    end_reason="caller_disconnect",
                    **SPEC_TARGET,
                ),
            ],
        ),
    ),
    "a blind transfer by the caller": (
        events(
            started(),
            *rings(1, "102"),
            answers(2, "102"),
            (6, "caller.left", {"end_reason": "blind_transfer_complete"}),
            *rings(6, "103", caller=ext("102")),
            answers(8, "103"),
            ends(12, "103", "callee_disconnect"),
            ends(12, "102", "callee_disconnect"),
            ended(12, "callee_disconnect"),
        ),
        call(
            0,
            12,
            ring_time=1,
            answered_time=2,
            ring_duration=1,
            talk_duration=10,
            status="answered",
            end_reason="callee_disconnect",
            extensions=["101", "102", "103"],
            targets=[
                target("102", 1, 12, ring_time=1, answered_time=2, end_reason="callee_disconnect"),
                target("103", 6, 12, caller="102", ring_time=6, answered_time=8, end_reason="callee_disconnect"),
            ],
        ),
    ),
    "an outbound call under a caller id": (
        events(
            started(callee=outside("5551000"), outbound_caller_id="18800606", user_data="ticket 77"),
            *rings(1, "out", **TRUNK, outbound_caller_id="18800606"),
            answers(3, "out"),
            ends(63, "out", "callee_disconnect"),
            ended(63, "callee_disconnect"),
        ),
        call(
            0,
            63,
            direction="outbound",
            callee="5551000",
            trunk_name="AudioCodes",
            outbound_caller_id="18800606",
            user_data="ticket 77",
            ring_time=1,
            answered_time=3,
            ring_duration=2,
            talk_duration=60,
            status="answered",
            end_reason="callee_disconnect",
            extensions=["101"],
            targets=[
                target(
                    "5551000",
                    1,
                    63,
                    target_id="out",
                    kind="external",
                    trunk_name="AudioCodes",
                    outbound_caller_id="18800606",
                    ring_time=1,
                    answered_time=3,
                    end_reason="callee_disconnect",
                )
            ],
        ),
    ),
    "names change and the callee is held": (
        events(
            started(),
            *rings(1, "102"),
            answers(2, "102"),
            (3, "party.held", {"leg": "102"}),
            (5, "party.unheld", {"leg": "102"}),
            (6, "party.updated", {"leg": "102", "display_name": "Ann"}),
            (6, "party.updated", {"leg": "caller", "display_name": "Eve"}),
            ends(8, "102", "callee_disconnect"),
            ended(8, "callee_disconnect"),
        ),
        call(
            0,
            8,
            caller_display_name="Eve",
            callee_display_name="Ann",
            final_display_name="Ann",
            ring_time=1,
            answered_time=2,
            ring_duration=1,
            talk_duration=6,
            status="answered",
            end_reason="callee_disconnect",
            targets=[
                target(
                    "102",
                    1,
                    8,
                    callee_display_name="Ann",
                    ring_time=1,
                    answered_time=2,
                    end_reason="callee_disconnect",
                    held=[["2023-03-22T09:20:03+00:00", "2023-03-22T09:20:05+00:00"]],
                )
            ],
        ),
    ),
    "the switch says nothing of reasons": (
        events(started(), *rings(1, "102"), (4, "call.ended", {})),
        call(0, 4, ring_time=1, ring_duration=3, status="noanswer", targets=[target("102", 1, 4, ring_time=1)]),
    ),
    "nobody saw the end": (
        events(started(), *rings(1, "102"), answers(2, "102"), (9, "call.ended", {"incomplete": True})),
        call(
            0,
            9,
            ring_time=1,
            answered_time=2,
            ring_duration=1,
            talk_duration=7,
            status="answered",
            incomplete=True,
            targets=[target("102", 1, 9, ring_time=1, answered_time=2)],
        ),
    ),
    "times that run backwards": (
        events(
            started(),
            (5, "target.added", {"target_id": "102", "callee": ext("102")}),
            answers(9, "102"),
            ends(2, "102", "callee_disconnect"),
            ended(3, "callee_disconnect"),
        ),
        call(
            0,
            9,
            ring_time=9,
            answered_time=9,
            status="answered",
            end_reason="callee_disconnect",
            targets=[target("102", 5, 9, ring_time=9, answered_time=9, end_reason="callee_disconnect")],
        ),
    ),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_record_of_a_flow(flow: str) -> None:
    told, expected = FLOWS[flow]
    assert record(told) == expected


def test_record_of_the_specifications_example() -> None:
    assert record(spec_call()) == SPEC_RECORD


@pytest.mark.parametrize("seed", range(20))
def test_record_does_not_depend_on_the_order_of_arrival(seed: int) -> None:
    told = spec_call()
    random.Random(seed).shuffle(told)
    # The order among targets of one second is the order of arrival, so only they may differ.
    found = record(told)
    assert sorted(found.targets, key=lambda each: each.target_id) == sorted(
        SPEC_RECORD.targets, key=lambda e: e.target_id
    )
    assert {**_without_lists(found)} == {**_without_lists(SPEC_RECORD)}


def _without_lists(found: Record) -> dict[str, Any]:
    names = (name for name in Record.__dataclass_fields__ if name not in {"targets", "extensions"})
    return {name: getattr(found, name) for name in names}


def test_record_of_an_attended_transfer_is_one() -> None:
    """101 calls 102; 102 consults 103 in a second session, then hands 101 over."""
    first = events(
        started(),
        *rings(1, "102"),
        answers(2, "102"),
        (14, "target.ended", {"target_id": "102", "end_reason": "attended_transfer_complete"}),
        ended(30, "caller_disconnect"),
    )
    consult = events(
        (8, "call.started", {"caller": ext("102"), "callee": ext("103", "Cid")}),
        *rings(9, "103", callee=ext("103", "Cid")),
        answers(11, "103"),
        (14, "session.merged", {"into": SESSION}),
        ends(30, "103", "caller_disconnect"),
        session="consult",
    )

    assert record(first + consult) == call(
        0,
        30,
        ring_time=1,
        answered_time=2,
        ring_duration=1,
        talk_duration=28,
        status="answered",
        end_reason="caller_disconnect",
        final_display_name="Cid",
        extensions=["101", "102", "103"],
        merged_sessions=["consult"],
        targets=[
            target("102", 1, 14, ring_time=1, answered_time=2, end_reason="attended_transfer_complete"),
            target(
                "103",
                9,
                30,
                caller="102",
                callee_display_name="Cid",
                ring_time=9,
                answered_time=11,
                end_reason="caller_disconnect",
            ),
        ],
    )


def test_record_bills_only_the_legs_to_a_trunk() -> None:
    rates = [Rate(prefix="555", price_1=Decimal("0.06"), price_n=Decimal("0.06"))]
    told, _ = FLOWS["an outbound call under a caller id"]
    found = record(told, rates=rates)
    assert (found.cost, [each.cost for each in found.targets]) == (Decimal("0.06000"), [Decimal("0.06000")])
    told, _ = FLOWS["answered, the caller hangs up"]
    assert record(told, rates=rates).cost is None


def test_session_knows_who_is_connected() -> None:
    told = events(started(), *rings(1, "102"), answers(2, "102"), (6, "caller.left", {}), *rings(6, "103"))
    connected = [fold(told[:n], SESSION) for n in range(1, len(told) + 1)]
    assert [[party.number for party in each.connected_parties()] for each in connected if each] == [
        [],
        [],
        [],
        ["101", "102"],
        ["102"],
        ["102"],
        ["102"],
    ]


def test_service_is_no_extension() -> None:
    told = events(
        started(callee=service("5000")),
        (1, "target.added", {"target_id": "ivr", "callee": service("5000")}),
        answers(1, "ivr"),
        ended(4, "caller_disconnect"),
    )
    assert record(told).extensions == ["101"]


def test_merged_sessions_may_use_the_same_target_id() -> None:
    first = events(started(), *rings(1, "102", target_id="1"), answers(2, "1"), session=SESSION)
    consult = events(
        (8, "call.started", {"caller": ext("102"), "callee": ext("103")}),
        *rings(9, "103", target_id="1"),
        answers(11, "1"),
        (14, "session.merged", {"into": SESSION}),
        ends(20, "1", "callee_disconnect"),
        session="consult",
    )
    rest = events(ends(14, "1", "attended_transfer_complete"), ended(20, "callee_disconnect"), session=SESSION)
    found = record(first + consult + rest)
    assert [(each.callee, each.end_reason, each.answered_time) for each in found.targets] == [
        ("102", "attended_transfer_complete", at(2)),
        ("103", "callee_disconnect", at(11)),
    ]


def test_second_start_does_not_swap_the_parties() -> None:
    again = events((-5, "call.started", {"caller": ext("102"), "callee": ext("101")}), session=SESSION)
    told = events(started(), *rings(1, "102"), answers(2, "102"), ended(9, "callee_disconnect"))
    assert record(told + again) == record(told)
