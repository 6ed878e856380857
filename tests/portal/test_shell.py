"""The shell around every page: its menu, theme and zone, and what its headers allow."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils.html import escape

from accounts.models import User
from accounts.roles import Role
from tenants.models import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def sign_in(acme: Tenant, make_user: Callable[..., User]) -> Callable[[Role], Client]:
    def browser(role: Role) -> Client:
        client = Client(headers={"host": "acme.portal.test"})
        client.force_login(make_user(f"a-{role.value}", role))
        return client

    return browser


def menu(response: Any) -> list[str]:
    nav = re.search(r'<nav aria-label="Main">.*?</nav>', response.content.decode(), re.DOTALL)
    assert nav
    return re.findall(r"</svg>([^<]+)</a>", nav[0])


@pytest.mark.parametrize(
    ("role", "entries"),
    [
        (Role.ADMIN, ["Home", "CDR", "Users", "General", "Event URL", "API tokens", "Audit"]),
        (Role.QUEUE_MANAGER, ["Home", "CDR"]),
        (Role.USER, ["Home", "CDR"]),
    ],
)
def test_menu_holds_what_the_person_may_open(sign_in: Any, role: Role, entries: list[str]) -> None:
    client = sign_in(role)
    shown = menu(client.get("/"))

    assert [entry for entry in entries if entry in shown] == entries
    for href in re.findall(r'<li><a href="([^"]+)"', client.get("/").content.decode()):
        assert client.get(href).status_code == 200


def test_menu_marks_the_page_it_is_on(sign_in: Any) -> None:
    client = sign_in(Role.ADMIN)
    for address, entry in (("/", "Home"), ("/call-statistics/cdr", "CDR"), ("/users", "Users")):
        marked = re.findall(r'aria-current="page"[^>]*><svg.*?</svg>([^<]+)</a>', client.get(address).content.decode())
        assert marked == [entry]


def test_theme_and_density_come_from_cookies_that_say_a_known_word(sign_in: Any) -> None:
    client = sign_in(Role.USER)
    assert b'<html lang="en">' in client.get("/").content
    client.cookies["theme"], client.cookies["density"] = "dark", "compact"
    assert b'data-theme="dark" data-density="compact"' in client.get("/").content
    client.cookies["theme"] = '"><script>'
    assert b'<html lang="en" data-density="compact">' in client.get("/").content


def test_policy_lets_nothing_in_line_run(sign_in: Any) -> None:
    client = sign_in(Role.ADMIN)
    for address in ("/", "/call-statistics/cdr", "/sign-in", "/nowhere", "/api/docs"):
        response = client.get(address)
        policy = response.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        page = response.content.decode()
        assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
        assert re.findall(r"<style|\sstyle=|\son[a-z]+=", page) == []


def test_names_are_text(acme: Tenant, make_user: Callable[..., User]) -> None:
    bad = "<b>\"'&"
    Tenant.objects.filter(pk=acme.pk).update(name=bad)
    client = Client(headers={"host": "acme.portal.test"})
    user = make_user()
    User.objects.filter(pk=user.pk).update(display_name=bad)
    client.force_login(user)

    page = client.get("/").content.decode()
    assert bad not in page
    assert escape(bad) in page


@pytest.mark.parametrize(
    ("state", "words"), [("suspended", "is suspended"), ("creating", "is being set up"), ("deleting", "being removed")]
)
def test_a_tenant_that_is_not_active_says_why(acme: Tenant, acme_client: Client, state: str, words: str) -> None:
    Tenant.objects.filter(pk=acme.pk).update(state=state)

    page = acme_client.get("/")
    assert page.status_code == 403
    assert words in page.content.decode()
    refused = acme_client.get("/api/v1/cdrs")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "tenant_not_active")


def test_missing_pages_and_doors_answer_in_their_own_form(acme_client: Client, system_client: Client) -> None:
    for client in (acme_client, system_client):
        assert "There is no such page" in client.get("/nowhere").content.decode()
        error = {"code": "not_found", "message": "There is no such thing here.", "details": {}}
        assert client.get("/api/nowhere").json() == {"error": error}


def test_a_failure_of_ours_gives_a_reference_and_no_trace(
    sign_in: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = sign_in(Role.ADMIN)
    client.raise_request_exception = False

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr("cdr.views.page_of", fail)
    monkeypatch.setattr("cdr.api.page_of", fail)
    page, door = client.get("/call-statistics/cdr"), client.get("/api/v1/cdrs")

    assert (page.status_code, door.status_code) == (500, 500)
    assert page.headers["x-request-id"] in page.content.decode()
    assert door.json()["error"]["details"] == {"reference": door.headers["x-request-id"]}
    assert b"secret of the house" not in page.content + door.content


def test_a_form_without_its_token_is_refused_kindly(acme: Tenant) -> None:
    client = Client(enforce_csrf_checks=True, headers={"host": "acme.portal.test"})
    response = client.post("/sign-in", {"username": "a", "password": "b"})

    assert response.status_code == 403
    assert "This form was too old" in response.content.decode()


@override_settings(ALLOWED_HOSTS=["acme.portal.test"])
def test_unknown_hosts_get_nothing(tenants: None) -> None:
    assert Client(headers={"host": "evil.example"}).get("/").status_code == 404
    assert settings.ALLOWED_HOSTS == ["acme.portal.test"]


def test_menu_holds_only_pages_that_exist_in_the_order_of_the_specification(sign_in: Any) -> None:
    whole = ["Home", "CDR", "Call Recordings", "Live Calls", "Reports", "Users", "General", "Event URL", "API tokens",
             "Feature codes", "Rates", "Retention", "Audit"]  # fmt: skip
    shown = menu(sign_in(Role.ADMIN).get("/"))
    assert shown == [name for name in whole if name in shown]
    assert len(shown) >= 11


def test_page_beside_the_menu_marks_the_entry_it_belongs_to(sign_in: Any) -> None:
    page = sign_in(Role.ADMIN).get("/call-statistics/reconciliation/calls").content.decode()
    assert re.findall(r'aria-current="page" data-go="r"><svg.*?</svg>([^<]+)</a>', page) == ["Call Recordings"]
