"""A real Asterisk, and a portal with two tenants that knows it."""

from collections.abc import Callable, Iterator

import orjson
import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from tenants.crypto import encrypt
from tenants.models import InboundRule, Switch, Tenant, Trunk
from tenants.schemas import in_schema
from tests.asterisk.connected import TENANTS
from tests.asterisk.rig import HOST, Asterisk, prepare, running_asterisk


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    prepare()
    with running_asterisk() as running:
        yield running


@pytest.fixture
def switch(asterisk: Asterisk, tenants: None) -> Switch:
    credentials = {"ami_user": asterisk.username, "ami_password": asterisk.secret}
    made = Switch.objects.create(
        name="Real Asterisk",
        kind=Switch.Kind.ASTERISK,
        address={"host": HOST, "ami_port": asterisk.ami_port, "http_port": asterisk.http_port},
        credentials=encrypt(orjson.dumps(credentials).decode()),
    )
    Trunk.objects.create(name="AudioCodes", switch=made)
    for prefix, name in (("1880", "acme"), ("1890", "globex")):
        InboundRule.objects.create(kind="prefix", number=prefix, tenant=Tenant.objects.get(schema_name=name))
    return made


@pytest.fixture
def browsers(make_user: Callable[..., User]) -> dict[str, Client]:
    """An administrator of each tenant, signed in."""
    found = {}
    for name in TENANTS:
        with in_schema(name):
            found[name] = Client(headers={"host": f"{name}.portal.test"})
            found[name].force_login(make_user())
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    return found
