"""The demo is made once, and what a person changed since stays."""

from typing import Any

import pytest
from django.test import Client

from accounts.extensions import ha1
from accounts.models import ApiToken, Extension, ExtensionCredential, User
from accounts.roles import Role
from portal.demo.furnish import furnish
from portal.demo.kept import Kept
from tenants.models import InboundRule, Switch, SystemSettings, Tenant, Trunk
from tenants.schemas import enter_public, in_schema
from tenants.switches import switch_of_token


def _furnish(former: Any, *, demo: bool = True) -> Kept:
    return furnish(dict(former), demo=demo, say=lambda _line: None)


@pytest.fixture
def opened(tenants: None) -> Kept:
    return _furnish({})


def test_passwords_and_tokens_open_what_they_say(opened: Kept, acme_client: Client, system_client: Client) -> None:
    acme = opened["tenants"][0]
    with in_schema("acme"):
        users = {user.username: user for user in User.objects.all()}
        assert users["admin"].check_password(acme["password"])
        assert {name: users[name].role for name in ("admin", "manager", "oliver")} == {
            "admin": Role.ADMIN, "manager": Role.QUEUE_MANAGER, "oliver": Role.USER,
        }  # fmt: skip
        assert all(users[one["username"]].check_password(one["password"]) for one in acme["users"])
        assert list(Extension.objects.values_list("number", "display_name", "record_audio", "record_video")) == [
            ("101", "Anna Keller", False, False),
            ("102", "Ben Okafor", True, False),
            ("103", "Oliver Grant", False, False),
            ("104", "Dina Castro", True, True),
            ("105", "Front Desk", False, False),
        ]
        assert Extension.objects.get(number="103").user == users["oliver"]
        kept = {(one.extension.number, one.realm): one.ha1 for one in ExtensionCredential.objects.all()}
    assert kept == {
        (one["number"], "acme.test"): ha1(one["number"], "acme.test", one["sip_password"]) for one in acme["extensions"]
    }
    enter_public()
    system = User.objects.get(username="admin")
    assert (system.role, system.check_password(opened["system"]["password"])) == (Role.SYSTEM, True)
    switch = switch_of_token(opened["switch_token"])
    assert switch is not None
    assert (switch.name, switch.kind) == ("Demo switch", Switch.Kind.HTTP)
    bearer = {"authorization": f"Bearer {acme['api_token']}"}
    assert acme_client.get("/api/v1/company", headers=bearer).status_code == 200
    assert system_client.get("/api/v1/company", headers=bearer).status_code in {401, 404}


def test_calls_find_their_tenant_by_its_dids(opened: Kept) -> None:
    enter_public()
    assert list(Trunk.objects.values_list("name", "tenant__host", "switch__kind")) == [
        ("Acme line", "acme", "simulator"),
        ("Globex line", "globex", "simulator"),
    ]
    assert list(InboundRule.objects.values_list("number", "tenant__host")) == [
        ("12025550110", "acme"),
        ("12025550111", "acme"),
        ("12025550112", "acme"),
        ("13125550140", "globex"),
        ("13125550141", "globex"),
        ("13125550142", "globex"),
    ]


def test_what_an_administrator_switched_stays(opened: Kept) -> None:
    enter_public()
    Tenant.objects.filter(host="globex").update(record_dual_tracks=False)
    SystemSettings.objects.update(record_external_calls=True)
    _furnish(opened)
    enter_public()
    assert Tenant.objects.get(host="globex").record_dual_tracks is False
    assert SystemSettings.current().record_external_calls is True


def test_furnishing_again_changes_nothing(opened: Kept) -> None:
    def rows() -> list[object]:
        found: list[object] = list(Switch.objects.values_list("pk", "token_hash"))
        for tenant in ("acme", "globex"):
            with in_schema(tenant):
                found += [
                    *User.objects.values_list("pk", "password"),
                    *ApiToken.objects.values_list("pk", "token_hash"),
                ]
                found += ExtensionCredential.objects.values_list("pk", "ha1")
        return found

    before = rows()
    assert _furnish(opened) == opened
    assert rows() == before


def test_what_a_person_changed_stays(opened: Kept) -> None:
    with in_schema("acme"):
        user = User.objects.get(username="admin")
        user.set_password("a new one of mine")
        user.save()
        Extension.objects.filter(number="101").update(display_name="Zoe")
    assert _furnish(opened) == opened
    with in_schema("acme"):
        assert User.objects.get(username="admin").check_password("a new one of mine")
        assert Extension.objects.get(number="101").display_name == "Zoe"


def test_a_lost_file_is_replaced_by_new_secrets(opened: Kept) -> None:
    again = _furnish({})
    assert [tenant["id"] for tenant in again["tenants"]] == [tenant["id"] for tenant in opened["tenants"]]
    assert again["tenants"][0]["password"] != opened["tenants"][0]["password"]
    with in_schema("acme"):
        assert User.objects.get(username="admin").check_password(again["tenants"][0]["password"])
    assert switch_of_token(opened["switch_token"]) is None
    assert switch_of_token(again["switch_token"]) is not None


def test_a_demo_tenant_that_was_deleted_does_not_come_back(opened: Kept) -> None:
    enter_public()
    Tenant.objects.filter(host="acme").update(host="renamed")
    assert [tenant["name"] for tenant in _furnish(opened)["tenants"]] == ["Globex Inc."]


def test_without_a_demo_there_is_only_the_system_administrator(tenants: None) -> None:
    assert set(_furnish({}, demo=False)["system"]) == {"url", "username", "password", "api_token"}
    enter_public()
    assert not Switch.objects.exists()
