import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from accounts.tokens import create_token
from tenants.changes import SYSTEM
from tenants.models import Tenant


@pytest.fixture
def root(tenants: None) -> User:
    """A system administrator."""
    connection.set_schema_to_public()
    return User.objects.create_user("root", "correct horse", role=Role.SYSTEM)


@pytest.fixture
def desk(root: User) -> Client:
    """A browser in which `root` is signed in on the system host."""
    client = Client(headers={"host": "portal.test"})
    client.force_login(root)
    return client


@pytest.fixture
def system_api(root: User) -> Client:
    """A program with a token of `root`."""
    _, secret = create_token(SYSTEM, root, {"name": "script"})
    return Client(headers={"host": "portal.test", "authorization": f"Bearer {secret}"})


@pytest.fixture
def acme_row(tenants: None) -> Tenant:
    return Tenant.objects.get(schema_name="acme")
