"""Whose calls are looked at again when a switch is changed."""

from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from recordings import lookagain, tasks
from tenants.changes import SYSTEM
from tenants.company import change_company
from tenants.models import SystemSettings, Tenant
from tenants.system_settings import change_system_settings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(tasks.look_again, "apply_async", lambda arguments, **_: found.append(arguments[0]))
    for schema in ("acme", "globex", "public"):
        connection.set_schema(schema)
        cache.delete(lookagain._KEY)
    return found


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
