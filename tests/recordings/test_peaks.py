"""The waveform: few numbers for any length, and no louder than the file."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.peaks import MOST_POINTS, Collector, Peaks, joined, stored


def collected(samples: list[list[int]], rate: int = 8000, piece: int = 1000) -> bytes:
    collector = Collector(len(samples), rate)
    array = numpy.array(samples, dtype="int16")
    for place in range(0, array.shape[1], piece):
        collector.add(array[:, place : place + piece])
    return collector.finish()


def test_a_point_is_the_loudest_of_fifty_milliseconds() -> None:
    samples = [0] * 400 + [1, -16384] + [0] * 398 + [32767] * 10
    assert list(collected([samples])) == [0, 64, 127]


def test_the_lowest_sample_there_is_does_not_overflow() -> None:
    assert list(collected([[-32768] * 400])) == [127]


def test_channels_stand_side_by_side() -> None:
    peaks = collected([[32767] * 800, [0] * 400 + [16384] * 400])
    assert stored(peaks, 2, 100) == Peaks(100, (bytes([127, 127]), bytes([0, 64])))


def test_more_than_two_channels_are_not_drawn() -> None:
    assert stored(collected([[32767] * 400, [0] * 400, [32767] * 400]), 3, 50) == Peaks(50, (b"\x7f", b"\x00"))


@given(st.integers(1, 50), st.integers(100, 5000), st.integers(1, 20_000))
def test_the_pieces_it_comes_in_change_nothing(seed: int, piece: int, length: int) -> None:
    samples = [[(index * seed * 7919) % 65536 - 32768 for index in range(length)]]
    assert collected(samples, piece=piece) == collected(samples, piece=length)


@pytest.mark.parametrize("minutes", [4, 60, 600])
def test_however_long_there_are_at_most_so_many(minutes: int) -> None:
    collector = Collector(1, 100)  # five samples a point
    block = numpy.full((1, 6000), 16384, dtype="int16")
    for _ in range(minutes):
        collector.add(block)
    peaks = collector.finish()
    assert MOST_POINTS // 2 <= len(peaks) <= MOST_POINTS
    assert set(peaks) == {64}


def test_nothing_is_nothing() -> None:
    assert collected([[]]) == b""
    assert stored(b"", 0, 0) == Peaks(0, ())
    assert joined([]) == joined([Peaks(0, ())]) == Peaks(0, ())
    assert Peaks(0, ()).points == 0


def test_files_are_drawn_one_after_the_other_each_as_long_as_it_is() -> None:
    first, second = Peaks(100, (bytes([10, 20]),)), Peaks(300, (bytes([30, 40, 50, 60, 70, 80]),))
    assert joined([first, second]) == Peaks(400, (bytes([10, 20, 30, 40, 50, 60, 70, 80]),))


def test_a_file_without_a_lane_lends_its_first() -> None:
    both = joined([Peaks(100, (b"\x0a\x0b", b"\x01\x02")), Peaks(100, (b"\x14\x15",))])
    assert both == Peaks(200, (b"\x0a\x0b\x14\x15", b"\x01\x02\x14\x15"))


def test_silence_is_drawn_where_a_file_has_no_sound() -> None:
    assert joined([Peaks(100, ()), Peaks(100, (b"\x0a\x0b",))]) == Peaks(200, (b"\x00\x00\x0a\x0b",))


@given(st.lists(st.tuples(st.integers(1, 10_000_000), st.binary(max_size=300)), max_size=6))
def test_joined_peaks_are_bounded_and_no_louder(parts: list[tuple[int, bytes]]) -> None:
    whole = joined([Peaks(length, (values,) if values else ()) for length, values in parts])
    assert whole.points <= MOST_POINTS
    assert max((max(lane, default=0) for lane in whole.channels), default=0) <= max(
        (max(values, default=0) for _, values in parts), default=0
    )
