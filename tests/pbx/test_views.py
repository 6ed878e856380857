"""The quarantine's page, and who may see it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client

from accounts.models import AuditEntry, User
from accounts.roles import Role
from cdr.models import CDR
from pbx import quarantine
from pbx.models import Quarantined
from pbx.quarantine import Reject
from pbx.routes import Refusal
from tenants.models import InboundRule, Switch, Tenant
from tests.pbx.conftest import call

Send = Callable[[list[Any]], list[dict[str, Any]]]


@pytest.fixture
def desk(tenants: None) -> Client:
    """A system administrator's browser."""
    client = Client(headers={"host": "portal.test"})
    client.force_login(User.objects.create_user("root", "correct horse", role=Role.SYSTEM))
    return client


def keep(switch: Switch, number: int, **more: Any) -> None:
    fields: dict[str, Any] = {
        "kind": Quarantined.Kind.EVENT,
        "raw": f"raw {number}".encode(),
        "refusal": Refusal("unknown_tenant", f"Reason {number}"),
        "session_id": f"s{number}",
    }
    quarantine.keep(switch.pk, [Reject(**(fields | more))])


def told(client: Client, answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


@pytest.mark.parametrize("path", ["/quarantine", "/quarantine/1", "/quarantine/1/raw"])
def test_a_stranger_is_asked_to_sign_in(system_client: Client, path: str) -> None:
    answer = system_client.get(path)
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/sign-in")


@pytest.mark.parametrize("path", ["/quarantine", "/quarantine/1", "/quarantine/1/raw", "/api/v1/quarantine"])
def test_a_tenants_host_has_no_quarantine(acme_client: Client, make_user: Callable[..., User], path: str) -> None:
    acme_client.force_login(make_user())
    assert acme_client.get(path).status_code == 404


def test_the_list_tells_why_and_the_filter_narrows(desk: Client, http_switch: Switch) -> None:
    keep(http_switch, 1)
    keep(http_switch, 2, refusal=Refusal("bad_time", "at must be RFC 3339."))
    page = desk.get("/quarantine").content.decode()
    assert re.findall(r'class="who" href="/quarantine/\d+"[^>]*>([^<]+)<', page) == ["at must be RFC 3339.", "Reason 1"]
    assert re.findall(r'href="\?code=(\w+)"', page) == ["bad_time", "unknown_tenant"]
    narrowed = desk.get("/quarantine?code=unknown_tenant").content.decode()
    assert re.findall(r'class="who" href="/quarantine/\d+"[^>]*>([^<]+)<', narrowed) == ["Reason 1"]
    assert "Add an inbound rule for its DID" in narrowed
    by_session = desk.get("/quarantine?session_id=s2").content.decode()
    assert re.findall(r'class="who" href="/quarantine/\d+"[^>]*>([^<]+)<', by_session) == ["at must be RFC 3339."]
    assert "Nothing waits here" in desk.get("/quarantine?session_id=nobody%00").content.decode()


def test_a_long_list_has_pages(desk: Client, http_switch: Switch) -> None:
    for number in range(51):
        keep(http_switch, number)
    page = desk.get("/quarantine").content.decode()
    (older,) = re.findall(r'href="(\?cursor=[^"]+)" rel="next"', page)
    assert page.count('class="who"') == 50
    assert desk.get(f"/quarantine{older}").content.decode().count('class="who"') == 1
    assert desk.get("/quarantine?cursor=nonsense").content.decode().count('class="who"') == 50


def test_the_list_costs_as_many_queries_at_one_row_as_at_three(desk: Client, http_switch: Switch) -> None:
    from django.test.utils import CaptureQueriesContext

    keep(http_switch, 1)
    desk.get("/quarantine")
    with CaptureQueriesContext(connection) as one:
        desk.get("/quarantine")
    keep(http_switch, 2)
    keep(http_switch, 3)
    with CaptureQueriesContext(connection) as three:
        desk.get("/quarantine")
    assert len(three) == len(one)


def test_what_was_sent_can_do_nothing_on_the_page(desk: Client, http_switch: Switch) -> None:
    raw = b'<script>alert("x")</script>\xff\x00\x1b[31m\xe2\x80\xae{{ 7 }}'
    keep(http_switch, 1, raw=raw)
    row = Quarantined.objects.get()
    page = desk.get(f"/quarantine/{row.pk}").content.decode()
    (shown,) = re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert shown == ("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;\\xff\\u0000\\u001b[31m\\u202e{{ 7 }}")
    answer = desk.get(f"/quarantine/{row.pk}/raw")
    assert (answer.content, answer.headers["Content-Type"]) == (raw, "application/octet-stream")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="quarantined-{row.pk}.txt"'


@pytest.mark.parametrize("path", ["/quarantine/999", f"/quarantine/{2**63}", "/quarantine/999/raw"])
def test_a_missing_row_is_not_found(desk: Client, path: str) -> None:
    assert desk.get(path).status_code == 404


def test_a_call_without_a_rule_is_run_again_once_the_rule_is_there(desk: Client, send: Send) -> None:
    send(call(domain="", did="+18800606"))
    row = Quarantined.objects.order_by("id").first()
    assert row is not None
    page = desk.get(f"/quarantine/{row.pk}").content.decode()
    assert 'href="/inbound-rules/new?number=%2B18800606"' in page
    assert "6 of its session wait; they are run together." in page
    answer = desk.post("/quarantine/rerun", {"id": row.pk})
    assert told(desk, answer) == ["6 still cannot be used and stay here."]
    InboundRule.objects.create(number="18800606", tenant=Tenant.objects.get(schema_name="acme"))
    answer = desk.post("/quarantine/rerun", {"id": row.pk})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/quarantine")
    assert told(desk, answer)[-1] == "6 applied."
    connection.set_schema("acme")
    assert list(CDR.objects.values_list("session_id", flat=True)) == ["s1"]
    connection.set_schema_to_public()
    assert "Applied" in desk.get(f"/quarantine/{row.pk}").content.decode()


def test_all_of_a_reason_is_run_or_discarded_and_noted(desk: Client, http_switch: Switch, send: Send) -> None:
    send([*call("s1", domain="nowhere.test"), *call("s2", domain="nowhere.test")])
    keep(http_switch, 9, refusal=Refusal("bad_time", "at must be RFC 3339."))
    assert told(desk, desk.post("/quarantine/rerun", {"code": "unknown_tenant"})) == [
        "12 still cannot be used and stay here."
    ]
    assert told(desk, desk.post("/quarantine/discard", {"code": "unknown_tenant"}))[-1] == "12 discarded."
    assert list(quarantine.waiting().values_list("code", flat=True)) == ["bad_time"]
    entry = AuditEntry.objects.get(action="quarantine.discarded")
    assert (entry.actor, entry.subject) == ("root", "12 quarantined")
    assert told(desk, desk.post("/quarantine/rerun", {"code": "unknown_tenant"}))[-1] == (
        "Nothing waits there any more."
    )


@pytest.mark.parametrize("verb", ["rerun", "discard"])
@pytest.mark.parametrize("given", [{}, {"id": "x"}, {"id": "999"}, {"id": "9" * 40}, {"code": ""}])
def test_a_choice_of_nothing_is_not_found(desk: Client, verb: str, given: dict[str, str]) -> None:
    assert desk.post(f"/quarantine/{verb}", given).status_code == 404


@pytest.mark.parametrize("verb", ["rerun", "discard"])
def test_a_get_changes_nothing(desk: Client, verb: str) -> None:
    assert desk.get(f"/quarantine/{verb}").status_code == 405


def test_what_was_settled_long_ago_is_deleted(http_switch: Switch) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from pbx.tasks import prune_quarantine

    for number in range(3):
        keep(http_switch, number)
    rows = list(Quarantined.objects.order_by("id"))
    for row, days in zip(rows[:2], (31, 29), strict=True):
        Quarantined.objects.filter(pk=row.pk).update(state="applied", settled_at=timezone.now() - timedelta(days=days))
    prune_quarantine()
    assert list(Quarantined.objects.order_by("id").values_list("pk", flat=True)) == [rows[1].pk, rows[2].pk]
