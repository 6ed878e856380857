from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from portal.celery import timetable
from portal.tasks import heartbeat
from tenants.models import Switch, WorkerHeartbeat
from tenants.schemas import enter_public

OK = {"database": "ok", "redis": "ok", "worker": "ok", "connectors": "ok"}


def test_a_live_process_says_so_on_any_host(client: Client) -> None:
    answer = client.get("/healthz", headers={"host": "10.0.0.7"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_with_a_worker_seen_lately(system_client: Client) -> None:
    heartbeat()
    answer = system_client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": OK})


def test_not_ready_before_a_worker_was_seen(system_client: Client) -> None:
    answer = system_client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "failed", "checks": OK | {"worker": "no worker has been seen yet"}}


def test_not_ready_when_the_worker_is_silent(system_client: Client) -> None:
    WorkerHeartbeat.objects.create(name="worker", seen_at=timezone.now() - timedelta(seconds=90))
    answer = system_client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["worker"]) == (503, "no worker seen for 90 s")


def test_not_ready_without_redis(system_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat()

    def refuse(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(cache, "set", refuse)
    answer = system_client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        503,
        {"status": "failed", "checks": OK | {"redis": "ConnectionError"}},
    )


def test_a_silent_connector_degrades_and_does_not_fail(system_client: Client) -> None:
    heartbeat()
    enter_public()
    seen = timezone.now()
    Switch.objects.create(name="Berlin", kind=Switch.Kind.ASTERISK)
    Switch.objects.create(name="Off", kind=Switch.Kind.ASTERISK, enabled=False)
    Switch.objects.create(name="Paris", kind=Switch.Kind.ASTERISK, connector_state="connected", connector_seen_at=seen)
    answer = system_client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "degraded", "checks": OK | {"connectors": "not connected: Berlin"}},
    )


def test_the_timetable_holds_every_rooms_share() -> None:
    tasks = {entry["task"] for entry in timetable().values()}
    assert {"portal.tasks.heartbeat", "events.tasks.deliver", "cdr.tasks.keep_house"} <= tasks
