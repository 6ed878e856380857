"""What happens while a call lasts, as the tenant's event log tells it when asked to."""

import orjson
from django.db import transaction

from cdr import calls, progress
from cdr.callevents import CallEvent
from cdr.models import CDR
from events.models import Event
from tenants.models import Tenant
from tests.cdr.tables import SESSION, events, ext, outside, spec_call


def apply(tenant: Tenant, told: list[CallEvent]) -> None:
    with transaction.atomic():
        calls.apply(tenant, 7, told)


def log_of(*types: str) -> list[dict[str, str]]:
    return [orjson.loads(body) for body in Event.objects.filter(type__in=types).values_list("body", flat=True)]


def test_nothing_is_told_unless_the_tenant_asked(acme: Tenant) -> None:
    apply(acme, spec_call())
    assert [event.type for event in Event.objects.all()] == ["call_cdr"]


def test_call_start_tells_the_id_that_the_record_will_have(acme: Tenant) -> None:
    acme.event_types = ["call_start"]
    for event in spec_call():
        apply(acme, [event])
    assert log_of("call_start") == [
        {
            "event_type": "call_start",
            "call_id": "b6PEEYEcn5speSovMAybCw..",
            "callee": "sip:5000@acme.test",
            "callee_display_name": "Main menu",
            "caller": "sip:1888722@192.168.0.16",
            "caller_display_name": "",
            "cdr_id": str(CDR.objects.get().pk),
            "direction": "inbound",
            "session_id": SESSION,
            "tenant_id": str(acme.pk),
            "time": "1679476851",
            "user_data": "",
            "did": "18800606",
            "outbound_caller_id": "",
            "event_id": "1",
        }
    ]


def test_targets_are_told_as_they_come_and_go(acme: Tenant) -> None:
    acme.event_types = list(progress.TYPES)
    apply(acme, spec_call())
    told = [(each.type, orjson.loads(each.body).get("callee")) for each in Event.objects.all()]
    assert told == [
        ("call_start", "sip:5000@acme.test"),
        ("cdr_target_add", "5000"),
        ("cdr_target_ringing", "5000"),
        ("cdr_target_answer", "5000"),
        ("cdr_target_end", "5000"),
        ("cdr_target_add", "8000"),
        ("cdr_target_answer", "8000"),
        ("cdr_target_add", "102"),
        ("cdr_target_ringing", "102"),
        ("cdr_target_add", "103"),
        ("cdr_target_ringing", "103"),
        ("cdr_target_answer", "103"),
        ("cdr_target_noanswer", "102"),
        ("cdr_target_end", "8000"),
        ("cdr_target_end", "103"),
        ("call_cdr", "5000"),
    ]
    assert [each.sequence for each in Event.objects.all()] == list(range(1, 17))


def test_target_message_holds_nothing_but_strings(acme: Tenant) -> None:
    acme.event_types = ["cdr_target_fail", "call_update_info"]
    apply(
        acme,
        events(
            (0, "call.started", {"caller": ext("101"), "callee": outside("555")}),
            (1, "target.added", {"target_id": "t", "callee": outside("555"), "destination": "sip:555@10.0.0.9"}),
            (2, "party.updated", {"leg": "caller", "display_name": "Ann"}),
            (3, "target.ended", {"target_id": "t", "end_reason": "callee_disconnect", "status_code": 486}),
        ),
    )
    (failed,) = log_of("cdr_target_fail")
    (updated,) = log_of("call_update_info")
    assert failed == {
        "event_type": "cdr_target_fail",
        "time": "1679476803",
        "session_id": SESSION,
        "cdr_id": failed["cdr_id"],
        "tenant_id": str(acme.pk),
        "direction": "outbound",
        "destination": "sip:555@10.0.0.9",
        "caller": "101",
        "callee": "555",
        "did": "",
        "outbound_caller_id": "",
        "event_id": "2",
    }
    assert all(isinstance(value, str) for value in updated.values())
    assert (updated["caller_display_name"], updated["caller"]) == ("Ann", "sip:101@acme.test")
