"""Launching calls over REST: what the switch is told, what the caller is answered, and every refusal."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.db import connection, transaction
from django.test import Client

from accounts.models import AuditEntry, Extension
from accounts.roles import Role
from cdr.models import CDR
from pbx import launches
from recordings import ordered
from tenants import outbox
from tenants.models import SipDomain, Switch, SwitchCommand, Tenant
from tests.pbx.conftest import BEARER, call
from tests.pbx.launching import answering, confirming, fetches_commands
from tests.recordings.people import browser, program

CALLS = "/api/v1/calls"
ASKED = {"caller": "101", "callee": "5551000", "user_data": "ticket 77"}
Answer = tuple[int, dict[str, Any]]


def post(client: Client, **fields: Any) -> Answer:
    response = client.post(CALLS, ASKED | fields, content_type="application/json")
    return response.status_code, response.json()


def code(answer: Answer) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


@pytest.fixture
def switch(acme: Tenant, http_switch: Switch, settings: Any) -> Switch:
    settings.LAUNCHES_PER_MINUTE = settings.TENANT_LAUNCHES_PER_MINUTE = (
        1_000_000  # Redis remembers what earlier runs have counted
    )
    for number in ("101", "102"):
        Extension.objects.create(number=number)
    Extension.objects.create(number="109", enabled=False)
    return fetches_commands(http_switch)


def the_command() -> SwitchCommand:
    return SwitchCommand.objects.get(command="launch_call")


# --- Without waiting: the switch answers later ---------------------------------------------------------------


def test_switch_is_told_whom_to_connect_under_the_session_that_is_answered(switch: Switch, acme: Tenant) -> None:
    status, body = post(program(), wait=0)
    command = the_command()
    assert (status, body) == (202, ASKED | {"session_id": command.session_id, "status": "pending"})
    told = (command.switch_id, command.tenant_id, command.recording_id, command.medium, command.options)
    assert told == (switch.pk, acme.pk, "", "", ASKED | {"domain": "acme.test"})


def test_user_data_may_be_left_out(switch: Switch) -> None:
    status, body = post(program(), wait=0, user_data=None)
    assert (status, body["user_data"], the_command().options["user_data"]) == (202, "", "")


def test_audit_trail_names_who_launched_it(switch: Switch) -> None:
    post(program(), wait=0)
    entry = AuditEntry.objects.get(action="call.launched")
    assert (entry.actor_kind, entry.actor, entry.subject, entry.subject_id, entry.after) == (
        "token", "t", "101 to 5551000", the_command().session_id, {"caller": "101", "callee": "5551000"},
    )  # fmt: skip


def test_extension_may_call_a_colleague(switch: Switch) -> None:
    assert post(program(), callee="102", wait=0)[0] == 202


def test_rules_hold_for_extensions_that_an_administrator_made_to_get_round_them(switch: Switch, settings: Any) -> None:
    settings.LAUNCH_FORBIDDEN_PREFIXES = ["882"]
    for number in ("911", "*72", "0088216000000"):
        Extension.objects.create(number=number)
        assert code(post(program(), callee=number, wait=0)) == (403, "forbidden_number")
    assert SwitchCommand.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"caller": "777"}, (404, "unknown_extension")),
        ({"caller": "201"}, (404, "unknown_extension")),  # globex has it
        ({"caller": "109"}, (409, "extension_disabled")),
        ({"callee": "109"}, (409, "extension_disabled")),
        ({"callee": "101"}, (403, "forbidden_number")),  # itself
        ({"callee": "112"}, (403, "forbidden_number")),
        ({"callee": "*72"}, (403, "forbidden_number")),
        ({"callee": "1900555"}, (403, "forbidden_number")),
        ({"callee": "55 51"}, (400, "malformed_number")),
        ({"callee": "sip:x@y"}, (400, "malformed_number")),
        ({"callee": 5551000}, (400, "not_valid")),
        ({"callee": ""}, (400, "not_valid")),
        ({"caller": None}, (400, "not_valid")),
        ({"caller": ["101"]}, (400, "not_valid")),
        ({"caller": "101\u0000"}, (404, "unknown_extension")),
        ({"user_data": 7}, (400, "not_valid")),
        ({"user_data": "x" * 1001}, (400, "not_valid")),
        ({"user_data": "a\r\nAction: Originate"}, (400, "not_valid")),
        ({"wait": 11}, (400, "not_valid")),
        ({"wait": True}, (400, "not_valid")),
        ({"domain": "globex.test"}, (400, "not_valid")),
    ],
)
def test_what_cannot_be_launched_is_refused_and_no_switch_is_told(
    switch: Switch, globex: Tenant, settings: Any, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    settings.LAUNCH_FORBIDDEN_PREFIXES = ["1900"]
    connection.set_tenant(globex)  # type: ignore[attr-defined]
    Extension.objects.create(number="201")
    connection.set_tenant(Tenant.objects.get(schema_name="acme"))  # type: ignore[attr-defined]
    assert code(post(program(), **fields)) == expected
    assert (SwitchCommand.objects.count(), AuditEntry.objects.filter(action="call.launched").count()) == (0, 0)


def test_malformed_bodies_are_refused(switch: Switch) -> None:
    for body in (b"", b"{", b"[]", b"7", b"\xff"):
        response = program().post(CALLS, body, content_type="application/json")
        assert (response.status_code, list(response.json())) == (400, ["error"])


def test_longest_user_data_is_taken(switch: Switch) -> None:
    kept = "ü" * 990 + ', "x": [1]'
    assert post(program(), wait=0, user_data=kept)[0] == 202
    assert the_command().options["user_data"] == kept


# --- Who may -------------------------------------------------------------------------------------------------


def test_others_than_administrators_launch_from_their_own_extension_only(switch: Switch) -> None:
    for role in (Role.USER, Role.QUEUE_MANAGER):
        assert post(program(role, "101"), wait=0)[0] == 202
        assert code(post(program(role, "102"), wait=0)) == (403, "not_your_extension")
        assert code(post(program(role), wait=0)) == (403, "not_your_extension")
        assert code(post(program(role), caller="777", wait=0)) == (403, "not_your_extension")  # learns nothing
        Extension.objects.update(user=None)


def test_token_needs_the_right_among_its_scopes(switch: Switch) -> None:
    assert code(post(program(scopes=["own_calls", "cdr.view", "cdr.full"]))) == (403, "forbidden")
    assert code(post(program(Role.ADMIN, "102", ["calls.launch"]))) == (403, "not_your_extension")
    assert post(program(Role.ADMIN, "101", ["calls.launch"]), wait=0)[0] == 202
    assert post(program(scopes=["calls.launch_all"]), wait=0)[0] == 202
    assert program(scopes=["calls.launch_all"]).get(CALLS).status_code == 403  # and sees no calls by it


def test_browser_may_with_its_token_against_forgery(switch: Switch) -> None:
    assert post(browser(), wait=0)[0] == 202
    strict = Client(enforce_csrf_checks=True, headers={"host": "acme.portal.test"})
    strict.cookies = browser().cookies
    assert post(strict)[0] == 403


def test_strangers_and_other_methods_are_refused(switch: Switch) -> None:
    assert Client(headers={"host": "acme.portal.test"}).post(CALLS, ASKED).status_code == 401
    assert {getattr(program(), method)(CALLS).status_code for method in ("put", "patch", "delete")} == {405}


def test_more_than_so_many_a_minute_are_refused_by_token(
    switch: Switch, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LAUNCHES_PER_MINUTE = 2
    minute = 31_000_000 + secrets.randbelow(10**9)  # one that no run before has used
    monkeypatch.setattr(time, "time", lambda: minute * 60.0 + 18)
    first, second = program(), program(Role.ADMIN, "101")
    assert [post(first, wait=0)[0], code(post(first, callee="112"))] == [202, (403, "forbidden_number")]
    refused = first.post(CALLS, ASKED, content_type="application/json")
    assert (refused.status_code, refused.json()["error"]["code"], refused["Retry-After"]) == (429, "rate_limited", "42")
    assert post(second, wait=0)[0] == 202
    assert SwitchCommand.objects.count() == 2


def test_more_than_so_many_a_minute_are_refused_by_company(
    switch: Switch, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LAUNCHES_PER_MINUTE, settings.TENANT_LAUNCHES_PER_MINUTE = 2, 3
    minute = 31_000_000 + secrets.randbelow(10**9)  # one that no run before has used
    monkeypatch.setattr(time, "time", lambda: minute * 60.0 + 18)
    first, second = program(), program(Role.ADMIN, "101")
    # Those refused for the token's own limit cost the company nothing.
    assert [post(first, wait=0)[0] for _ in range(4)] == [202, 202, 429, 429]
    assert post(second, wait=0)[0] == 202
    refused = second.post(CALLS, ASKED, content_type="application/json")
    assert (refused.status_code, refused["RateLimit-Limit"], refused["Retry-After"]) == (429, "3", "42")
    assert refused.json()["error"] == {
        "code": "rate_limited", "message": "A company may launch at most 3 calls in a minute. Try again in 42 s.",
        "details": {},
    }  # fmt: skip
    assert SwitchCommand.objects.count() == 3


# --- On which switch -----------------------------------------------------------------------------------------


def test_idle_switch_is_told_as_such(switch: Switch) -> None:
    Switch.objects.update(connector_seen_at=None)
    answer = post(program())
    assert (code(answer), answer[1]["error"]["message"]) == (
        (503, "no_switch"), "No switch is connected that could launch the call.",
    )  # fmt: skip
    fetches_commands(switch)
    Switch.objects.update(enabled=False)
    assert code(post(program())) == (503, "no_switch")


def test_company_without_a_sip_domain_cannot_launch(switch: Switch, acme: Tenant) -> None:
    SipDomain.objects.filter(tenant=acme).delete()
    assert code(post(program())) == (409, "no_sip_domain")


# --- With a switch that answers meanwhile --------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_answer_is_201_once_the_switch_rings_the_caller(switch: Switch) -> None:
    client = program()
    with answering(switch, confirming(switch)):
        status, body = post(client, wait=10)
    assert (status, body) == (201, ASKED | {"session_id": the_command().session_id, "status": "ringing"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("The extension is not registered.", (502, "switch_failed")),
        ("unsupported: this connector launches no calls.", (409, "unsupported")),
    ],
)
def test_switch_that_cannot_is_quoted(switch: Switch, reason: str, expected: tuple[int, str]) -> None:
    client = program()
    with answering(switch, confirming(switch, "failed", reason)):
        answer = post(client, wait=10)
    assert code(answer) == expected
    assert answer[1]["error"]["message"].endswith(reason)
    assert answer[1]["error"]["details"] == {"session_id": the_command().session_id}


def test_order_that_was_fetched_and_not_answered_is_pending(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for(commands: ordered.Ordered, seconds: float) -> ordered.Answer:
        outbox.pending_for(switch)
        return ordered.wait_for(commands, 0)

    monkeypatch.setattr(launches, "wait_for", wait_for)
    status, body = post(program(), wait=10)
    assert (status, body["status"], the_command().state) == (202, "pending", "pending")


def test_order_that_is_fetched_at_the_last_moment_is_not_withdrawn(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def withdraw(command_id: int) -> bool:
        outbox.pending_for(switch)
        return real(command_id)

    real = outbox.withdraw
    monkeypatch.setattr(outbox, "withdraw", withdraw)
    assert post(program(), wait=1)[0] == 202
    assert the_command().state == "pending"


def test_order_that_nobody_fetches_is_withdrawn(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered, "_LOOK_SECONDS", 0.3)
    answer = post(program(), wait=1)
    command = the_command()
    assert (code(answer), answer[1]["error"]["message"]) == (
        (504, "not_confirmed"),
        "The switch has not fetched the order within 1 s. It was withdrawn: nothing will ring.",
    )
    assert (command.state, outbox.pending_for(switch)) == ("expired", [])


def test_who_comes_while_too_many_wait_is_told_that_it_is_pending(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered._places, "acquire", lambda blocking: False)
    assert post(program(), wait=10)[0] == 202
    assert the_command().state == "pending"


# --- From the order to the CDR, by the door of an HTTP switch ------------------------------------------------


def test_http_switch_launches_the_call_and_its_cdr_holds_the_user_data(
    switch: Switch, system_client: Client, send: Callable[[list[Any]], list[dict[str, Any]]]
) -> None:
    session_id = post(program(), callee="102", wait=0)[1]["session_id"]
    (command,) = system_client.get("/api/switch/v1/commands", headers=BEARER).json()["commands"]
    options = command.pop("options")
    assert command | {"at": "", "id": ""} == {
        "id": "", "command": "launch_call", "session_id": session_id, "recording_id": "", "segment": 1, "medium": "",
        "at": "",
    }  # fmt: skip
    confirmed = system_client.post(
        f"/api/switch/v1/commands/{command['id']}", {"status": "done"}, content_type="application/json", headers=BEARER
    )
    assert (confirmed.status_code, the_command().state) == (200, "done")
    assert {each["status"] for each in send(call(session_id, user_data=options["user_data"]))} == {"applied"}
    connection.set_tenant(Tenant.objects.get(schema_name="acme"))  # type: ignore[attr-defined]
    record = CDR.objects.get(session_id=session_id)
    assert (record.caller, record.callee, record.user_data) == ("101", "102", "ticket 77")
    pushed = program().get(f"/api/v1/cdrs/{session_id}?profile=v16").json()
    assert (pushed["session_id"], pushed["user_data"]) == (session_id, "ticket 77")


def test_switch_that_fetches_its_commands_is_known_to_be_there(
    switch: Switch, system_client: Client, send: Callable[[list[Any]], list[dict[str, Any]]]
) -> None:
    for fetch in (lambda: system_client.get("/api/switch/v1/commands", headers=BEARER), lambda: send([])):
        Switch.objects.update(connector_seen_at=None)
        fetch()
        switch.refresh_from_db()
        assert switch.connector_seen_at is not None


def test_description_names_the_fields_of_the_answer(switch: Switch, acme_client: Client) -> None:
    told = orjson.loads(acme_client.get("/api/schema/?format=json").content)
    operation = told["paths"][CALLS]["post"]
    shape = operation["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(told["components"]["schemas"][shape]["properties"]) == set(post(program(), wait=0)[1])
    asked = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(told["components"]["schemas"][asked]["properties"]) == {*ASKED, "wait"}
    assert told["paths"][CALLS]["get"]["operationId"] == "calls_list"


def test_launching_costs_few_queries(switch: Switch, django_assert_max_num_queries: Any) -> None:
    admin = program()
    post(admin, wait=0)
    with transaction.atomic(), django_assert_max_num_queries(30):
        post(admin, wait=0)


def test_rule_of_silence_is_longer_than_the_longest_wait_for_commands() -> None:
    from pbx.http.waiting import _ASK_AGAIN_SECONDS

    assert launches.SILENCE_MAX.total_seconds() > 3 * _ASK_AGAIN_SECONDS
