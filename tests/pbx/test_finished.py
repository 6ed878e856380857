"""Finished CDRs through the Switch API, as a PortSIP webhook posts them."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db import connection

from accounts.models import Extension
from cdr.models import CDR, RateRule
from events.models import Event
from pbx import quarantine, rerun
from tenants.changes import SYSTEM
from tenants.crypto import token_hash
from tenants.models import InboundRule, SipDomain, Switch, Tenant
from tests.pbx.conftest import BEARER, CDRS, EVENTS, Post, call, quarantined, said

PRINTED = Path(__file__).parent / "data" / "specification_v16.json"  # as printed: a comma is missing


@pytest.fixture
def spec_tenant(tenants: None) -> Tenant:
    tenant = Tenant.objects.get(schema_name="acme")
    SipDomain.objects.create(tenant=tenant, domain="test.io")
    connection.set_schema("acme")
    Extension.objects.bulk_create(Extension(number=number) for number in ("101", "102", "103"))
    connection.set_schema_to_public()
    return tenant


def corrected() -> bytes:
    return PRINTED.read_bytes().replace(b'"AudioCodes"\n"user_data"', b'"AudioCodes",\n"user_data"')


def document(**more: Any) -> dict[str, Any]:
    """A call from 101 to 102, answered after five seconds, twenty seconds long."""
    times = {"start_time": "1679476851", "ring_time": "1679476852", "answered_time": "1679476856"}
    target = {"callee": "102", "caller": "101", "call_type": "normal_call", "end_reason": "callee_disconnect"}
    return {
        **times,
        "ended_time": "1679476876",
        "session_id": "690852418417594368",
        "event_type": "call_cdr",
        "direction": "ext",
        "caller": "101",
        "callee": "102",
        "caller_domain": "acme.test",
        "callee_domain": "acme.test",
        "ended_reason": "callee_disconnect",
        "status_code": "0",
        "call_targets": [{**target, **times, "ended_time": "1679476876", "status_code": 0}],
    } | more


def pushed(schema: str = "acme") -> list[dict[str, Any]]:
    connection.set_schema(schema)
    return [orjson.loads(body) for body in Event.objects.values_list("body", flat=True)]


def sessions(schema: str = "acme") -> list[str]:
    connection.set_schema(schema)
    found = list(CDR.objects.order_by("session_id").values_list("session_id", flat=True))
    connection.set_schema_to_public()
    return found


def test_the_specifications_example_as_printed_is_kept_byte_for_byte(post: Post, spec_tenant: Tenant) -> None:
    answer = post(CDRS, PRINTED.read_bytes())
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "malformed_json"
    assert said(answer.json()["results"]) == ["malformed_json"]
    assert quarantined() == [("malformed_json", "", PRINTED.read_bytes())]
    post(CDRS, PRINTED.read_bytes())
    assert len(quarantined()) == 1


def test_the_specifications_example_corrected_is_pushed_again_as_it_came(post: Post, spec_tenant: Tenant) -> None:
    given = orjson.loads(corrected())
    answer = post(CDRS, corrected())
    assert (answer.status_code, answer.json()) == (
        200,
        {"results": [{"id": "690852418417594368", "status": "applied"}]},
    )
    (sent,) = pushed()
    ids = [target.pop("id") for target in sent["call_targets"]]
    assert len(set(ids)) == 4
    for target in given["call_targets"]:
        del target["id"]
    given |= {"tenant_id": str(spec_tenant.pk), "tenant_name": "Acme Inc.", "event_id": "1"}
    assert sent == given
    record = CDR.objects.get()
    assert [target.kind for target in record.targets.all()] == ["service", "service", "extension", "extension"]
    assert (record.status, record.ring_duration, record.talk_duration) == ("answered", 0, 19)
    assert record.extensions == ["102", "103"]


def test_the_v22_spelling_with_numbers_for_strings_is_the_same_call(post: Post, spec_tenant: Tenant) -> None:
    given = orjson.loads(corrected())
    given["did"] = given.pop("did_cid")
    given |= {"direction": "inbound", "session_id": 690852418417594368, "call_status": "answered"}
    given |= {"end_reason": given.pop("ended_reason"), "end_time": int(given.pop("ended_time")), "talk_duration": 19}
    for name in ("start_time", "ring_time", "answered_time", "status_code"):
        given[name] = int(given[name])
    for target in given["call_targets"]:
        target |= {"ended_reason": target.pop("end_reason"), "end_time": int(target.pop("ended_time"))}
        target |= {"status": "answered", "ring_duration": "0", "talk_duration": "5", "cost": "0.1"}
    assert post(CDRS, orjson.dumps(given)).json()["results"] == [{"id": "690852418417594368", "status": "applied"}]
    (sent,) = pushed()
    post(CDRS, corrected().replace(b"690852418417594368", b"2"))
    other = pushed()[1]
    for each in (sent, other):
        del each["session_id"], each["event_id"]
        for target in each["call_targets"]:
            del target["id"]
    assert sent == other


def test_a_session_is_written_once(post: Post, spec_tenant: Tenant) -> None:
    twice = orjson.dumps([document(), document(caller="103")])
    assert said(post(CDRS, twice).json()["results"]) == ["applied", "duplicate"]
    assert said(post(CDRS, twice).json()["results"]) == ["duplicate", "duplicate"]
    assert (sessions(), len(pushed())) == (["690852418417594368"], 1)


def test_a_session_of_another_switch_is_a_conflict(post: Post, spec_tenant: Tenant) -> None:
    Switch.objects.create(name="Other", kind=Switch.Kind.HTTP, token_hash=token_hash("other"))
    assert said(post(CDRS, orjson.dumps(document())).json()["results"]) == ["applied"]
    others = post(CDRS, orjson.dumps(document()), headers={"Authorization": "Bearer other"})
    assert said(others.json()["results"]) == ["session_conflict"]


def test_a_call_known_by_its_events_is_a_duplicate(post: Post, spec_tenant: Tenant) -> None:
    post(EVENTS, orjson.dumps({"events": call()[:2]}))
    assert said(post(CDRS, orjson.dumps(document(session_id="s1"))).json()["results"]) == ["duplicate"]
    assert said(post(EVENTS, orjson.dumps({"events": call()[2:]})).json()["results"]) == ["applied"] * 4
    assert sessions() == ["s1"]


def test_ndjson_with_one_bad_line_writes_the_others(post: Post, spec_tenant: Tenant) -> None:
    bad = b'{"session_id": "2", "caller": '
    lines = [orjson.dumps(document(session_id="1")), bad, b"", orjson.dumps(document(session_id="3")) + b"\r"]
    for content_type in ("application/x-ndjson", "application/json"):
        answer = post(CDRS, b"\n".join(lines), content_type=content_type)
        assert answer.status_code == 200
        assert said(answer.json()["results"])[1] == "malformed_json"
    assert (sessions(), quarantined()) == (["1", "3"], [("malformed_json", "", bad)])


def test_an_item_of_an_array_is_kept_as_its_own_bytes(post: Post, spec_tenant: Tenant) -> None:
    odd = b'{ "session_id" : 17,\n "direction": "sideways", "callee_domain": "acme.test",'
    odd += b' "start_time": 1679476851, "ended_time": 1679476852 }'
    body = b"[" + orjson.dumps(document(session_id="1")) + b" ,\n " + odd + b"]"
    assert said(post(CDRS, body).json()["results"]) == ["applied", "bad_value"]
    assert quarantined() == [("bad_value", "17", odd)]


def target(**more: Any) -> dict[str, Any]:
    return document()["call_targets"][0] | more


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"session_id": ""}, "missing_field"),
        ({"session_id": None}, "missing_field"),
        ({"session_id": ["1"]}, "bad_value"),
        ({"session_id": "x" * 129}, "too_long"),
        ({"session_id": "a\x00b"}, "bad_value"),
        ({"event_type": "call_start"}, "unknown_type"),
        ({"callee_domain": "", "caller_domain": ""}, "unknown_tenant"),
        ({"callee_domain": "nowhere.test", "caller_domain": "nowhere.test", "did_cid": "555"}, "unknown_tenant"),
        ({"callee_domain": 5.5}, "bad_value"),
        ({"start_time": "0"}, "missing_field"),
        ({"ended_time": None}, "missing_field"),
        ({"start_time": "soon"}, "bad_time"),
        ({"start_time": "1679476876", "ended_time": "1679476851"}, "times_reversed"),
        ({"ended_time": "4679476876"}, "time_in_future"),
        ({"direction": "up"}, "bad_value"),
        ({"direction": ""}, "missing_field"),
        ({"ended_reason": "boredom"}, "bad_value"),
        ({"status_code": "x"}, "bad_value"),
        ({"caller": {"number": "101"}}, "bad_value"),
        ({"caller": "1" * 65}, "too_long"),
        ({"user_data": {"a": 1}}, "bad_value"),
        ({"call_targets": {"a": 1}}, "bad_value"),
        ({"call_targets": ["102"]}, "bad_value"),
        ({"call_targets": [target()] * 201}, "too_long"),
        ({"call_targets": [target(call_type="seance")]}, "bad_value"),
        ({"call_targets": [target(start_time="0")]}, "missing_field"),
        ({"call_targets": [target(status_code=7)]}, "bad_value"),
    ],
)
def test_a_document_that_cannot_be_used_is_kept_and_its_neighbours_are_written(
    post: Post, spec_tenant: Tenant, change: dict[str, Any], code: str
) -> None:
    bad = orjson.dumps(document() | change)
    body = (
        b"[" + b",".join([orjson.dumps(document(session_id="1")), bad, orjson.dumps(document(session_id="3"))]) + b"]"
    )
    assert said(post(CDRS, body).json()["results"]) == ["applied", code, "applied"]
    assert sessions() == ["1", "3"]
    ((kept, _, raw),) = quarantined()
    assert (kept, raw) == (code, bad)


@pytest.mark.parametrize("body", [b"", b" \n", b"7", b'"x"', b"null", b"[7, null]"])
def test_what_is_no_document_at_all(post: Post, spec_tenant: Tenant, body: bytes) -> None:
    answer = post(CDRS, body)
    codes = [answer.json()["error"]["code"]] if "error" in answer.json() else said(answer.json()["results"])
    assert set(codes) == {"malformed_document" if body.strip() else "malformed_body"}


def test_an_empty_array_is_nothing_to_do(post: Post, spec_tenant: Tenant) -> None:
    answer = post(CDRS, b"[]")
    assert (answer.status_code, answer.json()) == (200, {"results": []})


def test_a_did_finds_the_tenant_and_quarantine_runs_again(post: Post, spec_tenant: Tenant) -> None:
    given = document(callee_domain="", caller_domain="10.0.0.1", did_cid="18800606", direction="in", caller="1888722")
    assert said(post(CDRS, orjson.dumps(given)).json()["results"]) == ["unknown_tenant"]
    assert rerun.rerun(SYSTEM, quarantine.waiting()) == rerun.Outcome(0, 1)
    connection.set_schema_to_public()
    InboundRule.objects.create(number="18800606", tenant=Tenant.objects.get(schema_name="globex"))
    assert rerun.rerun(SYSTEM, quarantine.waiting()) == rerun.Outcome(1, 0)
    assert (sessions(), sessions("globex"), quarantined()) == ([], ["690852418417594368"], [])


def test_a_suspended_tenant_takes_nothing(post: Post, spec_tenant: Tenant) -> None:
    Tenant.objects.filter(schema_name="acme").update(state=Tenant.State.SUSPENDED)
    assert said(post(CDRS, orjson.dumps(document())).json()["results"]) == ["tenant_suspended"]
    assert sessions() == []


def test_an_outbound_leg_is_billed_by_the_tenants_rates_else_by_the_switch(post: Post, spec_tenant: Tenant) -> None:
    abroad = {"callee": "4930123456", "trunk_name": "AudioCodes", "outbound_caller_id": "18800606", "cost": "0.75"}
    given = document(direction="out", callee="4930123456", call_targets=[target(**abroad)])
    post(CDRS, orjson.dumps(given))
    connection.set_schema("acme")
    RateRule.objects.create(prefix="49", price_1=1, price_n=1)
    connection.set_schema_to_public()
    post(CDRS, orjson.dumps(given | {"session_id": "2"}))
    connection.set_schema("acme")
    assert [str(cost) for cost in CDR.objects.order_by("id").values_list("cost", flat=True)] == ["0.75000", "1.00000"]
    assert [record.extensions for record in CDR.objects.all()] == [["101"], ["101"]]


def test_names_and_user_data_of_every_kind_stay_whole(post: Post, spec_tenant: Tenant) -> None:
    given = document(caller_display_name="Zoë \u0007 你好 👩‍💻", user_data="line one\nline\x00 two\t{}")
    raw = orjson.dumps(given).replace(b'"zz"', b"")
    assert said(post(CDRS, raw).json()["results"]) == ["applied"]
    connection.set_schema("acme")
    record = CDR.objects.get()
    assert (record.caller_display_name, record.user_data) == ("Zoë   你好 👩‍💻", "line one\nline two\t{}")


def test_five_hundred_at_once_cost_as_many_queries_as_one(post: Post, spec_tenant: Tenant) -> None:
    from django.test.utils import CaptureQueriesContext

    post(CDRS, orjson.dumps([document(session_id="warm")]))
    with CaptureQueriesContext(connection) as one:
        post(CDRS, orjson.dumps([document(session_id="one")]))
    with CaptureQueriesContext(connection) as many:
        answer = post(CDRS, orjson.dumps([document(session_id=f"n{number}") for number in range(500)]))
    assert said(answer.json()["results"]) == ["applied"] * 500
    assert len(many) == len(one)
    assert len(sessions()) == 502


def test_the_token_is_no_part_of_what_is_kept(post: Post, spec_tenant: Tenant) -> None:
    post(CDRS, PRINTED.read_bytes())
    token = BEARER["Authorization"].split()[1].encode()
    assert not any(re.search(token, raw) for _, _, raw in quarantined())
