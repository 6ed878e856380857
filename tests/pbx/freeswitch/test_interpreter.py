"""From what a real FreeSWITCH told about a call (`streams/`) to the events it means and the one record it becomes."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr.callevents import (
    CallEvent,
    CallStarted,
    FeatureDialled,
    MediaChanged,
    Party,
    PartyKind,
    PartyUpdated,
    TargetAdded,
)
from pbx.freeswitch.interpreter import Interpreter
from pbx.freeswitch.names import Trunks
from pbx.freeswitch.state import Member
from tests.pbx.asterisk.test_interpreter import check, check_storable, records_of, shorthand
from tests.pbx.freeswitch.expected import EXPECTED, plain
from tests.pbx.freeswitch.fake import STREAMS, Event, as_dump, recorded

FLOWS = sorted(path.stem for path in STREAMS.iterdir())
LATER = timedelta(seconds=10)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
UNSPOKEN = (PartyUpdated, MediaChanged)  # what the shorthand has no words for


def moment(event: Event) -> datetime:
    return datetime.fromtimestamp(int(event["Event-Date-Timestamp"]) / 1_000_000, UTC)


def interpreted(events: Iterable[Event], interpreter: Interpreter | None = None) -> list[CallEvent]:
    interpreter = interpreter or Interpreter()
    told: list[CallEvent] = []
    at = NOW
    for event in events:
        at = moment(event)
        told += interpreter.take(event, at)
    return told + interpreter.tick(at + LATER)


def brief(events: Sequence[CallEvent]) -> list[str]:
    return shorthand([event for event in events if not isinstance(event, UNSPOKEN)])


def test_each_recorded_flow_is_expected() -> None:
    assert sorted(EXPECTED) == FLOWS


@pytest.mark.parametrize("flow", FLOWS)
def test_a_recorded_flow_becomes_the_record_a_person_would_write(flow: str) -> None:
    assert [plain(record) for record in records_of(interpreted(recorded(flow)))] == EXPECTED[flow]


@pytest.mark.parametrize("flow", FLOWS)
def test_the_same_flow_twice_says_nothing_new(flow: str) -> None:
    first, again = interpreted(recorded(flow)), interpreted(recorded(flow))
    assert {event.id for event in first} == {event.id for event in again}


def test_the_specifications_example_is_told_step_by_step() -> None:
    assert brief(interpreted(recorded("ivr_queue_agent"))) == [
        "S1 started 1888722 to 5000",
        "S1 added 5000",
        "S1 ringing 5000",
        "S1 answered 5000",
        "S1 ended 5000 referred 0",
        "S1 added 8000",
        "S1 ringing 8000",
        "S1 answered 8000",
        "S1 added 102",
        "S1 added 103",
        "S1 ringing 103",
        "S1 ringing 102",
        "S1 answered 103",
        "S1 ended 8000 referred 0",
        "S1 ended 102 None 0",
        "S1 ended 103 None 0",
        "S1 over callee_disconnect 0",
    ]


def test_a_call_starts_with_its_trunk_though_its_first_leg_tells_it_late() -> None:
    started = interpreted(recorded("transferred_to_mobile"))[0]
    assert isinstance(started, CallStarted)
    assert (started.domain, started.did, started.trunk) == ("acme.test", "18800607", "AudioCodes")


def test_legs_tell_their_call_ids() -> None:
    events = interpreted(recorded("ivr_queue_agent"))
    told = {event.leg: event.call_id for event in events if isinstance(event, PartyUpdated)}
    assert told == {
        "9270621c-c6e8-49be-aa2e-a4d7ff908f59": "7cb889c3-615c-1240-7893-6e040984763a",
        "2106b766-e033-4015-8347-331f51010744": "7cb87a2a-615c-1240-7893-6e040984763a",
    }


# --- Video, codes, members ---


def altered(flow: str, **variables: str) -> list[Event]:
    """The same call, where the leg that was dialled says else."""
    more = {f"variable_{name}": value for name, value in variables.items()}
    return [event | more if event.get("Call-Direction") == "outbound" else event for event in recorded(flow)]


def media(events: Sequence[CallEvent]) -> list[Any]:
    return [sorted(event.media) for event in events if isinstance(event, CallStarted | MediaChanged)]


def test_a_call_has_video_when_both_have() -> None:
    assert media(interpreted(recorded("extension_to_extension"))) == [["audio", "video"]]
    assert media(interpreted(recorded("ivr_queue_agent"))) == [["audio"]]


def test_a_video_call_that_is_answered_without_video_is_one_of_audio() -> None:
    told = interpreted(altered("extension_to_extension", video_media_flow="disabled"))
    assert media(told) == [["audio", "video"], ["audio"]]
    names = [type(event).__name__ for event in told]
    assert names[names.index("MediaChanged") + 1] == "TargetAnswered"  # so that nobody records a film of it


def test_a_feature_code_is_told_by_its_leg() -> None:
    events = recorded("feature_codes")
    spoken = [
        event | {"code": "*48", "Unique-ID": events[-1]["Unique-ID"]} if "operation" in event else event
        for event in events
    ]
    told = [event for event in interpreted(spoken) if isinstance(event, FeatureDialled)]
    assert [(event.code, event.leg) for event in told] == [("*48", events[-1]["Unique-ID"])] * 4
    assert len({event.id for event in told}) == 4


def test_members_are_those_who_are_connected_the_caller_first() -> None:
    interpreter = Interpreter()
    seen: list[Any] = []
    for event in recorded("transferred_to_mobile"):
        interpreter.take(event, moment(event))
        members = interpreter.members("6047f69e-6eb7-460b-adfb-4e9eaaf7e6c5")
        if not seen or seen[-1] != members:
            seen.append(members)
    caller, agent, mobile = (
        Member(uuid, has_video=False)
        for uuid in (
            "6047f69e-6eb7-460b-adfb-4e9eaaf7e6c5",
            "61a74836-fd31-47bf-9189-90675552b541",
            "22b5d3f4-4fef-4767-a5f0-2bdd8d15aaf5",
        )
    )
    assert seen == [[], [agent], [caller, agent], [caller], [caller, mobile], [caller], None]


# --- What no flow shows ---

A, B, C = "aaaa", "bbbb", "cccc"


def said(seconds: float, name: str, uuid: str, **fields: str) -> Event:
    event = {"Event-Name": name, "Event-Date-Timestamp": str(int((1_800_000_000 + seconds) * 1_000_000))}
    event |= {"Unique-ID": uuid, "Call-Direction": "inbound" if uuid == A else "outbound"}
    return event | {name.replace("__", "-"): value for name, value in fields.items()}


def variables(**told: str) -> dict[str, str]:
    return {f"variable_{name}": value for name, value in told.items()}


def custom(seconds: float, subclass: str, uuid: str, **fields: str) -> Event:
    return said(seconds, "CUSTOM", uuid, **fields) | {"Event-Subclass": subclass}


CALLER = said(0, "CHANNEL_CREATE", A, **variables(user_name="101", domain_name="acme.test")) | {
    "Caller-Caller-ID-Number": "101", "Caller-Destination-Number": "102",
}  # fmt: skip
CALLED = said(0.1, "CHANNEL_CREATE", B, **variables(dialed_user="102", dialed_domain="acme.test")) | {
    "Other-Leg-Unique-ID": A, "Other-Leg-Destination-Number": "102",
}  # fmt: skip


def bridged(seconds: float, one: str, other: str) -> Event:
    return said(seconds, "CHANNEL_BRIDGE", one) | {"Bridge-A-Unique-ID": one, "Bridge-B-Unique-ID": other}


def hangup(seconds: float, uuid: str, cause: str = "NORMAL_CLEARING", **told: str) -> Event:
    return said(seconds, "CHANNEL_HANGUP_COMPLETE", uuid, **variables(**told)) | {"Hangup-Cause": cause}


TALKING = [CALLER, CALLED, said(2, "CHANNEL_ANSWER", B), said(2, "CHANNEL_ANSWER", A), bridged(2, A, B)]


def test_the_reason_of_the_second_leg_is_awaited() -> None:
    rows = [*TALKING, hangup(9, B, sip_hangup_disposition="send_bye"), hangup(9, A, sip_hangup_disposition="recv_bye")]
    assert brief(interpreted(rows))[2:] == [
        "S1 answered 102",
        "S1 ended 102 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]


def test_a_leg_that_the_switch_hung_up_while_the_call_goes_on_is_told_soon() -> None:
    interpreter = Interpreter()
    interpreted([*TALKING, hangup(9, B, sip_hangup_disposition="send_bye")], interpreter)
    assert interpreter.session_ids() == {A}
    events = interpreted([*TALKING, hangup(9, B, sip_hangup_disposition="send_bye")])
    assert brief(events)[3:] == ["S1 ended 102 None 0"]
    assert events[-1].at == datetime.fromtimestamp(1_800_000_009, UTC)


@pytest.mark.parametrize(
    ("cause", "told", "verdict"),
    [
        ("CALL_REJECTED", {"sip_term_status": "603"}, "callee_disconnect 603"),
        ("CALL_REJECTED", {}, "callee_disconnect 603"),
        ("USER_BUSY", {"sip_invite_failure_status": "486"}, "callee_disconnect 486"),
        ("REDIRECTION_TO_NEW_DESTINATION", {"sip_term_status": "302"}, "redirected 302"),
        ("REDIRECTION_TO_NEW_DESTINATION", {"sip_invite_failure_status": "487"}, "redirected 302"),
        ("NO_USER_RESPONSE", {}, "None 408"),
        ("ORIGINATOR_CANCEL", {"sip_term_status": "487"}, "cancelled 487"),
        ("LOSE_RACE", {"sip_term_status": "487"}, "None 0"),
        ("SOMETHING_NEW", {}, "callee_disconnect 480"),
    ],
)
def test_a_leg_that_failed_says_how(cause: str, told: dict[str, str], verdict: str) -> None:
    assert brief(interpreted([CALLER, CALLED, hangup(5, B, cause, **told)]))[2:] == [f"S1 ended 102 {verdict}"]


def test_a_caller_who_gives_up_has_cancelled() -> None:
    rows = [CALLER, CALLED, hangup(5, B, "ORIGINATOR_CANCEL")]
    rows += [hangup(5, A, "ORIGINATOR_CANCEL", sip_hangup_disposition="recv_cancel")]
    assert brief(interpreted(rows))[2:] == ["S1 ended 102 cancelled 487", "S1 over cancelled 487"]


def test_a_caller_who_transfers_leaves_the_call() -> None:
    third = said(6, "CHANNEL_CREATE", C, **variables(dialed_user="103")) | {"Other-Leg-Unique-ID": B}
    rows = [
        *TALKING,
        hangup(6, A, endpoint_disposition="BLIND_TRANSFER", sip_hangup_disposition="send_bye"),
        third,
        said(7, "CHANNEL_ANSWER", C),
        bridged(7, B, C),
        hangup(9, C, sip_hangup_disposition="recv_bye"),
        hangup(9, B, sip_hangup_disposition="send_bye"),
    ]
    assert brief(interpreted(rows))[3:] == [
        "S1 caller left blind_transfer_complete",
        "S1 added 103 by 102",
        "S1 answered 103",
        "S1 ended 103 callee_disconnect 0",
        "S1 ended 102 caller_disconnect 0",
        "S1 over callee_disconnect 0",
    ]


def test_a_callee_who_joins_two_calls_says_so_by_where_it_left_its_party() -> None:
    rows = [*TALKING, hangup(6, B, transfer_to=f"att:{C}", sip_hangup_disposition="recv_bye")]
    assert brief(interpreted(rows))[3:] == ["S1 ended 102 attended_transfer_complete 0"]


def test_a_leg_that_had_hung_up_before_we_came_ends_when_it_is_destroyed() -> None:
    over = [hangup(9, B, sip_hangup_disposition="recv_bye"), hangup(9, A, sip_hangup_disposition="send_bye")]
    told = brief(interpreted([*TALKING, *over]))
    assert told == brief(interpreted([*TALKING, *(each | {"Event-Name": "CHANNEL_DESTROY"} for each in over)]))
    assert told == brief(interpreted([*TALKING, *over, *(each | {"Event-Name": "CHANNEL_DESTROY"} for each in over)]))
    assert told[-1] == "S1 over callee_disconnect 0"


LAUNCHED = variables(
    voxledger_launch="77",
    voxledger_callee="102",
    voxledger_callee_is_extension="true",
    voxledger_user_data="a%2C%20b",
    x_session_id="77",
    dialed_user="101",
    domain_name="acme.test",
)
FIRST = said(0, "CHANNEL_CREATE", B, **LAUNCHED)
SECOND = said(0, "CHANNEL_CREATE", C, **LAUNCHED)
TO_102 = said(3, "CHANNEL_CREATE", "dddd", **variables(dialed_user="102", x_session_id="77")) | {
    "Other-Leg-Unique-ID": C
}


def test_a_launched_call_is_told_when_the_callers_phone_rings() -> None:
    (started,) = interpreted([FIRST])
    assert isinstance(started, CallStarted)
    told = (started.session_id, started.caller, started.callee, started.domain, started.user_data)
    assert told == (
        "77",
        Party("101", PartyKind.EXTENSION),
        Party("102", PartyKind.EXTENSION),
        "acme.test",
        "a, b",
    )


def test_the_phone_that_takes_a_launched_call_is_its_caller() -> None:
    interpreter = Interpreter()
    answered = said(2, "CHANNEL_ANSWER", C, **variables(sip_call_id="of-c"))
    rows = [FIRST, SECOND, answered, hangup(2, B, "LOSE_RACE"), TO_102, said(5, "CHANNEL_ANSWER", "dddd")]
    rows += [bridged(5, C, "dddd")]
    events = interpreted(rows, interpreter)
    assert [event.call_id for event in events if isinstance(event, PartyUpdated)] == ["of-c"]
    assert [member.uuid for member in interpreter.members("77") or ()] == [C, "dddd"]
    events += interpreted([hangup(9, C, sip_hangup_disposition="recv_bye"), hangup(9, "dddd")], interpreter)
    assert brief(events)[1:] == [
        "S1 added 102",
        "S1 answered 102",
        "S1 ended 102 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([hangup(9, B, "NO_ANSWER")], "cancelled 408"),
        (
            [hangup(9, B, "USER_BUSY", sip_invite_failure_status="486", sip_hangup_disposition="recv_refuse")],
            "cancelled 486",
        ),
        ([hangup(9, B, "ORIGINATOR_CANCEL")], "cancelled 487"),
        ([said(2, "CHANNEL_ANSWER", B), hangup(3, B, "USER_NOT_REGISTERED")], "None 480"),
        (
            [
                said(2, "CHANNEL_ANSWER", B),
                custom(3, "portal::target", B, target="102", target_type="unknown"),
                hangup(3, B, "UNALLOCATED_NUMBER"),
            ],
            "None 404",
        ),
    ],
)
def test_a_launched_call_that_comes_to_nothing_says_why(rows: list[Event], verdict: str) -> None:
    assert brief(interpreted([FIRST, *rows]))[1:] == [f"S1 over {verdict}"]


def test_two_calls_whose_legs_are_put_together_are_one() -> None:
    second = said(4, "CHANNEL_CREATE", "dddd", **variables(user_name="102", domain_name="acme.test"))
    second |= {"Call-Direction": "inbound", "Caller-Destination-Number": "103", "Caller-Caller-ID-Number": "102"}
    third = said(4, "CHANNEL_CREATE", C, **variables(dialed_user="103")) | {"Other-Leg-Unique-ID": "dddd"}
    rows = [
        *TALKING,
        second,
        third,
        said(5, "CHANNEL_ANSWER", C),
        said(5, "CHANNEL_ANSWER", "dddd"),
        bridged(5, "dddd", C),
        hangup(7, "dddd", endpoint_disposition="ATTENDED_TRANSFER"),
        hangup(7, B, endpoint_disposition="ATTENDED_TRANSFER"),
        bridged(7, A, C),
        hangup(9, A, sip_hangup_disposition="recv_bye"),
        hangup(9, C, sip_hangup_disposition="send_bye"),
    ]
    told = brief(interpreted(rows))
    assert told[3:] == [
        "S2 started 102 to 103",
        "S2 added 103",
        "S2 answered 103",
        "S2 caller left attended_transfer_complete",
        "S1 ended 102 attended_transfer_complete 0",
        "S2 merged into S1",
        "S1 ended 103 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]


def test_a_number_that_the_dialplan_does_not_know_is_said_by_it() -> None:
    rows = [
        CALLER,
        custom(0.1, "portal::target", A, target="4711", target_type="unknown"),
        hangup(0.2, A, "UNALLOCATED_NUMBER"),
    ]
    assert brief(interpreted(rows)) == ["S1 started 101 to 4711", "S1 over None 404"]


def test_a_ring_group_rings_and_is_no_target() -> None:
    rows = [CALLER, custom(0, "portal::target", A, target="6000", target_type="ring_group"), CALLED]
    events = interpreted(rows)
    assert brief(events) == ["S1 started 101 to 6000", "S1 added 102"]
    assert [event.call_type for event in events if isinstance(event, TargetAdded)] == ["ring_group_call"]


def test_a_queue_that_nobody_announced_is_a_target() -> None:
    joined = custom(1, "callcenter::info", A) | {"CC-Action": "member-queue-start", "CC-Queue": "8000@acme.test"}
    rows = [CALLER, said(1, "CHANNEL_ANSWER", A), joined, hangup(5, A, sip_hangup_disposition="recv_bye")]
    assert brief(interpreted(rows)) == [
        "S1 started 101 to 8000",
        "S1 added 8000",
        "S1 ringing 8000",
        "S1 answered 8000",
        "S1 ended 8000 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]


def test_a_call_that_only_the_dialplan_answers_has_a_target() -> None:
    dialled = CALLER | {"Caller-Destination-Number": "*98"}
    rows = [dialled, said(1, "CHANNEL_ANSWER", A), hangup(9, A, sip_hangup_disposition="recv_bye")]
    assert brief(interpreted(rows)) == [
        "S1 started 101 to *98",
        "S1 added *98",
        "S1 ringing *98",
        "S1 answered *98",
        "S1 ended *98 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]


def test_hold_is_told() -> None:
    rows = [*TALKING, said(3, "CHANNEL_HOLD", A), said(3, "CHANNEL_HOLD", A), said(4, "CHANNEL_UNHOLD", A)]
    rows += [said(5, "CHANNEL_UNHOLD", B), said(5, "CHANNEL_HOLD", B)]
    assert brief(interpreted(rows))[3:] == ["S1 held caller", "S1 unheld caller", "S1 held 102"]


def test_a_leg_that_is_made_for_nobody_calls_when_it_answers() -> None:
    """An originate: first the one who is to call rings, and then his callee."""
    alone = said(0, "CHANNEL_CREATE", B, **variables(dialed_user="102", domain_name="acme.test"))
    third = said(3, "CHANNEL_CREATE", C, **variables(sip_gateway_name="AudioCodes"))
    third |= {"Other-Leg-Unique-ID": B, "Caller-Destination-Number": "5551000"}
    third |= {"Other-Leg-Destination-Number": "5551000"}
    rows = [alone, said(2, "CHANNEL_ANSWER", B), third, said(4, "CHANNEL_ANSWER", C), bridged(4, B, C)]
    rows += [hangup(9, B, sip_hangup_disposition="recv_bye"), hangup(9, C, sip_hangup_disposition="send_bye")]
    assert brief(interpreted(rows)) == [
        "S1 started 102 to 5551000",
        "S1 added 5551000",
        "S1 answered 5551000",
        "S1 ended 5551000 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]
    assert interpreted([alone, hangup(2, B, "NO_ANSWER")]) == []


def test_an_edge_names_the_session_and_an_odd_name_is_not_taken() -> None:
    for told, session_id in (("690852418417594368", "690852418417594368"), ("a b", A), ("x" * 65, A)):
        events = interpreted([CALLER, CALLED | variables(x_session_id=told)])
        assert {event.session_id for event in events} == {session_id}


def test_trunks_are_known_by_gateway_and_by_host() -> None:
    trunks = Trunks({"line-2": "Second line"}, {"192.0.2.9": "Carrier"})
    inbound = said(0, "CHANNEL_CREATE", A, **variables(sip_network_ip="192.0.2.9", sip_from_host="sip.example"))
    inbound |= {"Caller-Destination-Number": "18800606"}
    outbound = CALLED | variables(sip_gateway_name="line-2", sip_destination_url="sip:5551@192.0.2.9:5060")
    events = interpreted([inbound, outbound], Interpreter(trunks))
    told = [event.trunk for event in events if isinstance(event, CallStarted | TargetAdded)]
    assert told == ["Carrier", "Second line"]
    by_address = said(0, "CHANNEL_CREATE", B, **variables(sip_destination_url="sip:5551@192.0.2.9:5060"))
    by_address |= {"Other-Leg-Unique-ID": A, "Caller-Destination-Number": "5551"}
    added = interpreted([CALLER, by_address], Interpreter(trunks))[1]
    assert isinstance(added, TargetAdded)
    assert (added.trunk, added.callee.kind, added.callee.number) == ("Carrier", "external", "5551")


def test_a_clock_that_is_off_is_corrected() -> None:
    interpreter = Interpreter()
    interpreter.clock_offset = timedelta(hours=1)
    assert interpreted([CALLER, CALLED], interpreter)[0].at == datetime.fromtimestamp(1_800_003_600, UTC)


# --- After a gap ---


def live_legs(events: Sequence[Event]) -> dict[str, Event]:
    live: dict[str, Event] = {}
    for event in events:
        if event["Event-Name"] == "CHANNEL_HANGUP_COMPLETE":
            live.pop(event["Unique-ID"], None)
        elif event["Event-Name"] in {"CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_PROGRESS"}:
            live[event["Unique-ID"]] = event
    return live


def test_calls_that_are_found_in_progress_are_followed_from_there() -> None:
    events = recorded("transferred_to_mobile")
    half = next(i for i, event in enumerate(events) if event["Event-Name"] == "CHANNEL_BRIDGE") + 1
    live = live_legs(events[:half])
    interpreter = Interpreter()
    told = interpreter.adopt([as_dump(event) for event in live.values()], moment(events[half]))
    told += interpreter.end_all_but(set(live), moment(events[half]))
    assert interpreter.legs() == set(live)
    told += interpreted(events[half:], interpreter)
    [record] = records_of(told)
    whole = EXPECTED["transferred_to_mobile"][0]
    found = plain(record)
    assert [each["callee"] for each in found["targets"]] == ["103", "555123"]
    assert [each["end_reason"] for each in found["targets"]] == ["referred", ""]
    assert [found[name] for name in ("session_id", "did", "direction")] == [
        whole[name] for name in ("session_id", "did", "direction")
    ]


def test_calls_that_are_gone_are_closed_incomplete_when_last_seen() -> None:
    interpreter = Interpreter()
    interpreted(TALKING, interpreter)
    [over] = interpreter.end_all_but(set(), NOW)
    assert brief([*interpreted(TALKING), over])[-1] == "S1 over None None"
    assert (over.at, over.incomplete) == (datetime.fromtimestamp(1_800_000_002, UTC), True)  # type: ignore[attr-defined]
    assert interpreter.legs() == set()


# --- What a FreeSWITCH may do to us ---


def settled(events: Sequence[Event]) -> list[CallEvent]:
    """The events of a stream after which nothing lives any more."""
    interpreter = Interpreter()
    told = interpreted(events, interpreter)
    told += interpreter.end_all_but(set(), NOW)
    told += interpreter.tick(NOW + LATER)
    assert interpreter.session_ids() == set()
    assert interpreter.legs() == set()
    return told


@pytest.mark.parametrize("flow", FLOWS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_lost_messages_break_no_other(flow: str, data: st.DataObject) -> None:
    events = recorded(flow)
    lost = data.draw(st.sets(st.integers(0, len(events) - 1)))
    check(settled([event for index, event in enumerate(events) if index not in lost]))


@pytest.mark.parametrize("flow", FLOWS)
def test_a_stream_that_ends_or_begins_anywhere_leaves_no_call_open(flow: str) -> None:
    events = recorded(flow)
    for place in range(len(events)):
        check(settled(events[:place]))
        check(settled(events[place:]))


WORDS = sorted({key for flow in FLOWS for event in recorded(flow) for key in event})
KINDS = sorted({event["Event-Name"] for flow in FLOWS for event in recorded(flow)})
VALUES = st.one_of(
    st.sampled_from(["", "aaaa", "bbbb", "cccc", "inbound", "outbound", "member-queue-start", "recv_bye", "queue"]),
    st.sampled_from(["BLIND_TRANSFER", "ATTENDED_TRANSFER", "LOSE_RACE", "1795382042570460", "9" * 30, "H264"]),
    st.text(max_size=300),
)
MESSAGES = st.builds(
    lambda kind, subclass, ids, fields: {**fields, **ids, "Event-Name": kind, "Event-Subclass": subclass},
    st.sampled_from([*KINDS, "CHANNEL_HOLD", "CHANNEL_UNHOLD", "NEVER_HEARD_OF"]),
    st.sampled_from(["", "portal::target", "portal::control", "callcenter::info"]),
    st.fixed_dictionaries(
        {
            "Unique-ID": st.sampled_from(["aaaa", "bbbb", "cccc", "dddd"]),
            "Call-Direction": st.sampled_from(["inbound", "outbound"]),
        }
    ),
    st.dictionaries(st.sampled_from(WORDS), st.one_of(VALUES, st.lists(VALUES, max_size=3)), max_size=12),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=40))
def test_no_messages_break_the_interpreter(events: list[Any]) -> None:
    interpreter = Interpreter()
    told: list[CallEvent] = []
    for event in events:
        told += interpreter.take(event, NOW)
    told += interpreter.adopt(events[:3], NOW)
    told += interpreter.end_all_but(set(), NOW) + interpreter.tick(NOW + LATER)
    for event in told:
        check_storable(event)
    assert interpreter.session_ids() == set()
