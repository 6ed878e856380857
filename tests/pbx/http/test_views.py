"""The Switch API: what it refuses, and how."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from cdr.models import CDR, LiveSession
from tenants import outbox
from tenants.crypto import token_hash
from tenants.models import Switch, SwitchCommand, Tenant
from tenants.schemas import in_schema
from tests.pbx.conftest import BEARER, CDRS, EVENTS, Post, at, call, quarantined, said, started

COMMANDS = "/api/switch/v1/commands"
Send = Callable[[list[Any]], list[dict[str, Any]]]


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": {}}}


@pytest.mark.parametrize("path", [EVENTS, CDRS, COMMANDS, f"{COMMANDS}/1"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic switch-token"}, {"Authorization": "Bearer "}],
)
def test_a_door_is_closed_without_a_switch_token(
    post: Post, system_client: Client, path: str, headers: dict[str, str]
) -> None:
    answer = (
        system_client.get(path, headers=headers)
        if path == COMMANDS
        else post(path, orjson.dumps({"events": call()}), headers=headers)
    )
    assert answer.status_code == 401
    assert answer.json() == error(
        "not_authenticated", "Send the token of an enabled switch: 'Authorization: Bearer <token>'."
    )
    assert quarantined() == []


@pytest.mark.parametrize("change", [{"enabled": False}, {"token_hash": None}, {"token_hash": token_hash("new")}])
def test_a_disabled_switch_and_a_revoked_token_are_turned_away(
    post: Post, http_switch: Switch, change: dict[str, Any]
) -> None:
    Switch.objects.filter(pk=http_switch.pk).update(**change)
    assert post(EVENTS, orjson.dumps({"events": call()})).status_code == 401


@pytest.mark.parametrize("path", [EVENTS, CDRS, COMMANDS])
def test_the_doors_stand_on_the_system_host_only(acme_client: Client, http_switch: Switch, path: str) -> None:
    answer = acme_client.post(path, b"{}", content_type="application/json", headers=BEARER)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("get", EVENTS, "POST"),
        ("put", EVENTS, "POST"),
        ("delete", CDRS, "POST"),
        ("post", COMMANDS, "GET"),
        ("get", f"{COMMANDS}/1", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(
    system_client: Client, http_switch: Switch, method: str, path: str, allowed: str
) -> None:
    answer = getattr(system_client, method)(path, headers=BEARER)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json() == error("method_not_allowed", f"This door takes {allowed} only.")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b'{"events":[NaN]}', "malformed_json"),
        (b'{"events":[{"id":"\xff"}]}', "malformed_json"),
        (b'{"events":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "malformed_json"),
        (b"[]", "malformed_body"),
        (b"{}", "malformed_body"),
        (b'{"events":{}}', "malformed_body"),
        (b'"events"', "malformed_body"),
        (b"null", "malformed_body"),
    ],
)
def test_a_malformed_body_is_refused_as_a_whole(post: Post, body: bytes, code: str) -> None:
    answer = post(EVENTS, body)
    assert (answer.status_code, answer.json()["error"]["code"], quarantined()) == (400, code, [])


def test_too_much_at_once_is_refused(post: Post) -> None:
    body = orjson.dumps({"events": call(user_data="x" * (1024 * 1024))})
    answer = post(EVENTS, body)
    assert (answer.status_code, answer.json()) == (
        413,
        error("too_large", "The body may have at most 1048576 bytes."),
    )
    answer = post(EVENTS, orjson.dumps({"events": [{}] * 1001}))
    assert (answer.status_code, answer.json()) == (413, error("too_many", "A request may hold at most 1000 events."))
    answer = post(CDRS, b" " * (16 * 1024 * 1024) + b"{}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    answer = post(CDRS, orjson.dumps([{}] * 1001))
    assert (answer.status_code, answer.json()) == (
        413,
        error("too_many", "A request may hold at most 1000 documents."),
    )
    many = [b"{}\n" * 1001, b"x\n" + b"{}\n" * 2000, b"[" + b"1," * 100_000 + b"1]"]
    assert [post(CDRS, body).json()["error"]["code"] for body in many] == ["too_many"] * 3
    assert quarantined() == []


def without(name: str, **more: Any) -> dict[str, Any]:
    event = started("bad") | more
    del event[name]
    return event


DEEP: Any = []
for _ in range(600):
    DEEP = [DEEP]

BAD_EVENTS = [
    (7, "malformed_event"),
    (None, "malformed_event"),
    ([], "malformed_event"),
    ({}, "missing_field"),
    (without("id"), "missing_field"),
    (without("type"), "missing_field"),
    (without("session_id"), "missing_field"),
    (without("at"), "missing_field"),
    (without("caller"), "missing_field"),
    (without("callee"), "missing_field"),
    (started("bad", caller={"number": "1"}), "missing_field"),
    (started("bad", caller={"kind": "extension"}), "missing_field"),
    (started("bad", caller="101"), "bad_value"),
    (started("bad", caller={"number": "1", "kind": "alien"}), "bad_value"),
    (started("bad", type="call.exploded"), "unknown_type"),
    (started("bad", type=["call.started"]), "unknown_type"),
    (started("bad", id=True), "bad_value"),
    (started("bad", id={"a": 1}), "bad_value"),
    (started("bad", id=1.5), "bad_value"),
    (started("bad", id="x" * 129), "too_long"),
    (started("bad\x00"), "bad_value"),
    (started("bad\n"), "bad_value"),
    (started("bad", at="yesterday"), "bad_time"),
    (started("bad", at="2026-03-22T09:00:00"), "bad_time"),
    (started("bad", at=1e300), "bad_time"),
    (started("bad", at=-1), "bad_time"),
    (started("bad", at=True), "bad_time"),
    (started("bad", at=[]), "bad_time"),
    (started("bad", media=["smell"]), "bad_value"),
    (started("bad", media="audio"), "bad_value"),
    (started("bad", domain=["acme.test"]), "bad_value"),
    (started("bad", user_data={"a": 1}), "bad_value"),
    (started("bad", caller=DEEP), "bad_value"),
    (started("bad", type="target.added"), "missing_field"),
    (started("bad", type="target.ended", target_id="t1", end_reason="boredom"), "bad_value"),
    (started("bad", type="target.ended", target_id="t1", status_code=42), "bad_value"),
    (started("bad", type="call.ended", ended_reason=5), "bad_value"),
]


@pytest.mark.parametrize(("event", "code"), BAD_EVENTS)
def test_a_bad_event_is_kept_and_its_neighbours_are_applied(send: Send, event: Any, code: str) -> None:
    good = call()
    assert said(send([*good[:3], event, *good[3:]])) == [*["applied"] * 3, code, *["applied"] * 3]
    connection.set_schema("acme")
    assert list(CDR.objects.values_list("session_id", flat=True)) == ["s1"]
    assert [row[0] for row in quarantined()] == [code]


def test_what_no_text_can_hold_harms_no_neighbour(post: Post) -> None:
    name = '"caller":{"number":"101","kind":"extension","display_name":'
    body = orjson.dumps({"events": [*call("s1"), started("s2")]}).replace(
        b'"caller":{"number":"101","display_name":"Ada","kind":"extension"',
        name.encode() + b'"A\\ud800\\u0000\\u0007B\\u202eC"',
    )
    answer = post(EVENTS, body)
    assert (answer.status_code, said(answer.json()["results"])) == (200, ["applied"] * 7)
    connection.set_schema("acme")
    assert CDR.objects.values_list("caller_display_name", flat=True).get() == "A\ufffd  B\u202eC"


def test_an_integer_beyond_64_bits_keeps_every_digit(post: Post) -> None:
    body = orjson.dumps({"events": [started("s1"), started("s2")]}).replace(b'"s2-1"', b"123456789012345678901234")
    results = post(EVENTS, body).json()["results"]
    assert (said(results), results[1]["id"]) == (["applied", "applied"], "123456789012345678901234")


def test_a_merge_waits_for_the_session_that_goes_on(post: Post) -> None:
    merge = {"id": "m", "type": "session.merged", "session_id": "s1", "at": started("s1")["at"], "into": "s2"}
    assert said(post(EVENTS, {"events": [started("s1"), merge]}).json()["results"]) == ["applied", "held"]
    assert said(post(EVENTS, {"events": [started("s2")]}).json()["results"]) == ["applied"]
    with in_schema("acme"):
        assert LiveSession.objects.get(session_id="s1").merged_into == "s2"
    assert said(post(EVENTS, {"events": [merge]}).json()["results"]) == ["duplicate"]


def make_command(switch: Switch, **more: Any) -> SwitchCommand:
    fields: dict[str, Any] = {
        "tenant_id": Tenant.objects.get(schema_name="acme").pk,
        "command": SwitchCommand.Command.START,
        "session_id": "s1",
        "recording_id": "77",
        "medium": "audio",
        "options": {"pause_style": "silence", "dual_tracks": True},
    }
    return outbox.enqueue(switch, **(fields | more))


def shown(row: SwitchCommand) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "command": "start_recording",
        "session_id": "s1",
        "recording_id": "77",
        "segment": 1,
        "medium": "audio",
        "options": {"pause_style": "silence", "dual_tracks": True},
        "at": row.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def test_commands_come_until_they_are_confirmed(post: Post, system_client: Client, http_switch: Switch) -> None:
    row = make_command(http_switch)
    other = Switch.objects.create(name="Other", kind=Switch.Kind.HTTP, token_hash=token_hash("other"))
    make_command(other)
    answered = post(EVENTS, orjson.dumps({"events": []})).json()
    assert answered == {"results": [], "commands": [shown(row)]}
    assert system_client.get(COMMANDS, headers=BEARER).json() == {"commands": [shown(row)]}
    row.refresh_from_db()
    assert row.handed_out_at is not None

    for _ in range(2):
        confirmed = post(f"{COMMANDS}/{row.pk}", b'{"status":"failed","reason":"no such call"}')
        assert (confirmed.status_code, confirmed.json()) == (
            200,
            {"id": str(row.pk), "status": "failed", "reason": "no such call"},
        )
    contradicted = post(f"{COMMANDS}/{row.pk}", b'{"status":"done"}')
    assert (contradicted.status_code, contradicted.json()["error"]["code"]) == (409, "already_confirmed")
    assert system_client.get(COMMANDS, headers=BEARER).json() == {"commands": []}


@pytest.mark.parametrize(
    "body",
    [
        b"{}", b'{"status":"maybe"}', b'{"status":["done"]}', b'{"status":"done","reason":1}',
        b'{"status":"done","at":"yesterday"}', b'{"status":"done","at":["2026-03-22T09:00:00Z"]}',
    ],
)  # fmt: skip
def test_a_confirmation_that_says_nothing_is_refused(post: Post, http_switch: Switch, body: bytes) -> None:
    row = make_command(http_switch)
    answer = post(f"{COMMANDS}/{row.pk}", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_value")


def test_a_switch_says_when_it_was_done(post: Post, http_switch: Switch) -> None:
    def done(given: timedelta, said: timedelta) -> tuple[datetime, datetime]:
        """When a command given so long ago was done, by a switch that says so long after it; and when it was given."""
        row = make_command(http_switch)
        row.at = timezone.now() - given
        row.save(update_fields=["at"])
        body = orjson.dumps({"status": "done", "at": (row.at + said).isoformat()})
        assert post(f"{COMMANDS}/{row.pk}", body).status_code == 200
        row.refresh_from_db()
        assert row.confirmed_at is not None
        return row.confirmed_at, row.at

    minute = timedelta(minutes=1)
    said, given = done(minute, minute / 2)
    assert said == given + minute / 2
    said, given = done(minute, -minute)
    assert said == given, "nothing is done before it was commanded"
    before = timezone.now()
    said, given = done(minute, 60 * minute)
    assert before <= said <= timezone.now(), "its clock is ahead of ours"


@pytest.mark.parametrize("given", ["0", "x", "-1", "9" * 30, "١"])
def test_another_switchs_command_does_not_exist(post: Post, http_switch: Switch, given: str) -> None:
    other = Switch.objects.create(name="Other", kind=Switch.Kind.HTTP, token_hash=token_hash("other"))
    for command_id in (given, str(make_command(other).pk)):
        answer = post(f"{COMMANDS}/{command_id}", b'{"status":"done"}')
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("wait", ["x", "-1", "61", "1.5", "9999"])
def test_a_wait_that_is_no_number_of_seconds_is_refused(system_client: Client, http_switch: Switch, wait: str) -> None:
    answer = system_client.get(f"{COMMANDS}?wait={wait}", headers=BEARER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_value")


def test_a_database_that_is_away_asks_the_switch_to_try_again(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from django.db import OperationalError

    from pbx import intake

    def fail(*_: Any) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(intake.calls, "apply", fail)
    answer = post(EVENTS, orjson.dumps({"events": [started(at=at(0))]}))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json() == error("try_again", "The database did not answer. Nothing was kept: send it again.")
