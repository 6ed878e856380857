"""Who must wait, and what of it is noted."""

from pbx.sip.guesses import Guesses, Noted


def test_ten_for_an_account_and_fifty_for_any_make_that_address_wait() -> None:
    guesses = Guesses()
    for _ in range(10):
        assert guesses.wait_of("a", "101@x", 7.0) == 0
        guesses.note("a", "101@x", 7.0)
    waits = [guesses.wait_of(*key, 8.0) for key in (("a", "101@x"), ("a", "102@x"), ("b", "101@x"))]
    assert waits == [299, 0, 0]
    for number in range(40):
        guesses.note("a", f"{number}@x", 100.0)
    waits = [guesses.wait_of(*key, 101.0) for key in (("a", "200@x"), ("b", "200@x"))]
    assert waits == [206, 0]
    assert guesses.wait_of("a", "200@x", 308.0) == 0


def test_same_again_is_noted_a_minute_later_and_says_how_often_it_was_not() -> None:
    noted = Noted()
    said = [noted.left_out(now, "acme", "a", "stale") for now in (0.0, 1.0, 59.0, 60.0, 61.0)]
    assert said == [0, None, None, 2, None]


def test_each_trail_is_told_of_its_own() -> None:
    noted = Noted()
    asked = [("acme", "stale"), ("acme", "stale"), ("globex", "stale"), ("acme", "malformed"), ("acme", "other")]
    assert [noted.left_out(0.0, schema, "a", once) for schema, once in asked] == [0, None, 0, 1, 0]


def test_so_many_of_a_source_and_in_all() -> None:
    noted = Noted(of_a_source=2, in_all=3)
    assert [noted.left_out(0.0, "acme", source) for source in "aaabbc"] == [0, 0, None, 1, None, None]
    assert [noted.left_out(60.0, "acme", source) for source in "aaa"] == [2, 0, None]


def test_clock_that_is_set_back_silences_nobody() -> None:
    noted = Noted()
    assert [noted.left_out(now, "acme", "a", "stale") for now in (1000.0, 5.0, 6.0)] == [0, 0, None]
