"""The courier at work: a real receiver, a real database, several lanes, and what breaks."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import orjson
import pytest
from aiohttp import web
from django.db import connection
from django.utils import timezone
from pytest_django import Settings as DjangoSettings
from standardwebhooks.webhooks import Webhook

from events import courier, deliveries, tasks, wake
from events.deliveries import redeliver
from events.endpoints import Settings, change_endpoint
from events.models import Delivery, Endpoint
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.conftest import write
from tests.events.receiver import accept, receiver

pytestmark = pytest.mark.django_db(transaction=True)


def carry(*, linger: float = 0.1, budget: float = 60.0) -> list[str]:
    handed_over: list[str] = []
    asyncio.run(
        courier.work(
            budget_seconds=budget, worker="w@here", linger_seconds=linger, hand_over=lambda: handed_over.append("next")
        )
    )
    return handed_over


def states() -> list[tuple[int | None, str, int]]:
    return list(Delivery.objects.order_by("id").values_list("event_id", "state", "attempts_made"))


def test_everything_due_arrives_signed_and_in_the_stored_bytes(
    make_endpoint: Callable[..., Endpoint], acme: Tenant
) -> None:
    with receiver() as there:
        endpoint = make_endpoint(there.url)
        written = write(*(f"s{n}" for n in range(40)))
        assert carry() == []
    assert {got.body.decode() for got in there.got} == {event.body for event in written}
    for got in there.got:
        document = Webhook(endpoint.shown_secret).verify(got.body, got.headers)  # type: ignore[attr-defined]
        assert got.headers["webhook-id"] == f"{acme.pk}-{document['event_id']}"
        assert got.headers["content-type"] == "application/json"
    assert [state for _, state, _ in states()] == ["delivered"] * 40


def test_both_tenants_and_nothing_for_a_suspended_one(make_endpoint: Callable[..., Endpoint], globex: Tenant) -> None:
    with receiver() as there:
        make_endpoint(there.url)
        write("of-acme")
        with in_schema("globex"):
            make_endpoint(there.url)
            write("of-globex")
        carry()
        assert sorted(orjson.loads(got.body)["session_id"] for got in there.got) == ["of-acme", "of-globex"]
        Tenant.objects.filter(pk=globex.pk).update(state=Tenant.State.SUSPENDED)
        with in_schema("globex"):
            write("later")
        carry()
        Tenant.objects.filter(pk=globex.pk).update(state=Tenant.State.ACTIVE)
    assert len(there.got) == 2


def test_retry_has_the_same_bytes_and_id(make_endpoint: Callable[..., Endpoint]) -> None:
    async def fail_once(_request: web.Request, _body: bytes) -> web.Response:
        return web.Response(status=500 if len(there.got) == 1 else 200)

    with receiver(fail_once) as there:
        endpoint = make_endpoint(there.url)
        write("a")
        carry()
        assert states() == [(1, "pending", 1)]
        wait = Delivery.objects.get().next_attempt_at - timezone.now()
        assert timedelta(seconds=3) < wait < timedelta(seconds=6)
        change_endpoint(endpoint, Settings(url=endpoint.url, profile="v22"), actor=SYSTEM)
        Delivery.objects.update(next_attempt_at=timezone.now())
        carry()
    first, second = there.got
    assert states() == [(1, "delivered", 2)]
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_sent_again_is_marked(make_endpoint: Callable[..., Endpoint]) -> None:
    with receiver() as there:
        make_endpoint(there.url)
        write("a")
        carry()
        redeliver(Delivery.objects.get(), actor=SYSTEM)
        carry()
    first, second = there.got
    assert (first.headers.get("webhook-replay"), second.headers.get("webhook-replay")) == (None, "true")
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_disabled_endpoint_gets_nothing_and_keeps_its_configuration(make_endpoint: Callable[..., Endpoint]) -> None:
    with receiver() as there:
        endpoint = make_endpoint(there.url, auth="bearer", token="tok")
        write("a")
        off = change_endpoint(endpoint, Settings(url=endpoint.url, enabled=False, auth="bearer"), actor=SYSTEM)
        write("b")
        carry()
        assert (there.got, states()) == ([], [(1, "pending", 0)])
        change_endpoint(off, Settings(url=endpoint.url, auth="bearer"), actor=SYSTEM)
        carry()
    assert [got.headers["authorization"] for got in there.got] == ["Bearer tok"]


def test_order_within_each_call_even_when_attempts_fail(
    make_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "judge", lambda *args, **kw: _retry_at_once(*args, **kw))
    stumbled: set[bytes] = set()

    async def stumble(_request: web.Request, body: bytes) -> web.Response:
        if body not in stumbled and orjson.loads(body)["event_id"][-1] in "37":
            stumbled.add(body)
            return web.Response(status=500)
        accepted.append(orjson.loads(body))
        return web.Response()

    accepted: list[dict[str, str]] = []
    with receiver(stumble) as there:
        make_endpoint(there.url)
        for _ in range(5):
            write(*"abcd")
        carry()
    for session in "abcd":
        ids = [int(document["event_id"]) for document in accepted if document["session_id"] == session]
        assert len(ids) == 5
        assert ids == sorted(ids)


def _retry_at_once(*args: object, **kwargs: object) -> object:
    from events import schedule

    ruling = schedule.judge(*args, **kwargs)  # type: ignore[arg-type]
    if ruling.verdict is schedule.Verdict.RETRY:
        return schedule.Ruling(ruling.verdict, ruling.step, kwargs["now"])  # type: ignore[arg-type]
    return ruling


def test_a_dead_endpoint_delays_no_other(make_endpoint: Callable[..., Endpoint]) -> None:
    hang = asyncio.Event()

    async def never(_request: web.Request, _body: bytes) -> web.Response:
        await hang.wait()
        return web.Response()

    with receiver(never) as dead, receiver() as alive:
        make_endpoint(dead.url)
        make_endpoint(alive.url)
        write(*(f"s{n}" for n in range(50)))
        asyncio.run(_until(lambda: len(alive.got) == 50 and len(dead.got) == courier.IN_FLIGHT))


async def _until(happened: Callable[[], bool]) -> None:
    """Works so long, and is killed then."""
    working = asyncio.create_task(
        courier.work(budget_seconds=60, worker="w@here", linger_seconds=60, hand_over=lambda: None)
    )
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


def test_killed_worker_leaves_a_lease_that_runs_out(
    make_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LEASE", timedelta(seconds=0.5))

    async def slow_first(request: web.Request, body: bytes) -> web.StreamResponse:
        if len(there.got) == 1:
            await asyncio.sleep(30)
        return await accept(request, body)

    with receiver(slow_first) as there:
        make_endpoint(there.url)
        write("a")
        asyncio.run(_until(lambda: len(there.got) == 1))
        assert states() == [(1, "pending", 0)]
        time.sleep(0.5)
        monkeypatch.undo()
        carry()
    first, second = there.got
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert states() == [(1, "delivered", 1)]


def test_a_wake_is_heard_while_it_lingers(
    make_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "SWEEP_SECONDS", 60.0)
    monkeypatch.setattr(tasks, "_leaving", threading.Event())
    with receiver() as there:
        make_endpoint(there.url)
        write("a")
        worker = threading.Thread(target=lambda: asyncio.run(_stopped()))
        worker.start()
        _wait_for(lambda: states() == [(1, "delivered", 1)])
        time.sleep(0.3)  # so that it lingers; when it does not yet, it finds the next one without a wake
        write("b")
        _wait_for(lambda: len(there.got) == 2)  # half a minute before it would look by itself, or leave
        _wait_for(lambda: _has_left(worker))


def _has_left(worker: threading.Thread) -> bool:
    """Asked again: it may not have listened yet."""
    tasks._stop_couriers("w@here")
    worker.join(0.2)
    return not worker.is_alive()


def _carry_in_thread() -> None:
    try:
        carry(linger=1.0)
    finally:
        connection.close()


def _wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        time.sleep(0.005)
    assert happened()


def test_without_redis_the_sweep_delivers(
    make_endpoint: Callable[..., Endpoint], settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "_waker", wake.Waker())
    settings.REDIS_LOCATION = "unix:///nowhere/redis.sock"
    with receiver() as there:
        make_endpoint(there.url)
        write("a")
        carry(linger=0.3)
    assert len(there.got) == 1


def test_time_up_with_work_left_calls_the_next(make_endpoint: Callable[..., Endpoint]) -> None:
    async def slow(_request: web.Request, _body: bytes) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response()

    with receiver(slow) as there:
        make_endpoint(there.url)
        write(*(f"s{n}" for n in range(40)))
        assert carry(budget=0.2) == ["next"]
        assert len(there.got) < 40
        carry()
    assert [state for _, state, _ in states()] == ["delivered"] * 40


def test_shutdown_of_its_worker_ends_it(
    make_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_leaving", threading.Event())
    with receiver() as there:
        make_endpoint(there.url)
        write("a")
        worker = threading.Thread(target=lambda: asyncio.run(_stopped()))
        worker.start()
        _wait_for(lambda: len(there.got) == 1)
        time.sleep(0.2)
        tasks._stop_couriers("other@here")
        time.sleep(0.2)
        assert worker.is_alive()
        _wait_for(lambda: _has_left(worker))
        write("b")
        tasks.deliver.apply()  # one that was taken in the same moment does not begin
    assert len(there.got) == 1


def test_task_carries_what_is_due_and_leaves(
    make_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "LINGER_SECONDS", 0.1)
    with receiver() as there:
        make_endpoint(there.url)
        write("a")
        tasks.deliver.apply()
    assert len(there.got) == 1


async def _stopped() -> None:
    await courier.work(budget_seconds=60, worker="w@here", linger_seconds=60, hand_over=lambda: None)


def test_lost_database_connection_is_survived(
    make_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection of the courier is cut while attempts fly; what they brought is written afterwards."""
    monkeypatch.setattr(courier, "_DATABASE_PAUSE_SECONDS", 0.1)
    cut = threading.Event()

    async def slow(_request: web.Request, _body: bytes) -> web.Response:
        cut.set()
        await asyncio.sleep(0.4)
        return web.Response()

    with receiver(slow) as there:
        make_endpoint(there.url)
        write("a", "b")
        worker = threading.Thread(target=_carry_in_thread)
        worker.start()
        assert cut.wait(60)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        worker.join()
    assert len(there.got) == 2
    assert states() == [(1, "delivered", 1), (2, "delivered", 1)]


def test_answer_in_any_bytes_is_written_down(make_endpoint: Callable[..., Endpoint]) -> None:
    """A reason phrase in Latin-1 and a Retry-After that no calendar knows: attempts like any other."""

    def answer_all(listening: socket.socket, answers: list[bytes]) -> None:
        for said in answers:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

    answers = [
        b"HTTP/1.1 503 Plus tard\r\nRetry-After: Mon, 01 Jan 2026 00:00:00 +99999999999999999999\r\n"
        b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 Re\xe7u\r\nX-Note: \xe7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=answer_all, args=(listening, answers))
        server.start()
        make_endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        write("a")
        carry()
        assert states() == [(1, "pending", 1)]
        Delivery.objects.update(next_attempt_at=timezone.now())
        carry()
        server.join(60)
    assert states() == [(1, "delivered", 2)]
