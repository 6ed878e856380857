"""What a leg costs, as a table (`spec/facts.md`, section 7)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cdr.rating import Rate, cost_of, leg_cost, rate_for

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MINUTES = Rate(prefix="49", price_1=Decimal("0.10"), price_n=Decimal("0.05"))


@pytest.mark.parametrize(
    ("rate", "talk", "cost"),
    [
        (MINUTES, 0, "0.00000"),
        (MINUTES, 1, "0.10000"),
        (MINUTES, 60, "0.10000"),
        (MINUTES, 61, "0.15000"),
        (MINUTES, 120, "0.15000"),
        (MINUTES, 121, "0.20000"),
        (Rate(prefix="", price_1=Decimal("0.06"), price_n=Decimal("0.06"), interval_1=1, interval_n=1), 7, "0.00700"),
        (
            Rate(prefix="", connect_fee=Decimal("0.2"), interval_1=0, interval_n=60, price_n=Decimal("0.1")),
            61,
            "0.40000",
        ),
        (Rate(prefix="", free_seconds=60, interval_1=0, price_n=Decimal("0.1")), 60, "0.00000"),
        (Rate(prefix="", free_seconds=60, interval_1=0, price_n=Decimal("0.1")), 61, "0.10000"),
        (Rate(prefix="", grace_period=6, price_1=Decimal("0.1")), 5, "0.00000"),
        (Rate(prefix="", grace_period=6, price_1=Decimal("0.1")), 6, "0.10000"),
        (Rate(prefix="", price_1=Decimal("0.1"), postcall_surcharge=Decimal("0.19")), 60, "0.11900"),
    ],
)
def test_cost(rate: Rate, talk: int, cost: str) -> None:
    assert cost_of(rate, talk) == Decimal(cost)


def test_longest_prefix_wins_among_the_valid() -> None:
    short, long = Rate(prefix="49"), Rate(prefix="4917")
    over = Rate(prefix="49171", valid_until=NOW)
    later = Rate(prefix="4917", valid_from=NOW - timedelta(days=1))
    coming = Rate(prefix="4917", valid_from=NOW + timedelta(days=1))
    assert rate_for([short, long, over], "+491711234", NOW) is long
    assert rate_for([short, long, later, coming], "491711234", NOW) is later
    assert rate_for([short], "331", NOW) is None


def test_emergency_numbers_are_free_and_unrated_ones_have_no_cost() -> None:
    assert leg_cost([Rate(prefix="", connect_fee=Decimal(1))], "112", NOW, 60) == Decimal(0)
    assert leg_cost([MINUTES], "331", NOW, 60) is None
