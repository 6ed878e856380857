"""What waits for the database: in order, bounded, and no fault of one entry becomes another's."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from django.db import InterfaceError, OperationalError

from cdr.callevents import CallEnded, CallEvent
from pbx.connectors.backoff import Backoff
from pbx.connectors.spool import Census, Entry, Spool

NOW = datetime(2026, 3, 22, tzinfo=UTC)


def events(*names: str) -> list[CallEvent]:
    return [CallEnded(id=name, session_id="s", at=NOW) for name in names]


class Portal:
    """Takes what it is given, and fails as it is told."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.errors: list[Exception] = []
        self.poison = ""

    async def take(self, given: Sequence[CallEvent]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if any(event.id == self.poison for event in given):
            raise ValueError(self.poison)
        self.taken += [event.id for event in given]

    async def close_lost(self, census: Census) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append(f"census of {len(census.session_ids)}")


async def drained(spool: Spool, portal: Portal) -> list[str]:
    backoff = Backoff(first=0.001, limit=0.002)
    task = asyncio.create_task(spool.drain(portal.take, portal.close_lost, backoff))
    await asyncio.wait_for(spool.until_empty(), 5)
    task.cancel()
    return portal.taken


async def test_entries_leave_in_the_order_in_which_they_came() -> None:
    spool = Spool()
    entries: list[Entry] = [*events("a", "b"), Census(frozenset({"s"})), *events("c")]
    spool.put(entries)
    assert await drained(spool, Portal()) == ["a", "b", "census of 1", "c"]


async def test_nothing_is_forgotten_while_the_database_is_away() -> None:
    spool, portal = Spool(), Portal()
    portal.errors = [OperationalError("gone"), InterfaceError("gone"), ConnectionRefusedError(), OperationalError("x")]
    spool.put([*events("a", "b"), Census(frozenset())])
    assert await drained(spool, portal) == ["a", "b", "census of 0"]
    assert (len(spool), spool.is_stuck, spool.lost) == (0, False, 0)


async def test_an_event_that_breaks_something_stands_in_nobodys_way() -> None:
    spool, portal = Spool(), Portal()
    portal.poison = "e"
    spool.put(events(*"abcdefgh"))
    assert await drained(spool, portal) == [*"abcdfgh"]


async def test_a_full_spool_takes_no_more_and_counts_what_it_lost() -> None:
    spool = Spool(size=3)
    spool.put(events("a", "b"))
    spool.put(events("c", "d", "e"))
    spool.put(events("f"))
    assert (len(spool), spool.lost) == (3, 3)
    assert await drained(spool, Portal()) == ["a", "b", "c"]
    spool.put(events("g"))
    assert (len(spool), spool.lost) == (1, 3)


def test_waits_grow_up_to_a_limit_and_half_of_each_is_chance() -> None:
    backoff = Backoff(first=1, limit=10)
    for longest in (1, 2, 4, 8, 10, 10):
        assert longest / 2 <= backoff.next() <= longest
    backoff.reset()
    assert backoff.next() <= 1
