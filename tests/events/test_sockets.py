"""What ends or interrupts a subscription, over real sockets: the server that `manage.py serve` runs, a real client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
import uvicorn
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from accounts.models import ApiToken, User
from accounts.roles import Role
from events import consumers, presence, protocol
from events.feed import in_thread
from events.log import Draft, append
from events.models import Event
from portal.asgi import application
from portal.management.commands.serve import WEBSOCKETS
from tenants.models import Tenant
from tests.events.conftest import AT, write
from tests.events.test_consumers import too_slow_seen

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC = {"topics": ["cdr_events"]}
ALL = {"topics": ["global_cdr_events"]}
ROOT = {"username": "root", "password": "correct horse"}
ADMIN = {"username": "admin", "password": "correct horse", "domain": "acme.test"}
BIG = "x" * 4000  # of such events a few hundred fill the buffers between server and client


class Portal:
    """The server on a free port of this machine, in this process, so that a test can shorten its patience."""

    def __init__(self) -> None:
        self.listening = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        self.listening.bind(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        config = uvicorn.Config(application, lifespan="off", log_config=None, proxy_headers=False, **WEBSOCKETS)
        self.server = uvicorn.Server(config)

    @asynccontextmanager
    async def connected(self, host: str = "acme.portal.test") -> AsyncIterator[ClientConnection]:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", self.port))
        async with connect(f"ws://{host}:{self.port}/wsi", sock=peer, compression=None, close_timeout=1) as client:
            yield client

    @asynccontextmanager
    async def subscribed(self, who: dict[str, str], **more: Any) -> AsyncIterator[ClientConnection]:
        host = "portal.test" if who is ROOT else "acme.portal.test"
        async with self.connected(host) as client:
            assert (await ask(client, "auth", **who))["status"] == 0
            assert (await ask(client, "subscribe", **((ALL if who is ROOT else TOPIC) | more)))["status"] == 0
            yield client


@pytest.fixture
async def portal(acme: Tenant, make_user: Callable[..., User]) -> AsyncIterator[Portal]:
    await in_thread("acme", make_user)
    await in_thread("public", lambda: make_user("root", Role.SYSTEM))
    found = Portal()
    serving = asyncio.create_task(found.server.serve(sockets=[found.listening]))
    while not found.server.started:
        await asyncio.sleep(0.01)
    yield found
    found.server.should_exit = True
    await asyncio.wait_for(serving, 60)


async def ask(client: ClientConnection, command: str, **said: Any) -> dict[str, Any]:
    await client.send(orjson.dumps({"command": command, **said}).decode())
    return dict(orjson.loads(await asyncio.wait_for(client.recv(), 60)))


async def events_of(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [orjson.loads(await asyncio.wait_for(client.recv(), 60)) for _ in range(count)]


async def until_closed(client: ClientConnection, *, seconds: float = 60) -> tuple[list[dict[str, Any]], int, str]:
    """What still came, then the code and the reason; 1006 stands for a connection that ended without a close."""
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(seconds):
        try:
            while True:
                heard.append(orjson.loads(await client.recv()))
        except ConnectionClosed as closed:
            return heard, closed.rcvd.code if closed.rcvd else 1006, closed.rcvd.reason if closed.rcvd else ""


async def write_big(count: int, schema: str = "acme") -> None:
    def work() -> None:
        with transaction.atomic():
            append([Draft("call_cdr", f"s{n}", AT, {"session_id": f"s{n}", "user_data": BIG}) for n in range(count)])

    await in_thread(schema, work)


def ids(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["event_id"]) for event in events]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Waits until a reader was found to be too slow."""
    monkeypatch.setattr(consumers, "SLOW_SECONDS", 0.5)
    return too_slow_seen(monkeypatch)


# --- A slow reader ----------------------------------------------------------------------------------------------


async def test_slow_reader_is_closed_with_its_cursor_and_comes_back_without_a_hole(
    portal: Portal, impatient: Callable[[], Awaitable[None]]
) -> None:
    async with portal.subscribed(ADMIN) as slow, portal.subscribed(ADMIN) as quick:
        await write_big(1200)
        assert ids(await events_of(quick, 1200)) == list(range(1, 1201))  # nobody waits for the slow one
        await impatient()
        heard, code, reason = await until_closed(slow)
        assert ids(heard) == list(range(1, len(heard) + 1))
        assert 0 < len(heard) < 1200 - consumers.QUEUE_LENGTH
        assert (code, reason) == (4008, orjson.dumps({"cursor": str(len(heard))}).decode())
    async with portal.subscribed(ADMIN, since=orjson.loads(reason)["cursor"]) as again:
        assert ids(await events_of(again, 1200 - len(heard))) == list(range(len(heard) + 1, 1201))


async def test_slow_reader_of_all_tenants_is_told_every_cursor(
    portal: Portal, acme: Tenant, globex: Tenant, impatient: Callable[[], Awaitable[None]]
) -> None:
    async with portal.subscribed(ROOT) as slow:
        await write_big(1200)
        await impatient()
        heard, code, reason = await until_closed(slow)
        *events, last = heard
        cursors = {str(acme.pk): str(len(events)), str(globex.pk): "0"}
        assert last == {"command": "closing", "code": 4008, "cursor": cursors}
        assert (code, reason) == (4008, "the last message holds the cursors")
    async with portal.subscribed(ROOT, since=cursors) as again:
        assert ids(await events_of(again, 1200 - len(events))) == list(range(len(events) + 1, 1201))


async def test_reader_who_stays_away_is_let_go_of(
    portal: Portal, impatient: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LINGER_SECONDS", 0.5)
    async with portal.subscribed(ADMIN) as slow:
        await write_big(1200)
        await impatient()
        async with asyncio.timeout(60):
            while any(name.startswith(("Feed", "Presence", "Socket")) for name in at_work()):
                await asyncio.sleep(0.05)
        heard, code, _ = await until_closed(slow)
        assert ids(heard) == list(range(1, len(heard) + 1))
        assert code in (1006, 4008)  # the reason, if it comes back before the server has cut the connection


# --- A gap ------------------------------------------------------------------------------------------------------


async def test_gap_is_filled_from_the_address_that_is_told(
    portal: Portal, settings: Settings, make_token: Callable[..., str]
) -> None:
    def prepare() -> str:
        write("a", "b", "c", "d")
        Event.objects.filter(id__lte=2).delete()
        return make_token()

    token = await in_thread("acme", prepare)
    settings.PUBLIC_PORT = portal.port
    async with portal.connected() as client:
        await ask(client, "auth", access_token=token)
        reply = await ask(client, "subscribe", **TOPIC, since="1")
        assert reply == {
            "command": "subscribe", "id": "2", "status": 0, "cursor": "1", "gap": True,
            "events_url": f"http://acme.portal.test:{portal.port}/api/v1/events?since=1",
        }  # fmt: skip
        told = [await client.recv() for _ in range(2)]
        address = urlsplit(reply["events_url"])
        async with httpx.AsyncClient() as rest:
            answer = await rest.get(
                f"http://127.0.0.1:{portal.port}{address.path}?{address.query}",
                headers={"host": address.netloc, "authorization": f"Bearer {token}"},
            )
        assert answer.text == f'{{"items":[{told[0]},{told[1]}],"next":null,"cursor":"4","gap":true}}'


# --- Limits -----------------------------------------------------------------------------------------------------


async def test_a_tenant_has_so_many_connections(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "CONNECTIONS_PER_TENANT", 3)
    async with AsyncExitStack() as stack:
        inside = [await stack.enter_async_context(portal.subscribed(ADMIN)) for _ in range(3)]
        async with portal.connected() as one_more:
            await one_more.send(orjson.dumps({"command": "auth", **ADMIN}).decode())
            assert await until_closed(one_more) == ([], 4029, "too many connections of this tenant")
        async with portal.subscribed(ROOT):  # another host has places of its own
            pass
        await in_thread("acme", lambda: write("a"))
        assert [ids(await events_of(client, 1)) for client in inside] == [[1], [1], [1]]
        await inside[0].close()
        async with portal.subscribed(ADMIN, since="0") as next_one:
            assert ids(await events_of(next_one, 1)) == [1]


async def test_strangers_of_one_address_lock_no_subscriber_out(portal: Portal) -> None:
    async with AsyncExitStack() as stack:
        subscriber = await stack.enter_async_context(portal.subscribed(ADMIN))
        strangers = [await stack.enter_async_context(portal.connected()) for _ in range(presence.WAITING_PER_ADDRESS)]
        async with portal.connected() as one_more:
            reason = "too many connections of this address wait for authentication"
            assert await until_closed(one_more) == ([], 4029, reason)
        await in_thread("acme", lambda: write("a"))
        assert ids(await events_of(subscriber, 1)) == [1]
        await strangers[0].close()
        await stack.enter_async_context(portal.subscribed(ADMIN))


async def test_too_many_messages_close(portal: Portal) -> None:
    async with portal.subscribed(ADMIN) as client:
        for _ in range(consumers.MESSAGES_PER_WINDOW - 2):
            assert (await ask(client, "dance"))["error"] == "unknown command"
        await client.send("{}")
        assert await until_closed(client) == ([], 4028, "at most 60 messages in 10 s")


async def test_cursors_of_many_tenants_pass_the_server(portal: Portal, acme: Tenant) -> None:
    since = {str(acme.pk): "0"} | {str(10**17 + n): "9" * 18 for n in range(3000)}
    await in_thread("acme", lambda: write("a"))
    async with portal.subscribed(ROOT, since=since) as client:
        assert ids(await events_of(client, 1)) == [1]
    async with portal.subscribed(ROOT) as client:
        await client.send("x" * (protocol.SYSTEM_MESSAGE_BYTES + 1))
        assert (await until_closed(client))[:2] == ([], 1009)
    async with portal.subscribed(ADMIN) as client:
        await client.send("x" * (protocol.MESSAGE_BYTES + 1))
        assert await until_closed(client) == ([], 1009, "a message has at most 8192 bytes")


def at_work() -> set[str]:
    return {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]


# --- A right taken away -----------------------------------------------------------------------------------------


async def test_a_right_taken_away_closes(portal: Portal, make_token: Callable[..., str]) -> None:
    token = await in_thread("acme", make_token)
    other = await in_thread("acme", lambda: make_token("vxt_other"))

    def take_away() -> None:
        ApiToken.objects.filter(name=token).update(revoked_at=timezone.now())
        User.objects.filter(username="admin").update(role=Role.USER)

    async with (
        portal.subscribed({"access_token": token}) as revoked,
        portal.subscribed(ADMIN) as demoted,
        portal.subscribed({"access_token": other}) as untouched,
    ):
        await in_thread("acme", take_away)
        assert presence.RECHECK_SECONDS <= 5  # so that ten seconds are promised
        for client in (revoked, demoted):
            assert await until_closed(client) == ([], 4003, "no longer allowed")
        await in_thread("acme", lambda: write("a"))
        assert ids(await events_of(untouched, 1)) == [1]
