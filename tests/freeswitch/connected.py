"""A connector between the given FreeSWITCH and the test's own portal."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async

from pbx.freeswitch.connection import Connector
from tenants.models import Switch

PATIENCE = 60.0


@contextlib.asynccontextmanager
async def connected(switch: Switch) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(Connector(switch).run(stop))
    rows = Switch.objects.filter(pk=switch.pk, connector_state="connected")
    try:
        async with asyncio.timeout(PATIENCE):
            while not await sync_to_async(rows.exists)():
                await asyncio.sleep(0.05)
        yield
    finally:
        stop.set()
        await running
        await Switch.objects.filter(pk=switch.pk).aupdate(connector_state="stopped")
