"""REST on the system host."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiToken, AuditEntry
from tenants.models import Switch, SystemSettings, Tenant
from tenants.switches import switch_of_token

JSON = "application/json"


def _tenant(row: Tenant, **more: Any) -> dict[str, Any]:
    shown = {
        "id": str(row.pk), "name": "Acme Inc.", "host": "acme", "url": "http://acme.portal.test:8000/",
        "sip_domain": "acme.test", "sip_domains": ["acme.test"], "state": "active", "progress": "",
        "time_zone": "UTC", "currency": "EUR", "enable_extension_audio_recording": False,
        "enable_extension_video_recording": False, "event_log_days": 30, "record_dual_tracks": False,
        "pause_style": "skip", "longest_pause_seconds": 0, "announce_recording": False, "recording_days": 180,
        "recording_quota_mb": 0, "when_quota_full": "keep", "ask_play_reason": False, "start_recording_code": "*44",
        "stop_recording_code": "*45", "pause_recording_code": "*48", "resume_recording_code": "*49",
        "simulated": False, "version": 1,
        "created_at": row.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }  # fmt: skip
    return {**shown, **more}


def _code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_settings_are_read_and_changed(system_api: Client) -> None:
    assert system_api.get("/api/v1/settings").json() == {"record_external_calls": True, "version": 1}
    change = {"record_external_calls": False, "version": 1}
    assert system_api.patch("/api/v1/settings", change, JSON).json() == {"record_external_calls": False, "version": 2}
    assert _code(system_api.patch("/api/v1/settings", change, JSON)) == (409, "changed_meanwhile")
    assert AuditEntry.objects.get(action="settings.changed").actor == "script"


@pytest.mark.parametrize("body", [{"record_external_calls": "no"}, {"other": 1}, {"version": "1"}, []])
def test_settings_refuse(system_api: Client, body: object) -> None:
    assert system_api.patch("/api/v1/settings", body, JSON).status_code == 400
    assert SystemSettings.current().record_external_calls


def test_tenants_are_listed_without_the_public_schema(system_api: Client, acme_row: Tenant) -> None:
    first = system_api.get("/api/v1/tenants?limit=1").json()
    assert first["items"] == [_tenant(acme_row)]
    rest = system_api.get("/api/v1/tenants", {"cursor": first["next"]}).json()
    assert ([row["host"] for row in rest["items"]], rest["next"]) == (["globex"], None)
    public = Tenant.objects.get(schema_name="public")
    assert _code(system_api.get(f"/api/v1/tenants/{public.pk}")) == (404, "not_found")


def test_tenant_is_created_with_its_administrator_told_once(system_api: Client) -> None:
    given = {"name": "Initech", "host": "initech", "sip_domain": "initech.test"}
    made = system_api.post("/api/v1/tenants", given, JSON)
    assert made.status_code == 201
    administrator = made.json()["administrator"]
    assert (administrator["username"], len(administrator["password"])) == ("admin", 20)
    row = Tenant.objects.get(host="initech")
    shown = system_api.get(f"/api/v1/tenants/{row.pk}").json()
    assert shown == {key: value for key, value in made.json().items() if key != "administrator"}
    assert (shown["state"], shown["progress"]) == ("creating", "Waiting for a worker")
    assert _code(system_api.post("/api/v1/tenants", given, JSON)) == (400, "not_valid")


def test_tenant_is_changed_suspended_and_reactivated(system_api: Client, acme_row: Tenant) -> None:
    path = f"/api/v1/tenants/{acme_row.pk}"
    changed = system_api.patch(path, {"name": "Acme AG", "version": 1}, JSON)
    assert changed.json() == _tenant(acme_row, name="Acme AG", version=2)
    assert system_api.post(f"{path}/suspend").json()["state"] == "suspended"
    assert _code(system_api.post(f"{path}/suspend")) == (409, "wrong_state")
    assert system_api.post(f"{path}/reactivate").json()["state"] == "active"
    assert _code(system_api.post(f"{path}/explode")) == (404, "not_found")
    for change in ({"state": "suspended"}, {"host": "globex"}, {"sip_domain": "x.test"}, {"schema_name": "public"}):
        assert _code(system_api.patch(path, change, JSON)) == (400, "not_valid")


def test_sip_domains_by_rest(system_api: Client, acme_row: Tenant) -> None:
    path = f"/api/v1/tenants/{acme_row.pk}/sip-domains"
    added = system_api.post(path, {"domain": "Two.test", "primary": True}, JSON)
    assert (added.status_code, added.json()["sip_domains"]) == (201, ["two.test", "acme.test"])
    assert _code(system_api.delete(f"{path}/two.test")) == (409, "primary_domain")
    assert system_api.delete(f"{path}/ACME.test").status_code == 204
    assert _code(system_api.delete(f"{path}/acme.test")) == (404, "not_found")
    assert _code(system_api.delete(f"{path}/globex.test")) == (404, "not_found")
    for body in ({}, {"domain": 7}, {"domain": "x.test", "primary": "yes"}, {"domain": "x.test", "other": 1}):
        assert _code(system_api.post(path, body, JSON)) == (400, "not_valid")


def test_tenant_is_deleted_only_when_typed(system_api: Client, acme_row: Tenant) -> None:
    path = f"/api/v1/tenants/{acme_row.pk}"
    assert _code(system_api.delete(path, {}, JSON)) == (400, "not_valid")
    assert _code(system_api.delete(path, {"confirm": "acme"}, JSON)) == (409, "not_exported")
    assert _code(system_api.delete(path, {"confirm": "acme", "without_export": "yes"}, JSON)) == (400, "not_valid")
    gone = system_api.delete(path, {"confirm": "acme", "without_export": True}, JSON)
    assert (gone.status_code, gone.json()["state"]) == (202, "deleting")


def test_trunks_and_rules_by_rest(system_api: Client, acme_row: Tenant) -> None:
    trunk = system_api.post("/api/v1/trunks", {"name": "North", "tenant": str(acme_row.pk)}, JSON).json()
    assert trunk == {
        "id": trunk["id"], "name": "North", "switch": None, "switch_name": "", "host": "", "tenant": str(acme_row.pk),
    }  # fmt: skip
    given = {"number": "+4930", "tenant": str(acme_row.pk), "trunk": trunk["id"]}
    rule = system_api.post("/api/v1/inbound-rules", given, JSON).json()
    assert rule == {
        "id": rule["id"], "kind": "did", "number": "4930", "trunk": trunk["id"], "tenant": str(acme_row.pk), "note": "",
    }  # fmt: skip
    assert _code(system_api.post("/api/v1/inbound-rules", given, JSON)) == (400, "not_valid")
    changed = system_api.patch(f"/api/v1/inbound-rules/{rule['id']}", {"note": "front"}, JSON)
    assert changed.json() == {**rule, "note": "front"}
    freed = system_api.patch(f"/api/v1/trunks/{trunk['id']}", {"tenant": None}, JSON)
    assert freed.json() == {**trunk, "tenant": None}
    assert system_api.get("/api/v1/trunks").json() == {"items": [{**trunk, "tenant": None}], "next": None}
    assert system_api.delete(f"/api/v1/trunks/{trunk['id']}").status_code == 204
    assert system_api.get("/api/v1/inbound-rules").json() == {"items": [], "next": None}
    assert _code(system_api.delete(f"/api/v1/inbound-rules/{rule['id']}")) == (404, "not_found")


def test_switches_by_rest(system_api: Client) -> None:
    given = {"name": "Berlin", "kind": "http", "credentials": {"secret": "geheim"}}
    made = system_api.post("/api/v1/switches", given, JSON)
    body = made.json()
    switch = Switch.objects.get()
    assert (made.status_code, switch_of_token(body["token"])) == (201, switch)
    shown = system_api.get(f"/api/v1/switches/{switch.pk}")
    assert shown.json() == {key: value for key, value in body.items() if key != "token"}
    assert shown.json()["has_credentials"] is True
    assert b"geheim" not in shown.content
    newer = system_api.post(f"/api/v1/switches/{switch.pk}/token").json()["token"]
    assert (switch_of_token(body["token"]), switch_of_token(newer)) == (None, switch)
    assert system_api.patch(f"/api/v1/switches/{switch.pk}", {"enabled": False}, JSON).json()["enabled"] is False
    assert _code(system_api.patch(f"/api/v1/switches/{switch.pk}", {"kind": "asterisk"}, JSON)) == (400, "not_valid")
    assert system_api.delete(f"/api/v1/switches/{switch.pk}").status_code == 204
    assert _code(system_api.get(f"/api/v1/switches/{switch.pk}")) == (404, "not_found")


@pytest.mark.parametrize("path", ["settings", "tenants", "trunks", "inbound-rules", "switches"])
def test_scopes_narrow_a_token(system_api: Client, path: str) -> None:
    assert system_api.get(f"/api/v1/{path}").status_code == 200
    assert system_api.put(f"/api/v1/{path}", {}, JSON).status_code == 405
    ApiToken.objects.update(scopes=["audit"])
    assert _code(system_api.get(f"/api/v1/{path}")) == (403, "forbidden")


@pytest.mark.parametrize("path", ["tenants", "trunks", "inbound-rules", "switches"])
@pytest.mark.parametrize("row_id", ["0", "x", "9" * 30, "%00"])
def test_nothing_there(system_api: Client, path: str, row_id: str) -> None:
    assert _code(system_api.get(f"/api/v1/{path}/{row_id}")) == (404, "not_found")
    assert _code(system_api.patch(f"/api/v1/{path}/{row_id}", {}, JSON)) == (404, "not_found")
