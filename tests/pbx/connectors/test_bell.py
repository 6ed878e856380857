"""A connector hears of a command at once, and waits for a Redis that is away."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from pbx.connectors import bell
from tenants import outbox
from tenants.models import Switch, SwitchCommand

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 30.0


@pytest.fixture
def switch(tenants: None) -> Switch:
    return Switch.objects.create(name="Node", kind=Switch.Kind.ASTERISK)


def enqueue(switch: Switch) -> None:
    command = SwitchCommand.Command.STOP
    outbox.enqueue(switch, tenant_id=1, command=command, session_id="s1", recording_id="7", medium="audio")
    connections.close_all()


async def heard(rung: asyncio.Event) -> None:
    await asyncio.wait_for(rung.wait(), PATIENCE)
    rung.clear()


async def test_each_command_rings_once_the_transaction_is_over(switch: Switch) -> None:
    rung = asyncio.Event()
    listening = asyncio.create_task(bell.listen(switch.pk, rung.set))
    await heard(rung)  # it listens
    for _ in range(2):
        await sync_to_async(enqueue)(switch)
        await heard(rung)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_redis_that_is_away_is_tried_again(
    switch: Switch, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "AVOID_SECONDS", 0.05)
    there, settings.REDIS_LOCATION = settings.REDIS_LOCATION, "unix:///nowhere/valkey.sock"
    rung = asyncio.Event()
    listening = asyncio.create_task(bell.listen(switch.pk, rung.set))
    await asyncio.sleep(0.2)
    settings.REDIS_LOCATION = there
    await heard(rung)
    assert not listening.done()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
