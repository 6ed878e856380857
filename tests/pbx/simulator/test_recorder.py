"""The simulated recorder obeys, and knows what each take holds. It is listened to: who can be heard, and when."""

import io
import math
import wave
from typing import Any

import av
import numpy as np
import pytest

from pbx.simulator.film import mp4_of
from pbx.simulator.line import Span
from pbx.simulator.recorder import NO_CALL, NO_VIDEO, NOT_RECORDING, Recorder, Take
from pbx.simulator.sound import RATE, VOICES, wav_of

START = 1_000_000.0
CALLER, FIRST, SECOND = VOICES[:3]


def command(word: str, recording_id: str = "41", **more: Any) -> dict[str, Any]:
    common = {"session_id": "7", "recording_id": recording_id, "segment": 1, "medium": "audio", "options": {}}
    return common | {"command": word} | more


class Call:
    """A call that is told and recorded by the second."""

    def __init__(self, *, media: tuple[str, ...] = ("audio",)) -> None:
        self.recorder = Recorder()
        self.tell(0, "call.started", media=list(media))

    def tell(self, at: float, word: str, session_id: str = "7", **more: Any) -> list[Take]:
        return self.recorder.hear({"type": word, "session_id": session_id, **more}, START + at)

    def obey(self, at: float, word: str, recording_id: str = "41", **more: Any) -> tuple[str, list[Take]]:
        return self.recorder.obey(command(word, recording_id, **more), START + at)


def samples_of(content: bytes) -> np.ndarray[Any, Any]:
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getsampwidth(), file.getframerate()) == (2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())


def strength(samples: Any, hertz: int, rate: int = RATE) -> float:
    """The amplitude at that tone (Goertzel)."""
    factor = 2 * math.cos(2 * math.pi * hertz / rate)
    previous = before = 0.0
    for sample in samples.tolist():
        previous, before = sample + factor * previous - before, previous
    power = previous * previous + before * before - factor * previous * before
    return math.sqrt(max(0.0, power)) / (len(samples) / 2)


def heard(track: Any, since: float, until: float, rate: int = RATE) -> set[int]:
    """The voices that can be heard in this part of a track."""
    part, tenth = track[int(since * rate) : int(until * rate)], rate // 10
    blocks = [part[place : place + tenth] for place in range(0, len(part) - tenth + 1, tenth)]
    return {hertz for hertz in VOICES if sum(strength(block, hertz, rate) > 1500 for block in blocks) >= 3}


def test_a_take_holds_each_party_while_it_was_there() -> None:
    call = Call()
    call.tell(2, "target.answered", target_id="a")
    assert call.obey(2, "start_recording") == ("", [])
    call.tell(12, "target.ended", target_id="a")
    call.tell(14, "target.answered", target_id="b")
    (take,) = call.tell(24, "call.ended")
    track = samples_of(wav_of(take))[:, 0]
    assert len(track) == 22 * RATE
    assert heard(track, 0, 10) == {CALLER, FIRST}
    assert heard(track, 10, 12) == set()
    assert heard(track, 12, 22) == {CALLER, SECOND}


def test_dual_tracks_keep_the_parties_apart() -> None:
    call = Call()
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording", options={"dual_tracks": True})
    (take,) = call.tell(10, "call.ended")
    samples = samples_of(wav_of(take))
    assert samples.shape == (10 * RATE, 2)
    assert [heard(samples[:, channel], 0, 10) for channel in (0, 1)] == [{CALLER}, {FIRST}]


@pytest.mark.parametrize(("style", "seconds"), [("skip", 14), ("silence", 20)])
def test_a_pause_is_cut_out_or_silent(style: str, seconds: int) -> None:
    call = Call()
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording", options={"pause_style": style})
    assert call.obey(6, "pause_recording") == ("", [])
    assert call.obey(8, "pause_recording") == ("", [])  # a second one is no other one
    call.tell(6, "target.answered", target_id="whispers")
    call.tell(12, "target.ended", target_id="whispers")
    assert call.obey(12, "resume_recording") == ("", [])
    (take,) = call.tell(20, "call.ended")
    track = samples_of(wav_of(take))[:, 0]
    assert len(track) == seconds * RATE
    assert heard(track, 0, 6) == heard(track, seconds - 8, seconds) == {CALLER, FIRST}
    assert SECOND not in heard(track, 0, seconds)  # who spoke in the pause alone is nowhere
    if style == "silence":
        assert not track[6 * RATE : 12 * RATE].any()


def test_a_pause_lasts_until_the_end_when_nobody_resumes() -> None:
    call = Call()
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording")
    call.obey(5, "pause_recording")
    (take,) = call.tell(9, "call.ended")
    assert take.pauses == [Span(START + 5, START + 9)]
    assert len(samples_of(wav_of(take))) == 5 * RATE


def test_a_stop_ends_the_take_and_a_start_after_it_is_another() -> None:
    call = Call()
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording")
    refused, (take,) = call.obey(4, "stop_recording")
    assert (refused, take.segment, take.until - take.since) == ("", 1, 4)
    before = wav_of(take)
    call.tell(5, "target.answered", target_id="b")
    assert wav_of(take) == before  # whatever the call does while it is made
    assert call.obey(5, "stop_recording") == ("", [])  # it has stopped
    assert call.obey(6, "start_recording", segment=2) == ("", [])
    (take,) = call.tell(8, "call.ended")
    assert (take.segment, take.until - take.since) == (2, 2)


def test_on_hold_nobody_is_heard() -> None:
    call = Call()
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording")
    call.tell(5, "party.held", leg="caller")
    call.tell(9, "party.unheld", leg="caller")
    (take,) = call.tell(14, "call.ended")
    track = samples_of(wav_of(take))[:, 0]
    assert (heard(track, 5, 9), heard(track, 9, 14)) == (set(), {CALLER, FIRST})


def test_a_call_goes_on_without_its_caller() -> None:
    call = Call()
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording")
    call.tell(6, "caller.left")
    call.tell(6, "target.answered", target_id="b")
    (take,) = call.tell(16, "call.ended")
    track = samples_of(wav_of(take))[:, 0]
    assert (heard(track, 0, 6), heard(track, 6, 16)) == ({CALLER, FIRST}, {FIRST, SECOND})


def test_a_merged_consultation_ends_its_take_and_brings_its_party() -> None:
    call = Call()
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording")
    call.tell(4, "call.started", session_id="77")
    call.tell(4, "target.answered", session_id="77", target_id="b")
    call.obey(4, "start_recording", recording_id="42", session_id="77")
    (consultation,) = call.tell(8, "session.merged", session_id="77", into="7")
    call.tell(8, "target.ended", target_id="a")
    (take,) = call.tell(18, "call.ended")
    assert (consultation.recording_id, consultation.until - consultation.since) == ("42", 4)
    assert call.obey(19, "stop_recording", recording_id="42", session_id="77") == ("", [])
    track = samples_of(wav_of(take))[:, 0]
    assert heard(track, 8, 18) == {CALLER, SECOND}


def test_what_it_cannot_do_it_says() -> None:
    call = Call()
    assert call.obey(1, "start_recording", session_id="8") == (NO_CALL, [])
    assert call.obey(1, "start_recording", medium="video") == (NO_VIDEO, [])
    for word in ("stop_recording", "pause_recording", "resume_recording"):
        assert call.obey(1, word) == (NOT_RECORDING, [])
    call.obey(1, "start_recording")
    assert call.obey(2, "start_recording") == ("", [])
    call.tell(3, "call.ended")
    assert call.obey(4, "pause_recording") == (NOT_RECORDING, [])
    assert call.obey(4, "start_recording") == (NO_CALL, [])
    assert call.tell(5, "target.answered", session_id="never told", target_id="a") == []


# --- Films -------------------------------------------------------------------------------------------------


def seen(content: bytes) -> dict[str, Any]:
    with av.open(io.BytesIO(content)) as film:
        picture, sound = film.streams.video[0], film.streams.audio[0]
        pictures = [frame.to_ndarray(format="gray") for frame in film.decode(picture)]
        film.seek(0)
        tracks = np.concatenate([frame.to_ndarray() for frame in film.decode(sound)], axis=1) * 32767
        return {
            "codecs": (picture.codec_context.name, sound.codec_context.name),
            "pictures": pictures,
            "tracks": tracks,
            "rate": sound.rate,
        }


def test_a_film_is_h264_and_aac_and_as_long_as_it_ran() -> None:
    call = Call(media=("audio", "video"))
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording", medium="video")
    (take,) = call.tell(8, "call.ended")
    content = mp4_of(take)
    assert content.index(b"moov") < content.index(b"mdat")  # a player may begin before it has all
    film = seen(content)
    assert (film["codecs"], len(film["pictures"]), film["pictures"][0].shape) == (("h264", "aac"), 80, (240, 320))
    assert film["tracks"].shape[1] / film["rate"] == pytest.approx(8, abs=0.2)
    assert heard(film["tracks"][0], 0, 8, film["rate"]) == {CALLER, FIRST}
    assert all(picture.max() > 100 for picture in film["pictures"])


def test_the_sound_of_a_film_can_pause_alone() -> None:
    call = Call(media=("audio", "video"))
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording", medium="video", options={"dual_tracks": True})
    call.obey(3, "pause_recording", medium="audio")
    call.obey(7, "resume_recording", medium="audio")
    (take,) = call.tell(10, "call.ended")
    film = seen(mp4_of(take))
    assert (len(film["pictures"]), len(film["tracks"])) == (100, 2)
    assert [heard(track, 3.2, 6.8, film["rate"]) for track in film["tracks"]] == [set(), set()]
    assert film["pictures"][50].max() > 100


@pytest.mark.parametrize(("style", "pictures"), [("skip", 50), ("silence", 100)])
def test_a_paused_film_is_cut_or_dark(style: str, pictures: int) -> None:
    call = Call(media=("audio", "video"))
    call.tell(0, "target.answered", target_id="a")
    call.obey(0, "start_recording", medium="video", options={"pause_style": style})
    call.obey(3, "pause_recording", medium="video")
    call.obey(8, "resume_recording", medium="video")
    (take,) = call.tell(10, "call.ended")
    film = seen(mp4_of(take))
    assert len(film["pictures"]) == pictures
    if style == "silence":
        assert max(picture.max() for picture in film["pictures"][32:78]) < 30
        assert heard(film["tracks"][0], 3.2, 7.8, film["rate"]) == set()


def test_a_film_that_was_paused_all_the_time_is_one_dark_picture() -> None:
    call = Call(media=("audio", "video"))
    call.obey(0, "start_recording", medium="video")
    call.obey(0, "pause_recording", medium="video")
    (take,) = call.tell(4, "call.ended")
    film = av.open(io.BytesIO(mp4_of(take)))
    assert [frame.to_ndarray(format="gray").max() < 30 for frame in film.decode(video=0)] == [True]
    film.close()
