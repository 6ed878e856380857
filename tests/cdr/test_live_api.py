"""Calls in progress over REST."""

from django.db import transaction
from django.test import Client

from accounts.models import ApiToken, Extension, User
from accounts.roles import Role
from cdr import calls
from cdr.callevents import CallEvent
from tenants.crypto import token_hash
from tenants.models import Tenant
from tests.cdr.tables import SESSION, events, ext, spec_call


def client(role: Role, number: str = "") -> Client:
    user = User.objects.create_user(f"u-{role}{number}", "a password", role=role)
    if number:
        Extension.objects.create(number=number, user=user)
    ApiToken.objects.create(user=user, name="t", token_hash=token_hash(f"token-{role}{number}"), hint="t")
    return Client(headers={"host": "acme.portal.test", "authorization": f"Bearer token-{role}{number}"})


def apply(tenant: Tenant, told: list[CallEvent]) -> None:
    with transaction.atomic():
        calls.apply(tenant, 7, told)


def test_call_in_progress_shows_its_legs_and_leaves_when_it_ends(acme: Tenant) -> None:
    reader = client(Role.QUEUE_MANAGER)
    apply(acme, spec_call()[:12])
    (found,) = reader.get("/api/v1/calls").json()["items"]
    assert {name: found[name] for name in found if name not in ("targets", "recording")} == {
        "session_id": SESSION,
        "call_id": "b6PEEYEcn5speSovMAybCw..",
        "direction": "inbound",
        "caller": "1888722",
        "caller_display_name": "",
        "callee": "5000",
        "callee_display_name": "Main menu",
        "did": "18800606",
        "trunk_name": "AudioCodes",
        "user_data": "",
        "start_time": "2023-03-22T09:20:51.000Z",
        "answered_time": "2023-03-22T09:20:51.000Z",
    }
    assert [(leg["callee"], leg["state"]) for leg in found["targets"]] == [
        ("5000", "ended"),
        ("8000", "talking"),
        ("102", "ringing"),
        ("103", "talking"),
    ]
    apply(acme, spec_call()[12:])
    assert reader.get("/api/v1/calls").json() == {"items": [], "next": None}


def test_calls_in_progress_page_by_page(acme: Tenant) -> None:
    reader = client(Role.QUEUE_MANAGER)
    started = {"caller": ext("101"), "callee": ext("102")}
    for number in range(5):
        apply(acme, events((number // 2, "call.started", started), session=f"s{number}"))
    seen: list[str] = []
    cursor = ""
    while True:
        page = reader.get("/api/v1/calls", {"limit": 2, "cursor": cursor}).json()
        seen += [item["session_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert seen == ["s4", "s2", "s3", "s0", "s1"]


def test_standard_user_sees_own_calls_in_progress_only(acme: Tenant) -> None:
    apply(acme, spec_call()[:12])
    assert len(client(Role.USER, "103").get("/api/v1/calls").json()["items"]) == 1
    assert client(Role.USER, "104").get("/api/v1/calls").json()["items"] == []
    assert client(Role.USER).get("/api/v1/calls").json()["items"] == []
    assert Client(headers={"host": "acme.portal.test"}).get("/api/v1/calls").status_code == 401


def test_standard_user_gets_full_pages_of_own_calls(acme: Tenant) -> None:
    """Other people's calls neither fill a page nor hide the next one."""
    for number in range(6):
        callee = ext("103" if number % 2 else "104")
        started = (number, "call.started", {"caller": ext("101"), "callee": callee})
        added = (number, "target.added", {"target_id": "a", "callee": callee})
        apply(acme, events(started, added, session=f"s{number}"))
    reader = client(Role.USER, "103")
    first = reader.get("/api/v1/calls", {"limit": 2}).json()
    assert [item["session_id"] for item in first["items"]] == ["s5", "s3"]
    second = reader.get("/api/v1/calls", {"limit": 2, "cursor": first["next"]}).json()
    assert ([item["session_id"] for item in second["items"]], second["next"]) == (["s1"], None)
