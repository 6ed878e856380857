"""The simulated switch: places calls at a pace and tells them to the portal by the Switch API, as any switch would.

It records what it is told to record, and delivers files that sound as the call did. It outlives the portal: what cannot
be told now waits, bounded, and is told when the portal is back.
"""

import asyncio
import base64
import contextlib
import hashlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import orjson
import structlog

from pbx.simulator.film import mp4_of
from pbx.simulator.flows import SHOWN_FIRST, Flow, Step, launched, script_of, write_call
from pbx.simulator.recorder import Recorder, Take
from pbx.simulator.sound import wav_of
from pbx.simulator.world import World
from tenants.ids import new_id

log = structlog.get_logger(__name__)

MOST_WAITING = 20_000  # events that wait for the portal; beyond them the oldest are forgotten
MOST_TAKES = 500  # recordings that wait for the portal
BATCH = 200
_POLL_SECONDS = 25
_TIMEOUT = aiohttp.ClientTimeout(total=40, connect=5)
_LONGEST_PAUSE = 15.0
_WORLD_SECONDS = 30.0
_FAREWELL_SECONDS = 3.0
_REMEMBERED = 1_000
_STUMBLE_SECONDS = 5.0
_TAKEN = (200, 201)
LAUNCH = "launch_call"
NO_EXTENSION = "The simulator knows no such extension."


@dataclass(slots=True)
class Portal:
    """Where the portal is, and how to get a token that it knows."""

    url: str
    host: str
    new_token: Callable[[], Awaitable[str]]
    token: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A recording on its way."""

    content: bytes
    content_type: str

    @property
    def digest(self) -> str:
        return f"sha-256=:{base64.b64encode(hashlib.sha256(self.content).digest()).decode()}:"


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
    _done: dict[str, dict[str, str]] = field(default_factory=dict)  # what was said of a command, the oldest first
    _recorder: Recorder = field(default_factory=Recorder)
    _takes: deque[Take] = field(default_factory=lambda: deque(maxlen=MOST_TAKES))
    _taken: asyncio.Event = field(default_factory=asyncio.Event)
    _shown_first: deque[Flow] = field(default_factory=lambda: deque(SHOWN_FIRST))
    _launching: Sequence[World] = ()  # as it was when a call was to be launched
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _forgotten: int = 0

    async def run(self) -> None:
        """Until cancelled; then it hangs up every call, says so and delivers what it recorded."""
        connector = aiohttp.TCPConnector(limit=4)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
            loops = (
                self._place_calls,
                lambda: self._tell(session),
                lambda: self._obey(session),
                lambda: self._deliver(session),
            )
            tasks = [asyncio.create_task(_without_end(loop)) for loop in loops]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in (*tasks, *self._calls):
                    task.cancel()
                await asyncio.gather(*tasks, *self._calls, return_exceptions=True)
                with contextlib.suppress(Exception):  # a portal that is gone too hears no farewell
                    await asyncio.wait_for(self._say_farewell(session), _FAREWELL_SECONDS)

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
                self._begin(session_id, self._next_call(self.dice.choice(worlds), session_id))
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * 60 / self.rate)

    def _begin(self, session_id: str, steps: Sequence[Step]) -> None:
        task = asyncio.create_task(self._play(session_id, steps))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _next_call(self, world: World, session_id: str) -> list[Step]:
        if self._shown_first and world.trunk:
            return script_of(self._shown_first.popleft(), world, session_id, self.dice)
        return write_call(world, session_id, self.dice)

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
        now = time.time()
        self._waiting.append({"id": event_id, "at": _written(now), **event})
        self._told.set()
        self._hand_in(self._recorder.hear(event, now))

    def _hand_in(self, takes: Sequence[Take]) -> None:
        if takes:
            self._takes.extend(takes)
            self._taken.set()

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
        """Does what is new among them, and says when it did it, or why not."""
        for command in commands:
            if command["id"] not in self._confirmed:
                if command["command"] == LAUNCH:
                    self._launching = await self.worlds()
                await self._ask(session, "POST", f"commands/{command['id']}", self._do(command))
                self._confirmed.append(command["id"])

    def _do(self, command: dict[str, Any]) -> dict[str, str]:
        """Once, though it may be handed out to both loops: a pause done again after its resume would hide speech."""
        if command["id"] not in self._done:
            now = time.time()
            refused, ended = self._obeyed(command, now)
            self._hand_in(ended)
            answer = {"status": "failed", "reason": refused} if refused else {"status": "done", "at": _written(now)}
            self._done[command["id"]] = answer
            if len(self._done) > _REMEMBERED:
                del self._done[next(iter(self._done))]
        return self._done[command["id"]]

    def _obeyed(self, command: dict[str, Any], now: float) -> tuple[str, list[Take]]:
        if command["command"] == LAUNCH:
            return self._launch(command["session_id"], command["options"]), []
        return self._recorder.obey(command, now)

    def _launch(self, session_id: str, options: dict[str, str]) -> str:
        """Begins the call; why not, when it cannot."""
        world = next((each for each in self._launching if each.domain == options["domain"]), None)
        caller = next((each for each in world.extensions if each.number == options["caller"]), None) if world else None
        if world is None or caller is None:
            return NO_EXTENSION
        flow = partial(launched, caller=caller, callee=options["callee"], user_data=options["user_data"])
        self._begin(session_id, script_of(flow, world, session_id, self.dice))
        return ""

    async def _deliver(self, session: aiohttp.ClientSession) -> None:
        while True:
            self._taken.clear()
            await self._deliver_takes(session)
            await self._taken.wait()

    async def _deliver_takes(self, session: aiohttp.ClientSession) -> None:
        while self._takes:
            take = self._takes[0]
            file = await asyncio.to_thread(_file_of, take)
            path = f"recordings/{take.recording_id}/segments/{take.segment}/file"
            if await self._ask(session, "PUT", path, file) is None:
                log.warning("the portal refused a file", recording_id=take.recording_id, segment=take.segment)
            if self._takes and self._takes[0] is take:
                self._takes.popleft()

    async def _say_farewell(self, session: aiohttp.ClientSession) -> None:
        await self._empty(session)
        await self._deliver_takes(session)

    async def _ask(
        self, session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | File | None = None
    ) -> dict[str, Any] | None:
        """The portal's answer, however long it takes to get one; None when it says that asking again is of no use."""
        pause = 0.5
        while True:
            try:
                token = await self._token()
                status, answer = await self._once(session, method, path, body, token)
                if status in _TAKEN:
                    return answer
                if status == 401 and self.portal.token == token:
                    self.portal.token = ""
                elif 400 <= status < 500 and status not in (401, 408, 429):
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
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: dict[str, Any] | File | None,
        token: str,
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}", "Host": self.portal.host}
        data = None
        if isinstance(body, File):
            headers |= {"Content-Type": body.content_type, "Content-Digest": body.digest}
            data = body.content
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = orjson.dumps(body)
        url = f"{self.portal.url}/api/switch/v1/{path}"
        async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            raw = await response.read()
            return response.status, orjson.loads(raw) if response.status in _TAKEN else {}

    def _note(self, results: Sequence[dict[str, Any]]) -> None:
        rejected = [result["error"]["code"] for result in results if result["status"] == "rejected"]
        if rejected:
            log.warning("the portal rejected events", codes=sorted(set(rejected)), events=len(rejected))
        if self._forgotten:
            log.warning("events forgotten while the portal was away", events=self._forgotten)
            self._forgotten = 0


def _file_of(take: Take) -> File:
    return File(mp4_of(take), "video/mp4") if take.is_video else File(wav_of(take), "audio/wav")


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


async def _without_end(loop: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await loop()
        except Exception:  # the loop's edge: a simulator that stops is worse than one that stumbles
            log.exception("the simulator stumbled and goes on")
        await asyncio.sleep(_STUMBLE_SECONDS)
