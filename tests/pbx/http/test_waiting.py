"""A switch that waits for commands: woken at once, answered at the end, forgotten when it leaves."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from pbx.http import waiting
from portal.asgi import application
from tenants import outbox
from tenants.models import Switch, SwitchCommand
from tests.pbx.conftest import BEARER

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/switch/v1/commands"
PATIENCE = 50.0  # seconds that a busy test machine may take


@pytest.fixture
async def client(http_switch: Switch) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://portal.test", headers=BEARER) as made:
        yield made
    await sync_to_async(connections.close_all)()


def enqueue(switch: Switch) -> str:
    row = outbox.enqueue(
        switch,
        tenant_id=1,
        command=SwitchCommand.Command.STOP,
        session_id="s1",
        recording_id="7",
        medium="audio",
    )
    return str(row.pk)


async def test_without_wait_the_answer_comes_at_once(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)
    assert (answer.status_code, answer.json()) == (200, {"commands": []})


async def test_a_waiting_switch_is_woken_by_a_command(
    client: httpx.AsyncClient, http_switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bell alone: without it the outbox would not be asked again before the test's patience is over."""
    monkeypatch.setattr(waiting, "_ASK_AGAIN_SECONDS", 600.0)
    heard = asyncio.Event()
    listening = waiting._bell

    @asynccontextmanager
    async def bell(token: str) -> AsyncIterator[waiting.Bell]:
        async with listening(token) as wait:

            async def ring(seconds: float) -> None:
                heard.set()  # the outbox was asked once, and was empty
                await wait(seconds)

            yield ring

    monkeypatch.setattr(waiting, "_bell", bell)
    asked = asyncio.create_task(client.get(PATH, params={"wait": "60"}))
    await asyncio.wait_for(heard.wait(), PATIENCE)
    command_id = await sync_to_async(enqueue)(http_switch)
    answer = await asyncio.wait_for(asked, PATIENCE)
    assert [command["id"] for command in answer.json()["commands"]] == [command_id]


async def test_a_wait_ends_with_nothing(client: httpx.AsyncClient) -> None:
    began = time.monotonic()
    answer = await asyncio.wait_for(client.get(PATH, params={"wait": "1"}), PATIENCE)
    assert (answer.status_code, answer.json()) == (200, {"commands": []})
    assert time.monotonic() - began > 0.9  # it did wait


async def test_without_redis_the_outbox_is_asked_at_intervals(
    client: httpx.AsyncClient, http_switch: Switch, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(waiting, "_ASK_AGAIN_SECONDS", 0.1)
    settings.REDIS_LOCATION = "unix:///nowhere/valkey.sock"
    asked = asyncio.create_task(client.get(PATH, params={"wait": "20"}))
    await asyncio.sleep(0.3)
    await sync_to_async(enqueue)(http_switch)
    assert len((await asyncio.wait_for(asked, PATIENCE)).json()["commands"]) == 1


async def test_a_stranger_does_not_wait(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH, params={"wait": "20"}, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


async def test_a_switch_that_leaves_is_forgotten(http_switch: Switch) -> None:
    asked = 0

    async def portal(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": orjson.dumps({"commands": []})})

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": PATH,
        "query_string": b"wait=20",
        "headers": [(b"authorization", b"Bearer switch-token")],
    }
    await asyncio.wait_for(waiting.CommandsWait(portal)(scope, receive, send), PATIENCE)
    assert (asked, sent) == (1, [])
