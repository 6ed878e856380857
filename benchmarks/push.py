"""How soon a finished call is with those who asked for it: webhook endpoints and WebSocket subscribers.

It starts the whole portal by `manage.py up`, reports finished calls at a steady rate through the Switch API, and
compares when each event was written with when its bytes arrived. Beside it, in the same run and at the same rate, a
bare HTTP client posting to the same receiver and a bare Redis publish; beside a crowd of subscribers the same crowd at
bare Channels consumers. `make bench-push` prints the tables.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import orjson
import psycopg
import redis.asyncio
import uvicorn
from aiohttp import web
from django.conf import settings

from benchmarks.intake import finished_call
from tests.run.stack import Stack, eventually, free_port, stack

BATCH_SECONDS = 0.05  # a busy switch reports what it has every 50 ms
FLAT_OUT_CALLS = 6_000
CALLS_A_BATCH = 500
CROWD = 1_000
CROWD_RATE = 20
PARTS = ("steady", "crowd", "flat-out")
Arrivals = dict[str, list[float]]  # event id, or bare id, to the times at which it arrived


# --- Those who wait: each in a process of its own --------------------------------------------------------------


@dataclass
class Listener:
    """A process that notes when things arrive; `take` returns and forgets what it noted."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection

    def take(self) -> Arrivals:
        self.pipe.send("take")
        return dict(self.pipe.recv())

    def memory_mib(self) -> float:
        return _resident_kib(Path("/proc") / str(self.process.pid)) / 1024

    def stop(self) -> None:
        self.pipe.send("stop")
        self.process.join(10)


@contextmanager
def listener(work: Callable[..., Awaitable[None]], *arguments: Any) -> Iterator[Listener]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_listen, args=(work, theirs, arguments))
    process.start()
    made = Listener(process, ours)
    try:
        assert ours.poll(120), "a listener did not start"
        assert ours.recv() == "ready"
        yield made
    finally:
        made.stop()


def _listen(work: Callable[..., Awaitable[None]], pipe: Connection, arguments: tuple[Any, ...]) -> None:
    async def run() -> None:
        arrived: Arrivals = {}
        ready = asyncio.Event()
        task = asyncio.ensure_future(work(arrived, ready, *arguments))
        await asyncio.wait([task, asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        pipe.send("ready")
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, pipe.recv) == "take":
            pipe.send(dict(arrived))
            arrived.clear()
        task.cancel()

    asyncio.run(run())


async def receive_posts(arrived: Arrivals, ready: asyncio.Event, port: int) -> None:
    async def post(request: web.Request) -> web.Response:
        now = time.time()
        await request.read()
        name = request.headers.get("webhook-id", request.headers.get("bare-id", "")).rpartition("-")[2]
        arrived.setdefault(name, []).append(now)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{endpoint}", post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    ready.set()
    await asyncio.Event().wait()


@dataclass(frozen=True)
class Way:
    """How a crowd gets to what it hears: where it connects, and what it says first."""

    host: str
    port: int
    path: str = "/"
    commands: Sequence[dict[str, Any]] = ()


class Hearer(asyncio.Protocol):
    """A WebSocket client that does as little as can be: a library's would take as long for a message as the server."""

    def __init__(self, way: Way, arrived: Arrivals, connected: "asyncio.Future[None]") -> None:
        self._way = way
        self._arrived = arrived
        self._connected = connected
        self._unsaid = list(way.commands)
        self._buffer = bytearray()
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._transport.write(
            f"GET {self._way.path} HTTP/1.1\r\nHost: {self._way.host}:{self._way.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode()
        )  # fmt: skip

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._buffer += data
        if not self._is_open:
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._is_open, self._buffer = True, bytearray(rest)
            self._say_next()
        while frame := self._next_frame():
            self._hear(*frame, now)

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Opcode and payload (RFC 6455, section 5.2); a server masks nothing."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 127, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:start], "big") if len(buffer) >= start else len(buffer)
        end = start + length
        if len(buffer) < end:
            return None
        frame = buffer[0] & 15, bytes(buffer[start:end])
        del buffer[:end]
        return frame

    def _hear(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == 9:
            self._say(10, payload)
        elif not self._connected.done():
            assert orjson.loads(payload)["status"] == 0, payload
            self._say_next()
        elif opcode == 1:
            # Reading it as JSON would take longer than sending it took.
            name = payload[payload.rindex(b'"event_id":"') + 12 : -2].decode()
            self._arrived.setdefault(name, []).append(now)

    def _say_next(self) -> None:
        if self._unsaid:
            self._say(1, orjson.dumps(self._unsaid.pop(0)))
        else:
            self._connected.set_result(None)

    def _say(self, opcode: int, payload: bytes) -> None:
        """A client masks, if only by zeros."""
        length = len(payload)
        announced = bytes([128 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
        self._transport.write(bytes([128 | opcode]) + announced + bytes(4) + payload)


async def hear_sockets(arrived: Arrivals, ready: asyncio.Event, way: Way, count: int) -> None:
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(20)

    async def connect() -> None:
        async with gate:
            connected: asyncio.Future[None] = loop.create_future()
            await loop.create_connection(lambda: Hearer(way, arrived, connected), "127.0.0.1", way.port)
            await connected

    await asyncio.gather(*(connect() for _ in range(count)))
    ready.set()
    await asyncio.Event().wait()


async def serve_bare(_arrived: Arrivals, ready: asyncio.Event, port: int, location: str) -> None:
    """Channels at its barest: consumers that send in turn what Redis publishes, by no channel layer, log or cursor."""
    if not settings.configured:
        settings.configure()
    from channels.generic.websocket import AsyncWebsocketConsumer  # asks for settings when it is imported

    connected: set[AsyncWebsocketConsumer] = set()

    class Bare(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            await self.accept()
            connected.add(self)

        async def disconnect(self, code: int) -> None:
            connected.discard(self)

    config = uvicorn.Config(
        Bare.as_asgi(), host="127.0.0.1", port=port, lifespan="off", log_level="critical", ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    pubsub = redis.asyncio.Redis.from_url(location).pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe("bare")
    while not server.started:
        await asyncio.sleep(0.01)
    ready.set()
    async for message in pubsub.listen():
        text = message["data"].decode()
        for consumer in list(connected):
            await consumer.send(text_data=text)
    await serving


async def hear_redis(arrived: Arrivals, ready: asyncio.Event, location: str) -> None:
    pubsub = redis.asyncio.Redis.from_url(location).pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe("bare")
    ready.set()
    async for message in pubsub.listen():
        arrived.setdefault(message["data"].decode(), []).append(time.time())


# --- The portal ------------------------------------------------------------------------------------------------


@dataclass
class Portal:
    stack: Stack
    calls_made: int = 0

    @property
    def opened(self) -> dict[str, Any]:
        return self.stack.opened

    @property
    def tenant(self) -> dict[str, Any]:
        return dict(self.opened["tenants"][0])

    def rest(self) -> httpx.Client:
        host = self.tenant["url"].removeprefix("http://")
        headers = {"Host": host, "Authorization": f"Bearer {self.tenant['api_token']}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.stack.port}", headers=headers, timeout=30)

    def next_calls(self, count: int) -> list[dict[str, Any]]:
        first, self.calls_made = self.calls_made, self.calls_made + count
        return [finished_call(first + n, self.tenant["sip_domain"]) for n in range(count)]

    def written(self) -> dict[str, float]:
        """When each event was written: the start of its transaction's last statement, so the commit counts."""
        schema = next(iter(self._query("SELECT schema_name FROM tenants_tenant WHERE id = %s", self.tenant["id"])))[0]
        rows = self._query(f'SELECT id::text, extract(epoch FROM written_at) FROM "{schema}".events_event')
        return {name: float(moment) for name, moment in rows}

    def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        sockets = next(self.stack.folder.rglob(".s.PGSQL.5432")).parent
        with psycopg.connect(f"host={sockets} user=voxledger dbname=voxledger") as connection:
            return connection.execute(statement.encode(), values or None).fetchall()

    def memory_mib(self, program: str) -> float:
        """Resident memory of the processes of one program of this portal, in MiB."""
        kib = 0
        for home in Path("/proc").glob("[0-9]*"):
            try:
                ours = f"VAR_DIR={self.stack.folder}\0".encode() in (home / "environ").read_bytes()
                if ours and program.encode() in (home / "cmdline").read_bytes().replace(b"\0", b" "):
                    kib += _resident_kib(home)
            except OSError:
                continue
        return kib / 1024

    def subscription(self) -> Way:
        host = self.tenant["url"].removeprefix("http://").split(":")[0]
        commands = (
            {"command": "auth", "access_token": self.tenant["api_token"]},
            {"command": "subscribe", "topics": ["cdr_events"]},
        )
        return Way(host, self.stack.port, "/wsi", commands)

    def redis_location(self) -> str:
        return f"unix://{next(self.stack.folder.rglob('valkey.sock'))}"


def _resident_kib(home: Path) -> int:
    """0 for a process that has ended meanwhile."""
    lines = (home / "status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


@contextmanager
def endpoints(portal: Portal, receiver: int, count: int) -> Iterator[None]:
    with portal.rest() as rest:
        made = [
            rest.post("/api/v1/endpoints", json={"url": f"http://127.0.0.1:{receiver}/{n}", "enabled": True})
            for n in range(count)
        ]
        assert all(answer.status_code == 201 for answer in made), made[0].text
        try:
            yield
        finally:
            for answer in made:
                rest.delete(f"/api/v1/endpoints/{answer.json()['id']}")


async def report_calls(portal: Portal, rate: int, seconds: float) -> int:
    """Reports finished calls at a steady rate; returns how many."""
    headers = {"Host": f"localhost:{portal.stack.port}", "Authorization": f"Bearer {portal.opened['switch_token']}"}
    url = f"http://127.0.0.1:{portal.stack.port}/api/switch/v1/cdrs"
    sent = 0
    async with aiohttp.ClientSession(headers=headers) as session:

        async def post(calls: list[dict[str, Any]]) -> None:
            async with session.post(url, data=orjson.dumps(calls)) as answer:
                said = await answer.json()
                assert all(result["status"] == "applied" for result in said["results"]), said

        tasks = []
        began = time.monotonic()
        for tick in range(1, int(seconds / BATCH_SECONDS) + 1):
            due = int(rate * tick * BATCH_SECONDS) - sent
            if due:
                tasks.append(asyncio.create_task(post(portal.next_calls(due))))
                sent += due
            await asyncio.sleep(max(0.0, began + tick * BATCH_SECONDS - time.monotonic()))
        await asyncio.gather(*tasks)
    return sent


async def post_bare(receiver: int, rate: int, seconds: float) -> dict[str, float]:
    """A bare HTTP client with kept connections, one request a message."""
    body = orjson.dumps(finished_call(0, "acme.test"))
    left: dict[str, float] = {}
    async with aiohttp.ClientSession() as session:

        async def post(name: str) -> None:
            left[name] = time.time()
            async with session.post(f"http://127.0.0.1:{receiver}/bare", data=body, headers={"bare-id": name}):
                pass

        await _steadily(post, rate, seconds)
    return left


async def publish_bare(location: str, rate: int, seconds: float, text: str = "bare-id") -> dict[str, float]:
    """`bare-id` in the text becomes the id of each message."""
    left: dict[str, float] = {}
    client = redis.asyncio.Redis.from_url(location)

    async def publish(name: str) -> None:
        left[name] = time.time()
        await client.publish("bare", text.replace("bare-id", name))

    await _steadily(publish, rate, seconds)
    await client.aclose()
    return left


async def _steadily(act: Callable[[str], Awaitable[None]], rate: int, seconds: float) -> None:
    began = time.monotonic()
    tasks = []
    for number in range(int(rate * seconds)):
        tasks.append(asyncio.ensure_future(act(f"bare{number}")))
        await asyncio.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
    await asyncio.gather(*tasks)


# --- Figures ---------------------------------------------------------------------------------------------------


def latencies_ms(left: dict[str, float], arrived: Arrivals) -> list[float]:
    return sorted((moment - left[name]) * 1000 for name, times in arrived.items() if name in left for moment in times)


def point(sample: list[float], share: float) -> float:
    return sample[min(len(sample) - 1, int(len(sample) * share))]


def row(title: str, sample: list[float], lost: int | str = "") -> str:
    if not sample:
        return f"| {title} | – | – | – | – |"
    points = [point(sample, share) for share in (0.5, 0.95, 0.99)]
    return f"| {title} | " + " | ".join(f"{each:.1f}" for each in points) + f" | {lost} |"


def collect(source: Listener, expected: int, *, seconds: float = 60) -> Arrivals:
    """What arrived, once all of it has or time is up."""
    found: Arrivals = {}

    def complete() -> bool:
        for name, times in source.take().items():
            found.setdefault(name, []).extend(times)
        return sum(map(len, found.values())) >= expected or time.monotonic() > end

    end = time.monotonic() + seconds
    eventually(complete, seconds=seconds + 10)
    return found


def measure_webhooks(portal: Portal, posts: Listener, receiver: int, rate: int, count: int, seconds: float) -> str:
    with endpoints(portal, receiver, count):
        posts.take()
        sent = asyncio.run(report_calls(portal, rate, seconds))
        arrived = collect(posts, sent * count)
    sample = latencies_ms(portal.written(), arrived)
    plural = "endpoint" if count == 1 else "endpoints"
    return row(f"webhook, {count} {plural}, {rate} calls a second", sample, sent * count - len(sample))


def measure_subscriber(portal: Portal, rate: int, seconds: float) -> str:
    with listener(hear_sockets, portal.subscription(), 1) as socket:
        sent = asyncio.run(report_calls(portal, rate, seconds))
        arrived = collect(socket, sent)
    sample = latencies_ms(portal.written(), arrived)
    return row(f"subscriber, {rate} calls a second", sample, sent - len(sample))


def measure_bare(portal: Portal, posts: Listener, receiver: int, rate: int, seconds: float) -> list[str]:
    posts.take()
    left = asyncio.run(post_bare(receiver, rate, seconds))
    http = latencies_ms(left, collect(posts, len(left)))
    location = portal.redis_location()
    with listener(hear_redis, location) as heard:
        left = asyncio.run(publish_bare(location, rate, seconds))
        published = latencies_ms(left, collect(heard, len(left)))
    return [
        row(f"a bare HTTP client, {rate} a second", http, len(left) - len(http)),
        row(f"a bare Redis publish, {rate} a second", published, len(left) - len(published)),
    ]


def measure_flat_out(portal: Portal, posts: Listener, receiver: int) -> str:
    """Calls come in faster than they go out; the rate counts from the moment the last one is in."""

    async def pour() -> None:
        url = f"http://127.0.0.1:{portal.stack.port}/api/switch/v1/cdrs"
        headers = {
            "Host": f"localhost:{portal.stack.port}",
            "Authorization": f"Bearer {portal.opened['switch_token']}",
        }
        async with aiohttp.ClientSession(headers=headers) as session:
            for _ in range(FLAT_OUT_CALLS // CALLS_A_BATCH):
                async with session.post(url, data=orjson.dumps(portal.next_calls(CALLS_A_BATCH))) as answer:
                    assert answer.status == 200, await answer.text()

    with endpoints(portal, receiver, 1):
        posts.take()
        asyncio.run(pour())
        poured = time.time()
        arrived = collect(posts, FLAT_OUT_CALLS, seconds=180)
    memory = portal.memory_mib("celery --app portal --quiet worker")
    times = sorted(moment for each in arrived.values() for moment in each)
    after = [moment for moment in times if moment > poured]
    rate = len(after) / (after[-1] - poured) if len(after) > 1 else float("nan")
    lost = FLAT_OUT_CALLS - len(arrived)
    return (
        f"flat out: {rate:.0f} deliveries a second from one worker ({len(after)} counted, {lost} lost),"
        f" the worker takes {memory:.0f} MiB"
    )


def measure_crowd(portal: Portal, count: int, seconds: float) -> str:
    """Many subscribers of one tenant, then the same connections to bare Channels consumers; what either costs."""
    before = portal.memory_mib("manage.py serve")
    with listener(hear_sockets, portal.subscription(), count) as crowd:
        each = (portal.memory_mib("manage.py serve") - before) * 1024 / count
        sent = asyncio.run(report_calls(portal, CROWD_RATE, seconds))
        arrived = collect(crowd, sent * count, seconds=60)
    memory = portal.memory_mib("manage.py serve")
    ours = latencies_ms(portal.written(), arrived)
    bare, bare_sent, bare_each = hear_bare(portal, count, seconds)
    ratio = point(ours, 0.95) / point(bare, 0.95) if ours and bare else float("nan")
    return "\n".join(
        [
            row(f"{count} subscribers, {CROWD_RATE} calls a second", ours, sent * count - len(ours)),
            row(
                f"{count} bare Channels consumers, {CROWD_RATE} messages a second", bare, bare_sent * count - len(bare)
            ),
            "",
            f"p95 of the subscribers: {ratio:.2f} times that of the bare consumers",
            f"memory per connection: {each:.0f} KiB, of a bare consumer {bare_each:.0f} KiB;"
            f" the web server takes {memory:.0f} MiB at the end",
        ]
    )


def hear_bare(portal: Portal, count: int, seconds: float) -> tuple[list[float], int, float]:
    """Latencies, how many messages were sent, and KiB per connection."""
    port, location = free_port(), portal.redis_location()
    message = orjson.dumps(finished_call(0, "acme.test") | {"event_id": "bare-id"}).decode()
    with listener(serve_bare, port, location) as server:
        before = server.memory_mib()
        with listener(hear_sockets, Way("localhost", port), count) as crowd:
            each = (server.memory_mib() - before) * 1024 / count
            left = asyncio.run(publish_bare(location, CROWD_RATE, seconds, message))
            arrived = collect(crowd, len(left) * count, seconds=60)
    return latencies_ms(left, arrived), len(left), each


def measure_steady(portal: Portal, posts: Listener, receiver: int, seconds: float) -> Iterator[str]:
    for rate in (50, 200):
        for count in (1, 10):
            yield measure_webhooks(portal, posts, receiver, rate, count, seconds)
        yield measure_subscriber(portal, rate, seconds)
        yield from measure_bare(portal, posts, receiver, rate, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="how long each steady rate lasts")
    parser.add_argument("--crowd", type=int, default=CROWD, metavar="COUNT", help="subscribers of one tenant")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="leave the others out")
    options = parser.parse_args()
    receiver = free_port()
    with (
        stack(WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8", LOG_LEVEL="WARNING") as started,
        listener(receive_posts, receiver) as posts,
    ):
        started.start()
        eventually(started.is_ready)
        portal = Portal(started)
        asyncio.run(report_calls(portal, 20, 2))  # warm
        print("From the event being written to its bytes being received, in ms.\n")
        print("| what | p50 | p95 | p99 | lost |\n|---|---|---|---|---|")
        if "steady" in options.only:
            for line in measure_steady(portal, posts, receiver, options.seconds):
                print(line, flush=True)
        if "crowd" in options.only:
            print(measure_crowd(portal, options.crowd, options.seconds), flush=True)
        if "flat-out" in options.only:
            print("\n" + measure_flat_out(portal, posts, receiver), flush=True)


if __name__ == "__main__":
    main()
