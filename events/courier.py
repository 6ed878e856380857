"""Carries deliveries to their endpoints: one event loop, a lane for each endpoint that has something due.

Lanes of all tenants run side by side, so a slow or dead endpoint delays nobody else. A courier is called by a Celery
task, listens for wakes while it works, sweeps the tenants for due deliveries, and leaves when it has been idle for a
while or its time is up; another one then takes over. Several may work at once: leases keep them apart.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import redis
import redis.asyncio
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, ProgrammingError, connections, transaction
from django.utils import timezone

from events import deliveries, endpoints
from events.deliveries import Leased, Target, Tried
from events.outgoing import ATTEMPT_SECONDS, Sender
from events.wake import courier_channel
from tenants.models import Tenant
from tenants.schemas import in_schema

IN_FLIGHT = 16  # attempts at one endpoint at the same time
IN_FLIGHT_FAILING = 2  # at one that has failed since its last success
LEASED_AHEAD = 96  # deliveries a lane holds beside those in flight, and settles at once
SETTLE_SECONDS = 0.05  # an outcome waits at most so long to be written
SWEEP_SECONDS = 2.0
LINGER_SECONDS = 10.0
STOP_PATIENCE_SECONDS = 3.0
_DATABASE_THREADS = 4
_FRESH = timedelta(seconds=10)  # a lease older than this is given back: an attempt must end before its lease does
# A name server that does not answer holds a thread for long: more than all endpoints of a tenant can take.
_RESOLVER_THREADS = 4 * endpoints.ENDPOINTS_MAX
_DATABASE_PAUSE_SECONDS = 1.0
STOP = b"stop:"  # followed by the name of the worker that shuts down

log = structlog.get_logger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


class Database:
    """Runs queries in threads whose connections live as long as the courier."""

    def __init__(self) -> None:
        self._opened: list[Any] = []
        self._pool = ThreadPoolExecutor(_DATABASE_THREADS, thread_name_prefix="courier-db", initializer=self._open)

    def _open(self) -> None:
        wrapper: Any = connections["default"]
        wrapper.inc_thread_sharing()  # so that `close` may run elsewhere
        self._opened.append(wrapper)

    async def run(self, schema: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def work() -> R:
            try:
                with in_schema(schema):
                    return function(*args, **kwargs)
            except (OperationalError, InterfaceError):
                connections["default"].close()  # the next query connects anew
                raise

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def close(self) -> None:
        """In a thread: Django refuses to touch a connection where an event loop runs."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        for wrapper in self._opened:
            wrapper.close()
            wrapper.dec_thread_sharing()


@dataclass(frozen=True)
class Turn:
    """What one visit to the database gave a lane: nothing more to do here when `target` is None."""

    target: Target | None
    leased: list[Leased]
    most: int


def take_turn(
    tenant_id: int, endpoint_id: int, tried: list[Tried], unused: list[Leased], held: int, *, take: bool
) -> Turn:
    """Settles what was tried, gives back what was not, and leases ahead as much as the lane can use.

    `held` is what it holds leases on already. An endpoint that fails gets no more than it can be tried with.
    """
    now = timezone.now()
    with transaction.atomic():
        deliveries.settle(endpoint_id, tried, now=now)
        deliveries.give_back(unused)
        endpoint = endpoints.live_endpoints().filter(pk=endpoint_id, enabled=True).first()
        if endpoint is None:
            return Turn(None, [], 0)
        most, ahead = (IN_FLIGHT_FAILING, 0) if endpoint.failing_since else (IN_FLIGHT, LEASED_AHEAD)
        leased = deliveries.lease_due(endpoint, most=most + ahead - held, now=now) if take else []
        target = deliveries.target_of(endpoint, tenant_id, now)
    return Turn(target, leased, most)


class Lane:
    """The attempts at one endpoint: a bounded number in flight, the database visited once for many of them."""

    def __init__(self, courier: "Courier", tenant: tuple[int, str], endpoint_id: int) -> None:
        self._courier = courier
        self._tenant_id, self._schema = tenant
        self._endpoint_id = endpoint_id
        self.nudged = asyncio.Event()

    async def run(self) -> None:
        flying: set[asyncio.Task[Tried]] = set()
        waiting: deque[Leased] = deque()
        finished: list[Tried] = []
        unused: list[Leased] = []
        try:
            while True:
                self.nudged.clear()
                turn = await self._turn(finished, unused, held=len(flying) + len(waiting))
                finished, unused = [], []
                waiting.extend(turn.leased)
                if not flying and not waiting:
                    return
                finished, unused = await self._fly(turn, flying, waiting)
        except asyncio.CancelledError:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)
            raise

    async def _fly(
        self, turn: Turn, flying: set[asyncio.Task[Tried]], waiting: deque[Leased]
    ) -> tuple[list[Tried], list[Leased]]:
        """Tries what is leased until enough has ended, or enough time passed, to be worth a visit to the database."""
        finished: list[Tried] = []
        unused: list[Leased] = []
        visit = math.inf
        while True:
            self._launch(turn, flying, waiting, unused)
            room = len(flying) < turn.most and not waiting
            if not flying or len(finished) >= LEASED_AHEAD or time.monotonic() >= visit:
                return finished, unused
            if room and self.nudged.is_set():
                return finished, unused
            ended = await self._some_end(flying, nudged=room, until=visit)
            if ended:
                flying -= ended
                finished += [task.result() for task in ended]
                visit = min(visit, time.monotonic() + SETTLE_SECONDS)

    def _launch(
        self, turn: Turn, flying: set[asyncio.Task[Tried]], waiting: deque[Leased], unused: list[Leased]
    ) -> None:
        while waiting and (turn.target is None or not self._courier.takes_more):
            unused.append(waiting.popleft())
        while waiting and turn.target is not None and len(flying) < turn.most:
            leased = waiting.popleft()
            if timezone.now() - (leased.leased_until - deliveries.LEASE) > _FRESH:
                unused.append(leased)
            else:
                flying.add(asyncio.create_task(self._courier.attempt(turn.target, leased)))

    async def _turn(self, finished: list[Tried], unused: list[Leased], *, held: int) -> Turn:
        """The database may be away for a while: what was tried is kept and written when it is back."""
        while True:
            try:
                return await self._courier.database.run(
                    self._schema, take_turn, self._tenant_id, self._endpoint_id, finished, unused, held,
                    take=self._courier.takes_more,
                )  # fmt: skip
            except (OperationalError, InterfaceError) as error:
                log.warning("database away, deliveries wait", tenant=self._schema, error=type(error).__name__)
                await asyncio.sleep(_DATABASE_PAUSE_SECONDS)

    async def _some_end(
        self, flying: set[asyncio.Task[Tried]], *, nudged: bool, until: float
    ) -> set[asyncio.Task[Tried]]:
        """The attempts that ended, after waiting for one of them, for a nudge where that matters, or until then."""
        nudge = asyncio.create_task(self.nudged.wait())
        try:
            waited: set[asyncio.Task[Any]] = {*flying, nudge} if nudged else {*flying}
            patience = None if until == math.inf else max(0.0, until - time.monotonic())
            await asyncio.wait(waited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nudge.cancel()
        return {task for task in flying if task.done()}


class Courier:
    def __init__(self, sender: Sender, database: Database) -> None:
        self.database = database
        self.takes_more = True
        self._sender = sender
        self._lanes: dict[tuple[str, int], tuple[Lane, asyncio.Task[None]]] = {}
        self._last_work = float("-inf")

    async def attempt(self, target: Target, leased: Leased) -> Tried:
        return await deliveries.attempt(self._sender, target, leased)

    async def sweep(self, only: str = "") -> None:
        """Opens a lane for every endpoint with something due, or nudges the one it has."""
        for tenant in await self.database.run("public", _active_tenants, only):
            schema = tenant[1]
            try:
                due = await self.database.run(schema, deliveries.due_endpoints, timezone.now())
            except ProgrammingError:  # its schema is being dropped; the others must not wait for it
                log.warning("tenant passed over", tenant=schema, exc_info=True)
                continue
            for endpoint_id in due:
                self._last_work = time.monotonic()
                key = (schema, endpoint_id)
                if key in self._lanes and not self._lanes[key][1].done():
                    self._lanes[key][0].nudged.set()
                    continue
                lane = Lane(self, tenant, endpoint_id)
                self._lanes[key] = lane, asyncio.create_task(self._run(lane, key))

    async def _run(self, lane: Lane, key: tuple[str, int]) -> None:
        try:
            await lane.run()
        except Exception:  # the lane's edge: its leases run out, and the sweep opens it again
            log.exception("lane broken off", tenant=key[0], endpoint=key[1])
        finally:
            self._last_work = time.monotonic()
            if self._lanes.get(key, (None,))[0] is lane:
                del self._lanes[key]

    @property
    def idle_seconds(self) -> float:
        return 0.0 if self._lanes else time.monotonic() - self._last_work

    async def finish(self, patience_seconds: float) -> None:
        """Takes nothing more and waits for what is in flight."""
        self.takes_more = False
        tasks = [task for _, task in self._lanes.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=patience_seconds)

    async def abandon(self) -> None:
        """Cuts off what still flies; it is retried when its lease ends."""
        tasks = [task for _, task in self._lanes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _active_tenants(only: str) -> list[tuple[int, str]]:
    tenants = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public").order_by("id")
    return list((tenants.filter(schema_name=only) if only else tenants).values_list("id", "schema_name"))


def _use_resolver_threads() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_RESOLVER_THREADS))


async def work(
    *, budget_seconds: float, worker: str, hand_over: Callable[[], object], linger_seconds: float | None = None
) -> None:
    """Carries for at most `budget_seconds`. When time is up with work left, `hand_over` calls the next courier.

    A courier that finds nothing leaves at once; one that found something lingers, so that the next wake is heard.
    """
    linger = LINGER_SECONDS if linger_seconds is None else linger_seconds
    database = Database()
    _use_resolver_threads()
    try:
        async with Sender() as sender:
            courier = Courier(sender, database)
            try:
                stopped = await _listen_and_sweep(courier, budget_seconds, linger, worker)
                if not stopped and courier.idle_seconds == 0.0:
                    hand_over()
                await courier.finish(STOP_PATIENCE_SECONDS if stopped else ATTEMPT_SECONDS + 5)
            finally:
                await courier.abandon()
    finally:
        await database.close()


async def _listen_and_sweep(courier: Courier, budget_seconds: float, linger_seconds: float, worker: str) -> bool:
    """True when the worker shuts down."""
    end = time.monotonic() + budget_seconds
    async with _wakes() as wakes:
        await _sweep(courier)
        next_sweep = time.monotonic() + SWEEP_SECONDS
        while time.monotonic() < end and courier.idle_seconds < linger_seconds:
            woken = await wakes.next(min(next_sweep - time.monotonic(), linger_seconds))
            if time.monotonic() >= next_sweep:
                await _sweep(courier)
                next_sweep = time.monotonic() + SWEEP_SECONDS
            if STOP + worker.encode() in woken:
                return True
            for schema in woken:
                await _sweep(courier, schema.decode())
    return False


async def _sweep(courier: Courier, only: str = "") -> None:
    try:
        await courier.sweep(only)
    except (OperationalError, InterfaceError) as error:
        log.warning("database away, the sweep waits", error=type(error).__name__)
        await asyncio.sleep(_DATABASE_PAUSE_SECONDS)


class _wakes:  # noqa: N801 - reads as a verb in `async with`
    """The messages of the wake channel. Without Redis there are none, and the sweep does all."""

    def __init__(self) -> None:
        self._client = redis.asyncio.Redis.from_url(settings.REDIS_LOCATION, socket_connect_timeout=1)
        self._channel = self._client.pubsub(ignore_subscribe_messages=True)

    async def __aenter__(self) -> "_wakes":
        try:
            await self._channel.subscribe(courier_channel())
        except (redis.RedisError, OSError) as error:
            log.warning("no wakes, sweeping only", error=type(error).__name__)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.aclose()  # type: ignore[no-untyped-call]
        await self._client.aclose()

    async def next(self, timeout_seconds: float) -> set[bytes]:
        """What was said, each once, after waiting for the first at most that long."""
        heard: set[bytes] = set()
        wait = max(timeout_seconds, 0.0)
        try:
            while message := await self._channel.get_message(timeout=wait):
                heard.add(bytes(message["data"]))
                wait = 0.0
        except (redis.RedisError, OSError, RuntimeError):
            await asyncio.sleep(max(timeout_seconds, 0.0))
        return heard
