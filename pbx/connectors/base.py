"""What every connector does, whatever its switch speaks: says how it is, sees its settings change, hands over what it
was told, and carries out orders."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError

from cdr.callevents import CallEvent
from pbx.connectors import portal
from pbx.connectors.backoff import Backoff
from pbx.connectors.bell import listen
from pbx.connectors.orders import Command, Order
from pbx.connectors.spool import Census, Spool
from tenants.models import Switch

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
REPORT_EVERY = 10.0  # seconds
ASK_FOR_ORDERS_EVERY = 0.25
LAST_WORDS = 5.0  # seconds to hand over what is left when asked to stop


class SwitchGoneError(Exception):
    """The switch was deleted or switched off; the text is a sentence."""


class SwitchConnector:
    """One switch's; `_settings_changed` are set when its address or credentials change."""

    def __init__(
        self, switch: Switch, backoff: Callable[[], Backoff], settings_changed: Sequence[asyncio.Event]
    ) -> None:
        self._switch = switch
        self._spool = Spool()
        self._new_backoff = backoff
        self._settings_changed = settings_changed
        self._database = ThreadPoolExecutor(max_workers=1, thread_name_prefix="connector-database")
        self._state = ("connecting", "")
        self._said = ""
        self._to_report = asyncio.Event()
        self._gone = ""
        self._over = asyncio.Event()
        self._orders: dict[int, asyncio.Task[None]] = {}  # by command: those being carried out
        self._may_have_orders = asyncio.Event()

    def _message(self) -> str:
        """How it is, for the page of switches."""
        raise NotImplementedError

    async def _learn_trunks(self) -> None:
        raise NotImplementedError

    async def _obey(self, order: Order) -> None:
        raise NotImplementedError

    def _knows_what_runs(self) -> bool:
        """Whether orders can be judged: the switch is in reach, and what an earlier connector has begun is known."""
        raise NotImplementedError

    async def _end_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._over.set()

    async def _say_last_words(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._spool.until_empty(), LAST_WORDS)
        if left := len(self._spool):
            log.error("call events were not handed over", switch=self._switch.name, events=left)
        with contextlib.suppress(DatabaseError, InterfaceError, TimeoutError):
            await asyncio.wait_for(self._in_database(portal.report, self._switch.pk, "stopped", ""), LAST_WORDS)

    async def _in_database(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, lambda: portal.with_database(work, *args, **kwargs))

    def _say(self, state: str, message: str) -> None:
        """For the page of switches; in the log once, and again only when something else is the matter."""
        self._state = (state, message)
        self._to_report.set()
        if message != self._said:
            self._said = message
            level = log.info if state == "connected" else log.warning
            level(message, switch=self._switch.name)

    async def _watch(self) -> None:
        """Reports at least every REPORT_EVERY seconds, and sees when somebody changes the switch's settings."""
        while True:
            self._to_report.clear()
            with contextlib.suppress(DatabaseError, InterfaceError, OSError):
                await self._in_database(portal.report, self._switch.pk, self._state[0], self._message())
                self._look_at(await self._in_database(portal.switch_now, self._switch.pk))
                await self._learn_trunks()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY):
                    await self._to_report.wait()
            await asyncio.sleep(0.2)  # several changes at once are one report

    def _look_at(self, found: Switch | None) -> None:
        if found is None or not found.enabled:
            what = "was deleted" if found is None else "is switched off"
            self._gone = f"The switch {self._switch.name} {what}."
            self._over.set()
            return
        former, self._switch = self._switch, found
        if (found.address, found.credentials) != (former.address, former.credentials):
            log.info("settings of the switch changed", switch=found.name)
            for changed in self._settings_changed:
                changed.set()

    async def _until(self, changed: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work`, and cuts it off when the settings change, to be started with the new ones."""
        task, change = asyncio.ensure_future(work), asyncio.ensure_future(changed.wait())
        try:
            await asyncio.wait({task, change}, return_when=asyncio.FIRST_COMPLETED)
            changed.clear()
            if task.done():
                task.result()
        finally:
            for each in (task, change):
                each.cancel()
            await asyncio.gather(task, change, return_exceptions=True)

    async def _take_orders(self) -> None:
        """Orders of one segment one after the other: a stop that overtook its start would find nothing to stop."""
        bell = asyncio.create_task(listen(self._switch.pk, self._may_have_orders.set))
        try:
            await self._take_orders_as_they_come()
        finally:
            bell.cancel()
            await asyncio.gather(bell, return_exceptions=True)

    async def _take_orders_as_they_come(self) -> None:
        while True:
            self._may_have_orders.clear()
            with contextlib.suppress(DatabaseError, InterfaceError, OSError):
                waits: set[object] = set()
                for order in await self._in_database(portal.pending_orders, self._switch):
                    is_next = order.subject not in waits or not self._knows_what_runs()
                    if is_next and order.id not in self._orders and self._can_judge(order):
                        self._carry_out(order)
                    waits.add(order.subject)
            with contextlib.suppress(TimeoutError):
                # Not wait_for: it can lose a cancellation that comes with the event.
                async with asyncio.timeout(ASK_FOR_ORDERS_EVERY):
                    await self._may_have_orders.wait()

    def _can_judge(self, order: Order) -> bool:
        """Before it is known what runs, only what is to be refused at once: a pause that cannot be kept, a launch."""
        return self._knows_what_runs() or order.command in {Command.PAUSE, Command.LAUNCH}

    def _carry_out(self, order: Order) -> None:
        task = asyncio.get_running_loop().create_task(self._obey(order))
        self._orders[order.id] = task
        task.add_done_callback(lambda _: self._orders.pop(order.id, None))

    async def _deliver(self) -> None:
        await self._spool.drain(self._take, self._close_lost, self._new_backoff())

    async def _take(self, events: Sequence[CallEvent]) -> None:
        await self._in_database(portal.take, self._switch, events)
        self._may_have_orders.set()  # what was told may be the reason for some

    async def _close_lost(self, census: Census) -> None:
        await self._in_database(portal.close_sessions_gone, self._switch, census.session_ids)
