"""A webhook receiver on loopback that keeps what it got and answers as it is told."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Got:
    path: str
    headers: dict[str, str]
    body: bytes


Reply = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


async def accept(_request: web.Request, _body: bytes) -> web.StreamResponse:
    return web.Response(text="stored")


@dataclass
class Receiver:
    reply: Reply = accept
    port: int = 0
    got: list[Got] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.got.append(Got(request.path_qs, {name.lower(): value for name, value in request.headers.items()}, body))
        return await self.reply(request, body)


@contextmanager
def receiver(reply: Reply = accept) -> Iterator[Receiver]:
    """Runs in a thread with a loop of its own, so that synchronous doors can be tested against it."""
    found = Receiver(reply)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    done = asyncio.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", found.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found.port = runner.addresses[0][1]
        ready.set()
        await done.wait()
        await runner.cleanup()
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(60)
        loop.close()
