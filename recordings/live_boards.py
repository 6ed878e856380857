"""The calls in progress of one tenant as one kind of viewer sees them: read once for all sockets of this process.

A change wakes a board, which reads at most once a second, however many calls change and however many people watch. It
looks by itself every few seconds, so a lost wake only delays.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from channels.layers import get_channel_layer
from django.db import Error as DatabaseError
from django.utils import timezone

from events.feed import in_thread
from events.wake import live_group_of
from recordings import live_rows
from recordings.live import LiveCall, Page, Viewer, page_for

POLL_SECONDS = 5.0
READ_EVERY_SECONDS = 1.0
_REDIS_PAUSE_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at: whose rights, which search, which page. Whoever looks at the same shares one board."""

    viewer: Viewer
    search: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A row that did not change is the same object in the next snapshot, so that it need not be sent again."""

    rows: Mapping[str, str]  # in their order
    counts: str
    foot: str


@dataclass(slots=True)
class _Drawn:
    call: LiveCall
    html: str


@dataclass
class _Reader:
    """Draws only what changed since it read last."""

    view: View
    drawn: dict[str, _Drawn] = field(default_factory=dict)
    last: Snapshot | None = None

    def read(self) -> Snapshot:
        view, now = self.view, timezone.now()
        page = page_for(view.viewer, search=view.search, after=view.after)
        drawn: dict[str, _Drawn] = {}
        for call in page.calls:
            key = live_rows.key_of(call)
            known = self.drawn.get(key)
            is_same = known is not None and known.call == call
            drawn[key] = known if is_same and known else _Drawn(call, live_rows.row(call, view.viewer, now))
        self.drawn = drawn
        self.last = self._snapshot(page)
        return self.last

    def _snapshot(self, page: Page) -> Snapshot:
        rows = {key: each.html for key, each in self.drawn.items()}
        return Snapshot(
            rows, live_rows.counts(page.counts), live_rows.foot(page, search=self.view.search, after=self.view.after)
        )


class Board:
    def __init__(self, schema: str, view: View) -> None:
        self.schema, self.view = schema, view
        self.watchers = 0
        self.snapshot: Snapshot | None = None
        self.woken = asyncio.Event()
        self._changed = asyncio.Event()
        self._reader = _Reader(view)
        self._task = asyncio.create_task(self._keep_reading())

    async def newer_than(self, seen: Snapshot | None) -> Snapshot:
        """The state of things once it is another one than that."""
        while self.snapshot is None or self.snapshot is seen:
            await self._changed.wait()
        return self.snapshot

    async def stop(self) -> None:
        await _stop(self._task)

    async def _keep_reading(self) -> None:
        while True:
            self.woken.clear()
            begun = time.monotonic()
            try:
                await self._read()
            except DatabaseError as error:
                log.warning("live calls not read", tenant=self.schema, error=type(error).__name__)
            took = time.monotonic() - begun
            await asyncio.sleep(max(READ_EVERY_SECONDS - took, took))  # a database that is slow is asked less
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self.woken.wait()
            except TimeoutError:
                continue

    async def _read(self) -> None:
        before = self.snapshot
        found = await in_thread(self.schema, self._reader.read)
        if before is not None and _is_same(before, found):
            return
        self.snapshot = found
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _is_same(one: Snapshot, other: Snapshot) -> bool:
    """Equality in order too."""
    return list(one.rows.items()) == list(other.rows.items()) and (one.counts, one.foot) == (other.counts, other.foot)


class Hall:
    """The boards of one tenant, woken together by one subscription to the channel layer."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.boards: dict[View, Board] = {}
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        await _stop(self._task)

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear_wakes()
            except Exception as error:  # whatever Redis does, the boards look by themselves
                log.warning("live calls are not woken, they poll", tenant=self.schema, error=type(error).__name__)
                await asyncio.sleep(_REDIS_PAUSE_SECONDS)

    async def _hear_wakes(self) -> None:
        layer: Any = get_channel_layer()
        group = live_group_of(self.schema)
        channel = await layer.new_channel()
        try:
            await layer.group_add(group, channel)
            while True:
                for board in self.boards.values():
                    board.woken.set()
                await layer.receive(channel)
        finally:
            await layer.group_discard(group, channel)


_halls: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Hall]] = WeakKeyDictionary()


def watch(schema: str, view: View) -> Board:
    """The board of this view on this event loop; give it back with `leave`."""
    halls = _halls.setdefault(asyncio.get_running_loop(), {})
    hall = halls.get(schema) or halls.setdefault(schema, Hall(schema))
    board = hall.boards.get(view) or hall.boards.setdefault(view, Board(schema, view))
    board.watchers += 1
    return board


async def leave(board: Board) -> None:
    board.watchers -= 1
    if board.watchers:
        return
    halls = _halls.get(asyncio.get_running_loop(), {})
    hall = halls.get(board.schema)
    if hall is not None and hall.boards.get(board.view) is board:
        del hall.boards[board.view]
        if not hall.boards:
            del halls[board.schema]
            await hall.stop()
    await board.stop()


async def _stop(task: "asyncio.Task[None]") -> None:
    waiting = {task}
    while waiting:  # connecting, the Redis client swallows a cancellation
        task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=0.2)
