"""Ctrl K: what a search finds, and what it keeps from whoever may not see it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.extensions import create_extension
from accounts.models import User
from accounts.roles import Role
from tenants.changes import SYSTEM
from tenants.models import Switch, Tenant
from tests.cdr.rows import make_call

pytestmark = pytest.mark.django_db
PLACES = re.compile(r'<a href="([^"]+)" role="option".*?<span[^>]*>(.*?)</span><small>(.*?)</small>', re.DOTALL)


@pytest.fixture
def sign_in(acme: Tenant, make_user: Callable[..., User]) -> Callable[[Role], Client]:
    def browser(role: Role) -> Client:
        client = Client(headers={"host": "acme.portal.test"})
        client.force_login(make_user(f"a-{role.value}", role))
        return client

    return browser


def found(client: Client, words: str) -> list[tuple[str, str]]:
    """Name and address of each thing found, in order."""
    response = client.get("/jump", {"q": words}, headers={"HX-Request": "true"})
    assert response.status_code == 200
    return [(label, href.replace("&amp;", "&")) for href, label, _ in PLACES.findall(response.content.decode())]


def test_pages_are_found_by_parts_of_their_names(sign_in: Any) -> None:
    client = sign_in(Role.ADMIN)
    assert found(client, "rec call") == [
        ("Call Recordings", "/call-statistics/recordings"),
        ("Reconciliation", "/call-statistics/reconciliation"),
    ]
    assert found(client, "event") == [("Event URL", "/company/event-url")]
    assert ("Home", "/") in found(client, "")


def test_pages_one_may_not_open_are_not_found(sign_in: Any) -> None:
    client = sign_in(Role.USER)
    assert found(client, "event") == []
    assert [name for name, _ in found(client, "")] == [
        "Home",
        "CDR",
        "Call Recordings",
        "Live Calls",
        "Profile",
        "Keys and display",
    ]


def test_number_leads_to_its_calls(sign_in: Any) -> None:
    client = sign_in(Role.QUEUE_MANAGER)
    make_call(1, caller="1888722")
    make_call(2, caller="1888799")
    assert found(client, "1888") == [
        ("1888799", "/call-statistics/cdr?number=1888799"),
        ("1888722", "/call-statistics/cdr?number=1888722"),
        ("1888*", "/call-statistics/cdr?number=1888%2A"),
    ]


def test_session_id_leads_to_its_call(sign_in: Any) -> None:
    client = sign_in(Role.QUEUE_MANAGER)
    make_call(1)
    assert found(client, "690852418417590001") == [
        ("690852418417590001", "/call-statistics/cdr/690852418417590001"),
    ]


def test_nobody_finds_the_calls_of_others(sign_in: Any, globex: Tenant) -> None:
    client = sign_in(Role.USER)
    make_call(1)
    connection.set_tenant(globex)
    make_call(2, session_id="690852418417599999")
    assert found(client, "69085241841759") == []
    assert found(client, "18887") == []


def test_people_are_found_by_whoever_may_edit_them(sign_in: Any) -> None:
    client = sign_in(Role.ADMIN)
    person = User.objects.create_user("anna", "a quiet meadow", display_name="Anna Keller")
    create_extension(SYSTEM, {"number": "101", "user": person})
    assert found(client, "101") == [("101 Anna Keller", f"/users/{person.pk}")]
    assert found(sign_in(Role.QUEUE_MANAGER), "anna") == []


def test_system_finds_tenants_and_switches(tenants: None, make_user: Callable[..., User]) -> None:
    client = Client(headers={"host": "portal.test"})
    client.force_login(make_user("root", Role.SYSTEM))
    switch = Switch.objects.create(name="Globe switch", kind=Switch.Kind.HTTP)
    tenant = Tenant.objects.get(schema_name="globex")
    assert found(client, "glob") == [
        ("Globex Inc.", f"/tenants/{tenant.pk}"),
        ("Globe switch", f"/switches/{switch.pk}"),
    ]
    assert found(client, "quarantine") == [("Quarantine", "/quarantine")]


def test_without_scripts_it_is_a_page(sign_in: Any) -> None:
    page = sign_in(Role.ADMIN).get("/jump", {"q": "users"}).content.decode()
    assert '<li><a href="/users">Users</a> <small>Call Manager</small></li>' in page
    assert "Nothing found" in sign_in(Role.USER).get("/jump", {"q": "users"}).content.decode()


@pytest.mark.parametrize("words", ["%%%%%%%", "\\\\" * 4, "'; --", "1" * 500, "٣٣٣", "<b>"])
def test_odd_words_find_nothing_and_break_nothing(sign_in: Any, words: str) -> None:
    client = sign_in(Role.ADMIN)
    make_call(1)
    assert found(client, words) == []
    assert client.get("/jump", {"q": words}).status_code == 200


def test_only_reading(sign_in: Any) -> None:
    assert sign_in(Role.ADMIN).post("/jump").status_code == 405
