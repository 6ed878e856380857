"""What a switch told, on its way into the portal: in order, and kept, up to a limit, while the database is away."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from django.db import DatabaseError, InterfaceError

from cdr.callevents import CallEvent
from pbx.connectors.backoff import Backoff

log = structlog.get_logger(__name__)

SPOOL_MAX = 100_000  # entries
BATCH_MAX = 500


@dataclass(frozen=True, slots=True)
class Census:
    """The sessions that lived at this point of the stream, after a gap. What else the portal thinks live is over."""

    session_ids: frozenset[str]


Entry = CallEvent | Census


class Spool:
    """A queue with one consumer, which hands over what it holds and forgets only what was taken."""

    def __init__(self, size: int = SPOOL_MAX) -> None:
        self.lost = 0  # entries that found no room
        self.is_stuck = False  # the database does not take them
        self._size = size
        self._entries: deque[Entry] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entries: Sequence[Entry]) -> None:
        room = self._size - len(self._entries)
        if len(entries) > room:
            if not self.lost:
                log.error("spool is full", entries=self._size)
            self.lost += len(entries) - room
            entries = entries[:room]
        self._entries.extend(entries)
        if self._entries:
            self._filled.set()

    async def drain(
        self,
        take: Callable[[Sequence[CallEvent]], Awaitable[None]],
        close_lost: Callable[[Census], Awaitable[None]],
        backoff: Backoff,
    ) -> None:
        """Runs until it is cancelled. An entry that breaks something other than the database stands in nobody's way."""
        size = BATCH_MAX
        while True:
            await self._filled.wait()
            batch = self._next(size)
            try:
                if isinstance(batch, Census):
                    await close_lost(batch)
                else:
                    await take(batch)
            except (DatabaseError, InterfaceError, OSError) as error:
                if not self.is_stuck:
                    log.warning("database does not take call events", reason=str(error).strip(), waiting=len(self))
                self.is_stuck = True
                await asyncio.sleep(backoff.next())
                continue
            except Exception:  # a fault of ours: find the entry that has it, and go on without it
                log.exception("call events were not taken", entries=1 if isinstance(batch, Census) else len(batch))
                if not isinstance(batch, Census) and len(batch) > 1:
                    size = max(1, len(batch) // 2)
                    continue
            if self.is_stuck:
                log.info("database takes call events again", waiting=len(self))
            self.is_stuck, size = False, BATCH_MAX
            backoff.reset()
            self._forget(1 if isinstance(batch, Census) else len(batch))

    async def until_empty(self) -> None:
        while self._entries:
            await asyncio.sleep(0.02)

    def _next(self, size: int) -> Sequence[CallEvent] | Census:
        """The events up to the next census, or that census."""
        batch: list[CallEvent] = []
        for entry in self._entries:
            if isinstance(entry, Census):
                return batch or entry
            batch.append(entry)
            if len(batch) == size:
                break
        return batch

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._entries.popleft()
        if not self._entries:
            self._filled.clear()
