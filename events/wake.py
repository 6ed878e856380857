"""Tells readers that the log has grown, or that calls in progress changed. A lost wake is harmless: the sweep and the
sockets' own poll find out.

A thread of its own does the telling, so that a slow or absent Redis neither fails nor delays the writer.
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import redis
import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection

log = structlog.get_logger(__name__)
_PATIENCE_SECONDS = 1.0
_LIVE_SECONDS = 0.5  # at most so often is told of one tenant's calls in progress
_STARTING_SECONDS = 3  # a courier that was called must show up within this time, else the next wake calls again


def group_of(schema: str) -> str:
    """The channel-layer group that hears `{"type": "events.written"}` when this tenant's log has grown."""
    return f"events.{schema}"


def live_group_of(schema: str) -> str:
    """The channel-layer group that hears `{"type": "calls.changed"}` when this tenant's calls in progress changed."""
    return f"live.{schema}"


def courier_channel() -> str:
    """Where couriers listen; the database's name keeps installations that share a Redis apart."""
    return f"voxledger:{connection.settings_dict['NAME']}:courier"


class Waker:
    """Collects what to tell and tells it once, however many transactions asked meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._schemas: dict[str, bool] = {}
        self._live: set[str] = set()
        self._told: dict[str, float] = {}  # when a tenant's calls in progress were told of last
        self._thread: threading.Thread | None = None
        self._redis: redis.Redis | None = None

    def ask(self, schema: str, *, deliveries: bool) -> None:
        with self._lock:
            self._schemas[schema] = self._schemas.get(schema, False) or deliveries
            self._start()
        self._asked.set()

    def ask_live(self, schema: str) -> None:
        with self._lock:
            self._live.add(schema)
            self._start()
        self._asked.set()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # not alive: this is a forked child
            self._thread = threading.Thread(target=self._run, name="events-wake", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        while True:
            self._asked.wait(_LIVE_SECONDS if self._live else None)
            self._asked.clear()
            with self._lock:
                schemas, self._schemas = self._schemas, {}
                live = self._take_live(time.monotonic())
            groups = {group_of(schema): "events.written" for schema in schemas}
            groups |= {live_group_of(schema): "calls.changed" for schema in live}
            try:
                loop.run_until_complete(asyncio.wait_for(self._tell_sockets(groups), _PATIENCE_SECONDS))
                self._tell_couriers([schema for schema, deliveries in schemas.items() if deliveries])
            except Exception as error:  # the loop's edge: whatever Redis does, the next wake must be heard
                log.warning("readers not woken, they will find out by themselves", error=type(error).__name__)

    def _take_live(self, now: float) -> set[str]:
        """Those that are due; the others wait until they are, so that a busy tenant costs no more than this."""
        due = {schema for schema in self._live if now - self._told.get(schema, float("-inf")) >= _LIVE_SECONDS}
        self._live -= due
        self._told |= dict.fromkeys(due, now)
        return due

    async def _tell_sockets(self, groups: Mapping[str, str]) -> None:
        layer: Any = get_channel_layer()
        for group, what in groups.items():
            await layer.group_send(group, {"type": what})

    def _tell_couriers(self, schemas: list[str]) -> None:
        if not schemas:
            return
        if self._redis is None:
            self._redis = redis.Redis.from_url(
                settings.REDIS_LOCATION, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS
            )
        channel = courier_channel()
        heard = [self._redis.publish(channel, schema) for schema in schemas]
        if not all(heard) and self._redis.set(f"{channel}:called", 1, nx=True, ex=_STARTING_SECONDS):
            from events.tasks import deliver  # tasks import the log, which imports this module

            deliver.apply_async(retry=False)


_waker = Waker()


def readers(schema: str, *, deliveries: bool) -> None:
    """Returns at once; call it after the commit."""
    _waker.ask(schema, deliveries=deliveries)


def watchers(schema: str) -> None:
    """Tells who watches this tenant's calls in progress. Returns at once; call it after the commit."""
    _waker.ask_live(schema)
