"""The way in: by company, by name and password; and what a guesser learns, which is nothing."""

from collections.abc import Callable

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.models import AuditEntry, User
from tenants.models import Tenant

GIVEN = {"username": "admin", "password": "correct horse"}
WRONG = "User name or password is wrong."


def _says(response: object, sentence: str) -> bool:
    return sentence in response.content.decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("domain", ["acme.test", "ACME.test", " acme.test. ", "101@acme.test", "sip:101@acme.test"])
def test_company_leads_to_its_own_host(system_client: Client, domain: str) -> None:
    response = system_client.post("/sign-in", {"domain": domain})
    assert (response.status_code, response["Location"]) == (302, "http://acme.portal.test:8000/sign-in")


@pytest.mark.parametrize("domain", ["nobody.test", "%", "äö.test", "\u202e", "x" * 253])
def test_company_unknown_gets_a_way_forward(system_client: Client, domain: str) -> None:
    response = system_client.post("/sign-in", {"domain": domain})
    assert response.status_code == 200
    assert _says(response, "No company is known by this name. Look at your phone&#x27;s address")


@pytest.mark.parametrize("domain", ["", "nul\0", "x" * 254])
def test_company_refuses_what_is_no_domain(system_client: Client, domain: str) -> None:
    assert system_client.post("/sign-in", {"domain": domain}).status_code == 200


def test_sign_in_opens_a_session_under_a_new_key(admin: User, acme_client: Client) -> None:
    acme_client.get("/sign-in")
    acme_client.cookies[settings.SESSION_COOKIE_NAME] = "chosenbyanattacker00000000000000"
    response = acme_client.post("/sign-in", GIVEN)
    assert (response.status_code, response["Location"]) == (302, "/")
    key = acme_client.cookies[settings.SESSION_COOKIE_NAME].value
    assert key != "chosenbyanattacker00000000000000"
    assert Session.objects.filter(session_key=key).exists()
    assert acme_client.get("/profile").status_code == 200
    noted = AuditEntry.objects.get(action="user.signed_in")
    assert (noted.actor, noted.subject_id, noted.address) == ("admin", str(admin.pk), "127.0.0.1")


def test_sign_in_takes_the_name_in_any_spelling(admin: User, acme_client: Client) -> None:
    assert acme_client.post("/sign-in", {**GIVEN, "username": " ADMIN "}).status_code == 302


def test_sign_in_gives_no_hint_whether_a_name_exists(admin: User, acme_client: Client) -> None:
    known = acme_client.post("/sign-in", {"username": "admin", "password": "wrong"})
    unknown = acme_client.post("/sign-in", {"username": "nobody", "password": "wrong"})
    assert (known.status_code, unknown.status_code) == (200, 200)
    assert _says(known, WRONG)
    assert _says(unknown, WRONG)


@pytest.mark.parametrize("name", ["admin", "nobody"])
def test_sign_in_locks_after_guessing_whether_or_not_the_name_exists(
    admin: User, acme_client: Client, name: str
) -> None:
    spellings = [name, name.upper(), f" {name}", name.title()]
    answers = [
        acme_client.post("/sign-in", {"username": spellings[number % 4], "password": "wrong"}).status_code
        for number in range(settings.AXES_FAILURE_LIMIT)
    ]
    assert answers == [200] * (settings.AXES_FAILURE_LIMIT - 1) + [429]
    right = acme_client.post("/sign-in", {"username": name, "password": "correct horse"})
    assert right.status_code == 429
    assert _says(right, "Too many tries")
    assert acme_client.get("/profile").status_code == 302


def test_lock_in_one_tenant_does_not_lock_another(
    admin: User, acme_client: Client, globex_client: Client, globex: Tenant
) -> None:
    for _ in range(settings.AXES_FAILURE_LIMIT):
        acme_client.post("/sign-in", {"username": "admin", "password": "wrong"})
    assert globex_client.post("/sign-in", {"username": "admin", "password": "wrong"}).status_code == 200


def test_sign_in_refuses_the_deactivated(admin: User, acme_client: Client) -> None:
    User.objects.filter(pk=admin.pk).update(is_active=False)
    assert _says(acme_client.post("/sign-in", GIVEN), WRONG)


def test_deactivation_ends_the_session(admin: User, browser: Client) -> None:
    assert browser.get("/profile").status_code == 200
    User.objects.filter(pk=admin.pk).update(is_active=False)
    assert browser.get("/profile").status_code == 302


def test_sign_in_refuses_another_tenants_password(admin: User, globex_client: Client) -> None:
    assert _says(globex_client.post("/sign-in", GIVEN), WRONG)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("/users?q=1", "/users?q=1"),
        ("http://acme.portal.test/users", "http://acme.portal.test/users"),
        ("http://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("https:evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("http://globex.portal.test/", "/"),
        ("/\\evil.example", "/"),
    ],
)
def test_next_stays_on_this_host(admin: User, acme_client: Client, wanted: str, given: str) -> None:
    assert acme_client.post("/sign-in", {**GIVEN, "next": wanted})["Location"] == given


def test_sign_in_needs_the_csrf_token(admin: User) -> None:
    client = Client(headers={"host": "acme.portal.test"}, enforce_csrf_checks=True)
    assert client.post("/sign-in", GIVEN).status_code == 403


def test_sign_out_ends_the_session_by_post_only(admin: User, browser: Client) -> None:
    key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    assert browser.get("/sign-out").status_code == 405
    assert browser.post("/sign-out")["Location"] == "/sign-in"
    assert not Session.objects.filter(session_key=key).exists()
    assert browser.get("/profile").status_code == 302


def test_administrator_signs_in_on_the_system_host(root: User, system_client: Client, acme_client: Client) -> None:
    given = {"username": "root", "password": "correct horse"}
    assert _says(acme_client.post("/sign-in", given), WRONG)
    assert system_client.post("/sign-in/administrator", {**given, "next": "/trunks"})["Location"] == "/trunks"
    assert system_client.get("/tenants").status_code == 200


def test_stranger_with_htmx_is_sent_to_the_whole_sign_in_page(acme_client: Client) -> None:
    response = acme_client.get("/users", headers={"HX-Request": "true"})
    assert (response.status_code, response["HX-Redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize("name", ["", "nul\0", "x" * 255])
def test_sign_in_refuses_malformed_names(make_user: Callable[..., User], acme_client: Client, name: str) -> None:
    assert acme_client.post("/sign-in", {"username": name, "password": "x"}).status_code == 200


def test_suspended_tenant_lets_nobody_in(acme: Tenant, admin: User, browser: Client) -> None:
    from tenants.schemas import in_schema

    with in_schema("public"):
        Tenant.objects.filter(pk=acme.pk).update(state=Tenant.State.SUSPENDED)
    assert browser.get("/users").status_code == 403
    assert browser.post("/sign-in", GIVEN).status_code == 403
    assert browser.get("/api/v1/users").json()["error"]["code"] == "tenant_not_active"
