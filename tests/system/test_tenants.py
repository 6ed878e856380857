"""The system administrator's page of tenants, from Add to Delete."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import AuditEntry
from tenants import export
from tenants.models import SipDomain, Tenant, TenantExport
from tenants.schemas import enter_public

GIVEN = {"name": "Initech", "host": "initech", "sip_domain": "initech.test", "time_zone": "UTC", "currency": "EUR"}


@pytest.fixture(autouse=True)
def _public(tenants: None) -> Iterator[None]:
    yield
    connection.set_schema_to_public()


@pytest.fixture
def exports(settings: Any, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path
    return tmp_path / "exports"


def _names(page: str) -> list[str]:
    return re.findall(r'<a class="who" href="/tenants/\d+"(?: data-open)?>([^<]+)</a>', page)


def test_tenant_is_added_and_its_password_shown_once(desk: Client) -> None:
    made = desk.post("/tenants/new", GIVEN)
    tenant = Tenant.objects.get(host="initech")
    assert (made.status_code, made["Location"]) == (302, f"/tenants/{tenant.pk}")
    page = desk.get(made["Location"]).content.decode()
    assert "Password of admin at Initech" in page
    assert "Waiting for a worker" in page
    assert f'hx-get="/tenants/{tenant.pk}/progress"' in page
    assert "Password of admin" not in desk.get(made["Location"]).content.decode()


def test_progress_is_asked_for_only_while_a_task_is_at_work(desk: Client, acme_row: Tenant) -> None:
    assert "hx-get" not in desk.get(f"/tenants/{acme_row.pk}/progress").content.decode()
    Tenant.objects.filter(pk=acme_row.pk).update(state="failed", progress="It failed: OSError")
    part = desk.get(f"/tenants/{acme_row.pk}/progress").content.decode()
    assert "It failed: OSError" in part
    assert f'action="/tenants/{acme_row.pk}/retry"' in part
    gone = desk.get("/tenants/1/progress")
    assert gone["HX-Redirect"] == "/tenants"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"host": "acme"}, "Another tenant has this host."),
        ({"sip_domain": "ACME.test"}, "Another tenant has this SIP domain."),
        ({"host": "a b"}, "Use letters a to z, digits and inner hyphens"),
        ({"name": ""}, "Fill this in."),
        ({"name": "a\u202eb"}, "Leave out control characters and line breaks."),
        ({"time_zone": "Mars"}, "Select a valid choice."),
    ],
)
def test_tenant_is_refused(desk: Client, wrong: dict[str, str], sentence: str) -> None:
    response = desk.post("/tenants/new", {**GIVEN, **wrong})
    assert response.status_code == 200
    assert sentence in response.content.decode()
    assert Tenant.objects.exclude(schema_name="public").count() == 2


def test_list_is_searched_and_goes_on_by_keyset(desk: Client, monkeypatch: Any) -> None:
    from portal.system import paging

    monkeypatch.setattr(paging, "PAGE_SIZE", 1)
    first = desk.get("/tenants").content.decode()
    assert _names(first) == ["Acme Inc."]
    following = re.search(r'href="(\?[^"]+)" rel="next"', first)
    assert following
    second = desk.get("/tenants" + following[1].replace("&amp;", "&")).content.decode()
    assert _names(second) == ["Globex Inc."]
    assert 'rel="next"' not in second
    for words, found in (
        ("glob", ["Globex Inc."]),
        ("acme.test", ["Acme Inc."]),
        ("nobody", []),
        ("%00", ["Acme Inc."]),
    ):
        assert _names(desk.get(f"/tenants?q={words}").content.decode()) == found
    assert _names(desk.get("/tenants?state=suspended").content.decode()) == []
    assert _names(desk.get("/tenants?cursor=rubbish").content.decode()) == ["Acme Inc."]
    assert "public" not in desk.get("/tenants?q=Voxledger").content.decode().split("<table")[-1]


def test_company_data_are_changed_under_their_version(desk: Client, acme_row: Tenant) -> None:
    given = {
        "version": "1", "name": "Acme AG", "host": "acme-ag", "time_zone": "UTC", "currency": "CHF",
        "recording_quota_mb": "500",
    }  # fmt: skip
    assert desk.post(f"/tenants/{acme_row.pk}", given).status_code == 302
    acme_row.refresh_from_db()
    assert (acme_row.name, acme_row.host, acme_row.schema_name, acme_row.domains.get().domain) == (
        "Acme AG", "acme-ag", "acme", "acme-ag.portal.test",
    )  # fmt: skip
    assert acme_row.recording_quota_mb == 500
    late = desk.post(f"/tenants/{acme_row.pk}", {**given, "name": "Late"})
    assert "Somebody else changed this meanwhile." in late.content.decode()
    taken = desk.post(f"/tenants/{acme_row.pk}", {**given, "version": "2", "host": "globex"})
    assert "Another tenant has this host." in taken.content.decode()
    acme_row.refresh_from_db()
    assert (acme_row.name, acme_row.host) == ("Acme AG", "acme-ag")


def test_sip_domains_are_kept(desk: Client, acme_row: Tenant) -> None:
    path = f"/tenants/{acme_row.pk}/sip-domains"
    assert desk.post(path, {"domain": "two.test"}).status_code == 302
    two = SipDomain.objects.get(domain="two.test")
    assert desk.post(f"{path}/{two.pk}", {"do": "primary"}).status_code == 302
    old = SipDomain.objects.get(domain="acme.test")
    assert desk.post(f"{path}/{old.pk}", {"do": "remove"}).status_code == 302
    assert list(SipDomain.objects.filter(tenant=acme_row).values_list("domain", "is_primary")) == [("two.test", True)]
    refused = desk.post(path, {"domain": "globex.test"})
    assert "A tenant already has this SIP domain." in refused.content.decode()
    theirs = SipDomain.objects.get(domain="globex.test")
    assert desk.post(f"{path}/{theirs.pk}", {"do": "remove"}).status_code == 404
    assert desk.post(f"{path}/{two.pk}", {"do": "nothing"}).status_code == 400


def test_state_is_changed(desk: Client, acme_row: Tenant) -> None:
    for do, state in (("suspend", "suspended"), ("suspend", "suspended"), ("reactivate", "active")):
        desk.post(f"/tenants/{acme_row.pk}/state", {"do": do})
        acme_row.refresh_from_db()
        assert acme_row.state == state
    assert desk.post(f"/tenants/{acme_row.pk}/state", {"do": "delete"}).status_code == 400
    assert desk.post("/tenants/1/state", {"do": "suspend"}).status_code == 404
    public = Tenant.objects.get(schema_name="public")
    assert desk.post(f"/tenants/{public.pk}/state", {"do": "suspend"}).status_code == 404


def test_export_is_made_and_downloaded(desk: Client, acme_row: Tenant, exports: Path) -> None:
    assert desk.post(f"/tenants/{acme_row.pk}/export").status_code == 302
    made = TenantExport.objects.get()
    assert "Waiting for a worker" in desk.get(f"/tenants/{acme_row.pk}").content.decode()
    assert desk.get(f"/tenants/{acme_row.pk}/exports/{made.pk}").status_code == 404
    export.run_export(made)
    enter_public()
    response = desk.get(f"/tenants/{acme_row.pk}/exports/{made.pk}")
    made.refresh_from_db()
    assert response["Content-Disposition"] == f'attachment; filename="{made.file_name}"'
    assert b"".join(response.streaming_content)[:2] == b"PK"  # type: ignore[attr-defined]
    assert AuditEntry.objects.filter(action="tenant.export_downloaded").count() == 1
    globex = Tenant.objects.get(schema_name="globex")
    assert desk.get(f"/tenants/{globex.pk}/exports/{made.pk}").status_code == 404


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"confirm": ""}, "Type acme to confirm."),
        ({"confirm": "Acme Inc.", "without_export": "on"}, "Type acme to confirm."),
        ({"confirm": "acme"}, "Export this tenant first, or say that no export is wanted."),
    ],
)
def test_deletion_is_refused(desk: Client, acme_row: Tenant, given: dict[str, str], sentence: str) -> None:
    response = desk.post(f"/tenants/{acme_row.pk}/delete", given)
    assert response.status_code == 200
    assert sentence in response.content.decode()
    acme_row.refresh_from_db()
    assert acme_row.state == "active"


def test_deletion_closes_the_tenant_at_once(desk: Client, acme_row: Tenant, acme_client: Client) -> None:
    enter_public()
    given = {"confirm": "acme", "without_export": "on"}
    assert desk.post(f"/tenants/{acme_row.pk}/delete", given)["Location"] == f"/tenants/{acme_row.pk}"
    acme_row.refresh_from_db()
    assert acme_row.state == "deleting"
    assert acme_client.get("/users").status_code == 403


def test_lesser_person_has_no_desk(system_client: Client) -> None:
    """Roles of a tenant mean nothing on the system host."""
    from accounts.models import User
    from accounts.roles import Role

    for role in (Role.ADMIN, Role.QUEUE_MANAGER, Role.USER):
        user = User.objects.create_user(f"a-{role.value}", "correct horse", role=role)
        client = Client(headers={"host": "portal.test"})
        client.force_login(user)
        for path in ("/", "/tenants", "/trunks", "/switches", "/settings", "/administrators"):
            assert client.get(path).status_code == 403, (role, path)
