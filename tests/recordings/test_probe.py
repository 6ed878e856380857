"""What a file is, found by a process that may neither run long nor take much; and what is no recording at all."""

import io
import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings import probe as probing
from recordings.examiner import UnfitError, kind_of, parameter_sets, wav_form
from recordings.peaks import stored
from recordings.probe import NothingRecordedError, Probed, join, probe
from tests.recordings.media import MP4, WAV, mp4, spoken, tone, wav

CUT = "It is cut off: its header promises 2.0 s of sound, 1.0 s are there."
DAMAGED = "It cannot be opened: it is damaged, or was cut off before its index was written."


def probed(file: bytes, content_type: str = WAV) -> Probed:
    return probe(io.BytesIO(file), len(file), content_type)


def problem(file: bytes, content_type: str = WAV) -> str:
    with pytest.raises(UnfitError) as caught:
        probed(file, content_type)
    return str(caught.value)


def without_peaks(found: Probed) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Probed.__slots__ if name != "peaks"}


def facts(**more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(Probed.__slots__, 0) | {"audio_codec": "", "video_codec": ""}
    nothing.pop("peaks")
    return nothing | more


# --- Good --------------------------------------------------------------------------------------------------


def test_a_wav_is_measured_and_drawn() -> None:
    found = probed(wav(tone(1.0, 440, loudness=1.0), tone(1.0, 300, loudness=0.25)))
    assert without_peaks(found) == facts(
        duration_ms=1000, audio_codec="pcm_s16le", channels=2, sample_rate=8000, data_offset=44, data_size=32_000
    )
    lanes = stored(found.peaks, 2, 1000).channels
    assert [(len(lane), set(lane)) for lane in lanes] == [(20, {127}), (20, {32})]


@pytest.mark.parametrize(("code", "codec"), [(6, "pcm_alaw"), (7, "pcm_mulaw")])
def test_g711_is_taken(code: int, codec: str) -> None:
    found = probed(wav(code=code, bits=8, data=bytes(range(256)) * 50))
    assert (found.audio_codec, found.duration_ms, found.data_size) == (codec, 1600, 12_800)


@pytest.mark.parametrize("promised", [0, 0xFFFFFFFF])
def test_a_header_that_was_never_finished_means_to_the_end(promised: int) -> None:
    file = bytearray(spoken(1))
    file[40:44] = struct.pack("<I", promised)
    assert (probed(bytes(file)).duration_ms, probed(bytes(file)).data_size) == (1000, 16_000)


def test_chunks_before_the_samples_are_stepped_over() -> None:
    file = spoken(1)
    between = file[:36] + b"LIST" + struct.pack("<I", 5) + b"hello\x00" + file[36:]
    assert (probed(between).data_offset, probed(between).duration_ms) == (58, 1000)


@pytest.mark.parametrize("flags", ["", "faststart", "frag_keyframe+empty_moov"])
def test_an_mp4_is_measured_and_its_sound_drawn(flags: str) -> None:
    found = probed(mp4(2, options={"movflags": flags} if flags else {}), MP4)
    assert without_peaks(found) | {"duration_ms": 2000} == facts(
        duration_ms=2000, audio_codec="aac", video_codec="h264", channels=1, sample_rate=8000, width=160, height=120
    )
    assert 2000 <= found.duration_ms <= 2300
    assert len(found.peaks) >= 40


def test_an_mp4_may_be_mute() -> None:
    found = probed(mp4(1, sound=False), MP4)
    assert (found.video_codec, found.audio_codec, found.peaks, found.duration_ms) == ("h264", "", b"", 1000)


# --- Not so good -------------------------------------------------------------------------------------------

WAV_FILE, MP4_FILE = spoken(2), mp4(2)
EARLY_INDEX = mp4(20, options={"movflags": "faststart"})
SPOILT = {
    "cut off": (WAV_FILE[:16_044], WAV, CUT),
    "within its header": (WAV_FILE[:30], WAV, "It has no samples: the WAV file ends within its header."),
    "no form": (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", WAV, "Its header does not say how it is recorded."),
    "no channels": (wav(data=b"")[:22] + b"\0\0" + WAV_FILE[24:], WAV,
                    "Its header is absurd: 0 channels at 8000 Hz."),
    "adpcm": (wav(code=0x11, bits=4, data=bytes(400)), WAV,
              "Its sound has the coding 0x0011, which is not taken: PCM and G.711 are."),
    "mp4 in place of wav": (MP4_FILE, WAV, "It was announced as a WAV file, but it is an MP4 file."),
    "wav in place of mp4": (WAV_FILE, MP4, "It was announced as an MP4 file, but it is a WAV file."),
    "a zip": (b"PK\x03\x04" + bytes(99), WAV, "It was announced as a WAV file, but it is a ZIP archive."),
    "a page": (b"<!doctype html>", MP4, "It was announced as an MP4 file, but it is a text."),
    "noise": (bytes(range(1, 200)), MP4,
              "It was announced as an MP4 file, but it is neither a WAV nor an MP4 file."),
    "mp4 without its index": (MP4_FILE[: len(MP4_FILE) // 2], MP4, DAMAGED),
    "mp4 with half of its pictures": (EARLY_INDEX[: len(EARLY_INDEX) // 2], MP4,
                                      "It is cut off: it promises 20.0 s, 10.2 s are there."),
    "mp4 of nothing": (MP4_FILE[:100] + bytes(len(MP4_FILE) - 100), MP4, DAMAGED),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_told_in_words(name: str) -> None:
    file, content_type, said = SPOILT[name]
    assert problem(file, content_type) == said


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    name = str(tmp_path / "sound.mp4")
    with av.open(name, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=8000)
        frame.sample_rate = 8000
        container.mux([*track.encode(frame), *track.encode()])
    assert problem(Path(name).read_bytes(), MP4) == "It has no picture: an MP4 without video is not taken."


def test_pictures_that_are_noise_are_no_video() -> None:
    file = bytearray(MP4_FILE)
    begin = file.index(b"mdat") + 4
    until = file.index(b"moov") - 4
    file[begin:until] = os.urandom(until - begin)
    assert problem(bytes(file), MP4) in ("No picture of it can be decoded.", "Its sound cannot be decoded.")


@pytest.mark.parametrize("file", [wav(), spoken(0)])
def test_forty_four_bytes_are_an_empty_recording(file: bytes) -> None:
    assert len(file) == 44
    with pytest.raises(NothingRecordedError):
        probed(file)


# --- Hostile -----------------------------------------------------------------------------------------------


def test_a_picture_as_large_as_a_house_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = probing._STARTED.replace("examiner.main()", "examiner.MOST_PIXELS = 19_199; examiner.main()")
    monkeypatch.setattr(probing, "_STARTED", smaller)
    assert problem(MP4_FILE, MP4) == "Its picture is absurdly large: 160 × 120."


def test_a_bomb_of_time_is_refused() -> None:
    """Few bytes that say that they last for years."""
    file = bytearray(mp4(1, sound=False))
    place = file.index(b"stts") + 16
    file[place : place + 4] = struct.pack(">I", 2**30)
    assert problem(bytes(file), MP4) == "It lasts more than 48 hours."


def test_an_examination_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_SECONDS", 1)
    monkeypatch.setattr(probing, "_STARTED", "while True: pass")
    assert problem(WAV_FILE) == "It cannot be examined within 1 seconds of work."


def test_an_examination_that_sleeps_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_SECONDS", 1)
    monkeypatch.setattr(probing, "_STARTED", "import time; time.sleep(600)")
    assert problem(WAV_FILE) == "It cannot be examined within 1 seconds of work."


def test_a_program_that_dies_of_a_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_STARTED", "import os; os.abort()")
    assert problem(WAV_FILE) == "It makes the program that examines it fail (signal 6)."


@pytest.mark.parametrize("said", ["b'D' + bytes(40)", "b'R' + b'\\xff' * 13", "b'x' * 100", "b'D' + b'\\xff' * 13"])
def test_a_program_that_is_taken_over_gets_nothing(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    code = f"import sys; sys.stdout.buffer.write({said}); sys.stdout.flush(); sys.stdin.read()"
    monkeypatch.setattr(probing, "_STARTED", code)
    monkeypatch.setattr(probing, "_SECONDS", 1)
    assert problem(WAV_FILE).startswith("It ")


def test_memory_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MEMORY", 250 * 1024**2)
    code = probing._STARTED.replace(
        "examiner.main()", "examiner._work = lambda *_: bytes(10**9) and None; examiner.main()"
    )
    monkeypatch.setattr(probing, "_STARTED", code)
    assert problem(WAV_FILE) == "It takes too much memory to read."


def test_it_knows_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "do not tell")
    spy = "import os; from recordings.examiner import UnfitError\ndef told(*_): raise UnfitError(' '.join(os.environ))"
    code = f"import sys; sys.path.append(sys.argv[1])\n{spy}\n" + probing._STARTED.replace(
        "examiner.main()", "examiner._work = told; examiner.main()"
    )
    monkeypatch.setattr(probing, "_STARTED", code)
    assert set(problem(WAV_FILE).split()) <= {"OPENBLAS_NUM_THREADS", "LC_CTYPE"}


def test_what_fails_while_it_is_read_is_not_the_file_s_fault() -> None:
    class Away(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise RuntimeError("the store is away")

    with pytest.raises(RuntimeError):
        probe(Away(WAV_FILE), len(WAV_FILE), WAV)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([WAV_FILE, MP4_FILE]), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=8))))
def test_whatever_a_file_holds_there_is_an_answer(file: bytes, changes: list[tuple[int, bytes]]) -> None:
    spoilt = bytearray(file)
    for place, data in changes:
        spoilt[place % len(spoilt) : place % len(spoilt) + len(data)] = data
    try:
        found = probed(bytes(spoilt), WAV if file is WAV_FILE else MP4)
    except (UnfitError, NothingRecordedError) as error:
        said, lasted = str(error), 0
    else:
        said, lasted = "", found.duration_ms
    assert not said.startswith("It makes the program")
    assert 0 <= lasted <= 48 * 3_600_000


@given(st.binary(max_size=200))
def test_whatever_follows_the_head_of_a_wav_there_is_an_answer(rest: bytes) -> None:
    file = b"RIFF\0\0\0\0WAVE" + rest
    try:
        form = wav_form(io.BytesIO(file), len(file))
    except UnfitError:
        return
    assert 12 <= form.data_offset <= form.data_offset + form.data_size <= len(file)


@given(st.binary(max_size=100))
def test_any_header_of_a_picture_has_an_answer(extradata: bytes) -> None:
    with suppress(UnfitError):
        assert len(parameter_sets(extradata)) <= 32 * len(extradata) + 2 * 256 * 4


def test_kinds_are_known_by_their_first_bytes() -> None:
    assert [kind_of(each) for each in (WAV_FILE, MP4_FILE, b"", b"\x1f\x8b\x08", b"OggS", b"ID3\x03")] == [
        WAV, MP4, "neither a WAV nor an MP4 file", "a gzip archive", "an Ogg file", "an MP3 file",
    ]  # fmt: skip


# --- Joined ------------------------------------------------------------------------------------------------


def joined(files: list[bytes], content_type: str) -> bytes:
    with tempfile.TemporaryFile() as into:
        join([(io.BytesIO(file), len(file)) for file in files], into, content_type)
        into.seek(0)
        return into.read()


def pictures(file: bytes) -> list[tuple[int, int, float]]:
    with av.open(io.BytesIO(file)) as container:
        return [(f.width, f.height, round(float(f.pts * f.time_base), 1)) for f in container.decode(video=0)]


def test_videos_are_shown_one_after_the_other() -> None:
    whole = joined([mp4(1), mp4(2)], MP4)
    found = probed(whole, MP4)
    assert (found.video_codec, found.audio_codec, 3000 <= found.duration_ms <= 3300) == ("h264", "aac", True)
    shown = pictures(whole)
    times = [at for _, _, at in shown]
    assert (len(shown), times[0], times == sorted(times), len(set(times))) == (30, 0.0, True, 30)


def test_videos_of_different_cameras_are_shown_one_after_the_other() -> None:
    shown = pictures(joined([mp4(1), mp4(1, size=(320, 240))], MP4))
    assert [size for *size, _ in shown] == [[160, 120]] * 10 + [[320, 240]] * 10


def test_a_mute_video_follows_one_with_sound() -> None:
    assert len(pictures(joined([mp4(1), mp4(1, sound=False)], MP4))) == 20


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([mp4(0.5, sound=False), mp4(0.5)], "One segment has audio, the first has none."),
        ([mp4(0.5), mp4(0.5, codec="mpeg4")], "The video of the segments is not coded alike: h264 and mpeg4."),
    ],
    ids=["sound", "codec"],
)
def test_videos_that_do_not_fit_are_told(files: list[bytes], said: str) -> None:
    with pytest.raises(UnfitError) as caught:
        joined(files, MP4)
    assert str(caught.value) == said


def test_sounds_of_different_forms_become_one() -> None:
    louder = wav(tone(1, 440, rate=16_000), tone(1, 440, rate=16_000), rate=16_000)
    found = probed(joined([spoken(1), louder, wav(code=7, bits=8, data=bytes(8000))], WAV))
    assert (found.duration_ms, found.channels, found.sample_rate) == (3000, 2, 16_000)
