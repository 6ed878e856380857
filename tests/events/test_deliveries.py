"""Deliveries: leases, order within a call, what an answer does to them, sending again, tests."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from django.db import connection
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from accounts.models import AuditEntry
from events import deliveries, log
from events.deliveries import Leased, Tried, due_endpoints, lease_due, redeliver, send_test, settle
from events.endpoints import Settings, change_endpoint
from events.models import Attempt, Delivery, Endpoint
from events.outgoing import Answer
from tenants.changes import SYSTEM
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.conftest import wait_for_a_waiter, write
from tests.events.receiver import receiver

NOW = timezone.now() + timedelta(hours=6)  # later than anything a long run of tests writes


def answered(leased: Leased, status: int | None, **more: Any) -> Tried:
    return Tried(leased, NOW, Answer(status, str(status), 12, request_headers={"a": "b"}, **more))


def states() -> list[tuple[int | None, str, int]]:
    return list(Delivery.objects.order_by("id").values_list("event_id", "state", "attempts_made"))


def test_a_lease_is_one_workers_until_it_ends(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint(profile="v22")
    write("a", "b", "c")
    assert due_endpoints(NOW) == [endpoint.pk]
    first = lease_due(endpoint, most=2, now=NOW)
    second = lease_due(endpoint, most=2, now=NOW)
    assert [[one.event_id for one in batch] for batch in (first, second)] == [[1, 2], [3]]
    assert first[0].body == '{"event_type":"call_cdr","session_id":"a","direction":"inbound","event_id":"1"}'
    assert (lease_due(endpoint, most=2, now=NOW), due_endpoints(NOW)) == ([], [])
    later = NOW + deliveries.LEASE
    assert due_endpoints(later) == [endpoint.pk]
    again = lease_due(endpoint, most=9, now=later)
    assert [(one.event_id, one.body) for one in again[:2]] == [(one.event_id, one.body) for one in first]
    # The worker whose lease ran out comes back with a failure: the state is no longer its to change.
    settle(endpoint.pk, [answered(first[0], 500)], now=later)
    assert states()[0] == (1, "pending", 0)
    settle(endpoint.pk, [answered(again[0], 200)], now=later)
    assert states()[0] == (1, "delivered", 1)


def test_the_profile_of_the_first_attempt_stays(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint(profile="v22")
    write("a")
    endpoint = change_endpoint(endpoint, Settings(url=endpoint.url, profile="v16"), actor=SYSTEM)
    assert '"direction":"inbound"' in lease_due(endpoint, most=1, now=NOW)[0].body


def test_order_holds_within_a_call(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write("a", "a", "b")
    first = lease_due(endpoint, most=9, now=NOW)
    assert [one.event_id for one in first] == [1, 3]
    settle(endpoint.pk, [answered(first[0], 500)], now=NOW)
    assert lease_due(endpoint, most=9, now=NOW) == []
    later = NOW + timedelta(seconds=6)
    (again,) = lease_due(endpoint, most=9, now=later)
    assert (again.event_id, again.step) == (1, 1)
    settle(endpoint.pk, [answered(again, 200)], now=later)
    assert [one.event_id for one in lease_due(endpoint, most=9, now=later)] == [2]


def test_ten_failures_exhaust_and_it_can_still_be_sent_again(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write("a")
    now = NOW
    for _ in range(10):
        (leased,) = lease_due(endpoint, most=1, now=now)
        settle(endpoint.pk, [answered(leased, None)], now=now)
        now += timedelta(hours=30)
        Endpoint.objects.update(enabled=True)
    assert states() == [(1, "exhausted", 10)]
    assert Attempt.objects.count() == 10
    delivery = redeliver(Delivery.objects.get(), actor=SYSTEM)
    (leased,) = lease_due(endpoint, most=1, now=now)
    assert (leased.step, leased.replay, delivery.attempts_made) == (0, True, 10)
    settle(endpoint.pk, [answered(leased, 204)], now=now)
    assert states() == [(1, "delivered", 11)]
    assert AuditEntry.objects.filter(action="delivery.redelivered").count() == 1


def test_gone_disables_the_endpoint_and_keeps_what_waits(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint, other = make_endpoint(), make_endpoint()
    write("a", "b")
    leased = lease_due(endpoint, most=1, now=NOW)
    settle(endpoint.pk, [answered(leased[0], 410)], now=NOW)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (
        False, "The receiver answered 410 Gone: it wants no more events.",
    )  # fmt: skip
    assert list(Delivery.objects.filter(endpoint=endpoint).order_by("id").values_list("state", flat=True)) == [
        "stopped", "pending",
    ]  # fmt: skip
    assert due_endpoints(NOW) == [other.pk]
    with pytest.raises(RefusedError) as refused:
        redeliver(Delivery.objects.filter(endpoint=endpoint).earliest("id"), actor=SYSTEM)
    assert refused.value.code == "endpoint_disabled"
    write("c")
    assert Delivery.objects.filter(endpoint=endpoint).count() == 2


def test_attempts_tell_what_happened(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write("a")
    (leased,) = lease_due(endpoint, most=1, now=NOW)
    settle(endpoint.pk, [answered(leased, 503, headers={"X": "\u2028"}, body='busy "now"\n')], now=NOW)
    assert list(
        Attempt.objects.values_list(
            "delivery__event_id", "at", "latency_ms", "status", "reason", "request_headers", "response_headers",
            "response_body",
        )
    ) == [(1, NOW, 12, 503, "503", {"a": "b"}, {"X": "\u2028"}, "busy \"now\"\n")]  # fmt: skip


def test_nothing_but_failures_for_five_days_disables(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write(*"abcd")
    leased = lease_due(endpoint, most=4, now=NOW)
    settle(endpoint.pk, [answered(leased[0], 500)], now=NOW)
    endpoint.refresh_from_db()
    assert endpoint.failing_since == NOW
    settle(endpoint.pk, [answered(leased[1], 200), answered(leased[2], 500)], now=NOW)
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None
    Endpoint.objects.update(failing_since=NOW - timedelta(days=5, seconds=1))
    settle(endpoint.pk, [answered(leased[3], 500)], now=NOW)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (
        False, "Every attempt has failed for 5 days, the last one with: 500",
    )  # fmt: skip


def test_settling_a_delivery_that_was_pruned_meanwhile(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write("a")
    leased = lease_due(endpoint, most=1, now=NOW)
    Delivery.objects.all().delete()
    settle(endpoint.pk, [answered(leased[0], 200)], now=NOW)
    assert Attempt.objects.count() == 0


def test_test_event_is_marked_and_its_outcome_shown(make_endpoint: Callable[..., Endpoint], acme: Tenant) -> None:
    with receiver() as there:
        endpoint = make_endpoint(there.url, auth="bearer", token="tok")
        delivery = send_test(endpoint, acme, actor=SYSTEM)
    (got,) = there.got
    assert (delivery.state, delivery.attempts.get().reason) == ("delivered", "200 OK")
    assert got.headers["webhook-test"] == "true"
    assert got.headers["webhook-id"] == f"{acme.pk}-test-{delivery.pk}"
    assert got.headers["authorization"] == "Bearer tok"
    document = Webhook(endpoint.shown_secret).verify(got.body, got.headers)  # type: ignore[attr-defined]
    assert document == orjson.loads(got.body)
    assert (list(document)[-1], document["event_id"], document["tenant_name"]) == ("event_id", "0", "Acme Inc.")
    assert [target["callee"] for target in document["call_targets"]] == ["5000", "8000", "102", "103"]
    with pytest.raises(RefusedError):
        redeliver(delivery, actor=SYSTEM)


@pytest.mark.django_db(transaction=True)
def test_a_test_waits_without_a_connection(
    make_endpoint: Callable[..., Endpoint], acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    post = deliveries._post_once

    def watched(*arguments: Any) -> Any:
        held.append(connection.connection is not None)
        return post(*arguments)

    monkeypatch.setattr(deliveries, "_post_once", watched)
    with receiver() as there:
        delivery = send_test(make_endpoint(there.url), acme, actor=SYSTEM)
    assert (held, delivery.state) == ([False], "delivered")


def test_a_few_tests_at_a_time(make_endpoint: Callable[..., Endpoint], acme: Tenant) -> None:
    endpoint = make_endpoint("http://127.0.0.1:9/")
    now = timezone.now()
    waiting = [
        Delivery.objects.create(endpoint=endpoint, event=None, session_id="x", profile="v16", test_body="{}",
                                next_attempt_at=None, leased_until=now + timedelta(seconds=30))
        for _ in range(5)
    ]  # fmt: skip
    with pytest.raises(RefusedError, match="5 tests are waiting"):
        send_test(endpoint, acme, actor=SYSTEM)
    Delivery.objects.filter(pk=waiting[0].pk).update(finished_at=now)
    assert send_test(endpoint, acme, actor=SYSTEM).state == "stopped"


def test_failed_test_event_is_not_retried(make_endpoint: Callable[..., Endpoint], acme: Tenant) -> None:
    async def refuse(_request: web.Request, _body: bytes) -> web.Response:
        return web.Response(status=500)

    with receiver(refuse) as there:
        endpoint = make_endpoint(there.url, profile="v22")
        delivery = send_test(endpoint, acme, actor=SYSTEM)
    document = orjson.loads(there.got[0].body)
    assert (document["call_status"], document["did"], document["direction"]) == ("answered", "18800606", "inbound")
    assert (delivery.state, delivery.attempts.get().status, due_endpoints(NOW)) == ("stopped", 500, [])


@pytest.mark.django_db(transaction=True)
def test_giving_up_on_an_endpoint_while_it_is_being_changed(
    acme: Tenant, make_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both need the counter and the endpoint's row; whoever took them the other way round would wait for ever."""
    endpoint = make_endpoint()
    write("a")
    Delivery.objects.update(step=99)
    (leased,) = lease_due(endpoint, most=9, now=NOW)
    long_ago = NOW - deliveries.GIVE_UP_ON_ENDPOINT - timedelta(minutes=1)
    Endpoint.objects.update(failing_since=long_ago, missed_since=long_ago, missed_after=5)
    leased = replace(leased, started_at=long_ago)
    holds_counter, hold = threading.Event(), log.hold

    def hold_and_wait() -> int:
        last = hold()
        if threading.current_thread() is changer:
            holds_counter.set()
            wait_for_a_waiter()
        return last

    def change() -> None:
        try:
            with in_schema("acme"):
                change_endpoint(endpoint, Settings(url="http://127.0.0.1:9/new"), actor=SYSTEM)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    monkeypatch.setattr(log, "hold", hold_and_wait)
    failures: list[BaseException] = []
    changer = threading.Thread(target=change)
    changer.start()
    assert holds_counter.wait(60)
    settle(endpoint.pk, [answered(leased, 500)], now=NOW)
    changer.join(60)
    assert failures == []
    found = Endpoint.objects.get()
    assert (found.url, found.enabled, found.missed_after) == ("http://127.0.0.1:9/new", False, 0)
    assert found.disabled_reason == "Every attempt has failed for 5 days, the last one with: 500"
