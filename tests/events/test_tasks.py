"""What the scheduler and the worker run."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from events import tasks
from events.endpoints import delete_endpoint
from events.models import Delivery, Endpoint, Event
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
