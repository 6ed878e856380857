"""Home, trunks, inbound rules, switches, settings and administrators, as a system administrator meets them."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry, User
from tenants.models import InboundRule, Switch, SystemSettings, Tenant, Trunk
from tenants.switches import credentials_of, switch_of_token


def _secret(page: str) -> str:
    (found,) = re.findall(r'<code class="mono" id="secret-\d+">([^<]+)</code>', page)
    return str(found)


def test_home_tells_what_waits(desk: Client) -> None:
    from pbx.models import Quarantined

    assert "in quarantine" not in desk.get("/").content.decode()
    Quarantined.objects.create(switch_id=1, kind="event", code="unknown_tenant", message="", raw=b"")
    page = desk.get("/").content.decode()
    assert "1 message waits in quarantine." in " ".join(page.split())


def test_trunk_is_added_changed_and_deleted(desk: Client, acme_row: Tenant) -> None:
    assert desk.post("/trunks/new", {"name": "Nord ☎", "tenant": acme_row.pk})["Location"] == "/trunks"
    trunk = Trunk.objects.get()
    assert (trunk.name, trunk.tenant) == ("Nord ☎", acme_row)
    assert desk.post(f"/trunks/{trunk.pk}", {"name": "North", "host": "10.0.0.1"}).status_code == 302
    trunk.refresh_from_db()
    assert (trunk.name, trunk.host, trunk.tenant) == ("North", "10.0.0.1", None)
    assert "North" in desk.get("/trunks?q=10.0").content.decode()
    assert desk.get(f"/trunks/{trunk.pk}/delete").status_code == 405
    assert desk.post(f"/trunks/{trunk.pk}/delete")["Location"] == "/trunks"
    assert desk.post(f"/trunks/{trunk.pk}/delete").status_code == 404


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "Taken"}, {"name": "a\u202e"}, {"tenant": "1"}, {"switch": "x"}]
)
def test_trunk_is_refused(desk: Client, wrong: dict[str, str]) -> None:
    Trunk.objects.create(name="Taken")
    assert desk.post("/trunks/new", {"name": "North", **wrong}).status_code == 200
    assert Trunk.objects.count() == 1


def test_inbound_rule_is_added_changed_and_deleted(desk: Client, acme_row: Tenant) -> None:
    given = {"kind": "did", "number": "+4930", "tenant": acme_row.pk}
    assert 'value="+4930"' in desk.get("/inbound-rules/new?number=%2B4930").content.decode()
    assert desk.post("/inbound-rules/new", given)["Location"] == "/inbound-rules"
    twice = desk.post("/inbound-rules/new", given)
    assert "The DID 4930 on any trunk leads to Acme Inc. already." in twice.content.decode()
    rule = InboundRule.objects.get()
    assert desk.post(f"/inbound-rules/{rule.pk}", {**given, "kind": "prefix"}).status_code == 302
    page = desk.get("/inbound-rules?q=%2B49").content.decode()
    assert "4930*" in page
    assert desk.post(f"/inbound-rules/{rule.pk}/delete").status_code == 302
    assert InboundRule.objects.count() == 0


@pytest.mark.parametrize("wrong", [{"number": ""}, {"number": "x"}, {"kind": "x"}, {"tenant": ""}, {"tenant": "1"}])
def test_inbound_rule_is_refused(desk: Client, acme_row: Tenant, wrong: dict[str, str]) -> None:
    given = {"kind": "did", "number": "4930", "tenant": acme_row.pk, **wrong}
    assert desk.post("/inbound-rules/new", given).status_code == 200
    assert InboundRule.objects.count() == 0


def test_switch_is_added_and_its_token_shown_once(desk: Client) -> None:
    given = {"name": "Berlin", "kind": "asterisk", "enabled": "on", "address": '{"host": "10.0.0.1"}'}
    made = desk.post("/switches/new", {**given, "credentials": '{"ami_secret": "geheim"}'})
    switch = Switch.objects.get()
    assert made["Location"] == f"/switches/{switch.pk}"
    token = _secret(desk.get(made["Location"]).content.decode())
    page = desk.get(made["Location"]).content.decode()
    assert token not in page
    assert "geheim" not in page
    assert switch_of_token(token) == switch
    assert desk.post(f"/switches/{switch.pk}", {"name": "Berlin 2", "enabled": "on"}).status_code == 302
    switch.refresh_from_db()
    assert (switch.name, switch.address, credentials_of(switch)) == ("Berlin 2", {}, {"ami_secret": "geheim"})
    desk.post(f"/switches/{switch.pk}/token")
    newer = _secret(desk.get(f"/switches/{switch.pk}").content.decode())
    assert (switch_of_token(token), switch_of_token(newer)) == (None, switch)
    assert "geheim" not in str(list(AuditEntry.objects.values()))
    assert desk.post(f"/switches/{switch.pk}/delete")["Location"] == "/switches"
    assert Switch.objects.count() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"kind": "pbx"}, {"address": "{"}, {"address": "[]"}, {"address": "7"}, {"address": "[" * 9000},
        {"address": '{"a": NaN}'}, {"credentials": "x"}, {"credentials": '{"a": "\\u0000"}'},
    ],
)  # fmt: skip
def test_switch_is_refused(desk: Client, wrong: dict[str, str]) -> None:
    assert desk.post("/switches/new", {"name": "Berlin", "kind": "http", **wrong}).status_code == 200
    assert Switch.objects.count() == 0


def test_settings_spell_the_consequence_and_are_noted(desk: Client) -> None:
    page = desk.get("/settings").content.decode()
    assert "Record the call between external numbers" in page
    assert "Stop recording between external numbers?" in page
    given = {"record_external_calls": "off", "version": "1"}
    assert desk.post("/settings", given)["Location"] == "/settings"
    assert not SystemSettings.current().record_external_calls
    entry = AuditEntry.objects.get(action="settings.changed")
    assert (entry.actor, entry.before, entry.after) == (
        "root", {"record_external_calls": True}, {"record_external_calls": False},
    )  # fmt: skip
    desk.post("/settings", {"record_external_calls": "on", "version": "1"})
    assert not SystemSettings.current().record_external_calls
    assert "Somebody else changed this meanwhile." in desk.get("/settings").content.decode()


@pytest.mark.parametrize("given", [{}, {"record_external_calls": "on"}, {"record_external_calls": "x", "version": "1"}])
def test_settings_refuse_half_a_form(desk: Client, given: dict[str, str]) -> None:
    assert desk.post("/settings", given).status_code == 400
    assert SystemSettings.current().version == 1


def test_administrator_is_added_deactivated_and_given_a_new_password(desk: Client, root: User) -> None:
    assert desk.post("/administrators", {"username": "second", "email": ""})["Location"] == "/administrators"
    password = _secret(desk.get("/administrators").content.decode())
    second = User.objects.get(username="second")
    assert (second.role, second.check_password(password)) == ("system", True)
    desk.post(f"/administrators/{root.pk}/password")
    newer = _secret(desk.get("/administrators").content.decode())
    root.refresh_from_db()
    assert root.check_password(newer)
    desk.post(f"/administrators/{second.pk}/active", {"active": "no"})
    desk.post(f"/administrators/{root.pk}/active", {"active": "no"})
    assert dict(User.objects.values_list("username", "is_active")) == {"root": True, "second": False}
    for path in ("active", "password"):
        assert desk.post(f"/administrators/0/{path}").status_code == 404


@pytest.mark.parametrize("given", [{"username": ""}, {"username": "ROOT"}, {"username": "x", "email": "y"}])
def test_administrator_is_refused(desk: Client, given: dict[str, Any]) -> None:
    assert desk.post("/administrators", given).status_code == 200
    assert User.objects.count() == 1


@pytest.mark.parametrize("address", ["/", "/switches", "/settings", "/administrators", "/logs/audit", "/quarantine"])
def test_pages_with_times_say_their_zone_once(desk: Client, root: User, address: str) -> None:
    User.objects.filter(pk=root.pk).update(time_zone="Asia/Tokyo")
    Switch.objects.create(name="Front")
    desk.post("/settings", {"version": "1", "record_external_calls": "off"})

    assert desk.get(address).content.decode().count("imes in Asia/Tokyo, UTC+09:00") == 1
