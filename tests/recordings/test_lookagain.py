"""Whose calls are looked at again when a switch is changed, also when the broker or one of the calls is not well."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from kombu.exceptions import OperationalError

from cdr import calls
from recordings import tasks
from tenants.changes import SYSTEM
from tenants.company import change_company
from tenants.models import CallsToLookAt, Switch, SystemSettings, Tenant
from tenants.schemas import in_schema
from tenants.system_settings import change_system_settings
from tests.recordings.people import program
from tests.recordings.stage import Stage, inbound

COMPANY = "/api/v1/company"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(tasks.look_again, "apply_async", lambda arguments, **_: found.append(arguments[0]))
    return found


@pytest.fixture
def broker_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(tasks.look_again, "apply_async", refuse)


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    return Stage(acme, http_switch)


def ring(stage: Stage, *session_ids: str) -> None:
    """Calls in progress, each answered by 101."""
    stage.extension("101")
    for session_id in session_ids:
        stage.play(*[(second, kind, {**more, "session_id": session_id}) for second, kind, more in inbound()])


def sent_by_the_sweep(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(tasks.look_again, "apply_async", lambda arguments, *_, **__: found.append(arguments[0]))
    with in_schema("public"):
        tasks.look_again_where_due()
    return found


def let_pass(seconds: float) -> None:
    for row in CallsToLookAt.objects.all():
        CallsToLookAt.objects.filter(pk=row.pk).update(due_at=row.due_at - timedelta(seconds=seconds))


def test_the_system_switch_concerns_every_tenant_and_not_the_system(
    acme: Tenant, asked: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    connection.set_schema_to_public()
    now = SystemSettings.current().record_external_calls
    with django_capture_on_commit_callbacks(execute=True):
        change_system_settings(SYSTEM, {"record_external_calls": not now})
    assert sorted(asked) == ["acme", "globex"]


def test_a_tenants_switch_concerns_that_tenant_once(
    acme: Tenant, asked: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    connection.set_tenant(acme)
    with django_capture_on_commit_callbacks(execute=True):
        change_company(SYSTEM, acme, {"enable_extension_audio_recording": True})
        change_company(SYSTEM, acme, {"enable_extension_video_recording": True})
        change_company(SYSTEM, acme, {"currency": "USD"})
    assert asked == ["acme"]


def test_a_change_is_saved_and_made_up_for_when_the_broker_is_away(
    stage: Stage, broker_away: None, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    ring(stage, "s1")
    with django_capture_on_commit_callbacks(execute=True):
        change = {"enable_extension_audio_recording": True, "version": stage.tenant.version}
        answer = program().patch(COMPANY, change, content_type="application/json")
    assert answer.status_code == 200, answer.content
    connection.set_tenant(stage.tenant)
    assert sent_by_the_sweep(monkeypatch) == []  # the change's own task has its time
    let_pass(5)
    assert sent_by_the_sweep(monkeypatch) == ["acme"]
    assert sent_by_the_sweep(monkeypatch) == []
    assert tasks.look_again("acme") == 1
    stage.obey()
    assert [each.split(" ", 1)[1] for each in stage.commands] == ["start audio 1"]
    let_pass(60)
    assert sent_by_the_sweep(monkeypatch) == []


def test_a_call_that_cannot_be_looked_at_holds_up_no_other(
    stage: Stage, asked: list[str], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    ring(stage, "s1", "s2", "s3")
    truly = calls.look_again

    def fails_at_s2(tenant: Tenant, session_ids: Sequence[str]) -> None:
        truly(tenant, session_ids)
        if "s2" in session_ids:
            raise ValueError

    monkeypatch.setattr(calls, "look_again", fails_at_s2)
    with django_capture_on_commit_callbacks(execute=True):
        change_company(SYSTEM, stage.tenant, {"enable_extension_audio_recording": True})
    assert (asked, tasks.look_again("acme")) == (["acme"], 2)
    stage.obey()
    assert [each.split(" ", 1)[1] for each in stage.commands] == ["start audio 1", "start audio 1"]
    monkeypatch.setattr(calls, "look_again", truly)
    let_pass(60)
    assert sent_by_the_sweep(monkeypatch) == ["acme"]
    assert tasks.look_again("acme") == 3
    stage.obey()
    assert len(stage.commands) == 3
    assert not CallsToLookAt.objects.exists()


def test_a_change_during_the_look_is_looked_at_too(
    stage: Stage, asked: list[str], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    ring(stage, "s1")
    truly, seen = calls.look_again, list[list[str]]()

    def changes_once(tenant: Tenant, session_ids: Sequence[str]) -> None:
        truly(tenant, session_ids)
        seen.append(list(session_ids))
        if len(seen) == 1:
            change_company(SYSTEM, tenant, {"enable_extension_video_recording": True})

    monkeypatch.setattr(calls, "look_again", changes_once)
    with django_capture_on_commit_callbacks(execute=True):
        change_company(SYSTEM, stage.tenant, {"enable_extension_audio_recording": True})
        tasks.look_again("acme")
    assert (asked, seen) == (["acme"], [["s1"], ["s1"]])
    assert not CallsToLookAt.objects.exists()
