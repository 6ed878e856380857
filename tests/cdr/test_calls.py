"""Events applied to a tenant: what stands in its ledger and log afterwards."""

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from django.db import connection, transaction
from django.utils import timezone

from cdr import calls, ledger
from cdr.callevents import CallEvent
from cdr.models import CDR, CallEventRow, LiveSession
from cdr.records import record_of
from cdr.session import Session, fold
from events.log import Draft, append
from events.models import Event
from tenants import schemas
from tenants.models import Tenant
from tests.cdr.tables import EPOCH, SESSION, events, ext, spec_call

SWITCH = 7


@pytest.fixture
def told(acme: Tenant) -> Iterator[list[tuple[str, bool]]]:
    """What the recordings room would be told: each session with whether it has ended."""
    heard: list[tuple[str, bool]] = []

    def listen(tenant: Tenant, switch_id: int, sessions: Sequence[Session], told: Sequence[CallEvent]) -> None:
        heard.extend((session.session_id, session.is_ended) for session in sessions)

    calls.listeners.append(listen)
    yield heard
    calls.listeners.remove(listen)


def apply(tenant: Tenant, told: list[CallEvent], switch_id: int = SWITCH) -> list[str]:
    with transaction.atomic():
        return [outcome.code or outcome.status for outcome in calls.apply(tenant, switch_id, told)]


def documents(event_type: str = "call_cdr") -> list[dict[str, object]]:
    return [orjson.loads(body) for body in Event.objects.filter(type=event_type).values_list("body", flat=True)]


def test_apply_writes_the_record_its_targets_and_the_specifications_message(acme: Tenant) -> None:
    assert apply(acme, spec_call()) == ["applied"] * 16

    row = CDR.objects.get()
    session = fold(spec_call(), SESSION)
    assert session is not None
    assert ledger.record_from(row) == record_of(session, sip_domain="acme.test")
    ids = [str(target.pk) for target in row.targets.all()]
    common = {
        "call_type": "normal_call",
        "caller": "1888722",
        "outbound_caller_id": "",
        "status_code": 0,
        "trunk_name": "AudioCodes",
    }
    assert documents() == [
        {
            "answered_time": "1679476851",
            "call_id": "b6PEEYEcn5speSovMAybCw..",
            "callee": "5000",
            "callee_domain": "acme.test",
            "caller": "1888722",
            "caller_display_name": "",
            "caller_domain": "192.168.0.16",
            "did_cid": "18800606",
            "direction": "in",
            "ended_reason": "callee_disconnect",
            "ended_time": "1679476870",
            "event_type": "call_cdr",
            "outbound_caller_id": "",
            "ring_time": "1679476851",
            "session_id": "690852418417594368",
            "start_time": "1679476851",
            "status_code": "0",
            "tenant_id": str(acme.pk),
            "tenant_name": "Acme Inc.",
            "trunk_name": "AudioCodes",
            "user_data": "",
            "call_targets": [
                common
                | {
                    "answered_time": "1679476851",
                    "callee": "5000",
                    "destination": "sip:5000@10.0.0.1:8922",
                    "end_reason": "referred",
                    "ended_time": "1679476857",
                    "id": ids[0],
                    "ring_time": "1679476851",
                    "start_time": "1679476851",
                },
                common
                | {
                    "answered_time": "1679476857",
                    "callee": "8000",
                    "destination": "sip:8000@10.0.0.1:8916",
                    "end_reason": "referred",
                    "ended_time": "1679476862",
                    "id": ids[1],
                    "ring_time": "1679476857",
                    "start_time": "1679476857",
                },
                common
                | {
                    "answered_time": "0",
                    "callee": "102",
                    "destination": "sip:102@10.0.0.2:9070",
                    "end_reason": "None",
                    "ended_time": "1679476862",
                    "id": ids[2],
                    "ring_time": "1679476858",
                    "start_time": "1679476858",
                },
                common
                | {
                    "answered_time": "1679476862",
                    "callee": "103",
                    "destination": "sip:103@10.0.0.3:9530",
                    "end_reason": "None",
                    "ended_time": "1679476870",
                    "id": ids[3],
                    "ring_time": "1679476858",
                    "start_time": "1679476858",
                },
            ],
            "event_id": "1",
        }
    ]


def test_apply_one_event_at_a_time_gives_the_same_record(acme: Tenant, told: list[tuple[str, bool]]) -> None:
    for event in spec_call():
        assert apply(acme, [event]) == ["applied"]
    session = fold(spec_call(), SESSION)
    assert session is not None
    assert ledger.record_from(CDR.objects.get()) == record_of(session, sip_domain="acme.test")
    assert told == [(SESSION, False)] * 15 + [(SESSION, True)]


def test_apply_takes_a_repeat_as_a_duplicate(acme: Tenant) -> None:
    both = spec_call()[:3] + spec_call()[:3]
    assert apply(acme, both) == ["applied"] * 3 + ["duplicate"] * 3
    assert apply(acme, spec_call()) == ["duplicate"] * 3 + ["applied"] * 13
    assert apply(acme, spec_call()) == ["duplicate"] * 16
    assert (CDR.objects.count(), Event.objects.count()) == (1, 1)


def test_apply_of_a_late_event_corrects_the_record(acme: Tenant) -> None:
    late = [event for event in spec_call() if event.id.endswith("-11")]  # the agent's answer
    apply(acme, [event for event in spec_call() if event not in late])
    before = CDR.objects.get()
    ids = [target.pk for target in before.targets.all()]
    assert [target.answered_time for target in before.targets.filter(callee="103")] == [None]

    assert apply(acme, late) == ["applied"]

    session = fold(spec_call(), SESSION)
    assert session is not None
    after = CDR.objects.get()
    assert ledger.record_from(after) == record_of(session, sip_domain="acme.test")
    assert (after.pk, after.version, [target.pk for target in after.targets.all()]) == (before.pk, 2, ids)
    (correction,) = documents("cdr_updated")
    assert list(correction["changes"]) == ["final_display_name", "targets"] or list(correction["changes"]) == [
        "targets"
    ]  # type: ignore[call-overload]
    assert list(correction)[-1] == "event_id"


def test_apply_of_a_late_event_that_changes_nothing_tells_nothing(acme: Tenant) -> None:
    apply(acme, spec_call())
    late = events((60, "feature.dialled", {"code": "*48", "leg": "103"}), session=SESSION + "x")[0]
    object.__setattr__(late, "session_id", SESSION)
    assert apply(acme, [late]) == ["applied"]
    assert (CDR.objects.get().version, Event.objects.count()) == (1, 1)


def test_apply_merges_two_sessions_into_one_record(acme: Tenant) -> None:
    first = events(
        (0, "call.started", {"caller": ext("101"), "callee": ext("102")}),
        (1, "target.added", {"target_id": "b", "callee": ext("102")}),
        (2, "target.answered", {"target_id": "b"}),
    )
    consult = events(
        (5, "call.started", {"caller": ext("102"), "callee": ext("103")}),
        (6, "target.added", {"target_id": "c", "callee": ext("103")}),
        (7, "target.answered", {"target_id": "c"}),
        (9, "session.merged", {"into": SESSION}),
        session="consult",
    )
    rest = events(
        (9, "target.ended", {"target_id": "b", "end_reason": "attended_transfer_complete"}),
        (20, "target.ended", {"target_id": "c", "end_reason": "callee_disconnect"}),
        (20, "call.ended", {"ended_reason": "callee_disconnect"}),
        session="rest",
    )
    for event in rest:
        object.__setattr__(event, "session_id", SESSION)
    for event in [*first, *consult, *rest]:
        assert apply(acme, [event]) == ["applied"]

    row = CDR.objects.get()
    assert (row.session_id, row.merged_sessions, [(t.caller, t.callee) for t in row.targets.all()]) == (
        SESSION,
        ["consult"],
        [("101", "102"), ("102", "103")],
    )
    assert not calls.sessions_in_progress().exists()
    assert [document["session_id"] for document in documents()] == [SESSION]


def test_apply_of_a_merge_told_after_the_end_leaves_one_record(acme: Tenant) -> None:
    started = {"caller": ext("101"), "callee": ext("102")}
    apply(acme, events((0, "call.started", started), (30, "call.ended", {}), session="one"))
    apply(acme, events((5, "call.started", started), (9, "call.ended", {}), session="two"))
    (merge,) = events((9, "session.merged", {"into": "one"}), session="three")
    object.__setattr__(merge, "session_id", "two")
    assert apply(acme, [merge]) == ["applied"]
    assert [(row.session_id, row.merged_sessions) for row in CDR.objects.all()] == [("one", ["two"])]


@pytest.mark.parametrize(("into", "code"), [("nowhere", "unknown_session"), (SESSION, "bad_value")])
def test_apply_refuses_a_merge_that_leads_nowhere(acme: Tenant, into: str, code: str) -> None:
    apply(acme, spec_call()[:1])
    (merge,) = events((60, "session.merged", {"into": into}), session="x")
    object.__setattr__(merge, "session_id", SESSION)
    assert apply(acme, [merge]) == [code]


def test_apply_refuses_what_belongs_to_a_session_long_closed(acme: Tenant) -> None:
    apply(acme, spec_call())
    LiveSession.objects.update(ended_time=timezone.now() - timedelta(hours=25))
    assert calls.forget_ended_sessions(timezone.now() - calls.KEEP_ENDED) == 1
    assert apply(acme, spec_call()[:2]) == ["session_closed"] * 2
    assert (CDR.objects.count(), LiveSession.objects.count(), CallEventRow.objects.count()) == (1, 0, 0)


def test_reaper_closes_a_silent_session_as_incomplete(acme: Tenant) -> None:
    apply(acme, spec_call()[:-1])
    now = timezone.now()
    assert calls.close_silent_sessions(acme, now - timedelta(hours=1)) == 0
    assert calls.close_silent_sessions(acme, now + timedelta(hours=1)) == 1
    row = CDR.objects.get()
    assert (row.incomplete, row.ended_time.timestamp(), row.end_reason) == (True, EPOCH + 70, "")


def test_end_that_comes_after_the_reaper_completes_the_record(acme: Tenant) -> None:
    apply(acme, spec_call()[:-1])
    calls.close_silent_sessions(acme, timezone.now() + timedelta(hours=1))
    assert apply(acme, spec_call()[-1:]) == ["applied"]
    row = CDR.objects.get()
    assert (row.incomplete, row.end_reason, row.version) == (False, "callee_disconnect", 2)


def test_sessions_in_progress_shows_only_what_has_not_ended(acme: Tenant) -> None:
    apply(acme, spec_call()[:8])
    assert [row.session_id for row in calls.sessions_in_progress()] == [SESSION]
    apply(acme, spec_call()[8:])
    assert list(calls.sessions_in_progress()) == []


def test_start_under_a_used_id_opens_nothing(acme: Tenant) -> None:
    """A switch whose counter begins anew: the call is refused, not swallowed."""
    started = {"caller": ext("101"), "callee": ext("102")}
    (one,) = events((0, "call.started", started), session="one")
    two, end = events((0, "call.started", started), (9, "call.ended", {}), session="two")
    object.__setattr__(two, "id", one.id)
    assert apply(acme, [one, two]) == ["applied", "session_closed"]
    assert apply(acme, [two, end]) == ["session_closed", "session_closed"]
    assert [row.session_id for row in calls.sessions_in_progress()] == ["one"]


def test_event_dated_before_its_call_is_refused(acme: Tenant) -> None:
    started = {"caller": ext("101"), "callee": ext("102")}
    told = events(
        (0, "call.started", started),
        (-4, "target.added", {"target_id": "a", "callee": ext("102")}),
        (-40, "target.ringing", {"target_id": "a"}),
    )
    assert apply(acme, told) == ["applied", "applied", "times_reversed"]


def test_forgetting_waits_for_the_session_that_took_another_in(acme: Tenant) -> None:
    started = {"caller": ext("101"), "callee": ext("102")}
    apply(acme, events((0, "call.started", started), session="one"))
    apply(acme, events((5, "call.started", started), (9, "session.merged", {"into": "one"}), session="two"))
    LiveSession.objects.filter(session_id="two").update(ended_time=timezone.now() - timedelta(hours=25))
    assert calls.forget_ended_sessions(timezone.now() - calls.KEEP_ENDED) == 0
    LiveSession.objects.filter(session_id="one").update(ended_time=timezone.now() - timedelta(hours=25))
    assert calls.forget_ended_sessions(timezone.now() - calls.KEEP_ENDED) == 2


@pytest.mark.django_db(transaction=True)
def test_apply_by_several_connections_at_once_gives_one_record(acme: Tenant) -> None:
    """Every event comes four times, from four threads, each in an order of its own."""

    def work(seed: int) -> list[str]:
        schemas.enter(acme)
        try:
            told = spec_call()[1:]
            random.Random(seed).shuffle(told)
            return [said for event in told for said in apply(acme, [event])]
        finally:
            connection.close()

    apply(acme, spec_call()[:1])
    with ThreadPoolExecutor(4) as pool:
        said = [each for answers in pool.map(work, range(4)) for each in answers]

    assert sorted(said) == ["applied"] * 15 + ["duplicate"] * 45
    session = fold(spec_call(), SESSION)
    assert session is not None
    expected = record_of(session, sip_domain="acme.test")
    found = ledger.record_from(CDR.objects.get())
    assert (found.end_reason, found.talk_duration, sorted(t.callee for t in found.targets)) == (
        expected.end_reason,
        expected.talk_duration,
        sorted(t.callee for t in expected.targets),
    )
    assert list(Event.objects.values_list("id", flat=True)) == list(range(1, Event.objects.count() + 1))


@pytest.mark.django_db(transaction=True)
def test_a_correction_waits_for_its_record_before_it_takes_the_counter(acme: Tenant) -> None:
    """Whoever marks a record and then tells of it, as recordings do, would wait for it in a circle."""
    acme.event_types = ["cdr_target_add"]
    apply(acme, spec_call())
    later = events(
        (700, "target.added", {"target_id": "z", "callee": ext("109")}), (701, "target.ended", {"target_id": "z"})
    )

    def correct() -> list[str]:
        schemas.enter(acme)
        try:
            return apply(acme, [replace(event, id=f"late-{event.id}") for event in later])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            CDR.objects.update(recorded=True)
            correcting = pool.submit(correct)
            _until_somebody_waits()
            append([Draft("recording_ready", SESSION, timezone.now(), {"event_type": "recording_ready"})])
        assert correcting.result(60) == ["applied", "applied"]
    assert CDR.objects.get().recorded


def _until_somebody_waits() -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with connection.cursor() as cursor:
        for _ in range(600):
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return
            time.sleep(0.1)
    pytest.fail("nobody waits")


def test_a_call_in_progress_is_found_by_the_call_ids_of_its_legs(acme: Tenant) -> None:
    lines = events(
        (0, "call.started", {"caller": ext("101"), "callee": ext("102"), "domain": "acme.test", "call_id": "caller@a"}),
        (0, "target.added", {"target_id": "a", "callee": ext("102"), "call_id": "a@a"}),
        (0, "target.added", {"target_id": "b", "callee": ext("103")}),
        (1, "party.updated", {"leg": "b", "call_id": "b@a"}),
        (2, "target.answered", {"target_id": "b"}),
        (2, "target.ended", {"target_id": "a"}),
        (9, "call.ended", {}),
    )
    apply(acme, lines[:4])
    assert [calls.session_with_call_id(each) for each in ("caller@a", "a@a", "b@a", "c@a")] == [SESSION] * 3 + [None]
    apply(acme, lines[4:6])
    assert [calls.session_with_call_id(each) for each in ("a@a", "b@a")] == [None, SESSION]
    apply(acme, lines[6:])
    assert calls.session_with_call_id("b@a") is None
    assert CDR.objects.get().callee == "102"  # a party.updated with a Call-ID alone changes nothing else


def test_of_several_calls_with_a_call_id_it_is_the_one_with_that_extension(acme: Tenant) -> None:
    def between(session_id: str, at: float, caller: str, callee: str, *call_ids: str) -> list[CallEvent]:
        return events(
            (at, "call.started", {"caller": ext(caller), "callee": ext(callee), "call_id": call_ids[0]}),
            (at, "target.added", {"target_id": "a", "callee": ext(callee), "call_id": call_ids[1]}),
            (at, "target.answered", {"target_id": "a"}),
            session=session_id,
        )

    apply(acme, between("1", 0, "101", "102", "same@a", "x@a"))
    apply(acme, between("2", 1, "103", "104", "same@a", "y@a"))
    apply(acme, between("3", 2, "105", "101", "same@a", "z@a"))
    found = [calls.session_with_call_id("same@a", each) for each in ("101", "102", "103", "104", "105", "199", "")]
    assert found == ["1", "1", "2", "2", "3", "3", "3"]
