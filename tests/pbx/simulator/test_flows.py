"""Every flow of the simulator ends as the record that its name promises."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from cdr.callevent_json import read
from cdr.records import Record, record_of
from cdr.session import fold
from pbx.simulator import flows
from pbx.simulator.flows import Flow, script_of, write_call
from pbx.simulator.world import Number, World

WORLD = World(
    domain="acme.test",
    trunk="Acme line",
    dids=("12025550110",),
    extensions=[
        Number("101", "Anna"),
        Number("102", "Ben", records_audio=True),
        Number("103", "Cleo", records_video=True),
    ],
    pause_code="*58",
    resume_code="*59",
)
START = datetime(2026, 3, 22, 9, tzinfo=UTC)


def record(flow: Flow, seed: int) -> Record:
    steps = script_of(flow, WORLD, "7", random.Random(seed))
    events = [
        read({"id": str(number), "at": (START + timedelta(seconds=step.after)).isoformat(), **step.event})
        for number, step in enumerate(steps)
    ]
    session = fold(events, "7")
    assert session is not None
    assert session.is_ended
    assert not any(leg.ended_time is None for leg in session.legs.values())
    return record_of(session, sip_domain="acme.test")


HANG_UP = {"caller_disconnect", "callee_disconnect"}


@pytest.mark.parametrize(
    ("flow", "direction", "status", "reasons", "codes"),
    [
        (flows.colleague_calls_colleague, "internal", "answered", HANG_UP, [0]),
        (flows.ivr_queue_and_two_agents, "inbound", "answered", HANG_UP, [0, 0, 0, 0]),
        (flows.no_answer_then_forwarded, "inbound", "answered", HANG_UP, [408, 0]),
        (flows.nobody_answers, "inbound", "noanswer", {""}, [408]),
        (flows.busy, "internal", "failed", {"callee_disconnect"}, [486]),
        (flows.caller_gives_up, "inbound", "noanswer", {"cancelled"}, [487]),
        (flows.unknown_number, "internal", "failed", {""}, []),
        (flows.ring_group, "inbound", "answered", HANG_UP, [0, 0, 0]),
        (flows.blind_transfer, "inbound", "answered", HANG_UP, [0, 0]),
        (flows.caller_transfers_the_call_away, "internal", "answered", HANG_UP, [0, 0]),
        (flows.attended_transfer, "inbound", "answered", HANG_UP, [0, 0]),
        (flows.outbound, "outbound", "answered", HANG_UP, [0]),
        (flows.forwarded_to_a_mobile, "inbound_outbound", "answered", HANG_UP, [302, 0]),
        (flows.recording_is_paused_for_a_card_number, "inbound", "answered", HANG_UP, [0]),
        (flows.transferred_to_a_mobile, "inbound_outbound", "answered", HANG_UP, [0, 0]),
        (flows.video_call, "internal", "answered", HANG_UP, [0]),
    ],
)
def test_a_flow_ends_as_its_record(
    flow: Flow, direction: str, status: str, reasons: set[str], codes: list[int]
) -> None:
    for seed in range(10):
        found = record(flow, seed)
        assert (found.direction, found.status) == (direction, status)
        assert found.end_reason in reasons
        assert [target.status_code for target in found.targets] == codes
        assert (found.ended_time - START).total_seconds() < 90


def test_every_flow_is_tested_and_used() -> None:
    assert len(flows.WEIGHTS) == 16
    assert set(flows.SHOWN_FIRST) < set(flows.WEIGHTS)


def test_a_tenant_without_a_trunk_talks_to_itself() -> None:
    world = World(domain="acme.test", trunk="", dids=(), extensions=WORLD.extensions)
    for seed in range(50):
        steps = write_call(world, "7", random.Random(seed))
        assert steps[0].event["caller"]["kind"] == "extension"


def test_the_codes_are_the_tenants_and_an_agent_who_is_recorded_dials_them() -> None:
    for seed in range(10):
        steps = script_of(flows.recording_is_paused_for_a_card_number, WORLD, "7", random.Random(seed))
        (target,) = [step.event for step in steps if step.event["type"] == "target.added"]
        codes = [step.event for step in steps if step.event["type"] == "feature.dialled"]
        assert target["callee"]["number"] == "102"
        assert [(event["code"], event["leg"]) for event in codes] == [
            ("*58", target["target_id"]), ("*59", target["target_id"]),
        ]  # fmt: skip


def test_a_video_call_goes_to_somebody_whose_video_is_recorded() -> None:
    for seed in range(10):
        started = script_of(flows.video_call, WORLD, "7", random.Random(seed))[0].event
        assert (started["media"], started["callee"]["number"]) == (["audio", "video"], "103")
        assert started["caller"]["number"] != "103"


def test_outbound_calls_show_a_did() -> None:
    assert record(flows.outbound, 1).outbound_caller_id == "12025550110"


def test_an_attended_transfer_is_one_record_of_two_sessions() -> None:
    found = record(flows.attended_transfer, 3)
    assert found.merged_sessions == ["77"]
    assert found.targets[0].end_reason == "attended_transfer_complete"


@pytest.mark.parametrize(
    ("callee", "direction", "kind"),
    [
        ("102", "internal", "extension"),
        ("5000", "internal", "service"),
        ("+4930123456", "outbound", "external"),
        ("5", "outbound", "external"),
    ],
)
def test_launched_call_is_that_of_its_extension(callee: str, direction: str, kind: str) -> None:
    def flow(script: flows.Script) -> None:
        flows.launched(script, WORLD.extensions[0], callee, "ticket 77")

    told = record(flow, 3)
    assert (told.caller, told.callee, told.direction, told.user_data) == ("101", callee, direction, "ticket 77")
    assert [(target.callee, target.kind) for target in told.targets] == [(callee, kind)]
    assert told.end_reason in HANG_UP
