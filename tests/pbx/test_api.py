"""The quarantine by REST."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from accounts.tokens import create_token
from pbx.models import Quarantined
from tenants.changes import SYSTEM
from tenants.models import SipDomain, Switch, Tenant
from tests.pbx.conftest import call, started

Send = Callable[[list[Any]], list[dict[str, Any]]]
LIST = "/api/v1/quarantine"


@pytest.fixture
def program(tenants: None) -> Client:
    """A program with the token of a system administrator."""
    root = User.objects.create_user("root", "correct horse", role=Role.SYSTEM)
    _, secret = create_token(SYSTEM, root, {"name": "script"})
    return Client(headers={"host": "portal.test", "authorization": f"Bearer {secret}"})


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def test_a_stranger_and_a_switch_are_turned_away(system_client: Client, http_switch: Switch) -> None:
    for headers in ({}, {"authorization": "Bearer switch-token"}):
        for answer in (system_client.get(LIST, headers=headers), post(system_client, f"{LIST}/rerun", {})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_authenticated")


def test_the_list_shows_what_was_sent(program: Client, send: Send, http_switch: Switch) -> None:
    send([started("s1", domain="nowhere.test")])
    row = Quarantined.objects.get()
    (item,) = program.get(LIST).json()["items"]
    assert item.pop("received_at").endswith("Z")
    assert item.pop("raw") == bytes(row.raw).decode()
    assert base64.b64decode(item.pop("raw_base64")) == bytes(row.raw)
    assert item == {
        "id": str(row.pk),
        "switch": str(http_switch.pk),
        "kind": "event",
        "state": "waiting",
        "code": "unknown_tenant",
        "message": "Neither the SIP domain nor the DID belongs to a tenant.",
        "session_id": "s1",
        "event_id": "s1-1",
        "settled_at": None,
    }
    assert program.get(f"{LIST}/{row.pk}").json()["id"] == str(row.pk)


def test_filters_and_cursor(program: Client, send: Send) -> None:
    send([*call("s1", domain="nowhere.test"), {"id": "x"}])
    assert [item["code"] for item in program.get(f"{LIST}?code=missing_field").json()["items"]] == ["missing_field"]
    assert len(program.get(f"{LIST}?session_id=s1&state=all").json()["items"]) == 6
    assert program.get(f"{LIST}?state=applied").json() == {"items": [], "next": None}
    first = program.get(f"{LIST}?limit=4").json()
    second = program.get(f"{LIST}?limit=4&cursor={first['next']}").json()
    assert len({item["id"] for item in first["items"] + second["items"]}) == 7
    assert second["next"] is None


@pytest.mark.parametrize("query", ["state=x", "code=%00", "limit=0", "cursor=x"])
def test_a_bad_query_is_refused(program: Client, query: str) -> None:
    assert program.get(f"{LIST}?{query}").status_code == 400


def test_run_again_by_reason_by_session_and_by_row(program: Client, send: Send) -> None:
    send([event for number in range(4) for event in call(f"s{number}", domain="late.test")])
    assert post(program, f"{LIST}/rerun", {}).json() == {"applied": 0, "waiting": 24}
    SipDomain.objects.create(domain="late.test", tenant=Tenant.objects.get(schema_name="acme"))
    assert post(program, f"{LIST}/rerun", {"session_id": "s0"}).json() == {"applied": 6, "waiting": 0}
    row = Quarantined.objects.filter(session_id="s1").order_by("-id")[0]
    assert post(program, f"{LIST}/{row.pk}/rerun", {}).json() == {"applied": 6, "waiting": 0}
    assert post(program, f"{LIST}/rerun", {"code": "bad_time"}).json() == {"applied": 0, "waiting": 0}
    assert post(program, f"{LIST}/rerun", {"code": "unknown_tenant"}).json() == {"applied": 12, "waiting": 0}
    assert program.get(LIST).json()["items"] == []


def test_discarded_is_not_run_again(program: Client, send: Send) -> None:
    send([started("s1", domain="nowhere.test")])
    row = Quarantined.objects.get()
    assert post(program, f"{LIST}/{row.pk}/discard", {}).json()["state"] == "discarded"
    assert post(program, f"{LIST}/{row.pk}/rerun", {}).json() == {"applied": 0, "waiting": 0}


@pytest.mark.parametrize("body", [{"code": 5}, {"all": True}, {"session_id": ""}, {"code": "a\x00"}])
def test_a_rerun_of_nonsense_is_refused(program: Client, body: Any) -> None:
    answer = post(program, f"{LIST}/rerun", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_valid")


@pytest.mark.parametrize("path", [f"{LIST}/999", f"{LIST}/x", f"{LIST}/{2**70}"])
def test_a_missing_row_is_not_found(program: Client, path: str) -> None:
    assert program.get(path).status_code == 404
    assert post(program, f"{path}/rerun", {}).status_code == 404
    assert program.delete(path).status_code == 405
    assert program.get(f"{path}/rerun").status_code == 405
