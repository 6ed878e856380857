"""A call drawn and told: the ladder's rows and blocks, and the sentence above it."""

from datetime import timedelta
from typing import Any

from cdr.ladder import Span, Track, ladder_of, minutes, percent
from cdr.models import CDR, Target
from cdr.sentence import sentence_of, spoken
from tests.cdr.rows import NOON


def call(seconds: int = 100, **given: Any) -> CDR:
    values = {"caller": "1888722", "callee": "5000", "status": "answered", "end_reason": "caller_disconnect"}
    return CDR(start_time=NOON, ended_time=NOON + timedelta(seconds=seconds), **values | given)


def target(callee: str, since: int, answered: int | None, ended: int, **given: Any) -> Target:
    values: dict[str, Any] = {"kind": "extension", "end_reason": "caller_disconnect"}
    return Target(
        callee=callee,
        start_time=NOON + timedelta(seconds=since),
        ring_time=NOON + timedelta(seconds=since),
        answered_time=None if answered is None else NOON + timedelta(seconds=answered),
        ended_time=NOON + timedelta(seconds=ended),
        **values | given,
    )


def blocks(row: Any) -> list[tuple[str, str, str]]:
    return [(block.kind, block.x, block.width) for block in row.blocks]


def said(found: CDR, targets: list[Target]) -> str:
    return "".join(part.text for part in sentence_of(found, targets))


def test_every_leg_is_a_row_on_the_calls_own_scale() -> None:
    held = [[(NOON + timedelta(seconds=60)).isoformat(), (NOON + timedelta(seconds=70)).isoformat()]]
    targets = [
        target("5000", 0, 0, 20, kind="service", end_reason="referred", callee_display_name="Main menu"),
        target("102", 20, None, 30, end_reason=""),
        target("103", 20, 40, 100, held=held),
    ]
    ladder = ladder_of(call(), targets)

    assert [blocks(row) for row in ladder.rows] == [
        [("service", "0%", "20%"), ("ringing", "20%", "20%"), ("talking", "40%", "20%"), ("held", "60%", "10%"),
         ("talking", "70%", "30%")],
        [("service", "0%", "20%")],
        [("ringing", "20%", "10%")],
        [("ringing", "20%", "20%"), ("talking", "40%", "20%"), ("held", "60%", "10%"), ("talking", "70%", "30%")],
    ]  # fmt: skip
    assert [(row.number, row.total, row.after) for row in ladder.rows] == [
        ("1888722", "1:40", ""),
        ("5000", "0:20", "referred"),
        ("102", "0:10", "no answer"),
        ("103", "1:00", ""),
    ]
    assert [(hand.x, hand.top, hand.bottom) for hand in ladder.hands] == [("20%", "3.562rem", "5.938rem")]
    assert [tick.label for tick in ladder.ticks] == ["0:15", "0:30", "0:45", "1:00", "1:15", "1:30"]
    assert (ladder.total, ladder.rows[2].spoken) == ("1:40", "102: 102 rang, 0:20 to 0:30. no answer")


def test_a_call_of_no_length_and_no_targets_is_still_drawn() -> None:
    ladder = ladder_of(call(0, status="failed", status_code=404, end_reason=""), [])

    assert [blocks(row) for row in ladder.rows] == [[("ringing", "0%", "0.35%")]]
    assert (ladder.ticks, ladder.hands, ladder.total) == ([], [], "0:00")


def test_numbers_are_written_for_people() -> None:
    assert [minutes(seconds) for seconds in (0, 38, 568, 3730)] == ["0:00", "0:38", "9:28", "1:02:10"]
    assert [spoken(seconds) for seconds in (0, 38, 60, 488, 3600, 3730)] == [
        "0 s", "38 s", "1 min", "8 min 8 s", "1 h", "1 h 2 min",
    ]  # fmt: skip
    assert [percent(value) for value in (0, 33.33333, 100)] == ["0%", "33.333%", "100%"]


def test_the_sentence_follows_the_call() -> None:
    menu = target("5000", 0, 0, 20, kind="service", callee_display_name="Main menu")
    queue = target("8000", 20, 20, 40, kind="service")
    sam, ada = target("103", 40, 50, 100, callee_display_name="Sam"), target("102", 40, None, 50)
    mia = target("104", 40, None, 50)

    assert said(call(end_reason="callee_disconnect"), [menu, queue, ada, mia, sam]) == (
        "1888722 called 5000, went through Main menu 5000 (20 s), then 8000 (20 s) and talked 50 s with Sam 103."
        " Sam 103 hung up. 102 and 104 rang and did not answer."
    )
    assert said(call(end_reason="referred"), [sam]) == "1888722 called 5000 and talked 50 s with Sam 103."
    assert said(call(28, status="noanswer", end_reason="cancelled", status_code=487), [ada]) == (
        "1888722 called 5000 and gave up after 28 s."
    )
    assert said(call(status="noanswer", end_reason="", status_code=408), [ada]) == (
        "1888722 called 5000. Nobody answered (408, no answer in time)."
    )
    assert said(call(status="failed", end_reason="callee_disconnect", status_code=499), []) == (
        "1888722 called 5000. The call failed: 499."
    )
    assert said(call(caller="", end_reason="", incomplete=True), [sam]) == (
        "An unknown caller called 5000 and talked 50 s with Sam 103."
        " The switch never told how it ended: this record is incomplete."
    )


def test_a_track_lies_under_the_legs_on_the_same_scale() -> None:
    def moment(second: int) -> Any:
        return NOON + timedelta(seconds=second)

    spans = [
        Span("recording", moment(20), moment(60), "Recorded"),
        Span("paused-gap", moment(60), moment(70), "Paused"),
    ]
    ladder = ladder_of(call(), [target("101", 0, 20, 100)], [Track("reel", "Audio", "ready", spans)])
    row = ladder.rows[-1]
    assert (row.number, row.name, row.is_track, row.total) == ("Audio", "ready", True, "")
    assert blocks(row) == [("recording", "20%", "40%"), ("paused-gap", "60%", "10%")]
    assert row.spoken == "Audio: Recorded, 0:20 to 1:00, Paused, 1:00 to 1:10"
