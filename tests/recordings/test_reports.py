"""What a switch tells of its recordings: confirmations, refusals, and what it does by itself."""

from datetime import timedelta

import pytest

from recordings import control
from recordings.books import Via
from recordings.control import Operation
from recordings.models import Decision, Gap, Recording, Segment
from tenants import outbox
from tenants.models import Switch, SwitchCommand, Tenant
from tests.cdr.tables import SESSION, at, ext
from tests.recordings.stage import MOBILE, Line, Stage, gaps, inbound, joined, left, over, segments
from tests.recordings.test_control import ADMIN, code, consultations, state


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.extension("102")
    return stage


def told(second: float, kind: str, **more: object) -> Line:
    return (second, f"recording.{kind}", {"recording_id": str(Recording.objects.get().pk), **more})


# --- By itself ---------------------------------------------------------------------------------------------


def test_a_recording_that_the_switch_drops_is_started_again(stage: Stage) -> None:
    stage.play(*inbound())
    assert stage.play(told(20, "stopped", reason="channel gone", segment=1))[1:] == ["20 start audio 2"]
    assert gaps() == [("audio", "failed", 20, 20.25, "system Voxledger", "")]
    assert state() == [("audio", "recording", True)]


def test_a_switch_that_names_no_segment_is_told_to_stop_the_one_meant(stage: Stage) -> None:
    """It may have spoken of an earlier one: then this one would run on unknown."""
    stage.play(*inbound())
    assert stage.play(told(20, "stopped"))[1:] == ["20 stop audio 1", "20 start audio 2"]


def test_a_late_word_of_the_first_segment_is_not_taken_for_the_second(stage: Stage) -> None:
    stage.extension("103", audio=True)
    stage.play(*inbound(), left(30, "a"))
    stage.play(*joined(31, "b", ext("103")))
    before = segments()
    for word in ("stopped", "failed", "started"):
        stage.play(told(33, word, segment=1))
        assert segments() == before
    assert [now for _, _, now, *_ in before] == ["ended", "running"]


def test_a_stop_without_a_number_is_of_the_segment_that_is_stopping(stage: Stage) -> None:
    stage.extension("103", audio=True)
    stage.play(*inbound(), left(30, "a"))
    stage.refuses = {"stop": "Busy"}
    stage.play(*joined(31, "b", ext("103")))
    stage.play(told(33, "stopped"))
    assert [(number, now) for _, number, now, *_ in segments()] == [(1, "ended"), (2, "running")]


def test_a_segment_that_there_is_not_changes_nothing(stage: Stage) -> None:
    stage.play(*inbound())
    before = (segments(), gaps(), list(stage.commands))
    stage.play(told(20, "failed", segment=9))
    assert (segments(), gaps(), stage.commands) == before


# --- Confirmations -----------------------------------------------------------------------------------------


def test_a_segment_stopped_before_it_was_confirmed_has_run(stage: Stage) -> None:
    stage.obeys = False
    stage.play(*inbound(), code(6, "*45"))
    stage.obeys = True
    stage.obey()
    assert stage.commands == ["6 start audio 1", "6 stop audio 1"]
    assert segments() == [("audio", 1, "ended", 6.25, 6.25, "stopped")]
    assert Recording.objects.get().started_at == at(6.25)


def test_a_segment_stopped_before_it_was_refused_never_ran(stage: Stage) -> None:
    stage.obeys = False
    stage.play(*inbound(), code(6, "*45"))
    stage.obeys, stage.refuses = True, {"start": "Busy", "stop": "Nothing is recorded"}
    stage.obey()
    assert segments() == [("audio", 1, "failed", None, None, "stopped")]


@pytest.mark.parametrize("refused", [[], ["resume"]], ids=["resumed", "never resumed"])
def test_a_stop_between_a_resume_and_its_confirmation_has_a_gap_of_its_own(stage: Stage, refused: list[str]) -> None:
    stage.external_calls(recorded=False)
    stage.play(*inbound(), code(10, "*48"))
    stage.obeys = False
    stage.play(code(20, "*49"), *joined(21, "b", MOBILE), left(22, "a"))
    stage.obeys, stage.refuses = True, dict.fromkeys(refused, "Too late")
    stage.obey()
    assert stage.commands[2:] == ["22 resume audio 1", "22 stop audio 1"]
    assert [gap[1:4] for gap in gaps()] == [("paused", 10.25, 22.25), ("external_numbers", 22.25, None)]


def test_a_resume_confirmed_after_the_stop_ends_no_other_gap(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    stage.play(*inbound(), code(10, "*48"))
    stage.obeys = False
    stage.play(code(20, "*49"), *joined(21, "b", MOBILE), left(22, "a"))
    resume, stop = outbox.pending_for(stage.switch)
    outbox.confirm(stage.switch, stop.pk, SwitchCommand.State.DONE, at=at(23))
    outbox.confirm(stage.switch, resume.pk, SwitchCommand.State.DONE, at=at(24))
    assert [gap[1:4] for gap in gaps()] == [("paused", 10.25, 23), ("external_numbers", 23, None)]


def test_a_stop_that_fails_for_a_call_merged_away_is_ordered_again(stage: Stage) -> None:
    stage.play(*inbound(), *consultations("second"))
    stage.obeys = False
    stage.play((31, "session.merged", {"session_id": "second", "into": SESSION}))
    stop = next(row for row in outbox.pending_for(stage.switch) if row.command == "stop_recording")
    outbox.confirm(stage.switch, stop.pk, SwitchCommand.State.FAILED, "Busy")
    again = [row for row in outbox.pending_for(stage.switch) if row.command == "stop_recording"]
    assert [(row.recording_id, row.segment) for row in again] == [(stop.recording_id, stop.segment)]
    assert "could not stop" in Recording.objects.get(pk=int(stop.recording_id)).problem
    stage.obeys = True
    stage.play(over(40))
    outbox.expire(at(40) + timedelta(days=9999))
    assert not SwitchCommand.objects.filter(state="pending").exists()  # with the call it has ended


# --- Starts that fail --------------------------------------------------------------------------------------


def test_a_person_may_have_a_failed_start_tried_once_more(stage: Stage, acme: Tenant) -> None:
    stage.refuses = {"start": "Out of disk space"}
    assert len(stage.play(*inbound())) == 3
    ordered = control.command(acme, SESSION, Operation.START, ["audio"], actor=ADMIN, via=Via.REST)
    assert len(ordered.commands) == 1
    stage.obey()
    assert (len(stage.commands), state()) == (4, [("audio", "failed", True)])
    stage.refuses = {}
    control.command(acme, SESSION, Operation.START, ["audio"], actor=ADMIN, via=Via.REST)
    stage.obey()
    assert state()[0][:2] == ("audio", "recording")


def test_a_start_of_what_the_switch_can_never_record_says_so(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    stage.refuses = {"start": "unsupported: this switch records no video"}
    stage.extension("105")
    stage.play(*inbound("105", media=["audio", "video"]))
    with pytest.raises(control.UnsupportedError, match="this switch records no video"):
        control.command(acme, SESSION, Operation.START, ["video"], actor=ADMIN, via=Via.LIVE_CALLS)
    assert Segment.objects.count() == 1
    assert Recording.objects.get().override == ""
    assert not Decision.objects.filter(rule="start").exists()


def test_a_switch_that_starts_and_fails_at_once_is_tried_three_times(stage: Stage) -> None:
    """A full disk: the switch says that it records, and then that there is no file."""
    stage.play(*inbound())
    for number in range(1, 9):
        stage.play(told(10 + number, "failed", segment=number, reason="no file"))
    assert stage.commands == ["5 start audio 1", "11 start audio 2", "12 start audio 3"]
    assert state() == [("audio", "stopped", True)]


def test_a_recording_that_fails_after_a_while_is_started_again(stage: Stage) -> None:
    stage.play(*inbound())
    for number in range(1, 6):
        stage.play(told(5 + 11 * number, "failed", segment=number, reason="channel gone"))
    assert len(stage.commands) == 6


# --- What was not confirmed before the call ended ----------------------------------------------------------


@pytest.mark.parametrize("answer", ["refused", "expired"])
@pytest.mark.parametrize("word", ["*48", "*45"])
def test_what_the_switch_never_did_is_no_gap(stage: Stage, word: str, answer: str) -> None:
    """It recorded on: nothing may be told as paused or stopped that is in the file."""
    stage.play(*inbound())
    stage.obeys = False
    stage.play(code(10, word), over(20))
    if answer == "expired":
        outbox.expire(at(20) + timedelta(days=9999))
    else:
        stage.obeys, stage.refuses = True, dict.fromkeys(("pause", "stop"), "No connection")
        stage.obey()
    assert (gaps(), state()) == ([], [("audio", "processing", False)])
    assert segments()[0][3:5] == (5.25, 20)


@pytest.mark.parametrize(
    ("word", "gap", "ended"),
    [
        ("*48", ("audio", "paused", 12, 20, "phone 101", ""), 20),
        ("*45", ("audio", "stopped", 12, 20, "phone 101", ""), 12),
    ],
)
def test_what_the_switch_did_in_time_and_tells_late_is_a_gap(
    stage: Stage, word: str, gap: tuple[object, ...], ended: int
) -> None:
    stage.play(*inbound())
    stage.obeys = False
    stage.play(code(10, word), over(20))
    (row,) = outbox.pending_for(stage.switch)
    outbox.confirm(stage.switch, row.pk, SwitchCommand.State.DONE, at=at(12))
    assert (gaps(), segments()[0][4], Recording.objects.get().ended_at) == ([gap], ended, at(ended))


def test_what_the_switch_did_after_the_call_is_no_gap(stage: Stage) -> None:
    stage.play(*inbound())
    stage.obeys = False
    stage.play(code(10, "*48"), over(20))
    (row,) = outbox.pending_for(stage.switch)
    outbox.confirm(stage.switch, row.pk, SwitchCommand.State.DONE, at=at(21))
    assert gaps() == []


def test_a_resume_told_late_ends_the_pause_when_it_was(stage: Stage) -> None:
    stage.play(*inbound(), code(10, "*48"))
    stage.obeys = False
    stage.play(code(15, "*49"), over(20))
    (row,) = outbox.pending_for(stage.switch)
    outbox.confirm(stage.switch, row.pk, SwitchCommand.State.DONE, at=at(16))
    assert gaps() == [("audio", "paused", 10.25, 16, "phone 101", "phone 101")]


def test_a_pause_refused_before_a_stop_begins_with_the_stop(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    stage.play(*inbound())
    stage.obeys = False
    stage.play(code(10, "*48"), *joined(21, "b", MOBILE), left(22, "a"))
    pause, stop = outbox.pending_for(stage.switch)
    outbox.confirm(stage.switch, pause.pk, SwitchCommand.State.FAILED, "Busy", at=at(22.5))
    outbox.confirm(stage.switch, stop.pk, SwitchCommand.State.DONE, at=at(23))
    assert [gap[1:4] for gap in gaps()] == [("paused", 23, None)]


# --- Resumes -----------------------------------------------------------------------------------------------


def test_a_stopped_recording_is_not_resumed(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound(), code(10, "*45"))
    with pytest.raises(control.NotRecordingError):
        control.command(acme, SESSION, Operation.RESUME, ["audio"], actor=ADMIN, via=Via.REST)


def test_a_paused_and_stopped_recording_is_not_resumed_by_a_person(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound(), code(10, "*48"), code(12, "*45"))
    with pytest.raises(control.NotRecordingError):
        control.command(acme, SESSION, Operation.RESUME, ["audio"], actor=ADMIN, via=Via.REST)
    acme.longest_pause_seconds = 60
    assert control.resume_long_pauses(acme, at(100)) == 1
    assert control.resume_long_pauses(acme, at(200)) == 0
    assert [gap[1] for gap in gaps()] == ["paused", "stopped"]
    stage.play(code(300, "*44"), over(310))
    assert stage.commands[3:] == ["300 start audio 2"]


def test_a_failing_resume_undoes_no_later_pause_of_a_films_sound(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    stage.extension("105")
    stage.play(*inbound("105", media=["audio", "video"]))
    for operation in (Operation.PAUSE, Operation.RESUME, Operation.PAUSE):
        control.command(acme, SESSION, operation, ["audio"], actor=ADMIN, via=Via.REST)
        stage.obeys = operation == Operation.PAUSE and not stage.commands[1:]
        stage.obey()
    resume, pause = outbox.pending_for(stage.switch)
    outbox.confirm(stage.switch, resume.pk, SwitchCommand.State.FAILED, "Busy")
    outbox.confirm(stage.switch, pause.pk, SwitchCommand.State.DONE)
    assert stage.commands == ["5 start video 1", "5 pause audio sound of video 1"]
    assert not outbox.pending_for(stage.switch)
    assert Gap.objects.filter(medium="audio", until=None, ended_via="").count() == 1


def test_starting_both_starts_the_one_that_is_possible(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    stage.refuses = {"start": "unsupported: this switch records no video"}
    stage.extension("105")
    stage.play(*inbound("105", media=["audio", "video"]))
    stage.refuses = {}
    control.command(acme, SESSION, Operation.START, ["audio", "video"], actor=ADMIN, via=Via.REST)
    stage.obey()
    assert stage.commands[1:] == ["5 start audio 1"]
