"""The change feed over REST."""

import pytest
from django.db import transaction
from django.test import Client

from accounts.models import ApiToken, User
from accounts.roles import Role
from cdr import calls, ledger
from events.models import Event
from tenants.crypto import token_hash
from tenants.models import Tenant
from tests.cdr.tables import events, ext
from tests.events.conftest import write


@pytest.fixture
def reader(acme: Tenant) -> Client:
    """A program with a token of a queue manager, who may read all calls."""
    return _client(Role.QUEUE_MANAGER)


def _client(role: Role) -> Client:
    user = User.objects.create_user(f"u-{role}", "a password", role=role)
    ApiToken.objects.create(user=user, name="t", token_hash=token_hash(f"token-{role}"), hint="t")
    return Client(headers={"host": "acme.portal.test", "authorization": f"Bearer token-{role}"})


def call(tenant: Tenant, session: str) -> None:
    started = {"caller": ext("101"), "callee": ext("102")}
    with transaction.atomic():
        calls.apply(tenant, 7, events((0, "call.started", started), (9, "call.ended", {}), session=session))


def test_changes_are_followed_page_by_page(acme: Tenant, reader: Client) -> None:
    for session in ("one", "two", "three"):
        call(acme, session)
    with transaction.atomic():
        ledger.delete(acme, ["one"])

    first = reader.get("/api/v1/cdrs/changes", {"limit": 2}).json()
    assert [(item["change"], item["session_id"], item["event_id"]) for item in first["items"]] == [
        ("created", "two", "2"),
        ("created", "three", "3"),
    ]
    assert first["items"][0]["cdr"] == reader.get("/api/v1/cdrs/two").json()
    assert (first["next"], first["since"]) == ("3", "3")

    second = reader.get("/api/v1/cdrs/changes", {"limit": 2, "since": first["next"]}).json()
    assert second == {
        "items": [{"change": "deleted", "session_id": "one", "event_id": "4", "cdr": None}],
        "next": None,
        "since": "4",
    }
    assert reader.get("/api/v1/cdrs/changes", {"since": "4"}).json() == {"items": [], "next": None, "since": "4"}


@pytest.mark.parametrize("since", ["x", "-1", "1e3", "9" * 30, "٣"])
def test_changes_refuse_a_place_that_is_none(reader: Client, since: str) -> None:
    answer = reader.get("/api/v1/cdrs/changes", {"since": since})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_since")


def test_changes_refuse_a_place_beyond_the_log(acme: Tenant, reader: Client) -> None:
    call(acme, "one")
    answer = reader.get("/api/v1/cdrs/changes", {"since": "2"})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        {"code": "since_ahead", "message": "since is beyond the last event, 1.", "details": {}},
    )


def test_the_place_after_the_last_page_is_good_at_the_other_doors(acme: Tenant, reader: Client) -> None:
    """Behind the last change stand events that are no change; who goes on from there must not meet a gap in them."""
    call(acme, "one")
    write("two", "three", type="cdr_target_add")
    Event.objects.filter(id__lte=2).delete()
    since = reader.get("/api/v1/cdrs/changes").json()["since"]
    assert since == "3"
    admin = _client(Role.ADMIN)
    assert admin.get("/api/v1/events", {"since": since}).json() == {
        "items": [], "next": None, "cursor": "3", "gap": False,
    }  # fmt: skip


def test_changes_are_for_those_who_see_all_calls(acme: Tenant) -> None:
    assert _client(Role.USER).get("/api/v1/cdrs/changes").status_code == 403
    assert Client(headers={"host": "acme.portal.test"}).get("/api/v1/cdrs/changes").status_code == 401
