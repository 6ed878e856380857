"""From what a real Asterisk told about a call (`streams/`) to the events it means and the one record it becomes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr import callevent_json
from cdr.callevents import (
    CALLER_LEG,
    CallEnded,
    CallerLeft,
    CallEvent,
    CallStarted,
    FeatureDialled,
    Party,
    PartyHeld,
    PartyKind,
    PartyUnheld,
    PartyUpdated,
    SessionMerged,
    TargetAdded,
    TargetAnswered,
    TargetEnded,
    TargetRinging,
)
from cdr.records import Record, record_of
from cdr.session import fold
from pbx.asterisk.interpreter import Interpreter
from pbx.asterisk.names import Trunks
from pbx.asterisk.state import Launched, Member
from tests.asterisk.flows import FLOWS
from tests.pbx.asterisk.expected import EXPECTED, plain_call
from tests.pbx.asterisk.fake import recorded
from tests.pbx.asterisk.told import TOLD

LATER = timedelta(seconds=10)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
Row = dict[str, Any]
INTRICATE = ("redirected", "two_tenants_at_once", "ivr_queue_agent", "caller_transfers_to_ivr")
INTRICATE += ("attended_transfer_by_callee", "attended_transfer_by_caller", "feature_codes")


def interpreted(rows: Iterable[Row], interpreter: Interpreter | None = None) -> list[CallEvent]:
    interpreter = interpreter or Interpreter()
    events: list[CallEvent] = []
    at = datetime.now(UTC)
    for row in rows:
        at = moment_of(row)
        events += tell(interpreter, row)
    return events + interpreter.tick(at + LATER)


def moment_of(row: Row) -> datetime:
    return datetime.fromtimestamp(row["t"], UTC)


def tell(interpreter: Interpreter, row: Row) -> list[CallEvent]:
    return (interpreter.ami if row["source"] == "ami" else interpreter.ari)(row["event"], moment_of(row))


def records_of(events: Sequence[CallEvent]) -> list[Record]:
    """One for each call that was not merged into another, in the order in which they began."""
    into = {event.session_id: event.into for event in events if isinstance(event, SessionMerged)}
    found = []
    for started in [event for event in events if isinstance(event, CallStarted)]:
        if started.session_id in into:
            continue
        members = {started.session_id, *(goes for goes, stays in into.items() if stays == started.session_id)}
        session = fold([event for event in events if event.session_id in members], started.session_id)
        assert session is not None
        found.append(record_of(session, sip_domain=started.domain or "acme.test"))
    return found


def shorthand(events: Sequence[CallEvent]) -> list[str]:
    """One line an event: sessions are S1, S2, targets go by their number. Call-IDs are left out."""
    names: dict[str, str] = {}
    lines: list[str] = []
    for event in (each for each in events if not isinstance(each, PartyUpdated)):
        if isinstance(event, CallStarted):
            names[event.session_id] = f"S{sum(name.startswith('S') for name in names.values()) + 1}"
        if isinstance(event, TargetAdded):
            same = sum(name.partition("#")[0] == event.callee.number for name in names.values())
            names[event.target_id] = f"{event.callee.number}#{same + 1}" if same else event.callee.number
        lines.append(f"{names[event.session_id]} {_told(event, names)}")
    return lines


def _told(event: CallEvent, names: dict[str, str]) -> str:
    match event:
        case CallStarted():
            return f"started {event.caller.number} to {event.callee.number}"
        case TargetAdded():
            return f"added {names[event.target_id]}" + (f" by {event.caller.number}" if event.caller else "")
        case TargetRinging():
            return f"ringing {names[event.target_id]}"
        case TargetAnswered():
            return f"answered {names[event.target_id]}"
        case TargetEnded():
            return f"ended {names[event.target_id]} {event.end_reason} {event.status_code}"
        case CallerLeft():
            return f"caller left {event.end_reason}"
        case PartyHeld():
            return f"held {names.get(event.leg, event.leg)}"
        case PartyUnheld():
            return f"unheld {names.get(event.leg, event.leg)}"
        case FeatureDialled():
            return f"feature {event.code} by {names.get(event.leg, event.leg)}"
        case SessionMerged():
            return f"merged into {names[event.into]}"
        case CallEnded():
            return f"over {event.ended_reason} {event.status_code}"
    raise AssertionError(event)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_recorded_flow_means_these_events(flow: str) -> None:
    assert shorthand(interpreted(recorded(flow))) == [line.strip() for line in TOLD[flow].strip().splitlines()]


@pytest.mark.parametrize("flow", FLOWS)
def test_a_recorded_flow_becomes_the_record_a_person_would_write(flow: str) -> None:
    records = records_of(interpreted(recorded(flow)))
    assert [plain_call(asdict(record)) for record in records] == EXPECTED[flow]


def call_ids(events: Sequence[CallEvent]) -> dict[str, str]:
    """What was told of each leg's Call-ID: by its channel, as the caller's is its session's here."""
    told: dict[str, str] = {}
    for event in events:
        match event:
            case CallStarted() if event.call_id:
                told[event.session_id] = event.call_id
            case TargetAdded() if event.call_id:
                told[event.target_id] = event.call_id
            case PartyUpdated() if event.call_id:
                told[event.session_id if event.leg == CALLER_LEG else event.leg] = event.call_id
    return told


def call_ids_by_ari(rows: Iterable[Row]) -> dict[str, str]:
    """What Asterisk said of each channel, by itself."""
    channels = [each for row in rows for each in row["event"].values() if isinstance(each, dict)]
    return {each["id"]: each["protocol_id"] for each in channels if each.get("protocol_id")}


@pytest.mark.parametrize("flow", FLOWS)
def test_each_leg_of_a_recorded_flow_has_its_call_id(flow: str) -> None:
    """Callees, agents of a queue, who was transferred to: each finds its call by its own dialog."""
    rows = recorded(flow)
    said = call_ids_by_ari(rows)
    assert said
    assert call_ids(interpreted(rows)) == said
    behind = [row for row in rows if row["source"] == "ami"]
    assert call_ids(interpreted([row for row in rows if row["source"] == "ari"] + behind)) == said


@pytest.mark.parametrize(
    "flow",
    [
        "extension_to_extension", "two_devices", "ivr_queue_agent", "ring_group", "blind_transfer_by_caller",
        "blind_transfer_by_callee", "attended_transfer_by_caller", "attended_transfer_by_callee",
    ],
)  # fmt: skip
def test_who_talks_is_found_by_call_id_and_who_has_left_is_not(flow: str) -> None:
    rows = recorded(flow)
    interpreter = Interpreter()
    events: list[CallEvent] = []
    at_last: tuple[list[CallEvent], list[Member]] = [], []  # while two talked
    for row in rows:
        events += tell(interpreter, row)
        root = next((event.session_id for event in events if isinstance(event, CallStarted)), "")
        if len(members := interpreter.members(root) or []) == 2:
            at_last = list(events), members
    session = fold(at_last[0], root)
    assert session
    said = call_ids_by_ari(rows)
    assert session.call_ids() == sorted(said[member.uniqueid] for member in at_last[1])


# --- What no flow shows ---


def test_ari_may_be_ahead_of_ami_by_a_whole_call() -> None:
    rows = recorded("extension_to_extension")
    ahead = [row for row in rows if row["source"] == "ari"] + [row for row in rows if row["source"] == "ami"]
    assert shorthand(interpreted(ahead)) == shorthand(interpreted(rows))
    assert records_of(interpreted(ahead)) == records_of(interpreted(rows))


def channel(number: str, uniqueid: str, **more: str) -> Row:
    """A part of an event: a phone's channel, in a call of 1.1."""
    prefix = more.pop("prefix", "")
    names = {"Channel": f"PJSIP/{number}@acme.test-{uniqueid}", "Uniqueid": uniqueid, "Linkedid": "1.1"} | more
    return {f"{prefix}{name}": value for name, value in names.items()}


def said(seconds: float, event: str, **fields: Any) -> Row:
    message = {"Event": event, "Timestamp": str(1_800_000_000 + seconds), **fields}
    return {"t": 1_800_000_000 + seconds, "source": "ami", "event": message}


CALLER = channel("101", "1.1", CallerIDNum="101", Exten="102", ChannelState="4")
CALLED = channel("102", "1.2", CallerIDNum="102")
TO_CALLED = channel("102", "1.2", prefix="Dest")
TALKING = [
    said(0, "Newchannel", **CALLER),
    said(0.1, "Newchannel", **CALLED),
    said(0.2, "DialBegin", **CALLER, **TO_CALLED, DialString="102@acme.test"),
    said(2, "DialEnd", **CALLER, **TO_CALLED, DialStatus="ANSWER"),
    said(2, "BridgeEnter", **CALLED, BridgeUniqueid="b"),
    said(2, "BridgeEnter", **CALLER, BridgeUniqueid="b"),
]


def test_an_attended_transfer_by_feature_code_has_one_transferor_channel() -> None:
    third, to_third = channel("103", "1.3"), channel("103", "1.3", prefix="Dest")
    by = {**channel("102", "1.2", prefix="OrigTransferer"), **channel("102", "1.2", prefix="SecondTransferer")}
    rows = [
        *TALKING,
        said(5, "Newchannel", **third),
        said(5, "DialBegin", **CALLED, **to_third, DialString="103@acme.test"),
        said(6, "DialEnd", **CALLED, **to_third, DialStatus="ANSWER"),
        said(6, "BridgeEnter", **third, BridgeUniqueid="b"),
        said(7, "AttendedTransfer", Result="Success", **by),
        said(7, "Hangup", **CALLED, Cause="16"),
        said(9, "HangupRequest", **CALLER),
        said(9, "Hangup", **third, Cause="16"),
        said(9, "Hangup", **CALLER, Cause="16"),
    ]
    assert shorthand(interpreted(rows, without_ari()))[3:] == [
        "S1 added 103 by 102",
        "S1 answered 103",
        "S1 ended 102 attended_transfer_complete 0",
        "S1 ended 103 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]


def test_a_call_that_only_the_dialplan_answers_has_a_target() -> None:
    rows = [
        said(0, "Newchannel", **(CALLER | {"Exten": "*98"})),
        said(1, "Newstate", **(CALLER | {"Exten": "*98", "ChannelState": "6"})),
        said(9, "HangupRequest", **(CALLER | {"Exten": "*98"})),
        said(9, "Hangup", **(CALLER | {"Exten": "h"}), Cause="16"),
    ]
    assert shorthand(interpreted(rows, without_ari())) == [
        "S1 started 101 to *98",
        "S1 added *98",
        "S1 ringing *98",
        "S1 answered *98",
        "S1 ended *98 caller_disconnect 0",
        "S1 over caller_disconnect 0",
    ]


def test_a_queue_that_nobody_announced_is_a_target() -> None:
    caller = CALLER | {"Exten": "8000", "ChannelState": "6"}
    rows = [
        said(0, "Newchannel", **(CALLER | {"Exten": "8000"})),
        said(1, "Newstate", **caller),
        said(1, "QueueCallerJoin", **caller, Queue="support"),
        said(5, "Hangup", **caller, Cause="16"),
    ]
    assert shorthand(interpreted(rows, without_ari())) == [
        "S1 started 101 to 8000",
        "S1 added 8000",
        "S1 ringing 8000",
        "S1 answered 8000",
        "S1 ended 8000 callee_disconnect 0",
        "S1 over callee_disconnect 0",
    ]


def test_a_call_whose_hangups_went_unsaid_is_closed_by_its_linkedid_end() -> None:
    end = said(9, "CEL", EventName="LINKEDID_END", LinkedID="1.1", UniqueID="1.1")
    events = interpreted([*TALKING, end], without_ari())
    assert shorthand(events)[-2:] == ["S1 ended 102 None 0", "S1 over None 0"]


def test_a_clock_that_is_set_back_is_followed() -> None:
    rows = [
        said(3600, "Newchannel", **CALLER),
        said(1, "Newchannel", **CALLED),
        said(2, "DialBegin", **CALLER, **TO_CALLED, DialString="102@acme.test"),
    ]
    times = [event.at.timestamp() - 1_800_000_000 for event in interpreted(rows, without_ari())]
    assert times == [3600, 2]


def test_the_portals_name_of_a_trunk_is_used_and_an_odd_session_id_is_not() -> None:
    caller = {
        "Channel": "PJSIP/provider-2-1.1", "Uniqueid": "1.1", "Linkedid": "1.1", "CallerIDNum": "<unknown>",
        "Exten": "101", "ChanVariable": ["SESSIONID=a b", "DID=18800101", "FROM_DOMAIN=sip.example"],
    }  # fmt: skip
    rows = [
        said(0, "Newchannel", **caller),
        said(0, "Newchannel", **CALLED),
        said(0, "DialBegin", **caller, **TO_CALLED, DialString="102@acme.test"),
    ]
    started = interpreted(rows, without_ari(Trunks({"provider-2": "Second line"})))[0]
    assert started == CallStarted(
        id="1.1:started",
        session_id="1.1",
        at=datetime.fromtimestamp(1_800_000_000, UTC),
        caller=Party("anonymous", PartyKind.EXTERNAL, "", "sip.example"),
        callee=Party("101", PartyKind.EXTENSION),
        did="18800101",
        trunk="Second line",
    )


def without_ari(trunks: Trunks | None = None) -> Interpreter:
    interpreter = Interpreter(trunks)
    interpreter.lose_ari()
    return interpreter


# --- A call that the portal launched ---

LAUNCHED = Launched("s-7", "Acme 101", Party("102", PartyKind.EXTENSION), "ticket 77", "acme.test")
FIRST, SECOND = ({"Linkedid": f"s-7-{each}"} for each in (1, 2))
DESK, MOBILE = channel("101", "s-7-1", **FIRST), channel("101", "s-7-2", **SECOND)
RINGING = [
    said(0, "Newchannel", **DESK, CallerIDNum="102", CallerIDName="102"),
    said(0, "Newchannel", **MOBILE, CallerIDNum="102", CallerIDName="102"),
    said(0.1, "DialBegin", **channel("101", "s-7-1", prefix="Dest", **FIRST), DialString="101@acme.test"),
    said(0.1, "DialBegin", **channel("101", "s-7-2", prefix="Dest", **SECOND), DialString="101@acme.test"),
    said(0.2, "Newstate", **DESK, ChannelState="5"),
]


def expecting() -> Interpreter:
    interpreter = without_ari()
    for uniqueid in ("s-7-1", "s-7-2"):
        interpreter.expect(uniqueid, LAUNCHED)
    return interpreter


def test_a_launched_call_is_told_while_its_caller_still_rings() -> None:
    assert interpreted(RINGING[:1], expecting()) == [
        CallStarted(
            id="s-7:started",
            session_id="s-7",
            at=datetime.fromtimestamp(1_800_000_000, UTC),
            caller=Party("101", PartyKind.EXTENSION, "Acme 101"),
            callee=Party("102", PartyKind.EXTENSION),
            domain="acme.test",
            user_data="ticket 77",
        )
    ]


def test_a_launched_call_goes_on_with_the_phone_that_was_answered() -> None:
    """The end of the other phone's own Linkedid is not the end of the call."""
    called = channel("102", "1.2", Linkedid="s-7-2")
    to_called = channel("102", "1.2", prefix="Dest", Linkedid="s-7-2")
    interpreter = expecting()
    interpreter.learn_call_id("s-7-2", "mobile@acme")
    rows = [
        *RINGING,
        said(3, "Newstate", **MOBILE, ChannelState="6"),
        said(3, "UserEvent", **MOBILE, UserEvent="VoxledgerLaunch"),
        said(3.1, "Hangup", **DESK, Cause="26"),
        said(3.1, "CEL", EventName="LINKEDID_END", LinkedID="s-7-1", UniqueID="s-7-1"),
        said(3.2, "Newchannel", **called),
        said(3.2, "DialBegin", **MOBILE, **to_called, DialString="102@acme.test"),
        said(6, "DialEnd", **MOBILE, **to_called, DialStatus="ANSWER"),
        said(9, "Hangup", **called, Cause="16"),
        said(9, "HangupRequest", **MOBILE),
        said(9, "Hangup", **MOBILE, Cause="16"),
    ]
    events = interpreted(rows, interpreter)
    assert shorthand(events) == [
        "S1 started 101 to 102",
        "S1 added 102",
        "S1 answered 102",
        "S1 ended 102 None 0",
        "S1 over caller_disconnect 0",
    ]
    session = fold(events, "s-7")
    assert session
    assert session.call_id == "mobile@acme"
    check(events)


@pytest.mark.parametrize(("cause", "tech", "status"), [("17", "486", 486), ("21", "603", 603), ("16", "", 487)])
def test_a_launched_call_that_its_caller_does_not_take_is_cancelled(cause: str, tech: str, status: int) -> None:
    over = [said(9, "Hangup", **each, Cause=cause, TechCause=tech) for each in (DESK, MOBILE)]
    events = interpreted([*RINGING, said(8, "HangupRequest", **DESK), *over], expecting())
    assert shorthand(events) == ["S1 started 101 to 102", f"S1 over cancelled {status}"]


def test_a_launched_call_to_a_number_that_leads_nowhere_says_so() -> None:
    rows = [
        *RINGING[:1],
        said(1, "Newstate", **DESK, ChannelState="6"),
        said(1, "UserEvent", **DESK, UserEvent="VoxledgerLaunch"),
        said(1, "UserEvent", **DESK, UserEvent="VoxledgerUnknown", Number="102"),
        said(1, "Hangup", **DESK, Cause="1"),
    ]
    assert shorthand(interpreted(rows, expecting())) == ["S1 started 101 to 102", "S1 over None 404"]


# --- What an Asterisk may do to us ---


def settled(rows: Sequence[Row]) -> list[CallEvent]:
    """The events of a stream after which nothing lives any more."""
    interpreter = Interpreter()
    events = interpreted(rows, interpreter)
    events += interpreter.reconcile([], NOW)
    events += interpreter.tick(NOW + LATER)
    assert interpreter.session_ids() == set()
    return events


def check_storable(event: CallEvent) -> None:
    document = callevent_json.write(event)
    assert callevent_json.write(callevent_json.read(document)) == document


def check(events: Sequence[CallEvent]) -> None:
    """Every event can be stored, none has the id of another, and what began is over, once."""
    for event in events:
        check_storable(event)
    assert len({event.id for event in events}) == len(events)
    began = [event.session_id for event in events if isinstance(event, CallStarted)]
    over = [event.session_id for event in events if isinstance(event, CallEnded | SessionMerged)]
    assert sorted(began) == sorted(over)
    assert {event.session_id for event in events} == set(began)
    told: set[str] = set()
    for event in events:  # nothing of a call before its start
        assert event.session_id in told or isinstance(event, CallStarted)
        told.add(event.session_id)


@pytest.mark.parametrize("flow", FLOWS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_lost_messages_break_no_other(flow: str, data: st.DataObject) -> None:
    rows = recorded(flow)
    lost = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    check(settled([row for index, row in enumerate(rows) if index not in lost]))


@pytest.mark.parametrize("flow", INTRICATE)
def test_a_stream_that_ends_anywhere_leaves_no_call_open(flow: str) -> None:
    rows = recorded(flow)
    for length in range(len(rows)):
        check(settled(rows[:length]))


@pytest.mark.parametrize("flow", INTRICATE)
def test_a_stream_that_begins_anywhere_is_followed(flow: str) -> None:
    rows = recorded(flow)
    for start in range(len(rows)):
        check(settled(rows[start:]))


WORDS = sorted({key for flow in FLOWS for row in recorded(flow) if row["source"] == "ami" for key in row["event"]})
KINDS = sorted({row["event"]["Event"] for flow in FLOWS for row in recorded(flow) if row["source"] == "ami"})
VALUES = st.one_of(
    st.sampled_from(["", "1.1", "1.2", "2.1", "6", "ANSWER", "CANCEL", "Success", "VoxledgerTarget", "queue", "ivr"]),
    st.sampled_from(["PJSIP/101@acme.test-1", "PJSIP/AudioCodes-2", "Local/1@x-3;1", "Local/1@x-3;2", "LINKEDID_END"]),
    st.text(max_size=300),
)
MESSAGES = st.builds(
    lambda kind, fields: {"t": 1_800_000_000.0, "source": "ami", "event": {**fields, "Event": kind}},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(WORDS), st.one_of(VALUES, st.lists(VALUES, min_size=1, max_size=3)), max_size=12),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=40))
def test_no_messages_break_the_interpreter(rows: list[Row]) -> None:
    for event in settled(rows):
        check_storable(event)


@given(
    st.dictionaries(
        st.sampled_from(["type", "channel", "caller", "peer", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "protocol_id"]), inner),
        ),
    )
)
def test_no_ari_event_breaks_the_interpreter(event: dict[str, Any]) -> None:
    assert Interpreter().ari(event, NOW) == []
