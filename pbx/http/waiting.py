"""The long poll of the Switch API: a waiting switch holds one socket here, no thread and no database connection.

Django answers `GET /api/switch/v1/commands` at once. This asks it, and while there is nothing asks again when the
outbox rings its bell, every few seconds without a ring, and once more at the end.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import redis.asyncio
import structlog
from django.conf import settings

from tenants.crypto import token_hash
from tenants.outbox import bell_of

PATH = "/api/switch/v1/commands"
WAIT_MAX = 60
_ASK_AGAIN_SECONDS = 5.0
_NOTHING = b'{"commands":[]}'

log = structlog.get_logger(__name__)
Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Bell = Callable[[float], Awaitable[None]]


def seconds_of(query: str) -> int | None:
    """How long the switch wants to wait; None when it says nonsense."""
    given = parse_qs(query).get("wait", ["0"])[-1]
    return int(given) if given.isascii() and given.isdigit() and len(given) < 4 and int(given) <= WAIT_MAX else None


class CommandsWait:
    """ASGI: lets a switch wait for commands, and hands everything else on untouched."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seconds = None
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "GET":
            seconds = seconds_of(scope["query_string"].decode("latin1"))
        if not seconds:
            await self.application(scope, receive, send)
            return
        gone = asyncio.ensure_future(_gone(receive))
        try:
            answer = await self._wait(scope, gone, time.monotonic() + seconds)
        finally:
            gone.cancel()
        for message in answer:
            await send(message)

    async def _wait(self, scope: Scope, gone: "asyncio.Future[None]", deadline: float) -> list[Message]:
        async with _bell(_bearer(scope)) as wait:
            while True:
                answer = await self._ask(scope)
                left = deadline - time.monotonic()
                if left <= 0 or not _is_nothing(answer):
                    return answer
                ring = asyncio.ensure_future(wait(min(left, _ASK_AGAIN_SECONDS)))
                await asyncio.wait({ring, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    ring.cancel()
                    return []
                await ring

    async def _ask(self, scope: Scope) -> list[Message]:
        answer: list[Message] = []
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()  # Django listens for a disconnect, which is ours to notice
            sent = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def keep(message: Message) -> None:
            answer.append(message)

        await self.application(scope, receive, keep)
        return answer


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_nothing(answer: list[Message]) -> bool:
    body = b"".join(message.get("body", b"") for message in answer if message["type"] == "http.response.body")
    return bool(answer) and answer[0].get("status") == 200 and body == _NOTHING


def _bearer(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return str(given.decode("latin1").partition(" ")[2].strip())


@asynccontextmanager
async def _bell(token: str) -> AsyncIterator[Bell]:
    """Waits for a ring, so long at most. Without Redis it only waits: the outbox is asked again anyway."""
    client = redis.asyncio.Redis.from_url(settings.REDIS_LOCATION, socket_connect_timeout=1)
    ears = client.pubsub(ignore_subscribe_messages=True)
    try:
        try:
            await ears.subscribe(bell_of(token_hash(token)))
        except redis.RedisError as error:
            log.warning("no bell, the outbox is asked at intervals", error=type(error).__name__)
            yield asyncio.sleep
            return

        async def ring(seconds: float) -> None:
            deadline = time.monotonic() + seconds
            try:
                while (left := deadline - time.monotonic()) > 0:
                    if await ears.get_message(timeout=left):
                        return
            except redis.RedisError:
                await asyncio.sleep(max(0.0, deadline - time.monotonic()))

        yield ring
    finally:
        await ears.aclose()  # type: ignore[no-untyped-call]
        await client.aclose()
