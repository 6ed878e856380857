"""A body that no door would take is refused before it is stored."""

from collections.abc import AsyncIterator

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from portal.asgi import application

pytestmark = pytest.mark.django_db(transaction=True)
ERROR = {"error": {"code": "too_large", "message": "The body may have at most 1000 bytes.", "details": {}}}


@pytest.fixture
async def client(tenants: None, settings: object) -> AsyncIterator[httpx.AsyncClient]:
    settings.SWITCH_CDRS_BODY_MAX = 1000  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://portal.test") as made:
        yield made
    await sync_to_async(connections.close_all)()


@pytest.mark.parametrize("path", ["/api/switch/v1/events", "/sign-in", "/nowhere"])
async def test_a_body_announced_too_long_is_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, content=b"x" * 1001)
    assert (answer.status_code, answer.json()) == (413, ERROR)


async def test_an_endless_body_is_refused_while_it_comes(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 100

    answer = await client.post("/api/switch/v1/events", content=endless())
    assert (answer.status_code, answer.json()) == (413, ERROR)
    assert sent <= 12


async def test_a_body_within_the_limit_reaches_its_door(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/switch/v1/events", content=b"x" * 1000)
    assert answer.status_code == 401
