"""What the portal has on its books of acme's calls, looked at from an async test until it is so."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from asgiref.sync import sync_to_async

from tenants.schemas import in_schema

T = TypeVar("T")
PATIENCE = 60.0


def in_acme(work: Callable[[], T]) -> Callable[[], T]:
    def inside() -> T:
        with in_schema("acme"):
            return work()

    return inside


async def until(work: Callable[[], T | None]) -> T:
    async with asyncio.timeout(PATIENCE):
        while (found := await sync_to_async(in_acme(work))()) is None:
            await asyncio.sleep(0.1)
        return found
