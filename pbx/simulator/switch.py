"""The simulated switch: places calls at a pace and tells them to the portal by the Switch API, as any switch would.

It outlives the portal: what cannot be told now waits, bounded, and is told when the portal is back.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import structlog

from pbx.simulator.flows import Step, write_call
from pbx.simulator.world import World
from tenants.ids import new_id

log = structlog.get_logger(__name__)

MOST_WAITING = 20_000  # events that wait for the portal; beyond them the oldest are forgotten
BATCH = 200
_POLL_SECONDS = 25
_TIMEOUT = aiohttp.ClientTimeout(total=40, connect=5)
_LONGEST_PAUSE = 15.0
_WORLD_SECONDS = 30.0
_FAREWELL_SECONDS = 3.0
_REMEMBERED = 1_000
_STUMBLE_SECONDS = 5.0


@dataclass(slots=True)
class Portal:
    """Where the portal is, and how to get a token that it knows."""

    url: str
    host: str
    new_token: Callable[[], Awaitable[str]]
    token: str = ""


@dataclass(slots=True)
class Simulator:
    portal: Portal
    rate: int  # calls a minute
    worlds: Callable[[], Awaitable[Sequence[World]]]
    dice: random.Random = field(default_factory=random.Random)
    _waiting: deque[dict[str, Any]] = field(default_factory=deque)
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _calls: set["asyncio.Task[None]"] = field(default_factory=set)
    _confirmed: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _forgotten: int = 0

    async def run(self) -> None:
        """Until cancelled; then it hangs up every call and says so."""
        connector = aiohttp.TCPConnector(limit=4)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
            loops = (self._place_calls, lambda: self._tell(session), lambda: self._obey(session))
            tasks = [asyncio.create_task(_without_end(loop)) for loop in loops]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in (*tasks, *self._calls):
                    task.cancel()
                await asyncio.gather(*tasks, *self._calls, return_exceptions=True)
                with contextlib.suppress(Exception):  # a portal that is gone too hears no farewell
                    await asyncio.wait_for(self._empty(session), _FAREWELL_SECONDS)

    async def _place_calls(self) -> None:
        worlds: Sequence[World] = ()
        looked = -_WORLD_SECONDS
        while True:
            if not self.rate:
                await asyncio.sleep(3600)
                continue
            if time.monotonic() - looked > (_WORLD_SECONDS if worlds else 2.0):
                worlds, looked = await self.worlds(), time.monotonic()
            if worlds:
                session_id = str(new_id())
                steps = write_call(self.dice.choice(worlds), session_id, self.dice)
                task = asyncio.create_task(self._play(session_id, steps))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * 60 / self.rate)

    async def _play(self, session_id: str, steps: Sequence[Step]) -> None:
        began = time.monotonic()
        try:
            for number, step in enumerate(steps, 1):
                await asyncio.sleep(max(0.0, began + step.after - time.monotonic()))
                self._say(step.event, f"{session_id}-{number}")
        except asyncio.CancelledError:
            ended = {"type": "call.ended", "session_id": session_id, "ended_reason": "caller_disconnect"}
            self._say(ended, f"{session_id}-stop")
            raise

    def _say(self, event: dict[str, Any], event_id: str) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._forgotten += 1
        self._waiting.append({"id": event_id, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event})
        self._told.set()

    async def _tell(self, session: aiohttp.ClientSession) -> None:
        while True:
            self._told.clear()
            await self._empty(session)
            await self._told.wait()

    async def _empty(self, session: aiohttp.ClientSession) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            answer = await self._ask(session, "POST", "events", {"events": batch})
            for event in batch:
                if self._waiting and self._waiting[0] is event:
                    self._waiting.popleft()
            if answer is None:
                log.warning("the portal refused a batch, it is left out", events=len(batch))
                continue
            self._note(answer.get("results", ()))
            await self._confirm(session, answer.get("commands", ()))

    async def _obey(self, session: aiohttp.ClientSession) -> None:
        while True:
            answer = await self._ask(session, "GET", f"commands?wait={_POLL_SECONDS}")
            await self._confirm(session, (answer or {}).get("commands", ()))
            if answer is None:
                await asyncio.sleep(_LONGEST_PAUSE)

    async def _confirm(self, session: aiohttp.ClientSession, commands: Sequence[dict[str, Any]]) -> None:
        """There is no audio to record here: a simulated recording command is simply done."""
        for command in commands:
            if command["id"] not in self._confirmed:
                await self._ask(session, "POST", f"commands/{command['id']}", {"status": "done"})
                self._confirmed.append(command["id"])

    async def _ask(
        self, session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The portal's answer, however long it takes to get one; None when it says that asking again is of no use."""
        pause = 0.5
        while True:
            try:
                token = await self._token()
                status, answer = await self._once(session, method, path, body, token)
                if status == 200:
                    return answer
                if status == 401 and self.portal.token == token:
                    self.portal.token = ""
                elif 400 <= status < 500 and status not in (401, 429):
                    return None
                log.warning("the portal did not take it, trying again", status=status, path=path)
            except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
                log.info("the portal is away, trying again", error=type(error).__name__, waiting=len(self._waiting))
            await asyncio.sleep(pause * self.dice.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _token(self) -> str:
        """A new one ends the former: the loops must not take one each."""
        async with self._renewing:
            if not self.portal.token:
                self.portal.token = await self.portal.new_token()
            return self.portal.token

    async def _once(
        self, session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None, token: str
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}", "Host": self.portal.host}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = orjson.dumps(body)
        url = f"{self.portal.url}/api/switch/v1/{path}"
        async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            raw = await response.read()
            return response.status, orjson.loads(raw) if response.status == 200 else {}

    def _note(self, results: Sequence[dict[str, Any]]) -> None:
        rejected = [result["error"]["code"] for result in results if result["status"] == "rejected"]
        if rejected:
            log.warning("the portal rejected events", codes=sorted(set(rejected)), events=len(rejected))
        if self._forgotten:
            log.warning("events forgotten while the portal was away", events=self._forgotten)
            self._forgotten = 0


async def _without_end(loop: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await loop()
        except Exception:  # the loop's edge: a simulator that stops is worse than one that stumbles
            log.exception("the simulator stumbled and goes on")
        await asyncio.sleep(_STUMBLE_SECONDS)
