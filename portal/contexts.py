"""A context of its own for each request.

uvicorn begins a request that already waits on its connection inside the context of the one before it, as it does when
the end of a streamed answer and the next request cross. asgiref would then run it in the thread of that former request,
which ends half way: the database connection opened there would never come back to the pool.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[..., Awaitable[None]]


class OwnContext:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await asyncio.create_task(self._run(scope, receive, send), context=contextvars.Context())

    async def _run(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)
