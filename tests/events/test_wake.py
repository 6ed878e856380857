"""Waking readers after the commit, and not minding when Redis is away."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import Settings

from events import tasks, wake
from events.models import Endpoint
from tenants.models import Tenant
from tests.events.conftest import write


@pytest.fixture
def waker(monkeypatch: pytest.MonkeyPatch) -> wake.Waker:
    """One of its own, so that no client made under other settings is reused."""
    fresh = wake.Waker()
    monkeypatch.setattr(wake, "_waker", fresh)
    return fresh


@pytest.fixture
def listener(waker: wake.Waker) -> Iterator[redis.client.PubSub]:
    client = redis.Redis.from_url(django_settings.REDIS_LOCATION)
    client.delete(f"{wake.courier_channel()}:called")
    heard = client.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(wake.courier_channel())
    heard.get_message(timeout=1)
    yield heard
    heard.close()
    client.close()


def next_message(heard: redis.client.PubSub, seconds: float = 60.0) -> bytes | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if message := heard.get_message(timeout=0.1):
            return bytes(message["data"])
    return None


@pytest.mark.django_db(transaction=True)
def test_courier_is_woken_after_the_commit(
    make_endpoint: Callable[..., Endpoint], listener: redis.client.PubSub
) -> None:
    make_endpoint()
    write("a")
    assert next_message(listener) == b"acme"


@pytest.mark.django_db(transaction=True)
def test_no_endpoint_no_courier(acme: Tenant, listener: redis.client.PubSub) -> None:
    write("a")
    assert next_message(listener, 0.3) is None


@pytest.mark.django_db(transaction=True)
def test_courier_is_called_once_when_none_listens(
    make_endpoint: Callable[..., Endpoint], waker: wake.Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis.Redis.from_url(django_settings.REDIS_LOCATION)
    client.delete(f"{wake.courier_channel()}:called")
    client.close()
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: calls.append(options))
    make_endpoint()
    write("a")
    write("b")
    end = time.monotonic() + 60
    while not calls and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)
    assert calls == [{"retry": False}]


@pytest.mark.django_db(transaction=True)
def test_absent_redis_neither_fails_nor_holds_up_the_writer(
    make_endpoint: Callable[..., Endpoint], waker: wake.Waker, settings: Settings
) -> None:
    settings.REDIS_LOCATION = "unix:///nowhere/redis.sock"
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["unix:///nowhere/redis.sock"]},
        }
    }
    make_endpoint()
    whole, answers, told = waker._tell_sockets, threading.Event(), threading.Event()

    async def hangs(groups: Mapping[str, str]) -> None:
        try:
            assert answers.wait(60)
            await whole(groups)
        finally:
            told.set()

    waker._tell_sockets = hangs  # type: ignore[method-assign]
    for n in range(10):
        write(str(n))
    assert not told.is_set()  # all are written while nobody was told yet
    answers.set()
    assert told.wait(60)


def test_who_watches_calls_hears_of_them_at_most_twice_a_second(waker: wake.Waker) -> None:
    told: list[str] = []

    async def tell(groups: Mapping[str, str]) -> None:
        told.extend(f"{group} {what}" for group, what in groups.items())

    waker._tell_sockets = tell  # type: ignore[method-assign]
    begun = time.monotonic()
    for _ in range(50):
        wake.watchers("acme")
        time.sleep(0.002)
    wake.watchers("globex")
    while set(told) != {"live.acme calls.changed", "live.globex calls.changed"} or len(told) < 3:
        assert time.monotonic() < begun + 60, told
        time.sleep(0.01)
    took = time.monotonic() - begun
    assert told.count("live.globex calls.changed") == 1
    assert 2 <= told.count("live.acme calls.changed") <= took / 0.5 + 1
