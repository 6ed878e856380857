"""Sending again in bulk, and what was missed: what is chosen, at what pace it is released, and by which doors."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User
from accounts.roles import Role
from events import redeliveries, tasks
from events.deliveries import lease_due, settle
from events.endpoints import Settings, change_endpoint
from events.models import Delivery, Endpoint, Event, Redelivery
from events.redeliveries import Selection, offers_missed, planned, release, start_redelivery, stop_redelivery
from tenants.changes import SYSTEM
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.conftest import write
from tests.events.test_deliveries import NOW, answered

Make = Callable[..., Any]


@pytest.fixture
def tried(make_endpoint: Make) -> Endpoint:
    """Events 1 to 5: acknowledged, given up, failed and waiting, acknowledged, not tried yet."""
    endpoint: Endpoint = make_endpoint(event_types=("call_cdr", "cdr_updated"))
    write("a", "b", "c")
    write("a", type="cdr_updated")
    settle(endpoint.pk, [answered(one, 200) for one in lease_due(endpoint, most=9, now=NOW)], now=NOW)
    settle(endpoint.pk, [answered(one, 200) for one in lease_due(endpoint, most=9, now=NOW)], now=NOW)
    Delivery.objects.filter(event=2).update(state="exhausted")
    Delivery.objects.filter(event=3).update(state="pending", finished_at=None, next_attempt_at=NOW + timedelta(hours=9))
    write("d")
    return endpoint


def chosen(endpoint: Endpoint, **selection: Any) -> list[int | None]:
    """The events that a redelivery sends, in its order; the database is left as it was."""
    begun = start_redelivery(endpoint, Selection(**selection), rate=100, actor=SYSTEM)
    release(begun.pk, NOW)
    begun.refresh_from_db()
    sent = Delivery.objects.filter(endpoint=endpoint, replay=True).order_by("next_attempt_at")
    events = list(sent.values_list("event_id", flat=True))
    assert (begun.done, begun.state) == (begun.total, "done")
    return events


@pytest.mark.parametrize(
    ("selection", "events"),
    [
        ({}, [2, 3]),
        ({"what": "sent"}, [1, 2, 3, 4]),
        ({"what": "sent", "delivery_state": "delivered"}, [1, 4]),
        ({"delivery_state": "exhausted"}, [2]),
        ({"what": "sent", "event_type": "cdr_updated"}, [4]),
        ({"what": "sent", "session_id": "a"}, [1, 4]),
        ({"what": "sent", "from_event": 2, "to_event": 3}, [2, 3]),
        ({"what": "sent", "from_event": 4, "to_event": 2**62}, [4]),
        ({"what": "sent", "to_time": NOW - timedelta(hours=11), "from_time": NOW - timedelta(hours=13)}, [1, 2]),
        ({"what": "sent", "from_time": NOW - timedelta(hours=11)}, [3, 4]),
    ],
)
def test_what_is_sent_again(tried: Endpoint, selection: dict[str, Any], events: list[int]) -> None:
    Event.objects.filter(id__lte=2).update(written_at=NOW - timedelta(hours=12))
    assert planned(tried, Selection(**selection)).total == len(events)
    assert chosen(tried, **selection) == events


def test_others_deliveries_stay(tried: Endpoint, make_endpoint: Make) -> None:
    other = make_endpoint()
    write("e")
    assert chosen(tried, what="sent") == [1, 2, 3, 4]
    assert list(Delivery.objects.filter(endpoint=other).values_list("event_id", "replay")) == [(6, False)]


def test_it_goes_out_at_the_rate_with_the_header_and_live_events_between(tried: Endpoint) -> None:
    begun = start_redelivery(tried, Selection(what="sent"), rate=2, actor=SYSTEM)
    assert release(begun.pk, NOW) == 4
    due = Delivery.objects.filter(replay=True).order_by("event_id").values_list("next_attempt_at", flat=True)
    assert list(due) == [NOW + timedelta(seconds=n / 2) for n in range(4)]
    leased = lease_due(tried, most=9, now=NOW)
    assert [(one.event_id, one.replay, one.step) for one in leased] == [(1, True, 0), (5, False, 0)]


def test_it_comes_in_steps_that_follow_the_clock(make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write(*(f"s{n}" for n in range(25)))
    Delivery.objects.update(state="exhausted", next_attempt_at=None, finished_at=NOW, attempts_made=10)
    begun = start_redelivery(endpoint, Selection(), rate=1, actor=SYSTEM)
    released = [release(begun.pk, NOW + timedelta(seconds=seconds)) for seconds in (0, 0, 5, 5, 100, 200)]
    assert released == [10, 0, 5, 0, 10, 0]
    begun.refresh_from_db()
    assert (begun.total, begun.done, begun.state) == (25, 25, "done")


def test_it_waits_for_an_endpoint_that_is_off_and_for_a_slow_receiver(make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write(*(f"s{n}" for n in range(120)))
    Delivery.objects.update(state="exhausted", next_attempt_at=None, finished_at=NOW, attempts_made=10)
    begun = start_redelivery(endpoint, Selection(), rate=10, actor=SYSTEM)
    Endpoint.objects.update(enabled=False)
    assert release(begun.pk, NOW) == 0
    Endpoint.objects.update(enabled=True)
    assert release(begun.pk, NOW) == 100
    assert release(begun.pk, NOW + timedelta(minutes=1)) == 0
    Delivery.objects.filter(replay=True, event__lte=50).update(next_attempt_at=None, finished_at=NOW)
    assert release(begun.pk, NOW + timedelta(minutes=1)) == 20


def test_one_at_a_time_and_it_can_be_stopped(tried: Endpoint) -> None:
    begun = start_redelivery(tried, Selection(), actor=SYSTEM)
    with pytest.raises(RefusedError) as refused:
        start_redelivery(tried, Selection(), actor=SYSTEM)
    assert refused.value.code == "redelivery_running"
    stop_redelivery(begun, actor=SYSTEM)
    assert release(begun.pk, NOW) == 0
    with pytest.raises(RefusedError) as refused:
        stop_redelivery(begun, actor=SYSTEM)
    assert refused.value.code == "redelivery_not_running"
    start_redelivery(tried, Selection(), actor=SYSTEM)
    assert list(AuditEntry.objects.order_by("id").values_list("action", "after"))[-3:] == [
        ("endpoint.redelivery_started",
         {"what": "unacknowledged", "from_event": "1", "to_event": "5", "rate": "10", "total": "2"}),
        ("endpoint.redelivery_stopped", {}),
        ("endpoint.redelivery_started",
         {"what": "unacknowledged", "from_event": "1", "to_event": "5", "rate": "10", "total": "2"}),
    ]  # fmt: skip


def switch(endpoint: Endpoint, *, on: bool) -> Endpoint:
    return change_endpoint(endpoint, Settings(url=endpoint.url, enabled=on, profile="v22"), actor=SYSTEM)


def test_what_was_missed_while_off_is_sent_once(make_endpoint: Make) -> None:
    endpoint = make_endpoint(profile="v22")
    write("a")
    Event.objects.update(written_at=NOW - timedelta(days=1))
    endpoint = switch(endpoint, on=False)
    write("b")
    write("b", type="cdr_updated")
    endpoint = switch(endpoint, on=True)
    assert endpoint.missed_since is not None
    write("c")
    assert planned(endpoint, Selection(what="missed")).total == 1
    assert chosen(endpoint, what="missed") == [2]
    endpoint.refresh_from_db()
    assert endpoint.missed_since is None
    rows = Delivery.objects.order_by("event_id").values_list("event_id", "session_id", "profile", "state", "replay")
    assert list(rows) == [
        (1, "a", "v22", "pending", False), (2, "b", "v22", "pending", True), (4, "c", "v22", "pending", False),
    ]  # fmt: skip
    leased = lease_due(endpoint, most=9, now=NOW + timedelta(minutes=1))
    assert sorted((one.event_id, one.replay) for one in leased) == [(1, False), (2, True), (4, False)]
    with pytest.raises(RefusedError) as refused:
        start_redelivery(endpoint, Selection(what="missed"), actor=SYSTEM)
    assert refused.value.code == "nothing_to_send"


def test_what_was_left_out_stays_on_offer(make_endpoint: Make) -> None:
    endpoint = switch(make_endpoint(), on=False)
    write("a", "b", "c")
    endpoint = switch(endpoint, on=True)
    since = endpoint.missed_since
    assert chosen(endpoint, what="missed", session_id="a") == [1]
    begun = start_redelivery(endpoint, Selection(what="missed", to_event=2), actor=SYSTEM)
    assert not offers_missed(endpoint)
    stop_redelivery(begun, actor=SYSTEM)
    endpoint.refresh_from_db()
    assert (endpoint.missed_since, offers_missed(endpoint)) == (since, True)
    assert sorted(filter(None, chosen(endpoint, what="missed"))) == [1, 2, 3]
    endpoint.refresh_from_db()
    assert (endpoint.missed_since, offers_missed(endpoint)) == (None, False)


def test_nothing_missed_is_nothing_offered(make_endpoint: Make) -> None:
    endpoint = switch(make_endpoint(), on=False)
    write("b", type="cdr_updated")
    assert switch(endpoint, on=True).missed_since is None


def test_an_endpoint_gets_what_was_before_it(make_endpoint: Make) -> None:
    make_endpoint()
    write("a", "b", "b")
    late = make_endpoint()
    write("c")
    assert chosen(late, what="missed") == [1, 2, 3]


def test_disabled_by_the_portal_remembers_since_when(make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a")
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 410)], now=NOW)
    endpoint.refresh_from_db()
    assert endpoint.missed_since is not None
    write("b")
    assert chosen(switch(endpoint, on=True), what="missed") == [1, 2]
    assert list(Delivery.objects.order_by("id").values_list("event_id", "state", "attempts_made", "replay")) == [
        (1, "pending", 1, True), (2, "pending", 0, True),
    ]  # fmt: skip


def test_what_a_dead_receiver_gave_up_on_is_part_of_what_it_missed(make_endpoint: Make) -> None:
    """Five days of failures: what was exhausted on the way and what passed by, without what still waits."""
    endpoint = make_endpoint()
    write("early", "a", "b", "c")
    for one, status in zip(lease_due(endpoint, most=9, now=NOW), (200, 500, 500, 500), strict=True):
        settle(endpoint.pk, [answered(one, status)], now=NOW)
    later = NOW + timedelta(days=5, minutes=1)
    Delivery.objects.filter(event__in=(2, 3)).update(step=9)
    first, second, third = lease_due(endpoint, most=9, now=later)
    settle(endpoint.pk, [answered(first, 500)], now=later)  # gives up, and the endpoint is switched off
    settle(endpoint.pk, [answered(second, 500), answered(third, 500)], now=later)  # it was in flight meanwhile
    write("d")
    assert not Endpoint.objects.get().enabled
    assert chosen(switch(Endpoint.objects.get(), on=True), what="missed") == [2, 3, 5]
    assert list(Delivery.objects.order_by("event_id").values_list("event_id", "state", "replay")) == [
        (1, "delivered", False), (2, "pending", True), (3, "pending", True), (4, "pending", False),
        (5, "pending", True),
    ]  # fmt: skip
    assert (Endpoint.objects.get().missed_since, Endpoint.objects.get().missed_after) == (None, None)


def test_several_answer_410_at_once(make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a", "b", "c")
    one, two, three = lease_due(endpoint, most=9, now=NOW)
    for each in (two, three, one):
        settle(endpoint.pk, [answered(each, 410)], now=NOW)
    assert chosen(switch(endpoint, on=True), what="missed") == [1, 2, 3]


def test_what_is_being_tried_is_queued_and_counted(tried: Endpoint) -> None:
    now = NOW + timedelta(hours=10)
    in_flight = next(one for one in lease_due(tried, most=9, now=now) if one.event_id == 3)
    begun = start_redelivery(tried, Selection(), rate=100, actor=SYSTEM)
    assert (begun.total, release(begun.pk, now)) == (2, 2)
    settle(tried.pk, [answered(in_flight, 500)], now=now)
    delivery = Delivery.objects.get(event=3)
    assert (delivery.state, delivery.step, delivery.replay) == ("pending", 0, True)
    assert delivery.next_attempt_at == now + timedelta(milliseconds=10)


def test_what_was_acknowledged_meanwhile_is_neither_sent_nor_counted(
    tried: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = start_redelivery(tried, Selection(), rate=100, actor=SYSTEM)
    whole = redeliveries.send_again

    def acknowledged_first(due: dict[int, Any], now: Any, **more: Any) -> int:
        Delivery.objects.filter(event=2).update(state="delivered", finished_at=NOW)
        return whole(due, now, **more)

    monkeypatch.setattr(redeliveries, "send_again", acknowledged_first)
    assert release(begun.pk, NOW) == 1
    begun.refresh_from_db()
    assert (begun.total, begun.done, begun.state) == (2, 1, "done")
    assert list(Delivery.objects.filter(replay=True).values_list("event_id", flat=True)) == [3]


def test_the_task_releases_where_something_runs(
    tried: Endpoint, globex: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tasks.redeliver_of, "delay", asked.append)
    start_redelivery(tried, Selection(), actor=SYSTEM)
    tasks.redeliver()
    assert asked == ["acme"]
    tasks.redeliver_of("acme")
    assert Redelivery.objects.get().state == "done"
    tasks.redeliver()
    assert asked == ["acme"]


# --- REST -------------------------------------------------------------------------------------------------------


@pytest.fixture
def api(acme_client: Client, make_token: Callable[..., str]) -> Client:
    acme_client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {make_token()}"
    return acme_client


def post(client: Client, endpoint: Endpoint, body: Any) -> Any:
    return client.post(f"/api/v1/endpoints/{endpoint.pk}/redeliver", orjson.dumps(body), "application/json")


def error_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_program_counts_sends_follows_and_stops(api: Client, tried: Endpoint) -> None:
    path = f"/api/v1/endpoints/{tried.pk}/redeliver"
    assert error_of(api.get(path)) == (404, "not_found")
    body = {"what": "sent", "from_event": "2", "to_time": "2100-01-01T00:00:00Z", "session_id": "c", "rate": 50}
    counted = post(api, tried, {**body, "dry_run": True})
    assert (counted.status_code, counted.json()["total"], counted.json()["id"]) == (200, 1, None)
    assert Redelivery.objects.count() == 0
    begun = post(api, tried, body)
    shown = begun.json()
    assert shown.pop("created_at").endswith("Z")
    assert (begun.status_code, shown) == (
        202,
        {
            "id": str(Redelivery.objects.get().pk), "endpoint_id": str(tried.pk), "state": "running", "what": "sent",
            "delivery_state": "", "event_type": "", "session_id": "c", "from_event": "2", "to_event": "5", "rate": 50,
            "total": 1, "done": 0, "finished_at": None,
        },
    )  # fmt: skip
    assert error_of(post(api, tried, body)) == (409, "redelivery_running")
    assert api.delete(path).status_code == 204
    assert (api.get(path).json()["state"], error_of(api.delete(path))) == ("stopped", (409, "redelivery_not_running"))
    assert AuditEntry.objects.filter(action="endpoint.redelivery_started", actor="vxt_admin").count() == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"what": "all"}, (400, "what_unknown")),
        ({"delivery_state": "lost"}, (400, "delivery_state_unknown")),
        ({"what": "missed", "delivery_state": "pending"}, (400, "delivery_state_of_missed")),
        ({"event_type": "nonsense"}, (400, "event_type_unknown")),
        ({"session_id": "x" * 129}, (400, "session_id_malformed")),
        ({"session_id": "a\0"}, (400, "session_id_malformed")),
        ({"rate": 0}, (400, "rate_out_of_range")),
        ({"rate": 101}, (400, "rate_out_of_range")),
        ({"rate": "10"}, (400, "not_valid")),
        ({"rate": True}, (400, "not_valid")),
        ({"from_event": 1}, (400, "not_valid")),
        ({"to_event": "9" * 20}, (400, "not_valid")),
        ({"from_time": "yesterday"}, (400, "not_valid")),
        ({"dry_run": "yes"}, (400, "not_valid")),
        ({"what": 1}, (400, "not_valid")),
        ({"nonsense": 1}, (400, "not_valid")),
        ([], (400, "not_an_object")),
        ({"session_id": "nobody"}, (409, "nothing_to_send")),
    ],
)
def test_program_is_refused(api: Client, tried: Endpoint, body: Any, expected: tuple[int, str]) -> None:
    assert error_of(post(api, tried, body)) == expected
    assert Redelivery.objects.count() == 0


def test_program_counts_but_sends_nothing_to_an_endpoint_that_is_off(api: Client, tried: Endpoint) -> None:
    Endpoint.objects.update(enabled=False)
    assert post(api, tried, {"dry_run": True}).json()["total"] == 2
    assert error_of(post(api, tried, {})) == (409, "endpoint_disabled")


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_program_of_another_tenant_or_without_rights(
    tried: Endpoint, acme_client: Client, globex_client: Client, make_token: Callable[..., str], method: str
) -> None:
    path = f"/api/v1/endpoints/{tried.pk}/redeliver"
    start_redelivery(tried, Selection(), actor=SYSTEM)
    token = make_token("vxt_reader", scopes=("cdr.view",))
    reader = getattr(acme_client, method)(path, headers={"authorization": f"Bearer {token}"})
    assert reader.status_code == 403
    assert getattr(acme_client, method)(path).status_code == 401
    with in_schema("globex"):
        theirs = make_token("vxt_theirs")
    assert getattr(globex_client, method)(path, headers={"authorization": f"Bearer {theirs}"}).status_code == 404
    with in_schema("acme"):
        assert Redelivery.objects.get().state == "running"


# --- Pages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(acme: Tenant, acme_client: Client, make_user: Callable[..., User]) -> Client:
    acme_client.force_login(make_user(), "accounts.backends.PortalBackend")
    return acme_client


def page_of(endpoint: Endpoint) -> str:
    return f"/company/event-url/{endpoint.pk}/again"


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_person_counts_and_sends(browser: Client, tried: Endpoint) -> None:
    page = page_of(tried)
    assert f'href="{page}"' in text_of(browser.get(f"/company/event-url/{tried.pk}"))
    assert "to send</h2>" not in text_of(browser.get(page))
    asked = {"what": "sent", "from_time": "2020-01-01T00:00", "session_id": "a", "rate": "20", "delivery_state": ""}
    counted = text_of(browser.get(page, asked))
    assert "2 to send</h2>" in counted
    assert '<input type="hidden" name="from_time" value="2020-01-01T00:00">' in counted
    assert Redelivery.objects.count() == 0
    assert browser.post(page, asked)["Location"] == page
    assert "0 of 2 are on their way, 20 a second." in text_of(browser.get(page))
    assert "Something is being sent again to this endpoint already." in text_of(browser.post(page, asked))
    assert "Something is being sent again already." in text_of(browser.get(page, asked))
    assert "What was released already still goes out." in text_of(browser.post(f"{page}/stop", follow=True))
    assert "It is not running any more." in text_of(browser.post(f"{page}/stop", follow=True))
    release(start_redelivery(tried, Selection(), actor=SYSTEM).pk, timezone.now())
    assert "2 of 2 are on their way, 10 a second. All of them since" in text_of(browser.get(page))


def test_enabling_again_offers_what_was_missed(browser: Client, make_endpoint: Make) -> None:
    endpoint = switch(make_endpoint(), on=False)
    write("b")
    where = f"/company/event-url/{endpoint.pk}"
    assert "Send what it missed" not in text_of(browser.get(where))
    switch(endpoint, on=True)
    assert f'href="{page_of(endpoint)}?what=missed"' in text_of(browser.get(where))
    assert "1 to send</h2>" in text_of(browser.get(f"{page_of(endpoint)}?what=missed"))
    browser.post(page_of(endpoint), {"what": "missed", "rate": "10"})
    assert Redelivery.objects.get().what == "missed"
    assert "Send what it missed" not in text_of(browser.get(where))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"what": "all"}, "Select a valid choice."),
        ({"what": "sent", "rate": "0"}, "greater than or equal to 1"),
        ({"what": "sent", "from_time": "soon"}, "Enter a valid date/time."),
        ({"what": "missed", "delivery_state": "pending"}, "What was missed has no delivery yet."),
        ({"what": "sent", "session_id": "nobody"}, "Nothing of this kind is in the log."),
    ],
)
def test_person_is_told_what_cannot_be(browser: Client, tried: Endpoint, asked: dict[str, str], said: str) -> None:
    assert said in text_of(browser.get(page_of(tried), asked))
    assert browser.post(page_of(tried), {"rate": "10"} | asked).status_code == 200
    assert Redelivery.objects.count() == 0


@pytest.mark.parametrize(("method", "door"), [("get", ""), ("post", ""), ("post", "/stop")])
def test_only_administrators_enter(
    acme_client: Client, globex_client: Client, tried: Endpoint, make_user: Make, method: str, door: str
) -> None:
    start_redelivery(tried, Selection(), actor=SYSTEM)
    path = page_of(tried) + door
    assert "/sign-in" in getattr(acme_client, method)(path)["Location"]
    acme_client.force_login(make_user("manager", Role.QUEUE_MANAGER), "accounts.backends.PortalBackend")
    assert getattr(acme_client, method)(path).status_code == 403
    with in_schema("globex"):
        theirs = make_user("theirs")
        globex_client.force_login(theirs, "accounts.backends.PortalBackend")
    assert getattr(globex_client, method)(path).status_code == 404
    with in_schema("acme"):
        assert Redelivery.objects.get().state == "running"


def test_stopping_needs_a_post_and_something_to_stop(browser: Client, tried: Endpoint) -> None:
    stop = f"{page_of(tried)}/stop"
    assert (browser.get(stop).status_code, browser.post(stop).status_code) == (405, 404)
    assert browser.put(page_of(tried)).status_code == 405
    assert browser.get(f"/company/event-url/{2**63}/again").status_code == 404
