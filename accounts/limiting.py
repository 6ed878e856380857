"""How many calls of REST a token has left in this minute, and how many telephone calls anybody may still launch.

Redis counts; while it is away nobody is refused.
"""

import time
from dataclasses import dataclass
from functools import lru_cache

import redis
import structlog
from django.conf import settings
from django.db import connection

WINDOW_SECONDS = 60
_PATIENCE_SECONDS = 0.1
_AVOID_SECONDS = 5.0  # after a failure Redis is not asked for so long: a hanging one would slow every call

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CallsLeft:
    """What one token may still do until its minute ends."""

    limit: int
    made: int
    reset_seconds: int

    @property
    def is_over(self) -> bool:
        return self.made > self.limit

    def headers(self) -> dict[str, str]:
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(max(self.limit - self.made, 0)),
            "RateLimit-Reset": str(self.reset_seconds),
        }
        return told | ({"Retry-After": str(self.reset_seconds)} if self.is_over else {})


class Counter:
    """Counts in windows of a minute, by one round trip. A failure is remembered for a moment instead of repeated."""

    def __init__(self, location: str) -> None:
        self._redis = redis.Redis.from_url(
            location, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS
        )
        self._avoid_until = float("-inf")

    def count(self, key: str, *, lasts_seconds: int) -> int | None:
        """How often this key was counted, this time included; None when Redis did not say."""
        if time.monotonic() < self._avoid_until:
            return None
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.incr(key)
                pipe.expire(key, lasts_seconds)
                return int(pipe.execute()[0])
        except (redis.RedisError, OSError) as error:
            self._avoid_until = time.monotonic() + _AVOID_SECONDS
            log.warning("calls are not counted", error=type(error).__name__)
            return None


@lru_cache(maxsize=4)
def _counter(location: str) -> Counter:
    return Counter(location)


def count_call(schema: str, token_hash: str) -> CallsLeft | None:
    """Counts one call of this token; None when nobody can say."""
    return _count(f"calls:{schema}:{token_hash[:32]}", settings.REST_CALLS_PER_MINUTE)


def count_launch(schema: str, who: str) -> CallsLeft | None:
    """Counts one telephone call that this token or person launches; None when nobody can say."""
    return _count(f"launches:{schema}:{who}", settings.LAUNCHES_PER_MINUTE)


def count_launch_of_tenant(schema: str) -> CallsLeft | None:
    """Counts one telephone call that anybody of this tenant launches; None when nobody can say."""
    return _count(f"launches:{schema}", settings.TENANT_LAUNCHES_PER_MINUTE)


def _count(what: str, limit: int) -> CallsLeft | None:
    window, passed = divmod(time.time(), WINDOW_SECONDS)
    # The database's name keeps installations that share a Redis apart.
    key = f"voxledger:{connection.settings_dict['NAME']}:{what}:{int(window)}"
    made = _counter(settings.REDIS_LOCATION).count(key, lasts_seconds=2 * WINDOW_SECONDS)
    if made is None:
        return None
    return CallsLeft(limit, made, max(1, round(WINDOW_SECONDS - passed)))
