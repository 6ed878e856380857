"""What the tests of this room share: endpoints, events written as a call would write them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from accounts.models import ApiToken, User
from accounts.roles import Role
from events import endpoints
from events.log import Draft, append
from events.models import Endpoint, Event
from tenants.changes import SYSTEM
from tenants.crypto import token_hash
from tenants.models import Tenant

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write(*sessions: str, type: str = "call_cdr", v22: bool = True) -> list[Event]:
    """One event for each session named, in one transaction, in the schema the connection is in."""
    drafts = [
        Draft(type, session, AT, {"event_type": type, "session_id": session, "direction": "in"},
              {"event_type": type, "session_id": session, "direction": "inbound"} if v22 else None)
        for session in sessions
    ]  # fmt: skip
    with transaction.atomic():
        return append(drafts)


def wait_for_a_waiter() -> None:
    """Until a session of this database waits for what another one has locked."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0]:
                return
        time.sleep(0.02)
    raise AssertionError("Nobody waits for anybody.")


@pytest.fixture
def loopback(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def make_endpoint(acme: Tenant, loopback: None) -> Callable[..., Endpoint]:
    """Makes an endpoint in the schema the connection is in; its secret is put on it as `shown_secret`."""

    def make(url: str = "http://127.0.0.1:9/", **values: Any) -> Endpoint:
        endpoint, secret = endpoints.create_endpoint(endpoints.Settings(url=url, **values), actor=SYSTEM)
        endpoint.shown_secret = secret  # type: ignore[attr-defined]
        return endpoint

    return make


@pytest.fixture
def make_token(make_user: Callable[..., User]) -> Callable[..., str]:
    """Makes a user with an API token in the schema the connection is in, and gives the token."""

    def make(secret: str = "vxt_admin", role: Role = Role.ADMIN, scopes: tuple[str, ...] = ()) -> str:
        user = User.objects.filter(username=f"of-{secret}").first() or make_user(f"of-{secret}", role)
        ApiToken.objects.create(user=user, name=secret, token_hash=token_hash(secret), hint="", scopes=list(scopes))
        return secret

    return make
