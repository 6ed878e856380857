"""Kills the worker, the web server, Valkey and PostgreSQL at random while calls flow, then counts what arrived where.

`python -m tests.run.chaos --calls 2000` (what `make chaos` runs) prints the figures that docs/reliability.md shows;
test_chaos.py runs it small. A switch repeats what was not answered; a receiver refuses now and then; a subscriber
comes back with its cursor; a reader pulls. Afterwards every door must have given every event.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import websockets
from aiohttp import web

from tests.run.stack import Stack, free_port, stack

TYPES = ("call_start", "cdr_target_add", "cdr_target_answer", "cdr_target_end", "call_cdr")
VICTIMS = {
    "worker": "celery --app portal",
    "web": "manage.py serve",
    "valkey": "valkey-server",
    "postgres": "postgres -D",
}
REFUSED = 0.03  # of the events the receiver refuses once, with 500
SETTLE_SECONDS = 180


@dataclass
class Seen:
    """What each door gave, in the order in which it came."""

    posted: list[tuple[int, str, str]] = field(default_factory=list)  # acknowledged ones: event id, session, type
    subscribed: list[int] = field(default_factory=list)
    reconnects: int = 0
    retries: int = 0
    killed: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True)
class Report:
    """What came of it. The lists name what must not be: they are empty when all is well."""

    calls: int
    logged: int
    killed: dict[str, int]
    posts: int
    posts_twice: int
    posts_refused: int
    reconnects: int
    switch_retries: int
    seconds: float
    calls_without_their_events: list[str]
    log_holes: list[int]
    not_posted: list[int]
    out_of_order: list[str]
    subscriber_missed: list[int]
    subscriber_repeated: list[int]

    @property
    def faults(self) -> dict[str, list[Any]]:
        names = (
            "calls_without_their_events",
            "log_holes",
            "not_posted",
            "out_of_order",
            "subscriber_missed",
            "subscriber_repeated",
        )
        return {name: getattr(self, name)[:10] for name in names if getattr(self, name)}


class Harness:
    def __init__(self, portal: Stack, seed: int) -> None:
        self.portal = portal
        self.random = random.Random(seed)
        self.seen = Seen()
        self.opened = portal.opened
        self.tenant: dict[str, Any] = self.opened["tenants"][0]
        self.refused_once: set[str] = set()
        self.listening = asyncio.Event()
        self.done = asyncio.Event()

    # --- The switch -----------------------------------------------------------------------------------------

    def call(self, number: int) -> list[dict[str, Any]]:
        session = f"chaos-{number}"
        began = time.time() - 5
        callee = {"number": "102", "kind": "extension"}
        lines: list[tuple[str, dict[str, Any]]] = [
            (
                "call.started",
                {
                    "domain": self.tenant["sip_domain"],
                    "caller": {"number": "101", "kind": "extension"},
                    "callee": callee,
                },
            ),
            ("target.added", {"target_id": f"{session}-t", "callee": callee}),
            ("target.answered", {"target_id": f"{session}-t"}),
            ("target.ended", {"target_id": f"{session}-t", "end_reason": "caller_disconnect"}),
            ("call.ended", {"ended_reason": "caller_disconnect", "status_code": 0}),
        ]
        return [
            {"id": f"{session}-{n}", "session_id": session, "type": kind, "at": began + n, **more}
            for n, (kind, more) in enumerate(lines)
        ]

    async def report_calls(self, session: aiohttp.ClientSession, calls: int) -> None:
        gate = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with gate:
                events = self.call(number)
                cut = self.random.randint(1, len(events) - 1)
                await self._report(session, events[:cut])
                await self._report(session, events[cut:])

        await asyncio.gather(*(one(number) for number in range(calls)))

    async def _report(self, session: aiohttp.ClientSession, events: list[dict[str, Any]]) -> None:
        url = f"http://127.0.0.1:{self.portal.port}/api/switch/v1/events"
        headers = {"Host": f"localhost:{self.portal.port}", "Authorization": f"Bearer {self.opened['switch_token']}"}
        while True:
            try:
                async with session.post(url, data=orjson.dumps({"events": events}), headers=headers) as answer:
                    if answer.status == 200:
                        results = (await answer.json())["results"]
                        assert {result["status"] for result in results} <= {"applied", "duplicate"}, results
                        return
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            self.seen.retries += 1
            await asyncio.sleep(0.2 + self.random.random() / 2)

    # --- The receiver ---------------------------------------------------------------------------------------

    async def receive(self, request: web.Request) -> web.Response:
        document = orjson.loads(await request.read())
        if document["event_id"] not in self.refused_once and self.random.random() < REFUSED:
            self.refused_once.add(document["event_id"])  # a second refusal would be tried again only after 5 minutes
            return web.Response(status=500)
        self.seen.posted.append((int(document["event_id"]), document["session_id"], document["event_type"]))
        return web.Response(status=204)

    # --- The subscriber -------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        host = self.tenant["url"].removeprefix("http://")
        cursor = "0"
        while not self.done.is_set():
            try:
                async with websockets.connect(
                    f"ws://{host}/wsi", host="127.0.0.1", port=self.portal.port, compression=None
                ) as socket:
                    await socket.send(json.dumps({"command": "auth", "access_token": self.tenant["api_token"]}))
                    assert json.loads(await socket.recv())["status"] == 0
                    wanted = {"topics": ["cdr_events"], "event_types": TYPES, "since": cursor}
                    await socket.send(json.dumps({"command": "subscribe", **wanted}))
                    assert json.loads(await socket.recv())["status"] == 0
                    self.listening.set()
                    async for message in socket:
                        cursor = orjson.loads(message)["event_id"]
                        self.seen.subscribed.append(int(cursor))
            except (websockets.WebSocketException, OSError, TimeoutError, AssertionError):
                self.seen.reconnects += 1
                await asyncio.sleep(0.3)

    # --- The murderer ---------------------------------------------------------------------------------------

    async def kill(self, every_seconds: float) -> None:
        order: list[str] = []
        while not self.done.is_set():
            await asyncio.sleep(every_seconds * (0.5 + self.random.random()))
            if not order:
                order = self.random.sample(sorted(VICTIMS), len(VICTIMS))
            victim = order.pop()
            for pid in self._processes(VICTIMS[victim]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.seen.killed[victim] += 1
                    break

    def _processes(self, command: str) -> Iterator[int]:
        """The eldest first: a worker's or a server's parent, not one of its children."""
        folder = str(self.portal.folder)
        found = []
        for home in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (home / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                ours = folder in line or f"VAR_DIR={folder}\0".encode() in (home / "environ").read_bytes()
                if ours and command in line:
                    found.append(int(home.name))
        return iter(sorted(found))

    # --- Afterwards -----------------------------------------------------------------------------------------

    async def log(self, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
        """Everything the log holds, by the third door."""
        events: list[dict[str, Any]] = []
        host = self.tenant["url"].removeprefix("http://")
        headers = {"Host": host, "Authorization": f"Bearer {self.tenant['api_token']}"}
        since = "0"
        while True:
            url = f"http://127.0.0.1:{self.portal.port}/api/v1/events?since={since}&limit=500"
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                items = (await answer.json())["items"]
            if not items:
                return events
            events += items
            since = items[-1]["event_id"]

    async def add_endpoint(self, session: aiohttp.ClientSession, receiver: int) -> None:
        host = self.tenant["url"].removeprefix("http://")
        headers = {"Host": host, "Authorization": f"Bearer {self.tenant['api_token']}"}
        url = f"http://127.0.0.1:{self.portal.port}/api/v1/endpoints"
        body = {"url": f"http://127.0.0.1:{receiver}/", "enabled": True, "event_types": list(TYPES)}
        async with session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()


async def run(portal: Stack, *, calls: int, kill_every_seconds: float, seed: int) -> Report:
    harness = Harness(portal, seed)
    seen = harness.seen
    receiver = free_port()
    app = web.Application()
    app.router.add_post("/", harness.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", receiver).start()
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await harness.add_endpoint(session, receiver)
        subscriber = asyncio.create_task(harness.subscribe())
        await asyncio.wait_for(harness.listening.wait(), 60)  # what nobody asked for is not logged
        murderer = asyncio.create_task(harness.kill(kill_every_seconds))
        await harness.report_calls(session, calls)
        murderer.cancel()
        expected = calls * len(TYPES)
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            posted = {event_id for event_id, _, _ in seen.posted}
            if len(posted) >= expected and len(set(seen.subscribed)) >= expected:
                break
            await asyncio.sleep(0.5)
        seconds = time.monotonic() - began
        log = await harness.log(session)
        harness.done.set()
        subscriber.cancel()
    await runner.cleanup()
    return _report(seen, log, len(harness.refused_once), calls, seconds)


def _report(seen: Seen, log: list[dict[str, Any]], refused: int, calls: int, seconds: float) -> Report:
    everything = [int(event["event_id"]) for event in log]
    # Of a switch that never answers a recording's start the log also tells recording_failed: nobody asked for that.
    log = [event for event in log if event["event_type"] in TYPES]
    ids = [int(event["event_id"]) for event in log]
    by_call: dict[str, list[str]] = defaultdict(list)
    for event in log:
        by_call[event["session_id"]].append(event["event_type"])
    names = [f"chaos-{number}" for number in range(calls)]
    first: dict[int, tuple[str, str]] = {}
    order: dict[str, list[int]] = defaultdict(list)
    for event_id, session, kind in seen.posted:
        if event_id not in first:
            first[event_id] = (session, kind)
            order[session].append(event_id)
    return Report(
        calls=calls,
        logged=len(log),
        killed=dict(seen.killed),
        posts=len(seen.posted),
        posts_twice=len(seen.posted) - len(first),
        posts_refused=refused,
        reconnects=seen.reconnects,
        switch_retries=seen.retries,
        seconds=round(seconds, 1),
        calls_without_their_events=[name for name in names if sorted(by_call[name]) != sorted(TYPES)],
        log_holes=sorted(set(range(1, max(everything, default=0) + 1)) - set(everything)),
        not_posted=sorted(set(ids) - set(first)),
        out_of_order=[session for session, given in order.items() if given != sorted(given)],
        subscriber_missed=sorted(set(ids) - set(seen.subscribed)),
        subscriber_repeated=[b for a, b in zip(seen.subscribed, seen.subscribed[1:], strict=False) if b <= a],
    )


def carry_out(*, calls: int, kill_every_seconds: float, seed: int) -> Report:
    with stack(WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8", LOG_LEVEL="WARNING") as portal:
        portal.start()
        return asyncio.run(run(portal, calls=calls, kill_every_seconds=kill_every_seconds, seed=seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2_000, help=f"each has {len(TYPES)} events")
    parser.add_argument("--kill-every", type=float, default=5.0, help="seconds between two killings, about")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report = carry_out(calls=options.calls, kill_every_seconds=options.kill_every, seed=options.seed)
    for name, value in vars(report).items():
        shown = len(value) if isinstance(value, list) else value
        print(f"{name.replace('_', ' '):28} {shown}")  # noqa: T201 - a report for a person
    if report.faults:
        raise SystemExit(f"Not as it must be: {report.faults}")


if __name__ == "__main__":
    main()
