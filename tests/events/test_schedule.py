"""What an answer means, as a table."""

from datetime import UTC, datetime, timedelta

import pytest

from events.schedule import DELAYS, Ruling, Verdict, judge, wait_asked_for

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_FAR_ZONE = "Mon, 01 Jan 2026 00:00:00 +99999999999999999999"


def rule(status: int | None, retry_after: str = "", *, step: int = 0, age: timedelta = timedelta(0)) -> Ruling:
    return judge(status, retry_after, step=step, started_at=NOW - age, now=NOW, random=lambda: 0.5)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_acknowledges(status: int) -> None:
    assert rule(status) == Ruling(Verdict.DELIVERED, 1)


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 308, 400, 401, 403, 404, 429, 500, 502, 503])
def test_everything_else_is_retried_by_the_schedule(status: int | None) -> None:
    assert [rule(status, step=step) for step in range(9)] == [
        Ruling(Verdict.RETRY, step + 1, NOW + DELAYS[step + 1]) for step in range(9)
    ]
    assert rule(status, step=9) == Ruling(Verdict.EXHAUSTED, 10)


def test_gone_is_final() -> None:
    assert rule(410, "5") == Ruling(Verdict.GONE, 1)


def test_jitter_is_a_tenth_up_or_down() -> None:
    def after(random: float) -> timedelta:
        ruling = judge(500, "", step=1, started_at=NOW, now=NOW, random=lambda: random)
        assert ruling.next_attempt_at is not None
        return ruling.next_attempt_at - NOW

    assert (after(0.0), after(1.0)) == (timedelta(seconds=270), timedelta(seconds=330))


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_and_costs_no_step(status: int) -> None:
    assert rule(status, "120", step=3) == Ruling(Verdict.RETRY, 3, NOW + timedelta(seconds=120))
    assert rule(status, "Sun, 01 Mar 2026 12:01:00 GMT") == Ruling(Verdict.RETRY, 0, NOW + timedelta(seconds=60))


def test_retry_after_elsewhere_or_malformed_is_not_heard() -> None:
    assert rule(500, "120") == rule(503, "soon") == Ruling(Verdict.RETRY, 1, NOW + timedelta(seconds=5))


def test_endless_patience_is_asked_for_ever_more_rarely() -> None:
    elapsed, attempts = timedelta(0), 0
    while (ruling := rule(503, "1", age=elapsed)).step == 0:
        assert ruling.next_attempt_at is not None
        elapsed += ruling.next_attempt_at - NOW
        attempts += 1
    assert 50 < attempts < 150
    assert rule(503, "1", age=timedelta(seconds=8)) == Ruling(Verdict.RETRY, 0, NOW + timedelta(seconds=1))


def test_patience_ends_with_the_schedule() -> None:
    assert rule(503, "60", step=2, age=timedelta(hours=76)) == Ruling(Verdict.RETRY, 3, NOW + DELAYS[3])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 1),
        ("3", 3),
        ("999999999999999999", 86400),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 1),
        ("-5", None),
        ("", None),
        (_FAR_ZONE, None),
    ],
)
def test_wait_asked_for(text: str, seconds: int | None) -> None:
    assert wait_asked_for(text, NOW) == (None if seconds is None else timedelta(seconds=seconds))
