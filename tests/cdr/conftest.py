"""People and programs that read calls."""

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import Extension, User
from accounts.roles import Role
from accounts.tokens import create_token
from tenants.changes import SYSTEM
from tenants.models import Tenant


@pytest.fixture
def browser(acme: Tenant, make_user: Callable[..., User]) -> Client:
    """A browser in which an Admin of acme is signed in."""
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(make_user())
    return client


@pytest.fixture
def own_browser(acme: Tenant, make_user: Callable[..., User]) -> Client:
    """A browser of a Standard User with the extension 102."""
    user = make_user("sam", Role.USER)
    Extension.objects.create(number="102", user=user)
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(user)
    return client


@pytest.fixture
def program(acme: Tenant, make_user: Callable[..., User]) -> Callable[..., Client]:
    """Makes a program whose token belongs to a user of some role, narrowed to some scopes."""

    def make(role: Role = Role.ADMIN, scopes: list[str] | None = None) -> Client:
        user = make_user(f"owner-{role.value}", role)
        given = {"name": "script"} | ({"scopes": scopes} if scopes else {})
        _, secret = create_token(SYSTEM, user, given)
        return Client(headers={"host": "acme.portal.test", "authorization": f"Bearer {secret}"})

    return make
