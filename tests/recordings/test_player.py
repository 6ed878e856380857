"""What the player shows of a recording: lanes, gaps, silences, where it begins."""

from datetime import timedelta

import pytest

from recordings.models import Recording
from recordings.player import Lane, player_of, start_of, track_of
from recordings.words import gap_words
from tenants.models import Tenant
from tests.cdr.rows import make_call, make_target
from tests.recordings.played import NOON, make_ready, pause

pytestmark = pytest.mark.django_db


def test_sides_of_a_recording_with_two_tracks(acme: Tenant) -> None:
    call = make_call(1, session_id="s-1", caller_display_name="Ada", final_display_name="Sam")
    recording = make_ready(2.0, channels=2, session_id="s-1", extensions=["103"])
    assert player_of(recording, call).lanes == (Lane("1888722", "Ada"), Lane("103", "Sam"))
    assert player_of(recording, None).lanes == (Lane("1888722"), Lane("103"))


def test_sides_change_with_the_segment_once_the_caller_has_left(acme: Tenant) -> None:
    """101 is called, hands the call to 102 and leaves; then the caller leaves, and 102 talks to 103."""
    recording = make_ready(10.0, 5.0, 5.0, channels=2, session_id="s-1", extensions=["101", "102", "103"])
    call = make_call(1, session_id="s-1", start_time=NOON, caller_display_name="Ada")
    legs = (["caller", "a"], ["caller", "b"], ["b", "c"])
    for segment, targets in zip(recording.segments.order_by("number"), legs, strict=True):
        segment.legs = [["s-1", target_id] for target_id in targets]
        segment.save()
    for position, (target_id, number, since, until) in enumerate(
        [("q", "8000", 0, 20), ("a", "101", 0, 10), ("b", "102", 10, 20), ("c", "103", 15, 20)]
    ):
        make_target(
            call, position, target_id=target_id, callee=number, kind="service" if target_id == "q" else "extension",
            answered_time=NOON + timedelta(seconds=since), ended_time=NOON + timedelta(seconds=until),
        )  # fmt: skip
    assert player_of(recording, call).lanes == (Lane("1888722, then 102"), Lane("101, then 102, then 103"))
    recording.segments.filter(number=3).delete()
    assert player_of(recording, call).lanes == (Lane("1888722", "Ada"), Lane("101, 102, 103"))


def test_sides_when_several_took_part(acme: Tenant) -> None:
    recording = make_ready(2.0, channels=2, caller="101", callee="5000", extensions=["101", "102", "103"])
    assert [lane.number for lane in player_of(recording, None).lanes] == ["101", "102, 103"]
    outbound = make_ready(2.0, channels=2, caller="101", callee="+4930", extensions=["101"])
    assert [lane.number for lane in player_of(outbound, None).lanes] == ["101", "+4930"]


def test_one_track_has_no_sides(acme: Tenant) -> None:
    for recording in (make_ready(2.0), make_ready(2.0, channels=2, dual_tracks=False)):
        player = player_of(recording, None)
        assert (player.lanes, len(player.drawing.lanes)) == ((), 1)


def test_pauses_that_are_silent_can_be_skipped(acme: Tenant) -> None:
    recording = make_ready(10.0, pause_style="silence")
    pause(recording, 2, 4)
    player = player_of(recording, None)
    assert (player.has_silence, player.silences, player.gaps, player.missing_s) == (True, [(2000, 4000)], 1, 2)


def test_sound_that_is_paused_leaves_the_film_to_be_watched(acme: Tenant) -> None:
    film = make_ready(10.0, medium="video", pause_style="silence")
    pause(film, 2, 5, medium="audio")
    player = player_of(film, None)
    assert (player.has_silence, player.silences, player.gaps, player.missing_s, player.soundless_s) == (
        False, [], 0, 0, 3,
    )  # fmt: skip
    assert [place.stretch.gap.told for place in player.drawing.places if place.stretch.gap] == [
        "Sound paused by 101 by feature code"
    ]
    pause(film, 4, 7, medium="video")  # the picture as well, from the sound's last second on
    player = player_of(film, None)
    assert (player.silences, player.gaps, player.missing_s, player.soundless_s) == ([(4000, 7000)], 1, 3, 2)


def test_pauses_that_were_cut_out_cannot(acme: Tenant) -> None:
    recording = make_ready(8.0)
    segment = recording.segments.get()
    segment.ended_at = NOON + timedelta(seconds=10)
    segment.save()
    pause(recording, 2, 4)
    player = player_of(recording, None)
    assert (player.has_silence, player.seconds, player.gaps) == (False, 8, 1)
    assert [piece[:2] for piece in player.scale] == [(0, 2000), (2000, 8000)]


def test_segment_whose_file_is_not_good_is_a_gap(acme: Tenant) -> None:
    recording = make_ready(2.0, 3.0)
    file = recording.segments.get(number=1).file
    file.state = "quarantined"
    file.save()
    player = player_of(recording, None)
    assert [place.stretch.gap.reason for place in player.drawing.places if place.stretch.gap] == ["missing"]
    assert player.drawing.duration_ms == 3000


def test_recording_that_lasts_shows_its_open_gap(acme: Tenant) -> None:
    recording = make_ready(2.0, state="paused", ended_at=None)
    gap = pause(recording, 1, 2)
    gap.until = None
    gap.save()
    player = player_of(recording, None)
    assert not player.is_playable
    assert player.gaps == 1


@pytest.mark.parametrize(
    ("written", "second"),
    [("7", 7.0), ("7.25", 7.25), ("", 0), ("-1", 0), ("nan", 0), ("inf", 0), ("1e7", 0), ("x", 0)],
)
def test_second_of_an_address(written: str, second: float) -> None:
    assert start_of(written) == second


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Paused by 101 by feature code"),
        ({"begun_via": "rest", "begun_by": "token CRM"},
         "Paused by CRM over the REST API, resumed by 101 by feature code"),
        ({"ended_via": "longest_pause", "ended_by": "system Voxledger"},
         "Paused by 101 by feature code, resumed by itself after the longest pause"),
        ({"medium": "video"}, "Sound paused by 101 by feature code"),
        ({"reason": "stopped", "begun_by": "user ada", "begun_via": "live_calls"},
         "Stopped by hand by ada on Live Calls"),
        ({"reason": "external_numbers"}, "Stopped: all parties were external"),
        ({"reason": "switched_off"}, "Recording was switched off"),
        ({"reason": "transfer"}, "Transfer: a new segment was begun"),
        ({"reason": "failed"}, "The switch failed to record"),
    ],
)  # fmt: skip
def test_gap_in_words(acme: Tenant, given: dict[str, str], words: str) -> None:
    assert gap_words(pause(make_ready(2.0), 0.5, 1, **given)) == words


def told(recording: Recording) -> list[tuple[str, float, float, str]]:
    spans = track_of(recording).spans
    seconds = [((span.since - NOON).total_seconds(), (span.until - NOON).total_seconds()) for span in spans]
    return [(span.kind, *times, span.what) for span, times in zip(spans, seconds, strict=True)]


def test_track_under_the_ladder_has_its_gaps(acme: Tenant) -> None:
    recording = make_ready(8.0)
    pause(recording, 2, 4, begun_by="phone 103", begun_via="feature_code")
    assert told(recording) == [
        ("recording", 0, 2, "Recorded"),
        ("paused-gap", 2, 4, "Paused by 103 by feature code, resumed by 101 by feature code"),
        ("recording", 4, 8, "Recorded"),
    ]


def test_track_of_a_file_that_may_still_come_is_no_gap(acme: Tenant) -> None:
    recording = make_ready(8.0)
    recording.segments.get().file.delete()
    Recording.objects.update(state="processing")
    assert told(Recording.objects.get()) == [("recording", 0, 8, "Recorded")]
    Recording.objects.update(state="failed")
    assert told(Recording.objects.get()) == [("paused-gap", 0, 8, "The file of this part is missing")]
