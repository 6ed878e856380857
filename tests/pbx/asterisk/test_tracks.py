import random
import struct
from pathlib import Path

import pytest

from pbx.asterisk.tracks import BrokenTrackError, Sound, Track, is_complete, label_of, track_of, write_wav

RATE = 8000


def wav(samples: list[int], *, lanes: int = 1, promised: int | None = None) -> bytes:
    data = struct.pack(f"<{len(samples)}h", *samples)
    length = len(data) if promised is None else promised
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", length + 36, b"WAVE", b"fmt ", 16, 1, lanes, RATE, 2 * lanes * RATE, 2 * lanes,
        16, b"data", length,
    )  # fmt: skip
    return head + data


@pytest.fixture
def sound(tmp_path: Path) -> "Sounds":
    return Sounds(tmp_path)


class Sounds:
    """Tracks that hold one value over and over, so that it is seen where each comes to lie."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def __call__(
        self, value: int, milliseconds: int, *, at: int = 0, channel: str = "a", first: bool = False, stretch: int = 1
    ) -> Sound:
        self._made += 1
        path = self._folder / f"{self._made}.wav"
        path.write_bytes(wav([value] * (milliseconds * 8)))
        return Sound(Track("7", 1, stretch, 1_700_000_000_000 + at, first, channel), path)

    def together(self, *sounds: Sound, dual_tracks: bool = False, keeps_pauses: bool = False) -> list[tuple[int, ...]]:
        """The whole, as runs: value (one for each lane) and milliseconds."""
        target = self._folder / "whole.wav"
        write_wav(target, sounds, dual_tracks=dual_tracks, keeps_pauses=keeps_pauses)
        content = target.read_bytes()
        lanes = 2 if dual_tracks else 1
        assert content[:44] == wav([], lanes=lanes, promised=len(content) - 44)
        samples = struct.unpack(f"<{(len(content) - 44) // 2}h", content[44:])
        runs: list[list[int]] = []
        for frame in zip(*(samples[lane::lanes] for lane in range(lanes)), strict=True):
            if runs and runs[-1][:-1] == list(frame):
                runs[-1][-1] += 1
            else:
                runs.append([*frame, 1])
        return [(*run[:-1], run[-1] // 8) for run in runs]


def test_parties_are_mixed_from_where_each_began(sound: Sounds) -> None:
    assert sound.together(sound(100, 3000), sound(20, 1500, at=500, channel="b")) == [
        (100, 500), (120, 1500), (100, 1000),
    ]  # fmt: skip


def test_dual_tracks_have_the_first_party_left_and_the_others_right(sound: Sounds) -> None:
    parties = sound(100, 2000, first=True), sound(20, 1000, channel="b"), sound(3, 500, at=1500, channel="c")
    assert sound.together(*parties, dual_tracks=True) == [(100, 20, 1000), (100, 0, 500), (100, 3, 500)]


def test_what_is_too_loud_together_is_clipped(sound: Sounds) -> None:
    three = [sound(each, 10, channel=str(each)) for each in (30000, 20000, -10000)]
    assert sound.together(*three[:2]) == [(32767, 10)]
    assert sound.together(*three) == [(32767, 10)]
    assert sound.together(sound(-30000, 10), sound(-30000, 10, channel="b")) == [(-32768, 10)]


@pytest.mark.parametrize("late_ms", [-60, 0, 30])
@pytest.mark.parametrize("both_ms", [0, 20, 60])
def test_a_new_track_goes_on_exactly_where_the_former_ended(sound: Sounds, both_ms: int, late_ms: int) -> None:
    """The next was begun before the former was ended, and the clock is only nearly right about it."""
    chance = random.Random(1)
    voice = [chance.randrange(-9000, 9000) for _ in range(16_000)]
    former, following = sound(0, 1000), sound(0, 1000, at=1000 - both_ms + late_ms)
    former.path.write_bytes(wav(voice[:8000]))
    following.path.write_bytes(wav(voice[8000 - 8 * both_ms :]))
    target = former.path.with_name("whole.wav")
    write_wav(target, [former, following], dual_tracks=False, keeps_pauses=False)
    assert target.read_bytes() == wav(voice)


def test_a_track_that_was_not_ended_is_heard_until_the_next_one(sound: Sounds) -> None:
    assert sound.together(sound(1, 2000), sound(2, 500, at=1000)) == [(1, 1000), (2, 500)]


def test_what_is_missing_of_a_track_is_silence_and_moves_nothing(sound: Sounds) -> None:
    assert sound.together(sound(1, 700), sound(2, 500, at=1000)) == [(1, 700), (0, 300), (2, 500)]


def test_a_pause_is_left_out_or_silent(sound: Sounds) -> None:
    parts = [
        sound(1, 1000), sound(10, 1000, channel="b"),
        sound(2, 500, at=4000, stretch=2), sound(20, 400, at=4100, channel="b", stretch=2),
    ]  # fmt: skip
    assert sound.together(*parts) == [(11, 1000), (2, 100), (22, 400)]
    assert sound.together(*parts, keeps_pauses=True) == [(11, 1000), (0, 3000), (2, 100), (22, 400)]


def test_nothing_recorded_is_an_empty_wav(sound: Sounds) -> None:
    assert sound.together(sound(1, 0)) == []


def test_a_clock_that_was_set_makes_no_endless_file(sound: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.asterisk.tracks.LONGEST_MS", 2000)
    assert sound.together(sound(1, 100), sound(2, 100, at=10**10)) == [(1, 100), (0, 1900), (2, 100)]


def test_a_long_track_is_no_different(sound: Sounds) -> None:
    assert sound.together(sound(5, 61_234), sound(2, 60_000, channel="b", at=700)) == [
        (5, 700), (7, 60_000), (5, 534),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "complete"),
    [
        (wav([1, 2, 3]), True),
        (wav([]), True),
        (wav([1, 2, 3], promised=0), False),  # as Asterisk begins it
        (wav([1, 2, 3], promised=4), False),
        (wav([1, 2, 3], promised=8), False),  # cut off
        (wav([1])[:20], False),  # not even a header
        (b"", False),
    ],
)
def test_a_track_is_complete_when_its_header_says_its_length(tmp_path: Path, content: bytes, complete: bool) -> None:
    path = tmp_path / "track.wav"
    path.write_bytes(content)
    assert is_complete(path) is complete


@pytest.mark.parametrize("content", [b"x" * 100, wav([1], lanes=2), wav([1]).replace(b"WAVE", b"AVI ")])
def test_another_kind_of_file_is_no_track(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "track.wav"
    path.write_bytes(content)
    with pytest.raises(BrokenTrackError, match=r"^track\.wav is no WAV as Asterisk writes it\.$"):
        is_complete(path)
    with pytest.raises(BrokenTrackError):
        write_wav(
            tmp_path / "whole", [Sound(Track("7", 1, 1, 1, True, "a"), path)], dual_tracks=False, keeps_pauses=False
        )


@pytest.mark.parametrize("first", [True, False])
def test_a_name_says_all_of_a_track(first: bool) -> None:
    track = Track("912555533347832995", 2, 3, 1_795_404_959_123, first, label_of("pbx-1.acme-1795404959.17"))
    lane = "first" if first else "other"
    assert track.name == f"voxledger/912555533347832995-2-3-1795404959123-{lane}-pbx_1_acme_1795404959_17"
    assert track_of(track.name) == track


@pytest.mark.parametrize(
    "name",
    ["", "voxledger/", "greeting", "voxledger/1-2-3-4-left-a", "other/1-2-3-4-first-a", "voxledger/1-2-3-4-first-a/b"],
)
def test_a_file_of_somebody_else_is_none(name: str) -> None:
    assert track_of(name) is None
