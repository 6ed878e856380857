"""What a leg to a trunk costs (`spec/facts.md`, section 7)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

EMERGENCY_NUMBERS = frozenset({"112", "911", "999", "110", "000", "111", "113", "115", "117", "118", "119"})
_PLACES = Decimal("0.00001")


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate rule. Prices are per minute, intervals and grace in seconds, the surcharge a fraction."""

    prefix: str
    free_seconds: int = 0
    connect_fee: Decimal = Decimal(0)
    postcall_surcharge: Decimal = Decimal(0)
    grace_period: int = 0
    price_1: Decimal = Decimal(0)
    price_n: Decimal = Decimal(0)
    interval_1: int = 60
    interval_n: int = 60
    valid_from: datetime | None = None
    valid_until: datetime | None = None


def rate_for(rates: Iterable[Rate], number: str, at: datetime) -> Rate | None:
    """The rate with the longest prefix of the number among those valid then; the later one of two equals."""
    digits = number.lstrip("+")
    fitting = [
        rate
        for rate in rates
        if digits.startswith(rate.prefix.lstrip("+"))
        and (rate.valid_from is None or rate.valid_from <= at)
        and (rate.valid_until is None or at < rate.valid_until)
    ]
    return max(fitting, key=lambda rate: (len(rate.prefix), rate.valid_from is not None, rate.valid_from), default=None)


def cost_of(rate: Rate, talk_seconds: int) -> Decimal:
    """(connect_fee + interval_1 * price_1 / 60 + k * interval_n * price_n / 60) * (1 + surcharge), 5 decimals."""
    if talk_seconds < rate.grace_period or talk_seconds <= 0:
        return Decimal(0).quantize(_PLACES)
    beyond = talk_seconds - rate.interval_1 - rate.free_seconds
    further = max(0, -(-beyond // rate.interval_n))
    price = rate.connect_fee + (rate.interval_1 * rate.price_1 + further * rate.interval_n * rate.price_n) / 60
    return (price * (1 + rate.postcall_surcharge)).quantize(_PLACES, ROUND_HALF_UP)


def leg_cost(rates: Iterable[Rate], number: str, at: datetime, talk_seconds: int) -> Decimal | None:
    """The cost of a leg to a trunk; None when no rule says. Emergency numbers are never billed."""
    if number in EMERGENCY_NUMBERS:
        return Decimal(0).quantize(_PLACES)
    rate = rate_for(rates, number, at)
    return cost_of(rate, talk_seconds) if rate else None
