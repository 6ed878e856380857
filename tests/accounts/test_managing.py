"""A system administrator enters a tenant: marked, noted on both sides, out at a word."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, ManagedEntry, User
from accounts.roles import Permission
from tenants.models import Tenant
from tenants.schemas import in_schema

BANNER = "You act as the administrator of <b>Acme Inc.</b>"


@pytest.fixture
def ticket(desk: Client, acme: Tenant) -> str:
    """The path on acme's host that Manage leads to."""
    response = desk.post(f"/tenants/{acme.pk}/manage")
    address = urlsplit(response["Location"])
    assert (response.status_code, address.netloc, address.path) == (302, "acme.portal.test:8000", "/enter")
    return f"{address.path}?{address.query}"


@pytest.fixture
def inside(ticket: str, acme_client: Client) -> Client:
    assert acme_client.get(ticket)["Location"] == "/"
    return acme_client


def _noted(schema: str) -> list[tuple[str, str, str]]:
    with in_schema(schema):
        return list(AuditEntry.objects.order_by("id").values_list("action", "actor", "on_behalf"))


def test_manage_enters_as_administrator_and_says_so(inside: Client) -> None:
    page = inside.get("/users").content.decode()
    assert BANNER in page
    assert "root" in page


def test_manage_is_noted_on_both_sides(inside: Client) -> None:
    inside.post("/leave")
    assert _noted("public") == [("tenant.managed", "root", "")]
    assert _noted("acme") == [
        ("tenant.entered", "System administrator", "root"),
        ("tenant.left", "System administrator", "root"),
    ]


def test_what_is_done_inside_is_noted_on_behalf(inside: Client, acme: Tenant) -> None:
    given = {"display_name": "Desk", "number": "101", "role": "user"}
    assert inside.post("/users/new", given).status_code == 302
    assert inside.patch("/api/v1/company", {"currency": "CHF"}, "application/json").status_code == 200
    assert set(_noted("acme")[1:]) == {
        ("user.created", "System administrator", "root"),
        ("extension.created", "System administrator", "root"),
        ("extension.sip_password_set", "System administrator", "root"),
        ("company.changed", "System administrator", "root"),
    }


def test_acting_administrator_is_no_row_of_the_tenant(inside: Client, acme: Tenant) -> None:
    assert inside.get("/api/v1/users").json() == {"items": [], "next": None}
    assert inside.get("/profile").status_code == 403
    page = inside.get("/company/api-tokens")
    assert "A token belongs to a person of this company" in page.content.decode()
    assert inside.post("/company/api-tokens", {"name": "x", "days": "30", "scopes": ["company"]}).status_code == 200


def test_leave_ends_the_session_and_leads_back(inside: Client) -> None:
    assert inside.get("/leave").status_code == 405
    assert inside.post("/leave")["Location"] == "http://portal.test:8000/tenants"
    assert inside.get("/users").status_code == 302


def test_leave_of_a_stranger_or_a_user_leads_home(acme_client: Client, browser: Client) -> None:
    assert acme_client.post("/leave")["Location"] == "/"
    assert browser.post("/leave")["Location"] == "/"
    assert browser.get("/users").status_code == 200


def test_ticket_is_good_once(ticket: str, acme_client: Client) -> None:
    other = Client(headers={"host": "acme.portal.test"})
    assert acme_client.get(ticket).status_code == 302
    assert other.get(ticket).status_code == 403
    assert other.get("/users").status_code == 302


def test_ticket_is_good_for_a_minute(ticket: str, acme: Tenant, acme_client: Client) -> None:
    with in_schema("acme"):
        ManagedEntry.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    assert acme_client.get(ticket).status_code == 403


def test_ticket_is_good_in_its_tenant_only(ticket: str, globex_client: Client) -> None:
    assert globex_client.get(ticket).status_code == 403


def test_ticket_of_somebody_deactivated_is_nothing(ticket: str, root: User, acme_client: Client) -> None:
    with in_schema("public"):
        User.objects.filter(pk=root.pk).update(is_active=False)
    assert acme_client.get(ticket).status_code == 403


@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=vlm_x", "?ticket=%00", "?ticket=" + "x" * 3000])
def test_ticket_unknown(acme_client: Client, acme: Tenant, query: str) -> None:
    assert acme_client.get(f"/enter{query}").status_code == 403


def test_deactivated_administrator_is_out_at_the_next_click(inside: Client, root: User) -> None:
    assert inside.get("/users").status_code == 200
    with in_schema("public"):
        User.objects.filter(pk=root.pk).update(is_active=False)
    assert inside.get("/users").status_code == 302


def test_stay_ends_after_two_hours(inside: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from accounts import managing

    monkeypatch.setattr(managing, "STAY", timedelta(seconds=-1))
    assert inside.get("/users").status_code == 302


def test_entering_leaves_nothing_of_the_former_session(ticket: str, browser: Client) -> None:
    before = browser.cookies[settings.SESSION_COOKIE_NAME].value
    assert browser.get(ticket).status_code == 302
    assert browser.cookies[settings.SESSION_COOKIE_NAME].value != before
    assert BANNER in browser.get("/users").content.decode()


def test_signing_in_ends_acting(inside: Client, acme: Tenant) -> None:
    with in_schema("acme"):
        User.objects.create_user("someone", "correct horse")
    assert inside.post("/sign-in", {"username": "someone", "password": "correct horse"}).status_code == 302
    assert inside.get("/users").status_code == 403
    assert BANNER not in inside.get("/profile").content.decode()


def test_manage_refuses_a_suspended_tenant(desk: Client, acme: Tenant) -> None:
    with in_schema("public"):
        Tenant.objects.filter(pk=acme.pk).update(state=Tenant.State.SUSPENDED)
    assert desk.post(f"/tenants/{acme.pk}/manage")["Location"] == "/tenants"
    assert desk.get(f"/tenants/{acme.pk}/manage").status_code == 405
    assert desk.post("/tenants/1/manage").status_code == 404
    assert _noted("public") == []


def test_acting_administrator_has_an_admins_rights_and_none_of_the_systems() -> None:
    from accounts.managing import ActingAdministrator

    acting = ActingAdministrator("root", 1)
    assert {permission for permission in Permission if not acting.may(permission)} == {
        permission for permission in Permission if permission.startswith("system.")
    } | {Permission.PROFILE}
