"""A real FreeSWITCH, and a portal with two tenants that knows it."""

import asyncio
from collections.abc import Callable

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client

from accounts.models import User
from tenants.crypto import encrypt
from tenants.models import InboundRule, Switch, Tenant, Trunk
from tenants.schemas import in_schema
from tests.freeswitch.rig import FreeSwitch, given

PATIENCE = 60.0


@pytest.fixture
async def freeswitch() -> FreeSwitch:
    """Without calls and files of an earlier test."""
    found = given()
    await found.ask("hupall")
    async with asyncio.timeout(PATIENCE):
        while await found.legs():
            await asyncio.sleep(0.1)
    for folder in (found.recordings, found.cdrs):
        for file in folder.iterdir():
            file.unlink()
    return found


@pytest.fixture
async def switch(freeswitch: FreeSwitch, tenants: None) -> Switch:
    return await sync_to_async(make_switch)(freeswitch)


def make_switch(freeswitch: FreeSwitch) -> Switch:
    made = Switch.objects.create(
        name="Real FreeSWITCH",
        kind=Switch.Kind.FREESWITCH,
        address={
            "host": freeswitch.host,
            "port": freeswitch.port,
            "recordings_path": str(freeswitch.recordings),
            "recordings_folder": str(freeswitch.recordings),
            "cdr_folder": str(freeswitch.cdrs),
        },
        credentials=encrypt(orjson.dumps({"password": freeswitch.password}).decode()),
    )
    Trunk.objects.create(name="AudioCodes", switch=made)
    for prefix, name in (("1880", "acme"), ("1890", "globex")):
        InboundRule.objects.create(kind="prefix", number=prefix, tenant=Tenant.objects.get(schema_name=name))
    return made


@pytest.fixture
def browsers(make_user: Callable[..., User]) -> dict[str, Client]:
    """An administrator of each tenant, signed in."""
    found = {}
    for name in ("acme", "globex"):
        with in_schema(name):
            found[name] = Client(headers={"host": f"{name}.portal.test"})
            found[name].force_login(make_user())
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    return found
