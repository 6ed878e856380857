"""A connector between the rig's Asterisk and the test's own portal."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async

from pbx.asterisk.connection import Connector
from tenants.models import Switch
from tests.asterisk.flows import ACME, GLOBEX

TENANTS = {"acme": ACME, "globex": GLOBEX}


@contextlib.asynccontextmanager
async def connected(switch: Switch) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(Connector(switch).run(stop))
    ready = {"connector_state": "connected", "connector_message__endswith": " by AMI and ARI."}
    rows = Switch.objects.filter(pk=switch.pk, **ready)
    async with asyncio.timeout(60):
        while not await sync_to_async(rows.exists)():
            await asyncio.sleep(0.05)
    try:
        yield
    finally:
        stop.set()
        await running
