"""Where the seconds of a recording stand in its call."""

from datetime import UTC, datetime, timedelta

from recordings.timeline import Missing, Piece, stretches_of

NOON = datetime(2023, 3, 22, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def piece(since: float, until: float, seconds: float) -> Piece:
    return Piece(at(since), at(until), round(seconds * 1000))


def gap(since: float, until: float, reason: str = "paused", *, only_sound: bool = False) -> Missing:
    return Missing(at(since), at(until), reason, reason.title(), only_sound)


def lines(
    pieces: list[Piece], gaps: list[Missing], *, silent: bool = False
) -> list[tuple[float, float, int, int, str]]:
    """Seconds of the call, milliseconds of the recording, why it is missing."""
    return [
        (
            (each.since - NOON).total_seconds(),
            (each.until - NOON).total_seconds(),
            each.begin_ms,
            each.end_ms,
            each.gap.reason if each.gap else "",
        )
        for each in stretches_of(pieces, gaps, silent_pauses=silent)
    ]


def test_nothing_ran() -> None:
    assert lines([], [gap(0, 5)]) == []


def test_one_segment() -> None:
    assert lines([piece(0, 60, 60)], []) == [(0, 60, 0, 60_000, "")]


def test_pause_that_skips_the_time_takes_none_of_the_recording() -> None:
    assert lines([piece(0, 60, 50)], [gap(20, 30)]) == [
        (0, 20, 0, 20_000, ""), (20, 30, 20_000, 20_000, "paused"), (30, 60, 20_000, 50_000, ""),
    ]  # fmt: skip


def test_pause_left_silent_takes_its_time() -> None:
    assert lines([piece(0, 60, 60)], [gap(20, 30)], silent=True) == [
        (0, 20, 0, 20_000, ""), (20, 30, 20_000, 30_000, "paused"), (30, 60, 30_000, 60_000, ""),
    ]  # fmt: skip


def test_file_tells_what_the_switch_did_with_a_pause() -> None:
    """The setting says skip, but the switch could only be silent; and the other way round."""
    assert lines([piece(0, 60, 60.2)], [gap(20, 30)])[1][2:4] == (20_066, 30_100)
    assert lines([piece(0, 60, 50.2)], [gap(20, 30)], silent=True)[1][2:4] == (20_080, 20_080)


def test_milliseconds_are_those_of_the_file_whatever_the_clocks_say() -> None:
    assert lines([piece(0, 60, 59)], []) == [(0, 60, 0, 59_000, "")]


def test_stop_and_start_again_leaves_its_gap_between_the_segments() -> None:
    assert lines([piece(0, 10, 10), piece(40, 50, 10)], [gap(10, 40, "external_numbers")]) == [
        (0, 10, 0, 10_000, ""), (10, 40, 10_000, 10_000, "external_numbers"), (40, 50, 10_000, 20_000, ""),
    ]  # fmt: skip


def test_gap_after_the_last_segment_tells_why_it_ends_there() -> None:
    assert lines([piece(0, 10, 10)], [gap(10, 60, "external_numbers")])[-1] == (
        10, 60, 10_000, 10_000, "external_numbers",
    )  # fmt: skip


def test_gap_before_the_first_segment() -> None:
    assert lines([piece(5, 10, 5)], [gap(0, 5, "failed")])[0] == (0, 5, 0, 0, "failed")


def test_pause_over_the_end_of_a_segment_is_one_gap() -> None:
    assert lines([piece(0, 10, 8), piece(20, 30, 10)], [gap(8, 20)]) == [
        (0, 8, 0, 8_000, ""), (8, 20, 8_000, 8_000, "paused"), (20, 30, 8_000, 18_000, ""),
    ]  # fmt: skip


def test_time_that_no_gap_explains_is_told_unless_it_is_the_clocks() -> None:
    assert lines([piece(0, 10, 10), piece(15, 20, 5)], [])[1] == (10, 15, 10_000, 10_000, "unknown")
    assert len(lines([piece(0, 10, 10), piece(10.1, 20, 10)], [])) == 2


def test_two_gaps_between_segments_with_a_hole() -> None:
    found = lines([piece(0, 10, 10), piece(40, 50, 10)], [gap(10, 20), gap(25, 40, "stopped")])
    assert [line[4] for line in found] == ["", "paused", "unknown", "stopped", ""]


def test_segment_without_a_file_is_missing() -> None:
    assert lines([piece(0, 10, 0), piece(10, 20, 10)], []) == [
        (0, 10, 0, 0, "missing"), (10, 20, 0, 10_000, ""),
    ]  # fmt: skip


def test_sound_paused_in_a_video_takes_its_time() -> None:
    assert lines([piece(0, 60, 60)], [gap(20, 30, only_sound=True)]) == [
        (0, 20, 0, 20_000, ""), (20, 30, 20_000, 30_000, "paused"), (30, 60, 30_000, 60_000, ""),
    ]  # fmt: skip


def test_paused_all_the_time_and_yet_a_file() -> None:
    assert lines([piece(0, 10, 1)], [gap(0, 10)]) == [(0, 10, 0, 1_000, "paused")]


def test_segment_of_no_length_with_a_file() -> None:
    assert lines([piece(0, 0, 1)], []) == [(0, 0, 0, 1_000, "")]


def test_pieces_and_gaps_in_any_order() -> None:
    pieces, gaps = [piece(20, 30, 10), piece(0, 10, 10)], [gap(25, 27), gap(10, 20, "stopped")]
    assert lines(pieces, gaps) == lines(pieces[::-1], gaps[::-1])


def test_milliseconds_always_go_on_from_stretch_to_stretch() -> None:
    found = lines([piece(0, 33, 30), piece(34, 71, 36)], [gap(3, 5), gap(8, 9), gap(33, 34, "transfer"), gap(60, 61)])
    assert found[0][2] == 0
    assert found[-1][3] == 66_000
    assert [line[3] for line in found[:-1]] == [line[2] for line in found[1:]]
