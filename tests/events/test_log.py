"""The event log: ids that grow, bytes that stay, a prefix that is forgotten."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from events import log
from events.endpoints import Settings, change_endpoint, missed
from events.log import Draft, Span, append, events_after, prune, span
from events.models import Delivery, Endpoint, Event
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.conftest import AT, wait_for_a_waiter, write


def test_event_has_id_sequence_and_bytes(acme: Tenant) -> None:
    write("a", "b", "a")
    write("a", v22=False)
    assert list(Event.objects.values_list("id", "session_id", "sequence", "time", "body", "body_v22")) == [
        (1, "a", 1, AT, '{"event_type":"call_cdr","session_id":"a","direction":"in","event_id":"1"}',
         '{"event_type":"call_cdr","session_id":"a","direction":"inbound","event_id":"1"}'),
        (2, "b", 1, AT, '{"event_type":"call_cdr","session_id":"b","direction":"in","event_id":"2"}',
         '{"event_type":"call_cdr","session_id":"b","direction":"inbound","event_id":"2"}'),
        (3, "a", 2, AT, '{"event_type":"call_cdr","session_id":"a","direction":"in","event_id":"3"}',
         '{"event_type":"call_cdr","session_id":"a","direction":"inbound","event_id":"3"}'),
        (4, "a", 3, AT, '{"event_type":"call_cdr","session_id":"a","direction":"in","event_id":"4"}', ""),
    ]  # fmt: skip


def test_every_script_and_control_character_survives(acme: Tenant) -> None:
    name = '日本 עברית \t\n " \\ \N{ZERO WIDTH JOINER} \U0001f600 \u0001'
    with transaction.atomic():
        (event,) = append([Draft("call_cdr", "tab\there", AT, {"caller": name})])
    assert Event.objects.get().body == event.body
    assert Event.objects.get().session_id == "tab\there"


def test_outside_a_transaction_nothing_is_written(transactional_acme: Tenant) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        append([Draft("call_cdr", "a", AT, {})])


def test_rollback_gives_its_ids_back(acme: Tenant) -> None:
    write("a")
    with transaction.atomic():
        append([Draft("call_cdr", "b", AT, {})])
        transaction.set_rollback(True)
    assert [event.id for event in write("c")] == [2]


def test_deliveries_for_each_endpoint_that_wants_the_type(make_endpoint: Callable[..., Endpoint]) -> None:
    both = make_endpoint(event_types=("call_cdr", "cdr_updated"), profile="v22")
    one = make_endpoint()
    make_endpoint(event_types=("recording_ready",))
    make_endpoint(enabled=False)
    write("a")
    write("b", type="cdr_updated")
    columns = ("endpoint_id", "event_id", "session_id", "profile", "state")
    assert list(Delivery.objects.order_by("id").values_list(*columns)) == [
        (both.pk, 1, "a", "v22", "pending"),
        (one.pk, 1, "a", "v16", "pending"),
        (both.pk, 2, "b", "v22", "pending"),
    ]  # fmt: skip


def test_many_events_cost_a_handful_of_statements(
    make_endpoint: Callable[..., Endpoint], django_assert_num_queries: Callable[..., Any]
) -> None:
    make_endpoint()
    for count in (1, 500):
        drafts = [Draft("call_cdr", f"{count}-{n}", AT, {}) for n in range(count)]
        # SAVEPOINT, counter, sequences, COPY, deliveries, RELEASE
        with django_assert_num_queries(6), transaction.atomic():
            append(drafts)


def test_span_and_gap(acme: Tenant) -> None:
    assert span() == Span(1, 0)
    write("a", "b", "c")
    assert span() == Span(1, 3)
    Event.objects.filter(id__lte=2).delete()
    found = span()
    assert (found, [found.misses_after(since) for since in (0, 1, 2, 3)]) == (Span(3, 3), [True, True, False, False])
    Event.objects.all().delete()
    assert (span(), span().misses_after(2), span().misses_after(3)) == (Span(4, 3), True, False)


def test_events_after_by_type(acme: Tenant) -> None:
    write("a", "b")
    write("a", type="cdr_updated")
    assert [event.id for event in events_after(1)] == [2, 3]
    assert [event.id for event in events_after(0, types=["cdr_updated"])] == [3]


def test_pruning_takes_a_prefix_with_its_deliveries_in_batches(make_endpoint: Callable[..., Endpoint]) -> None:
    make_endpoint()
    write(*"abcde")
    Delivery.objects.update(state="delivered", finished_at=timezone.now())
    old = timezone.now() - timedelta(days=31)
    Event.objects.filter(id__lte=3).update(written_at=old)
    before = timezone.now() - log.kept_for()
    assert [prune(before=before, batch=2) for _ in range(3)] == [2, 1, 0]
    assert list(Event.objects.values_list("id", flat=True)) == [4, 5]
    assert sorted(Delivery.objects.values_list("event_id", flat=True)) == [4, 5]


def test_pruning_waits_for_what_is_on_its_way_and_for_what_just_ended_in_vain(
    make_endpoint: Callable[..., Endpoint],
) -> None:
    make_endpoint()
    write(*"abcd")
    Event.objects.update(written_at=timezone.now() - timedelta(days=31))
    before = timezone.now() - log.kept_for()
    ended = timezone.now() - timedelta(days=1, minutes=1)
    Delivery.objects.filter(event=1).update(state="delivered", finished_at=timezone.now())
    Delivery.objects.filter(event__gte=2).update(state="exhausted", finished_at=ended)
    Delivery.objects.filter(event=3).update(state="pending", finished_at=None)
    assert [prune(before=before) for _ in range(2)] == [2, 0]
    Delivery.objects.filter(event=3).update(state="exhausted", finished_at=timezone.now())
    assert (prune(before=before), Event.objects.count()) == (0, 2)
    Delivery.objects.filter(event=3).update(finished_at=ended)
    assert (prune(before=before), Event.objects.count()) == (2, 0)


def test_pruning_does_not_wait_for_an_endpoint_that_was_removed(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint()
    write("a")
    Event.objects.update(written_at=timezone.now() - timedelta(days=31))
    Endpoint.objects.filter(pk=endpoint.pk).update(deleted_at=timezone.now())
    assert prune(before=timezone.now() - log.kept_for()) == 1


@pytest.fixture
def transactional_acme(transactional_db: None, acme: Tenant) -> Tenant:
    return acme


@pytest.mark.django_db(transaction=True)
def test_reader_who_saw_n_has_seen_all_below(acme: Tenant) -> None:
    """Writers commit in every order and at every pace; a reader that follows its cursor misses none."""
    writers, each = 4, 25
    failures: list[BaseException] = []

    def keep_writing(name: int) -> None:
        try:
            with in_schema("acme"):
                for n in range(each):
                    with transaction.atomic():
                        append([Draft("call_cdr", f"{name}-{n}", AT, {})] * (1 + n % 3))
                        time.sleep(0.001 * ((name + n) % 3))  # a commit that comes late
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=keep_writing, args=(name,)) for name in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while any(thread.is_alive() for thread in threads) or span().last > (seen[-1] if seen else 0):
        seen += events_after(seen[-1] if seen else 0).values_list("id", flat=True)[:7]
    for thread in threads:
        thread.join()
    assert failures == []
    assert seen == list(range(1, writers * sum(1 + n % 3 for n in range(each)) + 1))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("switched_on", [True, False])
def test_no_event_falls_between_on_and_off(
    transactional_acme: Tenant, make_endpoint: Callable[..., Endpoint], switched_on: bool
) -> None:
    """An endpoint is switched while an event is being written: the event has a delivery, or is among what it missed."""
    endpoint = make_endpoint(enabled=not switched_on)
    written, may_commit, switched = threading.Event(), threading.Event(), threading.Event()

    def write_slowly() -> None:
        with in_schema("acme"), transaction.atomic():
            append([Draft("call_cdr", "late", AT, {})])
            written.set()
            assert may_commit.wait(60)  # it comes late, and whoever switches has to wait for it
        connection.close()

    def switch() -> None:
        with in_schema("acme"):
            change_endpoint(endpoint, Settings(url=endpoint.url, enabled=switched_on), actor=SYSTEM)
            switched.set()
        connection.close()

    threads = [threading.Thread(target=write_slowly), threading.Thread(target=switch)]
    threads[0].start()
    assert written.wait(60)
    threads[1].start()
    wait_for_a_waiter()
    assert not switched.is_set()
    may_commit.set()
    for thread in threads:
        thread.join()
    write("next")
    found = Endpoint.objects.get()
    with_delivery = list(Delivery.objects.order_by("event_id").values_list("event_id", flat=True))
    assert found.missed_after is not None
    left = list(missed(found, after=found.missed_after).values_list("id", flat=True))
    assert (with_delivery, left) == (([2], [1]) if switched_on else ([1], [2]))
