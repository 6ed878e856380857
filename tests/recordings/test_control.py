"""Calls played to a switch that obeys: the commands it gets and the ledger that the portal keeps."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Extension
from cdr import calls
from cdr.callevents import Medium
from recordings import control, tasks
from recordings.books import Via
from recordings.control import Operation
from recordings.models import Decision, Gap, Recording
from tenants import outbox
from tenants.changes import Actor
from tenants.models import Switch, Tenant
from tests.cdr.tables import SESSION, at, ext
from tests.recordings.stage import (
    MOBILE,
    QUEUE,
    Line,
    Stage,
    gaps,
    inbound,
    joined,
    left,
    outbound,
    over,
    rules,
    segments,
)

ADMIN = Actor(kind="user", name="admin")
MEDIA: tuple[Medium, ...] = ("audio", "video")


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.extension("102")
    return stage


def code(second: float, digits: str, leg: str = "a") -> Line:
    return (second, "feature.dialled", {"code": digits, "leg": leg})


def state() -> list[tuple[str, str, bool]]:
    return [(each.medium, each.state, each.problem != "") for each in Recording.objects.order_by("id")]


# --- Policy ------------------------------------------------------------------------------------------------


def test_an_inbound_call_is_recorded_from_its_answer_to_its_end(stage: Stage) -> None:
    assert stage.play(*inbound()) == ["5 start audio 1"]
    assert state() == [("audio", "recording", False)]
    assert stage.play(over(65)) == ["5 start audio 1"]
    assert state() == [("audio", "processing", False)]
    assert segments() == [("audio", 1, "ended", 5.25, 65, "call_ended")]
    assert gaps() == []
    recording = Recording.objects.get()
    assert (recording.caller, recording.callee, recording.extensions) == ("1888722", "101", ["101"])
    assert rules() == [(5, "audio", "user_switch", True)]
    decision = Decision.objects.exclude(command="").get()
    assert (decision.command, decision.outcome, decision.answered_at) == ("start_recording", "done", at(5.25))
    assert decision.settings == {
        "tenant": {"audio": False, "video": False},
        "users": {"101": {"audio": True, "video": False}},
        "record_external_calls": True,
    }
    assert decision.parties == [
        {"number": "1888722", "kind": "external"}, {"number": "101", "kind": "extension"},
    ]  # fmt: skip


def test_a_call_that_nobody_wants_recorded_says_why(stage: Stage) -> None:
    assert stage.play(*inbound("102"), over(65)) == []
    assert (rules(), state()) == ([(5, "audio", "switches_off", False)], [])


def test_a_call_that_nobody_answered_decides_nothing(stage: Stage) -> None:
    assert stage.play(*inbound()[:3], left(20, "a", "cancelled"), over(20)) == []
    assert (rules(), state()) == ([], [])


def test_a_video_call_is_recorded_in_each_medium_that_is_on(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    assert stage.play(*inbound(media=["audio", "video"])) == ["5 start audio 1", "5 start video 1"]
    assert stage.play((30, "media.changed", {"media": ["audio"]}))[2:] == ["30 stop video 1"]
    assert stage.play((40, "media.changed", {"media": ["audio", "video"]}))[3:] == ["40 start video 2"]


def test_an_inbound_call_blind_transferred_out_stops(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    lines = [*inbound(), left(30, "a"), *joined(31, "m", MOBILE), over(90)]
    assert stage.play(*lines) == ["5 start audio 1", "32 stop audio 1"]
    assert segments() == [("audio", 1, "ended", 5.25, 32.25, "external_numbers")]
    assert gaps() == [("audio", "external_numbers", 32.25, 90, "system Voxledger", "")]
    assert rules() == [
        (5, "audio", "user_switch", True),
        (30, "audio", "between_parties", True),
        (32, "audio", "external_numbers", False),
    ]


def test_an_inbound_call_blind_transferred_out_goes_on_when_the_system_allows(stage: Stage) -> None:
    lines = [*inbound(), left(30, "a"), *joined(31, "m", MOBILE), over(90)]
    assert stage.play(*lines) == ["5 start audio 1", "32 stop audio 1", "32 start audio 2"]
    assert segments() == [
        ("audio", 1, "ended", 5.25, 32.25, "transfer"),
        ("audio", 2, "ended", 32.25, 90, "call_ended"),
    ]


def test_an_outbound_call_whose_agent_leaves_stops(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    left_by_caller: Line = (40, "caller.left", {"end_reason": "blind_transfer_complete"})
    lines = [*outbound(), left_by_caller, *joined(40, "m", MOBILE), over(90)]
    assert stage.play(*lines) == ["5 start audio 1", "41 stop audio 1"]


def test_a_forward_on_no_answer_to_a_mobile_is_never_recorded(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    lines = [*inbound()[:3], left(20, "a", "None"), *joined(20, "m", MOBILE), over(90)]
    assert stage.play(*lines) == []
    assert rules() == [(21, "audio", "external_numbers", False)]


def test_the_internal_party_coming_back_starts_a_new_segment(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    out = [*inbound(), left(30, "a"), *joined(31, "m", MOBILE)]
    back = [left(50, "m"), *joined(50, "b", ext("101"))]
    assert stage.play(*out, *back, over(90)) == ["5 start audio 1", "32 stop audio 1", "51 start audio 2"]
    assert gaps() == [("audio", "external_numbers", 32.25, 51.25, "system Voxledger", "")]


def test_a_conference_that_loses_its_last_internal_party_stops(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    lines = [*inbound(), *joined(20, "m", MOBILE), left(40, "a", "callee_disconnect")]
    assert stage.play(*lines) == ["5 start audio 1", "40 stop audio 1"]


def test_a_conference_that_only_grows_keeps_its_segment(stage: Stage) -> None:
    assert stage.play(*inbound(), *joined(20, "b", ext("102"))) == ["5 start audio 1"]


def test_a_caller_who_waits_in_a_queue_between_two_agents_stays_recorded(stage: Stage) -> None:
    lines = [*inbound(), left(30, "a"), *joined(30, "q", QUEUE), *joined(40, "b", ext("101")), left(41, "q"), over(60)]
    assert stage.play(*lines) == [
        "5 start audio 1", "31 stop audio 1", "31 start audio 2", "41 stop audio 2", "41 start audio 3",
    ]  # fmt: skip


def test_a_consultation_merged_into_the_call_ends_its_own_recording(stage: Stage) -> None:
    """101 asks 102 while the caller waits, then hands over: the consultation is the caller's call from there on."""
    other = "consult"
    lines: list[Line] = [
        *inbound(),
        (20, "call.started", {"session_id": other, "domain": "acme.test", "caller": ext("101"), "callee": ext("102")}),
        (20, "target.added", {"session_id": other, "target_id": "c", "callee": ext("102")}),
        (25, "target.answered", {"session_id": other, "target_id": "c"}),
    ]
    assert stage.play(*lines) == ["5 start audio 1", "25 start audio 1"]
    stage.play((26, "feature.dialled", {"session_id": other, "code": "*48", "leg": "caller"}))
    handed_over: list[Line] = [
        (40, "session.merged", {"session_id": other, "into": SESSION}),
        (40, "target.ended", {"target_id": "a", "end_reason": "attended_transfer_complete"}),
        (40, "caller.left", {"session_id": other, "end_reason": "attended_transfer_complete"}),
    ]
    stage.play(*handed_over)
    assert [(each.switch_session_id, each.session_id) for each in Recording.objects.order_by("id")] == [
        (SESSION, SESSION), (other, SESSION),
    ]  # fmt: skip
    assert [row.ended_at for row in Recording.objects.filter(switch_session_id=other)] == [at(40)]
    own = Recording.objects.get(switch_session_id=SESSION)
    assert own.state == "paused"  # somebody asked for privacy, and nobody has taken it back


# --- People ------------------------------------------------------------------------------------------------


def test_feature_codes_pause_and_resume(stage: Stage) -> None:
    lines = [*inbound(), code(10, "*48"), code(11, "*48"), code(20, "*49"), code(21, "*49"), over(30)]
    assert stage.play(*lines) == ["5 start audio 1", "10 pause audio 1", "20 resume audio 1"]
    assert gaps() == [("audio", "paused", 10.25, 20.25, "phone 101", "phone 101")]


def test_a_word_by_code_is_decided_once(stage: Stage) -> None:
    stage.play(*inbound("102"), code(10, "*44"))
    assert rules() == [(5, "audio", "switches_off", False), (10, "audio", "started_by_hand", True)]


def test_feature_codes_start_and_stop(stage: Stage) -> None:
    lines = [*inbound("102"), code(10, "*44"), code(20, "*45"), code(30, "*44"), over(40)]
    assert stage.play(*lines) == ["10 start audio 1", "20 stop audio 1", "30 start audio 2"]
    assert gaps() == [("audio", "stopped", 20.25, 30.25, "phone 102", "")]


@pytest.mark.parametrize("leg", ["caller", "nobody"])
def test_an_external_party_or_a_stranger_dials_in_vain(stage: Stage, leg: str) -> None:
    assert stage.play(*inbound(), code(10, "*48", leg)) == ["5 start audio 1"]


def test_codes_are_the_tenants(stage: Stage, acme: Tenant) -> None:
    acme.pause_recording_code = "*77"
    assert stage.play(*inbound(), code(10, "*48"), code(12, "*77")) == ["5 start audio 1", "12 pause audio 1"]


def test_starting_between_external_numbers_is_refused_against_the_system_switch(stage: Stage, acme: Tenant) -> None:
    stage.external_calls(recorded=False)
    stage.play(*inbound("102"), left(30, "a"), *joined(31, "m", MOBILE))
    with pytest.raises(control.ForbiddenByPolicyError, match="all parties were external"):
        control.command(acme, SESSION, Operation.START, ["audio"], actor=ADMIN, via=Via.REST)


def test_pausing_the_audio_pauses_the_sound_of_the_video(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_audio_recording = acme.enable_extension_video_recording = True
    stage.play(*inbound(media=["audio", "video"]))
    control.command(acme, SESSION, Operation.PAUSE, ["audio"], actor=ADMIN, via=Via.REST)
    stage.second = 10
    stage.obey()
    assert stage.commands[2:] == ["10 pause audio 1", "10 pause audio sound of video 1"]
    assert sorted((gap.recording.medium, gap.medium) for gap in Gap.objects.select_related("recording")) == [
        ("audio", "audio"), ("video", "audio"),
    ]  # fmt: skip
    assert state() == [("audio", "paused", False), ("video", "recording", False)]
    control.command(acme, SESSION, Operation.RESUME, ["audio"], actor=ADMIN, via=Via.REST)
    stage.obey()
    assert Gap.objects.filter(until=None).count() == 0


@pytest.fixture
def film(stage: Stage, acme: Tenant) -> Stage:
    """A video call recorded in both media, whose audio 101 pauses at second 10."""
    acme.enable_extension_audio_recording = acme.enable_extension_video_recording = True
    stage.play(*inbound(media=["audio", "video"]))
    _pause_audio(stage, acme)
    return stage


def _pause_audio(stage: Stage, tenant: Tenant, operation: Operation = Operation.PAUSE) -> None:
    control.command(tenant, SESSION, operation, ["audio"], actor=ADMIN, via=Via.REST)
    stage.second += 5
    stage.obey()


def test_a_paused_sound_stays_paused_in_the_next_segment_of_a_film(film: Stage, acme: Tenant) -> None:
    before = len(film.commands)
    since = Gap.objects.get(recording__medium="video").since
    film.extension("103")
    film.play(left(30, "a"), *joined(31, "b", ext("103")))
    assert film.commands[before:] == [
        "32 stop audio 1", "32 stop video 1", "32 start video 2", "32 pause audio sound of video 2",
    ]  # fmt: skip
    gap = Gap.objects.get(recording__medium="video", medium="audio")
    assert (gap.since, gap.until, gap.begun_by) == (since, None, "user admin")  # silent all the time
    _pause_audio(film, acme, Operation.RESUME)
    assert film.commands[before + 4 :] == ["37 start audio 2", "37 resume audio sound of video 2"]
    assert not Gap.objects.filter(until=None).exists()


def test_a_film_begun_in_a_pause_of_the_audio_begins_without_sound(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_audio_recording = acme.enable_extension_video_recording = True
    stage.play(*inbound())
    _pause_audio(stage, acme)
    assert stage.play((20, "media.changed", {"media": ["audio", "video"]}))[2:] == [
        "20 start video 1", "20 pause audio sound of video 1",
    ]  # fmt: skip


def test_a_retried_start_of_a_film_keeps_its_sound_paused(film: Stage) -> None:
    film.extension("103")
    film.refuses = {"start": "Busy"}
    film.play(left(30, "a"), *joined(31, "b", ext("103")))
    assert film.commands[-2:] == ["32 start video 4", "32 pause audio sound of video 4"]


def test_the_sound_of_a_film_is_paused_where_only_video_is_recorded(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    stage.extension("105")
    stage.play(*inbound("105", media=["audio", "video"]))
    _pause_audio(stage, acme)
    _pause_audio(stage, acme, Operation.RESUME)
    assert stage.commands == ["5 start video 1", "10 pause audio sound of video 1", "15 resume audio sound of video 1"]
    assert [(gap.medium, gap.reason) for gap in Gap.objects.filter(recording__medium="video")] == [("audio", "paused")]


def test_a_sound_paused_in_a_paused_film_stays_so_when_the_film_goes_on(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_audio_recording = acme.enable_extension_video_recording = True
    stage.play(*inbound(media=["audio", "video"]))
    control.command(acme, SESSION, Operation.PAUSE, ["video"], actor=ADMIN, via=Via.REST)
    _pause_audio(stage, acme)
    control.command(acme, SESSION, Operation.RESUME, ["video"], actor=ADMIN, via=Via.REST)
    stage.obey()
    assert [gap.medium for gap in Gap.objects.filter(recording__medium="video", until=None)] == ["audio"]


def test_a_film_stopped_because_its_sound_could_not_be_paused_comes_back(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    stage.extension("105")
    stage.refuses = {"pause": "No such leg"}
    stage.play(*inbound("105", media=["audio", "video"]))
    _pause_audio(stage, acme)
    assert stage.commands[1:] == ["10 pause audio sound of video 1", "10 stop video 1"]
    stage.refuses = {}
    _pause_audio(stage, acme, Operation.RESUME)
    assert stage.commands[3:] == ["15 start video 2"]
    assert not Gap.objects.filter(until=None).exists()


def test_a_merge_carries_the_pause_of_a_sound(film: Stage) -> None:
    """101 pauses the sound, asks 102 by video, and the caller's call goes on as that one."""
    other = "consult"
    film.play(
        (20, "call.started", {
            "session_id": other, "domain": "acme.test", "caller": ext("101"), "callee": ext("102"),
            "media": ["audio", "video"],
        }),
        (20, "target.added", {"session_id": other, "target_id": "c", "callee": ext("102")}),
        (25, "target.answered", {"session_id": other, "target_id": "c"}),
    )  # fmt: skip
    before = len(film.commands)
    film.play(
        (40, "session.merged", {"into": other}),
        (40, "target.ended", {"target_id": "a", "end_reason": "attended_transfer_complete"}),
        (40, "caller.left", {"session_id": other, "end_reason": "attended_transfer_complete"}),
    )
    assert "40 pause audio sound of video 1" in film.commands[before:]
    own = Gap.objects.filter(recording__switch_session_id=other, medium="audio", until=None)
    assert sorted(own.values_list("recording__medium", flat=True)) == ["audio", "video"]


def consultations(*names: str) -> list[Line]:
    """Calls of 101 beside the first, each answered."""
    lines: list[Line] = []
    for second, name in enumerate(names, 20):
        lines += [
            (second, "call.started", {
                "session_id": name, "domain": "acme.test", "caller": ext("101"), "callee": ext("102"),
            }),
            (second, "target.added", {"session_id": name, "target_id": name, "callee": ext("102")}),
            (second, "target.answered", {"session_id": name, "target_id": name}),
        ]  # fmt: skip
    return lines


def test_a_chain_of_merged_calls_keeps_its_recordings_together(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound(), *consultations("second", "third"))
    stage.play((30, "session.merged", {"session_id": "third", "into": "second"}))
    stage.play((31, "session.merged", {"session_id": "second", "into": SESSION}))
    assert list(Recording.objects.values_list("session_id", flat=True)) == [SESSION] * 3
    control.command(acme, "third", Operation.PAUSE, ["audio"], actor=ADMIN, via=Via.REST)
    stage.obey()
    assert stage.commands[-1] == "31 pause audio 1"
    stage.play(over(40))
    assert set(Recording.objects.values_list("state", flat=True)) == {"processing"}


def test_a_consultation_that_had_ended_before_its_merge_was_told_goes_with_it(stage: Stage) -> None:
    stage.play(*inbound(), *consultations("second"))
    stage.play((30, "call.ended", {"session_id": "second", "ended_reason": "caller_disconnect", "status_code": 0}))
    stage.play((31, "session.merged", {"session_id": "second", "into": SESSION}))
    assert list(Recording.objects.values_list("session_id", flat=True)) == [SESSION] * 2


def test_a_merge_and_the_end_told_at_once_move_the_recording_too(stage: Stage) -> None:
    stage.play(*inbound(), *consultations("second"))
    stage.play((31, "session.merged", {"session_id": "second", "into": SESSION}), over(31))
    assert list(Recording.objects.values_list("session_id", "state")) == [(SESSION, "processing")] * 2


def test_a_pause_begun_while_the_longest_is_looked_for_stays(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound(), code(10, "*48"))
    since = {"actor": ADMIN, "via": Via.LONGEST_PAUSE}
    with pytest.raises(control.NotRecordingError):
        control.command(acme, SESSION, Operation.RESUME, ["audio"], paused_before=at(10), **since)  # type: ignore[arg-type]
    assert Gap.objects.get().ended_via == ""


def test_a_pause_outlives_a_transfer(stage: Stage) -> None:
    stage.extension("103", audio=True)
    lines = [*inbound(), code(10, "*48"), left(30, "a"), *joined(31, "b", ext("103")), code(40, "*49", "b"), over(60)]
    assert stage.play(*lines) == ["5 start audio 1", "10 pause audio 1", "32 stop audio 1", "40 start audio 2"]
    assert gaps() == [("audio", "paused", 10.25, 40.25, "phone 101", "phone 103")]


@pytest.mark.parametrize(
    ("operation", "extension", "error"),
    [
        (Operation.PAUSE, "102", control.NotAPartyError),
        (Operation.PAUSE, "1888722", control.NotAPartyError),
        (Operation.STOP, "102", control.NotAPartyError),
    ],
)
def test_only_an_internal_party_of_the_call_may_command_it(
    stage: Stage, acme: Tenant, operation: Operation, extension: str, error: type[Exception]
) -> None:
    stage.play(*inbound())
    phone = Actor(kind="phone", name=extension)
    with pytest.raises(error):
        control.command(acme, SESSION, operation, MEDIA, actor=phone, via=Via.SIP_MESSAGE, as_extension=extension)
    assert outbox.pending_for(stage.switch) == []


def test_what_cannot_be_commanded_says_why(stage: Stage, acme: Tenant) -> None:
    with pytest.raises(control.NoSuchCallError):
        control.command(acme, "nothing", Operation.PAUSE, ["audio"], actor=ADMIN, via=Via.REST)
    stage.play(*inbound("102"))
    with pytest.raises(control.NotRecordingError, match="The audio of this call is not being recorded"):
        control.command(acme, SESSION, Operation.PAUSE, ["audio"], actor=ADMIN, via=Via.REST)
    with pytest.raises(control.NotRecordingError):
        control.command(acme, SESSION, Operation.PAUSE, ["video"], actor=ADMIN, via=Via.REST)
    stage.play(over(30))
    with pytest.raises(control.NoSuchCallError):
        control.command(acme, SESSION, Operation.START, ["audio"], actor=ADMIN, via=Via.REST)


def test_a_second_pause_asks_nothing_of_the_switch(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound())
    first = control.command(acme, SESSION, Operation.PAUSE, ["audio"], actor=ADMIN, via=Via.REST)
    again = control.command(acme, SESSION, Operation.PAUSE, ["audio"], actor=ADMIN, via=Via.REST)
    assert (len(first.commands), again.commands) == (1, first.commands)  # it waits for the same answer
    stage.obey()
    assert control.command(acme, SESSION, Operation.PAUSE, ["audio"], actor=ADMIN, via=Via.REST).commands == ()
    assert stage.commands == ["5 start audio 1", "5 pause audio 1"]


def test_a_long_pause_ends_by_itself(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound(), code(10, "*48"))
    acme.longest_pause_seconds = 60
    assert control.resume_long_pauses(acme, at(70)) == 0
    assert control.resume_long_pauses(acme, at(71)) == 1
    assert control.resume_long_pauses(acme, at(72)) == 0  # it has been asked for
    stage.second = 72
    stage.obey()
    assert stage.commands[-1] == "72 resume audio 1"
    assert gaps() == [("audio", "paused", 10.25, 72.25, "phone 101", "system Voxledger")]


def test_a_pause_while_a_resume_is_under_way_is_a_pause(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound(), code(10, "*48"))
    stage.obeys = False
    stage.play(code(20, "*49"), code(21, "*48"))
    stage.obeys = True
    stage.obey()
    assert stage.commands[2:] == ["21 resume audio 1", "21 pause audio 1"]
    assert gaps() == [
        ("audio", "paused", 10.25, 21.25, "phone 101", "phone 101"),
        ("audio", "paused", 21.25, None, "phone 101", ""),
    ]
    assert state() == [("audio", "paused", False)]


# --- A switch that does not obey ---------------------------------------------------------------------------


def test_a_pause_that_fails_becomes_a_stop(stage: Stage) -> None:
    stage.refuses = {"pause": "No such channel."}
    assert stage.play(*inbound(), code(10, "*48")) == ["5 start audio 1", "10 pause audio 1", "10 stop audio 1"]
    assert state() == [("audio", "paused", True)]
    assert Recording.objects.get().problem == (
        "The switch could not pause, so the recording was stopped: No such channel."
    )
    stage.refuses = {}
    assert stage.play(code(20, "*49"), over(30))[3:] == ["20 start audio 2"]
    assert gaps() == [("audio", "paused", 10.25, 20.25, "phone 101", "phone 101")]


def test_a_pause_that_is_never_answered_becomes_a_stop(stage: Stage) -> None:
    stage.play(*inbound())
    stage.obeys = False
    stage.play(code(10, "*48"))
    outbox.expire(at(10) + timedelta(days=9999))
    assert [row.command for row in outbox.pending_for(stage.switch)] == ["stop_recording"]
    assert Decision.objects.get(command="pause_recording").outcome == "expired"


def test_a_failed_stop_of_the_old_segment_leaves_the_new_one_alone(stage: Stage) -> None:
    stage.extension("103", audio=True)
    stage.play(*inbound(), left(30, "a"))
    stage.refuses = {"stop": "Busy"}
    stage.play(*joined(31, "b", ext("103")))
    assert stage.commands[1:] == ["32 stop audio 1", "32 start audio 2", "32 stop audio 1", "32 stop audio 1"]
    assert [(number, now) for _, number, now, *_ in segments()] == [(1, "stopping"), (2, "running")]


def test_a_stop_is_told_until_it_is_answered(stage: Stage) -> None:
    stage.play(*inbound())
    stage.obeys = False
    stage.play(code(10, "*45"))
    for _ in range(5):
        assert outbox.expire(at(10) + timedelta(days=9999)) == 1
        assert [row.command for row in outbox.pending_for(stage.switch)] == ["stop_recording"]
    stage.obeys = True
    stage.obey()
    assert state() == [("audio", "stopped", True)]


def test_no_retry_begins_in_a_pause(stage: Stage) -> None:
    stage.obeys = False
    stage.play(*inbound(), code(10, "*48"))
    stage.refuses, stage.obeys = {"start": "Busy", "pause": "Nothing is recorded"}, True
    stage.obey()
    assert stage.commands == ["10 start audio 1", "10 pause audio 1"]
    assert [gap[1] for gap in gaps()] == ["paused"]


def test_what_the_switch_can_never_record_cannot_be_paused(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    stage.refuses = {"start": "unsupported: this switch records no video"}
    stage.extension("105")
    stage.play(*inbound("105", media=["audio", "video"]))
    with pytest.raises(control.NotRecordingError):
        control.command(acme, SESSION, Operation.PAUSE, ["video"], actor=ADMIN, via=Via.REST)


def test_a_start_that_fails_is_tried_three_times(stage: Stage) -> None:
    stage.refuses = {"start": "Out of disk space"}
    assert stage.play(*inbound()) == ["5 start audio 1", "5 start audio 2", "5 start audio 3"]
    assert stage.play((20, "party.held", {"leg": "a"})) == stage.commands  # nothing more until a person looks
    assert state() == [("audio", "failed", True)]


def test_what_a_switch_can_never_do_is_tried_once(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_video_recording = True
    stage.refuses = {"start": "unsupported: this switch records no video"}
    stage.extension("105")
    assert stage.play(*inbound("105", media=["audio", "video"])) == ["5 start video 1"]
    assert state() == [("video", "failed", True)]
    assert stage.play((20, "party.held", {"leg": "a"})) == ["5 start video 1"]


def test_a_call_that_ends_before_the_confirmation_still_has_its_segment(stage: Stage) -> None:
    stage.obeys = False
    stage.play(*inbound(), over(8))
    assert state() == [("audio", "failed", True)]
    stage.obeys, stage.second = True, 5
    stage.obey()
    assert segments() == [("audio", 1, "ended", 5.25, 8, "")]
    assert state() == [("audio", "processing", False)]


# --- A switch that is changed while calls go on --------------------------------------------------------------


def test_a_switch_turned_off_and_on_acts_on_the_call_in_progress(stage: Stage, acme: Tenant) -> None:
    stage.play(*inbound())
    Extension.objects.filter(number="101").update(record_audio=False)
    assert tasks.look_again("acme") == 1
    stage.obey()
    Extension.objects.filter(number="101").update(record_audio=True)
    tasks.look_again("acme")
    stage.obey()
    assert [each.split(" ", 1)[1] for each in stage.commands] == ["start audio 1", "stop audio 1", "start audio 2"]
    assert [gap.reason for gap in Gap.objects.all()] == ["switched_off"]


def test_looking_again_costs_the_same_for_one_call_and_for_three(stage: Stage, acme: Tenant) -> None:
    for number in "123":
        stage.play(*[(second, kind, {**more, "session_id": number}) for second, kind, more in inbound()])
    assert _queries(acme, ["1"]) == _queries(acme, ["1", "2", "3"])


def _queries(tenant: Tenant, session_ids: list[str]) -> int:
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        calls.look_again(tenant, session_ids)
    return len(captured)
