"""The end of a tenant's event log, read once for all sockets of this process that follow it.

The channel layer only wakes the feed; what it reads comes from the log, in the order of its ids, and it also looks by
itself every few seconds. A follower who is further behind than the feed remembers reads the log on its own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import structlog
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import Error as DatabaseError

from events import log as event_log
from events.wake import group_of
from tenants.schemas import in_schema

POLL_SECONDS = 3.0
REMEMBERED = 1000  # events
READ_AT_ONCE = 200
_REDIS_PAUSE_SECONDS = 2.0

log = structlog.get_logger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(schema: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs a query in that schema, which is entered inside the worker thread: the thread may have been in any other."""

    def work() -> R:
        with in_schema(schema):
            return function(*args, **kwargs)

    found: R = await database_sync_to_async(work, thread_sensitive=False)()
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """An event as followers get it."""

    id: int
    type: str
    body: str
    body_v22: str

    def payload(self, profile: str) -> str:
        return self.body_v22 or self.body if profile == "v22" else self.body


def _lines_after(since: int) -> list[Line]:
    found = event_log.events_after(since).values_list("id", "type", "body", "body_v22")
    return [Line(*row) for row in found[:READ_AT_ONCE]]


class Feed:
    """`_lines` holds the events above `_floor` without a hole."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.followers = 0
        self._lines: list[Line] = []
        self._floor = 0
        self._woken = asyncio.Event()
        self._grown = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, last: int) -> None:
        self._floor = last
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        waiting = set(self._tasks)
        while waiting:  # connecting, the Redis client swallows a cancellation
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=0.2)

    async def after(self, cursor: int) -> list[Line]:
        """The next events above `cursor`, a page at most; waits for them if need be."""
        while True:
            if cursor < self._floor:
                if lines := await in_thread(self.schema, _lines_after, cursor):
                    return lines
                cursor = self._floor  # all of it was pruned meanwhile
            start = cursor - self._floor
            if start < len(self._lines):
                return self._lines[start : start + READ_AT_ONCE]
            await self._grown.wait()

    async def _read(self) -> None:
        while True:
            try:
                while await self._read_page():
                    pass
            except DatabaseError as error:
                log.warning("feed cannot read", tenant=self.schema, error=type(error).__name__)
            try:
                async with asyncio.timeout(POLL_SECONDS):  # wait_for may swallow a cancellation on Python 3.11
                    await self._woken.wait()
            except TimeoutError:
                continue
            finally:
                self._woken.clear()

    async def _read_page(self) -> bool:
        head = self._floor + len(self._lines)
        lines = await in_thread(self.schema, _lines_after, head)
        if not lines:
            return False
        if lines[0].id != head + 1:  # pruned below the first one
            self._lines, self._floor = [], lines[0].id - 1
        self._lines += lines
        if len(self._lines) > 2 * REMEMBERED:
            forgotten = len(self._lines) - REMEMBERED
            self._lines, self._floor = self._lines[forgotten:], self._floor + forgotten
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return len(lines) == READ_AT_ONCE

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear_wakes()
            except Exception as error:  # whatever Redis does, the poll goes on
                log.warning("feed is not woken, it polls", tenant=self.schema, error=type(error).__name__)
                await asyncio.sleep(_REDIS_PAUSE_SECONDS)

    async def _hear_wakes(self) -> None:
        layer: Any = get_channel_layer()
        group = group_of(self.schema)
        channel = await layer.new_channel()
        try:
            await layer.group_add(group, channel)
            self._woken.set()
            while True:
                await layer.receive(channel)
                self._woken.set()
        finally:
            await layer.group_discard(group, channel)


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Feed]] = WeakKeyDictionary()


async def follow(schema: str) -> Feed:
    """The feed of this schema on this event loop; give it back with `leave`."""
    feeds = _feeds.setdefault(asyncio.get_running_loop(), {})
    if schema not in feeds:
        last = (await in_thread(schema, event_log.span)).last
        if schema not in feeds:  # another one may have come in while this one read
            feeds[schema] = Feed(schema)
            feeds[schema].start(last)
    feeds[schema].followers += 1
    return feeds[schema]


async def leave(feed: Feed) -> None:
    feed.followers -= 1
    feeds = _feeds.get(asyncio.get_running_loop(), {})
    if feed.followers == 0 and feeds.get(feed.schema) is feed:
        del feeds[feed.schema]
        await feed.stop()
