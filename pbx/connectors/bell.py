"""Hears at once that the outbox has a command for a switch. Only a short cut: the connector asks the outbox anyway."""

import asyncio
import contextlib
from collections.abc import Callable

import redis
import redis.asyncio
import structlog
from django.conf import settings

from tenants.outbox import bell_of_connector

PATIENCE_SECONDS = 1.0
AVOID_SECONDS = 5.0  # after a failure Redis is left alone for so long
_LISTEN_SECONDS = 60.0

log = structlog.get_logger(__name__)


async def listen(switch_id: int, ring: Callable[[], object]) -> None:
    """Rings whenever a command was enqueued, until it is cancelled; without Redis it waits for it to come back."""
    was_away = False
    while True:
        client = redis.asyncio.Redis.from_url(settings.REDIS_LOCATION, socket_connect_timeout=PATIENCE_SECONDS)
        ears = client.pubsub(ignore_subscribe_messages=True)
        try:
            await ears.subscribe(bell_of_connector(switch_id))
            was_away = False
            ring()  # what was enqueued while nobody listened
            while True:
                if await ears.get_message(timeout=_LISTEN_SECONDS):
                    ring()
        except (redis.RedisError, OSError) as error:
            if not was_away:
                log.warning("no bell, the outbox is asked at intervals", error=type(error).__name__)
            was_away = True
        finally:
            with contextlib.suppress(redis.RedisError, OSError):
                await ears.aclose()  # type: ignore[no-untyped-call]
                await client.aclose()
        await asyncio.sleep(AVOID_SECONDS)
