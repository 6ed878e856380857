"""What an attempt's answer means for its delivery, and when the next attempt is due (`docs/webhooks.md`)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum

# The wait before each attempt, as Standard Webhooks has it.
DELAYS = (
    timedelta(0), timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2),
    timedelta(hours=5), timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24),
)  # fmt: skip
JITTER = 0.1  # of the delay, up or down
LONGEST_WAIT = timedelta(hours=24)
# A receiver that keeps asking for patience gets it for as long as the whole schedule takes.
LONGEST_ROUND = sum(DELAYS, timedelta(0))
ROUND_ENDS_WITHIN = LONGEST_ROUND * (1 + JITTER)
_BUSY = (429, 503)
_PATIENCE_GROWS = 8
GONE = 410


class Verdict(Enum):
    DELIVERED = "delivered"
    RETRY = "retry"
    EXHAUSTED = "exhausted"
    GONE = "gone"  # the endpoint wants nothing more


@dataclass(frozen=True)
class Ruling:
    verdict: Verdict
    step: int
    next_attempt_at: datetime | None = None


def judge(
    status: int | None,
    retry_after: str,
    *,
    step: int,
    started_at: datetime,
    now: datetime,
    random: Callable[[], float],
) -> Ruling:
    """`step` counts the attempts of this round before this one; `random` gives a number from 0 to 1."""
    if status is not None and 200 <= status < 300:
        return Ruling(Verdict.DELIVERED, step + 1)
    if status == GONE:
        return Ruling(Verdict.GONE, step + 1)
    patience = wait_asked_for(retry_after, now) if status in _BUSY else None
    if patience is not None:
        # Who goes on asking for a second is asked less and less often: a round has some hundred attempts at most.
        patience = max(patience, (now - started_at) / _PATIENCE_GROWS)
    if patience is not None and now + patience - started_at <= LONGEST_ROUND:
        return Ruling(Verdict.RETRY, step, now + patience)
    if step + 1 >= len(DELAYS):
        return Ruling(Verdict.EXHAUSTED, step + 1)
    delay = DELAYS[step + 1] * (1 + JITTER * (2 * random() - 1))
    return Ruling(Verdict.RETRY, step + 1, now + delay)


def wait_asked_for(retry_after: str, now: datetime) -> timedelta | None:
    """Retry-After as seconds or as a date (RFC 9110 section 10.2.3), from one second to a day."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            moment = parsedate_to_datetime(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = (moment - now).total_seconds()
        except (ValueError, OverflowError):
            return None
    return timedelta(seconds=min(max(seconds, 1.0), LONGEST_WAIT.total_seconds()))
