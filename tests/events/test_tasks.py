"""What the scheduler and the worker run."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from events import tasks
from events.deliveries import send_test
from events.endpoints import delete_endpoint
from events.models import Attempt, Delivery, Endpoint, Event, Redelivery
from events.redeliveries import Selection, start_redelivery
from portal.celery import app
from tenants.changes import SYSTEM
from tenants.company import change_company
from tenants.models import Tenant
from tests.events.conftest import write


def test_timetable_names_tasks_that_exist() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in tasks.BEAT.values()} <= set(app.tasks)


@pytest.mark.parametrize("days", [30, 1, 365])
def test_old_events_and_deleted_endpoints_are_pruned(
    acme: Tenant, make_endpoint: Callable[..., Endpoint], days: int
) -> None:
    change_company(SYSTEM, acme, {"event_log_days": days})
    gone, kept = make_endpoint(), make_endpoint()
    write("old", "young")
    Delivery.objects.update(state="delivered", finished_at=timezone.now())
    kept_until = timezone.now() - timedelta(days=days)
    Event.objects.filter(id=1).update(written_at=kept_until - timedelta(minutes=1))
    Event.objects.filter(id=2).update(written_at=kept_until + timedelta(minutes=1))
    delete_endpoint(gone, actor=SYSTEM)
    tasks.prune_tenant("acme")
    assert list(Event.objects.values_list("id", flat=True)) == [2]
    assert list(Delivery.objects.values_list("endpoint_id", "event_id")) == [(kept.pk, 2)]
    assert list(Endpoint.objects.all()) == [kept]


def test_pruning_goes_tenant_by_tenant(acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tasks.prune_tenant, "delay", asked.append)
    tasks.prune()
    assert sorted(asked) == ["acme", "globex"]


def test_what_waits_for_an_endpoint_that_is_off_is_stopped_with_a_word(
    acme: Tenant, make_endpoint: Callable[..., Endpoint]
) -> None:
    endpoint = make_endpoint()
    write("old", "young")
    Endpoint.objects.update(enabled=False, missed_after=2)
    aged = timezone.now() - timedelta(days=31)
    Event.objects.filter(id=1).update(written_at=aged)
    tasks.prune_tenant("acme")  # sent again lately, for instance: its schedule is not over
    assert list(Delivery.objects.order_by("id").values_list("event_id", "state")) == [(1, "pending"), (2, "pending")]
    Delivery.objects.update(started_at=aged)
    tasks.prune_tenant("acme")
    stopped = Delivery.objects.get(event=1)
    assert (stopped.state, stopped.next_attempt_at) == ("stopped", None)
    assert list(Attempt.objects.values_list("delivery__event_id", "reason")) == [
        (1, "Not sent any more: the event is older than events are kept"),
    ]  # fmt: skip
    assert Endpoint.objects.get(pk=endpoint.pk).missed_after == 0
    Delivery.objects.filter(event=1).update(finished_at=timezone.now() - timedelta(days=1, minutes=1))
    tasks.prune_tenant("acme")
    assert list(Delivery.objects.values_list("event_id", "state")) == [(2, "pending")]


def test_a_session_goes_on_counting_after_its_events_are_gone(acme: Tenant) -> None:
    """A recording may be deleted, or a record corrected, long after its call was told."""
    write("a", "b", "a")
    Event.objects.update(written_at=timezone.now() - timedelta(days=31))
    tasks.prune_tenant("acme")
    assert Event.objects.count() == 0
    write("a", "c", type="recording_deleted")
    assert list(Event.objects.order_by("id").values_list("id", "session_id", "sequence")) == [(4, "a", 3), (5, "c", 1)]
    Event.objects.update(written_at=timezone.now() - timedelta(days=31))
    tasks.prune_tenant("acme")
    write("a", "b", "b")
    assert list(Event.objects.order_by("id").values_list("session_id", "sequence")) == [("a", 4), ("b", 2), ("b", 3)]


def test_a_bulk_send_that_ended_long_ago_is_pruned(acme: Tenant, make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write("a")
    Delivery.objects.update(state="exhausted", finished_at=timezone.now())
    now, long_ago = timezone.now(), timezone.now() - timedelta(days=31)
    kept = []
    for ended in (long_ago, now, None):
        begun = start_redelivery(endpoint, Selection(), actor=SYSTEM)
        state = "running" if ended is None else "done"
        Redelivery.objects.filter(pk=begun.pk).update(state=state, finished_at=ended, created_at=long_ago)
        kept += [] if ended == long_ago else [begun.pk]
    tasks.prune_tenant("acme")
    assert sorted(Redelivery.objects.values_list("pk", flat=True)) == kept


def test_old_tests_are_pruned(acme: Tenant, make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    old, young = (send_test(endpoint, acme, actor=SYSTEM) for _ in range(2))
    Delivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=31))
    tasks.prune_tenant("acme")
    assert list(Delivery.objects.all()) == [young]
    assert list(Attempt.objects.values_list("delivery", flat=True)) == [young.pk]
