"""FreeSWITCH's JSON CDRs, one a leg, told as what a connector has missed."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.freeswitch.cdrs import in_order, messages_of, missed_since
from pbx.freeswitch.interpreter import Interpreter
from tests.pbx.asterisk.test_interpreter import check, records_of
from tests.pbx.freeswitch.expected import EXPECTED, plain
from tests.pbx.freeswitch.fake import CDRS, recorded
from tests.pbx.freeswitch.test_interpreter import interpreted

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in CDRS.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def test_a_call_that_nobody_heard_becomes_the_same_record(folder: Path) -> None:
    told = interpreted(missed_since(folder, LONG_AGO))
    check(told)
    assert [plain(record) for record in records_of(told)] == EXPECTED["ivr_queue_agent"]


def test_the_end_of_a_call_that_was_heard_in_part_is_told(folder: Path) -> None:
    events = recorded("ivr_queue_agent")
    for heard in range(0, len(events), 3):
        interpreter = Interpreter()
        told = interpreted(events[:heard], interpreter) if heard else []
        told += interpreted(missed_since(folder, LONG_AGO), interpreter)
        assert interpreter.legs() == set()
        [record] = records_of(list({event.id: event for event in reversed(told)}.values())[::-1])
        whole, found = EXPECTED["ivr_queue_agent"][0], plain(record)
        assert [found[name] for name in ("end_reason", "ended_time", "answered_time", "did")] == [
            whole[name] for name in ("end_reason", "ended_time", "answered_time", "did")
        ]
        assert sorted((each["callee"], each["end_reason"]) for each in found["targets"]) == sorted(
            (each["callee"], each["end_reason"]) for each in whole["targets"]
        )


def test_only_what_is_new_is_read_and_what_is_no_cdr_is_passed_by(folder: Path) -> None:
    now = datetime.now(UTC)
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text("[]")
    (folder / "huge.json").write_text("[" + "0," * 600_000 + "0]")
    (folder / "notes.txt").write_text("{}")
    (folder / "folder.json").mkdir()
    assert len({message["Unique-ID"] for message in missed_since(folder, now - timedelta(minutes=1))}) == 3
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    assert missed_since(folder, now) == []
    assert missed_since(folder / "none", now) == []


def test_of_one_instant_what_opens_comes_first() -> None:
    rows: list[Any] = [
        {"Event-Name": name, "Event-Date-Timestamp": when, "Call-Direction": direction}
        for name, when, direction in (
            ("CHANNEL_HANGUP_COMPLETE", "1795382042570460", "inbound"),
            ("CHANNEL_CREATE", "1795382042570460", "outbound"),
            ("CHANNEL_CREATE", "1795382042570460", "inbound"),
            ("CHANNEL_ANSWER", "1795382042570459", "inbound"),
        )
    ]
    assert in_order(rows) == [rows[3], rows[2], rows[1], rows[0]]


DOCUMENT = json.loads((CDRS / "a_7001254c-c356-4a47-bac5-a3016b558616.cdr.json").read_text())
ODD = st.recursive(
    st.none() | st.integers() | st.text(max_size=10) | st.sampled_from(["inbound", "outbound", "1795382042570460"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["variables", "callflow", "uuid", "caller_profile", "applications"]), inner)
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(ODD)
def test_nothing_odd_breaks_it(document: Any) -> None:
    messages_of(document)


@settings(deadline=None)
@given(st.sampled_from(sorted(DOCUMENT)), ODD)
def test_nothing_odd_within_breaks_it(name: str, odd: Any) -> None:
    for message in messages_of(DOCUMENT | {name: odd}):
        Interpreter().take(message, LONG_AGO)
