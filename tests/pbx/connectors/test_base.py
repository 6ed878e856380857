"""In which order a connector carries out what it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pbx.connectors.backoff import Backoff
from pbx.connectors.base import SwitchConnector
from pbx.connectors.orders import Command, Launch, Order
from tenants.models import Switch


class Slow(SwitchConnector):
    """Begins an order at once, and ends it when the test says so."""

    def __init__(self) -> None:
        super().__init__(Switch(name="Slow"), Backoff, ())
        self.waiting: list[Order] = []
        self.begun: list[int] = []
        self.may_end = {each: asyncio.Event() for each in range(9)}
        self.is_ready = True

    async def _in_database(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return list(self.waiting)

    def _knows_what_runs(self) -> bool:
        return self.is_ready

    async def _obey(self, order: Order) -> None:
        self.begun.append(order.id)
        await self.may_end[order.id].wait()
        self.waiting.remove(order)
        self._may_have_orders.set()


def order(number: int, command: Command, recording_id: str = "7", launch: Launch | None = None) -> Order:
    return Order(number, command, 1, f"s{number}", recording_id, 1, "audio", False, False, launch)


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    connector = Slow()
    taking = asyncio.create_task(connector._take_orders())
    yield connector
    for each in connector.may_end.values():
        each.set()
    taking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await taking
    connector._database.shutdown()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_orders_of_one_segment_wait_for_one_another_and_others_do_not(slow: Slow) -> None:
    start, stop, other = order(1, Command.START), order(2, Command.STOP), order(3, Command.START, "8")
    slow.waiting = [start, stop, other]
    await until(lambda: slow.begun == [1, 3])
    slow.may_end[3].set()
    await until(lambda: other not in slow.waiting)
    assert slow.begun == [1, 3]
    slow.may_end[1].set()
    await until(lambda: slow.begun == [1, 3, 2])


async def test_launches_do_not_wait_for_one_another(slow: Slow) -> None:
    call = Launch("acme.test", "101", "102", "")
    slow.waiting = [order(1, Command.LAUNCH, "", call), order(2, Command.LAUNCH, "", call)]
    await until(lambda: slow.begun == [1, 2])


async def test_before_it_is_known_what_runs_only_pauses_and_launches_are_judged(slow: Slow) -> None:
    slow.is_ready = False
    call = Launch("acme.test", "101", "102", "")
    slow.waiting = [order(1, Command.START), order(2, Command.PAUSE), order(3, Command.LAUNCH, "", call)]
    await until(lambda: slow.begun == [2, 3])
    slow.is_ready = True
    await until(lambda: slow.begun == [2, 3, 1])
