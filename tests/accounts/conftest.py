from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from accounts.tokens import create_token
from tenants.changes import SYSTEM
from tenants.models import Tenant


@pytest.fixture
def admin(acme: Tenant, make_user: Callable[..., User]) -> User:
    """An Admin of acme; the connection is in acme's schema."""
    return make_user()


@pytest.fixture
def browser(admin: User) -> Client:
    """A browser in which `admin` is signed in on acme's host."""
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(admin)
    return client


@pytest.fixture
def program(admin: User) -> Client:
    """A program with a token of `admin`."""
    _, secret = create_token(SYSTEM, admin, {"name": "script"})
    return Client(headers={"host": "acme.portal.test", "authorization": f"Bearer {secret}"})


@pytest.fixture
def signed_in_as(acme: Tenant, make_user: Callable[..., User]) -> Callable[[Role], Client]:
    """A browser signed in on acme's host in a role."""

    def sign_in(role: Role) -> Client:
        connection.set_tenant(acme)
        client = Client(headers={"host": "acme.portal.test"})
        client.force_login(make_user(f"a-{role.value}", role))
        return client

    return sign_in


@pytest.fixture
def root(tenants: None) -> User:
    """A system administrator; the connection goes back to where it was."""
    from tenants.schemas import in_schema

    with in_schema("public"):
        return User.objects.create_user("root", "correct horse", role=Role.SYSTEM)


@pytest.fixture
def desk(root: User) -> Client:
    """A browser in which `root` is signed in on the system host."""
    from tenants.schemas import in_schema

    client = Client(headers={"host": "portal.test"})
    with in_schema("public"):
        client.force_login(root)
    return client
