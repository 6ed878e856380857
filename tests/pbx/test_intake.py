"""Events through the Switch API: what is applied, waits, is a duplicate, is refused."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry
from cdr.models import CDR
from pbx import intake, quarantine, rerun
from pbx.models import HeldEvent, Quarantined
from pbx.tasks import sweep_held
from tenants.changes import SYSTEM
from tenants.crypto import token_hash
from tenants.models import InboundRule, SessionRoute, Switch, Tenant, Trunk
from tests.pbx.conftest import at, call, quarantined, said, started

Send = Callable[[list[Any]], list[dict[str, Any]]]
AHEAD = timedelta(minutes=6)


def records(schema: str = "acme") -> list[tuple[str, str, int]]:
    connection.set_schema(schema)
    found = list(CDR.objects.order_by("session_id").values_list("session_id", "end_reason", "talk_duration"))
    connection.set_schema_to_public()
    return found


def suspend(schema: str = "acme", state: str = Tenant.State.SUSPENDED) -> None:
    Tenant.objects.filter(schema_name=schema).update(state=state)


def age_held(seconds: int) -> None:
    HeldEvent.objects.update(received_at=timezone.now() - timedelta(seconds=seconds))


def test_a_call_becomes_a_record(send: Send) -> None:
    results = send(call())
    assert results == [{"id": f"s1-{number}", "status": "applied"} for number in range(1, 7)]
    assert (records(), records("globex"), quarantined()) == ([("s1", "callee_disconnect", 15)], [], [])


def test_two_tenants_share_a_batch_and_extension_numbers(send: Send) -> None:
    ours, theirs = call("s1"), call("s2", domain="globex.test")
    mixed = [event for pair in zip(ours, theirs, strict=True) for event in pair]
    assert said(send(mixed)) == ["applied"] * 12
    assert (records(), records("globex")) == ([("s1", "callee_disconnect", 15)], [("s2", "callee_disconnect", 15)])


def test_a_did_finds_the_tenant_and_the_longest_rule_wins(send: Send, http_switch: Switch) -> None:
    acme, globex = Tenant.objects.get(schema_name="acme"), Tenant.objects.get(schema_name="globex")
    trunk = Trunk.objects.create(name="AudioCodes")
    InboundRule.objects.create(number="1880", kind="prefix", tenant=acme)
    InboundRule.objects.create(number="18800606", kind="did", tenant=globex)
    InboundRule.objects.create(number="18800606", kind="did", tenant=acme, trunk=trunk)
    events = [
        started("s1", domain="", did="18800999"),
        started("s2", domain="", did="18800606"),
        started("s3", domain="", did="18800606", trunk="AudioCodes"),
        started("s4", domain="", did="19900606"),
    ]
    assert said(send(events)) == ["applied", "applied", "applied", "unknown_tenant"]
    routes = dict(SessionRoute.objects.values_list("session_id", "tenant_id"))
    assert routes == {"s1": acme.pk, "s2": globex.pk, "s3": acme.pk}


def test_a_repeat_is_a_duplicate(send: Send) -> None:
    events = call()
    assert said(send([events[0], events[0], *events[1:]])) == ["applied", "duplicate", *["applied"] * 5]
    assert said(send(events)) == ["duplicate"] * 6
    assert records() == [("s1", "callee_disconnect", 15)]


def test_events_before_the_start_wait_for_it(send: Send) -> None:
    events = call()
    assert said(send(events[1:4])) == ["held"] * 3
    assert said(send(events[2:3])) == ["duplicate"]
    assert said(send([events[0]])) == ["applied"]
    assert HeldEvent.objects.count() == 0
    assert said(send(events[4:])) == ["applied"] * 2
    assert records() == [("s1", "callee_disconnect", 15)]


def test_the_order_inside_a_batch_does_not_matter(send: Send) -> None:
    assert said(send(call()[::-1])) == ["applied"] * 6
    assert records() == [("s1", "callee_disconnect", 15)]


def test_held_too_long_goes_to_quarantine_and_runs_again(send: Send) -> None:
    events = call()
    send(events[1:])
    age_held(59)
    sweep_held()
    assert quarantined() == []
    age_held(61)
    sweep_held()
    assert [(code, session_id) for code, session_id, _ in quarantined()] == [("call_not_started", "s1")] * 5
    assert HeldEvent.objects.count() == 0
    assert rerun.rerun(SYSTEM, quarantine.waiting()) == rerun.Outcome(applied=0, waiting=5)
    assert said(send([events[0]])) == ["applied"]
    one = quarantine.waiting().order_by("-id")[:1]
    assert rerun.rerun(SYSTEM, Quarantined.objects.filter(pk__in=one.values("pk"))) == rerun.Outcome(5, 0)
    assert (records(), quarantined()) == ([("s1", "callee_disconnect", 15)], [])
    assert list(AuditEntry.objects.filter(action="quarantine.rerun").values_list("after", flat=True)) == [
        {"applied": 5},
        {"applied": 0},
    ]


def test_a_quarantined_event_that_comes_again_is_no_duplicate(send: Send) -> None:
    events = call()
    send(events[1:])
    age_held(61)
    sweep_held()
    assert said(send([events[0]])) == ["applied"]
    assert said(send(events[1:])) == ["applied"] * 5
    assert rerun.rerun(SYSTEM, quarantine.waiting()) == rerun.Outcome(5, 0)
    assert records() == [("s1", "callee_disconnect", 15)]


def test_events_overtaken_by_their_start_are_applied_by_the_sweep(send: Send, http_switch: Switch) -> None:
    events = call()
    send(events[1:])
    waiting = list(HeldEvent.objects.values("switch_id", "event_id", "session_id", "body"))
    HeldEvent.objects.all().delete()
    send([events[0]])
    HeldEvent.objects.bulk_create(HeldEvent(**row) for row in waiting)
    sweep_held()
    assert (records(), HeldEvent.objects.count()) == ([("s1", "callee_disconnect", 15)], 0)


def test_unknown_tenant_keeps_the_whole_call_until_the_rule_is_there(send: Send) -> None:
    events = call(domain="nowhere.test", did="18800606")
    assert said(send(events[:3])) == ["unknown_tenant"] * 3
    assert said(send(events[3:])) == ["unknown_tenant"] * 3
    assert [orjson.loads(raw)["id"] for _, _, raw in quarantined()] == [event["id"] for event in events]
    send(events)
    assert len(quarantined()) == 6
    InboundRule.objects.create(number="18800606", kind="did", tenant=Tenant.objects.get(schema_name="acme"))
    first = Quarantined.objects.order_by("id")[:1]
    assert rerun.rerun(SYSTEM, Quarantined.objects.filter(pk__in=first.values("pk"))) == rerun.Outcome(6, 0)
    assert (records(), quarantined()) == ([("s1", "callee_disconnect", 15)], [])


def test_neighbours_of_a_refused_event_are_applied(send: Send) -> None:
    results = send([started("s2", domain="nowhere.test"), *call("s1")])
    assert said(results) == ["unknown_tenant", *["applied"] * 6]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (Tenant.State.SUSPENDED, "tenant_suspended"),
        (Tenant.State.CREATING, "tenant_not_ready"),
        (Tenant.State.DELETING, "tenant_not_ready"),
    ],
)
def test_a_tenant_that_is_not_active_takes_nothing(send: Send, state: str, code: str) -> None:
    events = call()
    assert said(send(events[:3])) == ["applied"] * 3
    suspend(state=state)
    assert said(send([*events[3:], *call("s2")])) == [code] * 9
    assert len(quarantined()) == 9
    suspend(state=Tenant.State.ACTIVE)
    assert rerun.rerun(SYSTEM, quarantine.waiting()) == rerun.Outcome(9, 0)
    assert records() == [("s1", "callee_disconnect", 15), ("s2", "callee_disconnect", 15)]


def test_a_session_of_another_switch_is_a_conflict(send: Send) -> None:
    other = Switch.objects.create(name="Other", kind=Switch.Kind.HTTP, token_hash=token_hash("other"))
    events = call()
    assert said(send(events[:3])) == ["applied"] * 3
    foreign = [event | {"id": f"other-{event['id']}"} for event in events]
    answered = intake.take_documents(other, foreign)
    assert [result.code for result in answered] == ["session_conflict"] * 6
    assert said(send(events[3:])) == ["applied"] * 3
    assert rerun.rerun(SYSTEM, quarantine.waiting()) == rerun.Outcome(0, 6)
    assert records() == [("s1", "callee_disconnect", 15)]


def test_the_same_event_id_of_two_switches_is_two_events(send: Send) -> None:
    other = Switch.objects.create(name="Other", kind=Switch.Kind.HTTP, token_hash=token_hash("other"))
    send(call())
    theirs = [event | {"session_id": "s9"} for event in call()]
    assert [result.status for result in intake.take_documents(other, theirs)] == ["applied"] * 6
    assert [session_id for session_id, _, _ in records()] == ["s1", "s9"]


def test_a_session_of_another_tenant_is_a_conflict(send: Send) -> None:
    send(call())
    again = started("s1", domain="globex.test") | {"id": "again"}
    both = [started("s2"), started("s2", domain="globex.test") | {"id": "s2-other"}]
    assert said(send([again, *both])) == ["session_conflict", "applied", "session_conflict"]
    assert records("globex") == []


def test_an_event_of_the_future_waits_in_quarantine(send: Send) -> None:
    soon = (timezone.now() + timedelta(minutes=4)).isoformat()
    late = (timezone.now() + AHEAD).isoformat()
    events = [started("s1", at=soon), started("s2", at=late), {"id": "x"} | started("s1") | {"id": "x", "at": late}]
    assert said(send(events)) == ["applied", "time_in_future", "time_in_future"]
    assert [code for code, _, _ in quarantined()] == ["time_in_future"] * 2


def test_times_that_run_backwards_never_make_a_negative_duration(send: Send) -> None:
    events = call()
    events[3]["at"], events[4]["at"], events[5]["at"] = at(30), at(10), at(-5)
    assert said(send(events)) == ["applied"] * 6
    connection.set_schema("acme")
    record = CDR.objects.get()
    assert (record.ring_duration >= 0, record.talk_duration >= 0) == (True, True)


def test_one_event_that_breaks_takes_no_other_along(
    send: Send, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    apply = intake.calls.apply

    def fails_for_one(tenant: Tenant, switch_id: int, events: Any) -> Any:
        if any(event.id == "s2-3" for event in events):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")
        return apply(tenant, switch_id, events)

    monkeypatch.setattr(intake.calls, "apply", fails_for_one)
    results = send([*call("s1"), *call("s2")])
    assert said(results) == [*["applied"] * 8, "not_applicable", *["applied"] * 3]
    assert records() == [("s1", "callee_disconnect", 15), ("s2", "callee_disconnect", 15)]
    assert [(code, session_id) for code, session_id, _ in quarantined()] == [("not_applicable", "s2")]


def test_names_in_every_script_and_ids_beyond_2_to_the_53_stay_whole(send: Send) -> None:
    name = "Ångström Łódź Ελλάδα Привет שלום مرحبا नमस्ते 你好 こんにちは 👩‍💻"
    session_id = 2**63 + 11
    caller = {"number": "101", "display_name": name, "kind": "extension"}
    events = call(str(session_id), caller=caller)
    events[0]["session_id"] = session_id
    events[0]["id"] = 9007199254740993
    assert said(send(events)) == ["applied"] * 6
    connection.set_schema("acme")
    assert CDR.objects.values_list("session_id", "caller_display_name").get() == (str(session_id), name)


def test_last_seen_is_noted(send: Send, http_switch: Switch) -> None:
    send([])
    http_switch.refresh_from_db()
    assert timezone.now() - http_switch.last_event_at < timedelta(seconds=5)


def test_a_batch_of_one_call_costs_as_many_queries_as_one_of_ten(send: Send) -> None:
    from django.test.utils import CaptureQueriesContext

    send(call("warm"))
    with CaptureQueriesContext(connection) as one:
        send(call("a1"))
    with CaptureQueriesContext(connection) as ten:
        send([event for number in range(10) for event in call(f"b{number}")])
    assert len(ten) == len(one)
