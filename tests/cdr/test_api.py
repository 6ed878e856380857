"""CDRs over REST: what a program gets, and what it is refused."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.roles import Role
from cdr import api
from cdr.models import CDR
from events.models import Event
from tenants.crypto import token_hash
from tenants.models import Switch, Tenant
from tests.cdr.rows import make_call, make_target

pytestmark = pytest.mark.django_db
LIST = "/api/v1/cdrs"

ITEM = {
    "session_id": "690852418417590001",
    "call_id": "call-1@192.0.2.8",
    "direction": "inbound",
    "caller": "1888722",
    "caller_display_name": "",
    "caller_domain": "",
    "callee": "101",
    "callee_display_name": "Front desk",
    "callee_domain": "",
    "final_display_name": "",
    "did": "18800606",
    "trunk_name": "AudioCodes",
    "outbound_caller_id": "",
    "start_time": "2023-03-22T12:01:00.000Z",
    "ring_time": "2023-03-22T12:01:01.000Z",
    "answered_time": "2023-03-22T12:01:05.000Z",
    "ended_time": "2023-03-22T12:02:05.000Z",
    "ring_duration": 4,
    "talk_duration": 60,
    "status": "answered",
    "status_code": 0,
    "end_reason": "caller_disconnect",
    "user_data": "",
    "cost": None,
    "currency": "EUR",
    "recorded": False,
    "incomplete": False,
    "simulated": False,
}


def error(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"code", "message", "details"}
    return response.status_code, response.json()["error"]["code"]


def test_list_gives_each_call_whole(program: Callable[..., Client]) -> None:
    make_call(1)

    assert program().get(LIST).json() == {"items": [ITEM], "next": None}


def test_list_gives_what_is_missing_as_null(program: Callable[..., Client]) -> None:
    make_call(1, ring_time=None, answered_time=None, end_reason="", status="noanswer", status_code=408,
              cost=Decimal("0.0244"))  # fmt: skip

    (item,) = program().get(LIST).json()["items"]

    changed = {"ring_time": None, "answered_time": None, "end_reason": None, "status": "noanswer", "status_code": 408,
               "cost": "0.02440"}  # fmt: skip
    assert item == ITEM | changed


def test_list_pages_by_cursor_both_ways(program: Callable[..., Client]) -> None:
    for number in range(5):
        make_call(number)
    client = program()

    for order, expected in (("desc", [4, 3, 2, 1, 0]), ("asc", [0, 1, 2, 3, 4])):
        seen, query = [], f"?limit=2&order={order}"
        while True:
            page = client.get(LIST + query).json()
            seen += [int(item["session_id"][-1]) for item in page["items"]]
            if page["next"] is None:
                break
            query = f"?limit=2&order={order}&cursor={page['next']}"
        assert seen == expected


def test_list_filters_and_estimates(program: Callable[..., Client]) -> None:
    make_call(1)
    make_call(2, direction="outbound")

    page = program().get(f"{LIST}?direction=outbound&count=estimate").json()

    assert [item["direction"] for item in page["items"]] == ["outbound"]
    assert set(page) == {"items", "next", "count"}
    assert isinstance(page["count"], int)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "bad_limit"),
        ("limit=501", "bad_limit"),
        ("limit=x", "bad_limit"),
        ("cursor=x", "bad_cursor"),
        ("from=never", "not_valid"),
        ("order=sideways", "not_valid"),
        ("count=exact", "not_valid"),
        ("status=busy", "not_valid"),
        ("number=%00", "not_valid"),
    ],
)
def test_list_refuses_what_it_cannot_read(program: Callable[..., Client], query: str, code: str) -> None:
    assert error(program().get(f"{LIST}?{query}")) == (400, code)


def test_a_call_of_the_simulator_is_said_to_be_simulated(program: Callable[..., Client], http_switch: Switch) -> None:
    simulator = Switch.objects.create(name="Simulator", kind=Switch.Kind.SIMULATOR, token_hash=token_hash("simulated"))
    make_call(1, switch_id=http_switch.pk)
    call = make_call(2, switch_id=simulator.pk)
    client = program()

    assert [item["simulated"] for item in client.get(LIST).json()["items"]] == [True, False]
    assert client.get(f"{LIST}/{call.session_id}").json()["simulated"] is True


def test_list_takes_as_many_queries_for_three_calls_as_for_one(program: Callable[..., Client]) -> None:
    client = program()
    client.get(LIST)  # notes when the token was used
    taken = []
    for number in range(3):
        make_call(number)
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST)
        taken.append(len(queries))

    assert taken == [taken[0]] * 3


def test_one_call_gives_its_targets_too(program: Callable[..., Client]) -> None:
    call = make_call(1)
    target = make_target(call, cost=Decimal("1.5"))

    body = program().get(f"{LIST}/{call.session_id}").json()

    assert body == ITEM | {
        "targets": [
            {
                "id": str(target.pk),
                "kind": "extension",
                "call_type": "normal_call",
                "caller": "1888722",
                "callee": "101",
                "callee_display_name": "Front desk",
                "destination": "192.0.2.21:9070",
                "did": "18800606",
                "trunk_name": "AudioCodes",
                "outbound_caller_id": "",
                "start_time": "2023-03-22T12:01:00.000Z",
                "ring_time": "2023-03-22T12:01:01.000Z",
                "answered_time": "2023-03-22T12:01:05.000Z",
                "ended_time": "2023-03-22T12:02:05.000Z",
                "ring_duration": 4,
                "talk_duration": 60,
                "status": "answered",
                "status_code": 0,
                "end_reason": "caller_disconnect",
                "cost": "1.50000",
            }
        ],
        "recordings": [],
        "policy_decisions": [],
        "recording_announced": False,
    }


def test_higher_rooms_add_their_parts(program: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    call = make_call(1)
    monkeypatch.setattr(
        api, "detail_parts", [lambda found, may: [{"recordings": [{"id": each.session_id}]} for each in found]]
    )

    assert program().get(f"{LIST}/{call.session_id}").json()["recordings"] == [{"id": call.session_id}]


@pytest.mark.parametrize(("profile", "direction", "did"), [("v16", "in", "did_cid"), ("v22", "inbound", "did")])
def test_profile_gives_the_pushed_message(
    program: Callable[..., Client], profile: str, direction: str, did: str
) -> None:
    call = make_call(1)
    make_target(call)
    Event.objects.create(id=77, type="call_cdr", session_id=call.session_id, sequence=1, body="{}")

    body = program().get(f"{LIST}/{call.session_id}?profile={profile}").json()

    assert (body["event_type"], body["direction"], body[did]) == ("call_cdr", direction, "18800606")
    assert (body["session_id"], body["start_time"], body["event_id"]) == (call.session_id, "1679486460", "77")
    assert list(body)[-1] == "event_id"
    assert [found["callee"] for found in body["call_targets"]] == ["101"]


def test_a_session_id_may_hold_a_slash(program: Callable[..., Client]) -> None:
    make_call(1, session_id="a/b@c d")

    assert program().get(f"{LIST}/a/b@c%20d").json()["session_id"] == "a/b@c d"


def test_another_tenants_call_does_not_exist(program: Callable[..., Client], globex: Tenant, acme: Tenant) -> None:
    connection.set_tenant(globex)
    secret = make_call(1, caller="+49301111111")
    connection.set_tenant(acme)
    client = program()

    assert error(client.get(f"{LIST}/{secret.session_id}")) == (404, "not_found")
    assert client.get(f"{LIST}?caller=%2B49301111111").json()["items"] == []
    other = Client(headers={"host": "globex.portal.test", "authorization": client.defaults["HTTP_AUTHORIZATION"]})
    assert error(other.get(f"{LIST}/{secret.session_id}")) == (401, "not_authenticated")


@pytest.mark.parametrize("path", [LIST, f"{LIST}/690852418417590001"])
def test_strangers_and_wrong_methods_are_refused(acme: Tenant, program: Callable[..., Client], path: str) -> None:
    make_call(1)
    stranger = Client(headers={"host": "acme.portal.test"})
    wrong = Client(headers={"host": "acme.portal.test", "authorization": "Bearer vl_wrong"})

    assert error(stranger.get(path)) == (401, "not_authenticated")
    assert error(wrong.get(path)) == (401, "not_authenticated")
    for method in ("post", "put", "patch", "delete"):
        assert error(getattr(program(Role.ADMIN) if method == "post" else wrong, method)(path))[0] in {401, 405}
    assert CDR.objects.count() == 1


def test_a_system_host_has_no_calls(system_client: Client) -> None:
    assert error(system_client.get(LIST)) == (404, "not_found")


def test_a_standard_user_gets_own_calls_only(own_browser: Client) -> None:
    make_call(1)
    own = make_call(2, extensions=["101", "102"])

    assert [item["session_id"] for item in own_browser.get(LIST).json()["items"]] == [own.session_id]
    assert own_browser.get(f"{LIST}/{own.session_id}").status_code == 200
    assert error(own_browser.get(f"{LIST}/690852418417590001")) == (404, "not_found")


@pytest.mark.parametrize(
    ("role", "scopes", "status"),
    [
        (Role.QUEUE_MANAGER, None, 200),
        (Role.ADMIN, ["cdr.view"], 200),
        (Role.ADMIN, ["cdr.full"], 200),
        (Role.ADMIN, ["own_calls"], 200),
        (Role.ADMIN, ["recordings.view"], 403),
        (Role.ADMIN, ["users"], 403),
    ],
)
def test_scopes_decide_what_a_token_sees(
    program: Callable[..., Client], role: Role, scopes: list[str] | None, status: int
) -> None:
    make_call(1)
    response = program(role, scopes).get(LIST)

    assert response.status_code == status
    if status == 200:
        assert len(response.json()["items"]) == (0 if scopes == ["own_calls"] else 1)


def test_nul_in_the_path_is_no_call(program: Callable[..., Client]) -> None:
    assert error(program().get(f"{LIST}/%00")) == (404, "not_found")
