"""A tenant from its rows to its end, with a real schema."""

import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone
from django_tenants.utils import schema_exists

from accounts.founding import build_tenant, found_again, found_tenant
from accounts.models import AuditEntry, Extension, User
from accounts.tokens import create_token
from tenants import export, lifecycle
from tenants.changes import SYSTEM, Actor
from tenants.errors import RefusedError
from tenants.models import Domain, InboundRule, SessionRoute, SipDomain, Tenant, TenantExport
from tenants.schemas import in_schema

ACTOR = Actor("user", "root", "1")
GIVEN = {"name": "Initech", "host": "initech", "sip_domain": "initech.test", "time_zone": "Europe/Berlin"}


@pytest.fixture
def initech(tenants: None) -> Tenant:
    """Rows only; its schema is not made yet."""
    return found_tenant(ACTOR, GIVEN)[0]


@pytest.fixture
def built(initech: Tenant) -> Iterator[Tenant]:
    build_tenant(initech, "root", "!")
    initech.refresh_from_db()
    assert initech.state == Tenant.State.ACTIVE
    yield initech
    connection.set_schema_to_public()


@pytest.fixture
def exports(settings: Any, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path
    return tmp_path / "exports"


def test_found_tenant_makes_its_rows(initech: Tenant) -> None:
    assert (initech.schema_name, initech.state, initech.currency) == ("t_initech", "creating", "EUR")
    assert Domain.objects.get(tenant=initech).domain == "initech.portal.test"
    assert SipDomain.objects.get(tenant=initech).is_primary
    entry = AuditEntry.objects.get(action="tenant.created")
    assert (entry.actor, entry.subject, entry.after) == ("root", "Initech", GIVEN)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "a\0"), ("host", "acme"), ("host", "ACME"), ("host", "a.b"), ("host", "www"),
        ("sip_domain", "acme.test"), ("sip_domain", "ACME.TEST."), ("sip_domain", "a b"), ("time_zone", "Mars"),
        ("currency", "ZZZ"), ("state", "active"), ("schema_name", "public"), ("id", 1),
    ],
)  # fmt: skip
def test_found_tenant_refuses(tenants: None, field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        found_tenant(ACTOR, {**GIVEN, field: value})
    assert list(caught.value.message_dict) == [field]
    assert not Tenant.objects.filter(name="Initech").exists()


def test_schema_names_never_meet(initech: Tenant) -> None:
    Tenant.objects.filter(pk=initech.pk).update(host="renamed")
    Domain.objects.filter(tenant=initech).update(domain="renamed.portal.test")
    SipDomain.objects.filter(tenant=initech).update(domain="renamed.test")
    second, _ = found_tenant(ACTOR, GIVEN)
    assert second.schema_name == "t_initech_2"


def test_build_makes_the_schema_and_its_first_administrator(
    tenants: None, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    from portal.celery import app

    app.conf.task_always_eager = True
    try:
        with django_capture_on_commit_callbacks(execute=True):
            tenant, password = found_tenant(ACTOR, GIVEN)
    finally:
        app.conf.task_always_eager = False
    tenant.refresh_from_db()
    assert (tenant.state, tenant.progress) == ("active", "")
    with in_schema("t_initech"):
        admin = User.objects.get()
        assert (admin.username, admin.role, admin.check_password(password)) == ("admin", "admin", True)
        assert list(AuditEntry.objects.values_list("action", "on_behalf")) == [("user.created", "root")]


def test_build_twice_is_harmless(built: Tenant) -> None:
    build_tenant(built, "root", "!other")
    with in_schema(built.schema_name):
        assert list(User.objects.values_list("username", "password")) == [("admin", "!")]


def test_two_workers_do_not_build_the_same_tenant(initech: Tenant) -> None:
    with lifecycle._alone(initech) as first:
        with lifecycle._alone(initech) as second:
            assert (first, second) == (True, False)
        build_tenant(initech, "root", "!")
        initech.refresh_from_db()
        assert initech.state == "creating"
    with lifecycle._alone(initech) as again:
        assert again


def test_failed_build_says_so_and_can_begin_again(initech: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no space left")

    lifecycle.build(initech, fail)
    initech.refresh_from_db()
    assert (initech.state, initech.progress) == ("failed", "It failed: OSError")
    found_again(ACTOR, initech)
    build_tenant(initech, "root", "!")
    initech.refresh_from_db()
    assert (initech.state, initech.progress) == ("active", "")


def test_only_what_failed_or_is_stuck_begins_again(initech: Tenant) -> None:
    with pytest.raises(RefusedError):
        found_again(ACTOR, initech)
    Tenant.objects.filter(pk=initech.pk).update(progress_at=timezone.now() - timedelta(minutes=3))
    found_again(ACTOR, initech)
    Tenant.objects.filter(pk=initech.pk).update(state=Tenant.State.ACTIVE)
    with pytest.raises(RefusedError):
        found_again(ACTOR, initech)


def test_suspend_and_reactivate(built: Tenant) -> None:
    assert lifecycle.suspend_tenant(ACTOR, built).state == "suspended"
    with pytest.raises(RefusedError) as caught:
        lifecycle.suspend_tenant(ACTOR, built)
    assert (caught.value.code, caught.value.message) == ("wrong_state", "This tenant is suspended.")
    assert lifecycle.reactivate_tenant(ACTOR, built).state == "active"


def test_export_holds_everything_but_secrets(built: Tenant, exports: Path) -> None:
    with in_schema(built.schema_name):
        user = User.objects.get()
        User.objects.filter(pk=user.pk).update(password="argon2$secret")
        Extension.objects.create(number="101", display_name='Zoë \\ "北"\ttab', user=user)
        create_token(SYSTEM, user, {"name": "script"})
    InboundRule.objects.create(number="4930", tenant=built)
    made = export.request_export(ACTOR, built)
    export.run_export(made)
    made.refresh_from_db()
    assert (made.state, made.progress) == ("done", "")
    path = export.path_of(made)
    assert (path.parent, path.stat().st_size, path.stat().st_mode & 0o777) == (exports, made.size, 0o600)
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        about = json.loads(archive.read("tenant.json"))
        (extension,) = [json.loads(line) for line in archive.read("accounts_extension.ndjson").splitlines()]
        (person,) = [json.loads(line) for line in archive.read("accounts_user.ndjson").splitlines()]
        everything = b"".join(archive.read(name) for name in names)
    assert {"tenant.json", "cdr_cdr.ndjson", "events_event.ndjson", "accounts_auditentry.ndjson"} <= names
    left_out = (
        "django_session",
        "axes_",
        "accounts_apitoken",
        "accounts_extensioncredential",
        "accounts_managed",
        "recordings_tenantkey",
    )
    assert not {name for name in names if name.startswith(left_out)}
    assert (about["id"], about["sip_domains"]) == (str(built.pk), ["initech.test"])
    assert about["inbound_rules"] == [{"kind": "did", "number": "4930"}]
    assert (extension["display_name"], extension["user_id"]) == ('Zoë \\ "北"\ttab', str(user.pk))
    assert "password" not in person
    assert b"argon2$secret" not in everything


def test_newer_export_replaces_the_older(built: Tenant, exports: Path) -> None:
    for _ in range(2):
        export.run_export(export.request_export(ACTOR, built))
    assert [row.state for row in TenantExport.objects.all()] == ["done"]
    assert len(list(exports.iterdir())) == 1


def test_failed_export_leaves_nothing_behind(built: Tenant, exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    made = export.request_export(ACTOR, built)
    monkeypatch.setattr(export, "_lines", fail)
    export.run_export(made)
    made.refresh_from_db()
    assert (made.state, made.progress, list(exports.iterdir())) == ("failed", "It failed: OSError", [])


def test_deletion_wants_the_host_and_an_export(built: Tenant, exports: Path) -> None:
    with pytest.raises(ValidationError) as typed:
        lifecycle.request_deletion(ACTOR, built, typed_host="initec", without_export=True)
    assert typed.value.message_dict == {"confirm": ["Type initech to confirm."]}
    with pytest.raises(RefusedError) as refused:
        lifecycle.request_deletion(ACTOR, built, typed_host="initech", without_export=False)
    assert refused.value.code == "not_exported"
    export.run_export(export.request_export(ACTOR, built))
    lifecycle.request_deletion(ACTOR, built, typed_host="initech", without_export=False)
    built.refresh_from_db()
    assert built.state == "deleting"


def test_drop_removes_everything_of_that_tenant_alone(built: Tenant, exports: Path) -> None:
    acme = Tenant.objects.get(schema_name="acme")
    export.run_export(export.request_export(ACTOR, built))
    for session_id, tenant in (("1", built), ("2", acme)):
        SessionRoute.objects.create(session_id=session_id, switch_id=1, tenant_id=tenant.pk)
        InboundRule.objects.create(number=f"49{session_id}", tenant=tenant)
    lifecycle.request_deletion(ACTOR, built, typed_host="INITECH ", without_export=False)
    tenant_id = built.pk
    lifecycle.drop(built)
    assert not schema_exists("t_initech")
    assert schema_exists("acme")
    assert not Tenant.objects.filter(pk=tenant_id).exists()
    assert list(SessionRoute.objects.values_list("session_id", flat=True)) == ["2"]
    assert list(InboundRule.objects.values_list("number", flat=True)) == ["492"]
    assert not Domain.objects.filter(domain="initech.portal.test").exists()
    assert list(exports.iterdir()) == []
    entry = AuditEntry.objects.get(action="tenant.deleted")
    assert (entry.subject, entry.subject_id, entry.before) == ("Initech", str(tenant_id), {"host": "initech"})


def test_drop_spares_a_tenant_that_nobody_deletes(built: Tenant) -> None:
    lifecycle.drop(built)
    assert schema_exists("t_initech")
    assert Tenant.objects.filter(pk=built.pk).exists()


def test_public_can_be_neither_suspended_nor_deleted_by_its_id(tenants: None) -> None:
    public = Tenant.objects.get(schema_name="public")
    with pytest.raises(RefusedError):
        lifecycle.request_deletion(ACTOR, public, typed_host="public", without_export=True)
    assert schema_exists("public")
