"""A recording drawn: where bars, gaps and ticks stand."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from recordings.drawing import BARS, drawing_of
from recordings.peaks import Peaks
from recordings.timeline import Missing, Piece, Stretch, stretches_of

NOON = datetime(2023, 3, 22, 12, 0, 0, tzinfo=UTC)


def stretches(*gaps: tuple[float, float], seconds: float = 100, silent: bool = False) -> list[Stretch]:
    cut = 0 if silent else sum(until - since for since, until in gaps)
    missing = [
        Missing(NOON + timedelta(seconds=since), NOON + timedelta(seconds=until), "paused", "Paused")
        for since, until in gaps
    ]
    piece = Piece(NOON, NOON + timedelta(seconds=seconds), round((seconds - cut) * 1000))
    return stretches_of([piece], missing, silent_pauses=silent)


def peaks(*channels: bytes, seconds: float = 100) -> Peaks:
    return Peaks(round(seconds * 1000), channels)


def bars(path: str) -> list[tuple[float, float, float]]:
    return [tuple(map(float, found)) for found in re.findall(r"M([\d.]+) ([\d.]+)v([\d.]+)", path)]  # type: ignore[misc]


def test_one_lane_grows_both_ways() -> None:
    drawn = drawing_of(100_000, stretches(), peaks(bytes([127] * 1000)), lanes=1)
    (path,) = drawn.lanes
    assert len(bars(path)) == BARS
    assert {(top, height) for _, top, height in bars(path)} == {(3.5, 93.0)}


def test_two_lanes_grow_up_and_down() -> None:
    drawn = drawing_of(100_000, stretches(), peaks(bytes([127] * 1000), bytes([0] * 1000)), lanes=2)
    assert [bars(path)[0][1:] for path in drawn.lanes] == [(3.5, 46.5), (50.0, 1.5)]


def test_a_loud_point_is_seen_where_it_is() -> None:
    values = bytearray(1000)
    values[500] = 127
    (path,) = drawing_of(100_000, stretches(), peaks(bytes(values)), lanes=1).lanes
    (loud,) = [x for x, _, height in bars(path) if height > 50]
    assert loud == pytest.approx(500, abs=3)


def test_gap_that_takes_no_time_is_drawn_as_long_as_it_was() -> None:
    drawn = drawing_of(90_000, stretches((50, 60)), peaks(bytes(900), seconds=90), lanes=1)
    (place,) = drawn.places
    assert (place.x, place.width, place.seconds) == (50.0, 10.0, 10)
    assert drawn.scale == ((0, 50_000, 0.0, 50.0), (50_000, 90_000, 60.0, 100.0))
    assert [x for x, _, _ in bars(drawn.lanes[0]) if 500 < x < 600] == []


def test_long_gap_leaves_room_for_the_recording() -> None:
    drawn = drawing_of(100_000, stretches((50, 9950), seconds=10_000), peaks(bytes(100)), lanes=1)
    assert drawn.places[0].width == pytest.approx(100 / 9, abs=0.01)


def test_silent_gap_stays_on_the_scale() -> None:
    drawn = drawing_of(100_000, stretches((50, 60), silent=True), peaks(bytes(100)), lanes=1)
    assert (drawn.places[0].x, drawn.places[0].width) == (50.0, 10.0)
    assert [piece[:2] for piece in drawn.scale] == [(0, 50_000), (50_000, 60_000), (60_000, 100_000)]


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (0.4, []),
        (5, [1, 2, 3, 4]),
        (62, [10, 20, 30, 40, 50]),
        (488, [60, 120, 180, 240, 300, 360, 420]),
        (3600, [600, 1200, 1800, 2400, 3000]),
    ],
)
def test_ticks_at_round_times(seconds: float, ticks: list[int]) -> None:
    drawn = drawing_of(round(seconds * 1000), stretches(seconds=seconds), peaks(bytes(9), seconds=seconds), lanes=1)
    assert [tick.seconds for tick in drawn.ticks] == ticks


def test_ticks_step_over_gaps() -> None:
    drawn = drawing_of(90_000, stretches((50, 60)), peaks(bytes(9), seconds=90), lanes=1)
    assert [(tick.seconds, tick.x) for tick in drawn.ticks][4:7] == [(50, 50.0), (60, 70.0), (70, 80.0)]


def test_table_twin_says_the_same() -> None:
    loud_first = bytes([100] * 45 + [0] * 45)
    drawn = drawing_of(90_000, stretches((50, 60)), peaks(loud_first, bytes(90), seconds=90), lanes=2)
    assert [(row.begin_s, row.end_s, row.seconds, row.sound) for row in drawn.rows] == [
        (0, 50, 50, (90, 0)), (50, 50, 10, ()), (50, 90, 40, (0, 0)),
    ]  # fmt: skip


def test_recording_without_a_file_is_drawn_as_nothing() -> None:
    drawn = drawing_of(0, [], Peaks(0, ()), lanes=1)
    assert (drawn.lanes, drawn.places, drawn.ticks, drawn.scale, drawn.rows) == ((), (), (), (), ())


def test_sound_without_peaks_has_gaps_all_the_same() -> None:
    drawn = drawing_of(90_000, stretches((50, 60)), peaks(seconds=90), lanes=1)
    assert (drawn.lanes, len(drawn.places)) == ((), 1)


def test_an_hour_long_recording_is_a_drawing_of_a_few_kilobytes() -> None:
    values = bytes(range(100)) * 40
    drawn = drawing_of(3_600_000, stretches(seconds=3600), peaks(values, values, seconds=3600), lanes=2)
    assert sum(map(len, drawn.lanes)) < 9_000
