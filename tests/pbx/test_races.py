"""Requests that meet: the database decides, and nothing is lost or doubled."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import orjson
import pytest
from django.db import connection

from cdr.models import CDR
from events.models import Event
from pbx import finished, intake
from pbx.models import HeldEvent
from pbx.tasks import sweep_held
from tenants.crypto import token_hash
from tenants.models import SessionRoute, Switch
from tests.pbx.conftest import call
from tests.pbx.test_finished import document

pytestmark = pytest.mark.django_db(transaction=True)


def together(*steps: Callable[[], Any]) -> list[Any]:
    """Runs each in a thread of its own, all at the same moment."""
    barrier = Barrier(len(steps))

    def run(step: Callable[[], Any]) -> Any:
        try:
            connection.set_schema_to_public()
            barrier.wait(20)
            return step()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(steps)) as pool:
        return list(pool.map(run, steps))


@pytest.fixture
def other_switch(http_switch: Switch) -> Switch:
    return Switch.objects.create(name="Other", kind=Switch.Kind.HTTP, token_hash=token_hash("other"))


def ledger() -> tuple[list[str], int]:
    connection.set_schema("acme")
    found = list(CDR.objects.order_by("session_id").values_list("session_id", flat=True)), Event.objects.count()
    connection.set_schema_to_public()
    return found


def test_two_switches_with_one_session_id(http_switch: Switch, other_switch: Switch) -> None:
    for number in range(5):
        session_id = f"s{number}"
        ours, theirs = together(
            lambda session_id=session_id: intake.take_documents(http_switch, call(session_id)),
            lambda session_id=session_id: intake.take_documents(other_switch, call(session_id)),
        )
        outcomes = {frozenset(result.code or result.status for result in each) for each in (ours, theirs)}
        assert outcomes == {frozenset({"applied"}), frozenset({"session_conflict"})}
    assert ledger()[0] == ["s0", "s1", "s2", "s3", "s4"]


def test_the_same_request_twice_at_once(http_switch: Switch) -> None:
    events = [event for number in range(5) for event in call(f"s{number}")]
    first, second = together(*[lambda: intake.take_documents(http_switch, events)] * 2)
    for one, other in zip(first, second, strict=True):
        assert {one.status, other.status} == {"applied", "duplicate"}
    assert len(ledger()[0]) == 5


def test_the_same_finished_calls_twice_at_once(http_switch: Switch) -> None:
    body = orjson.dumps([document(session_id=str(number)) for number in range(20)])
    backwards = orjson.dumps([document(session_id=str(number)) for number in reversed(range(20))])
    first, second = together(lambda: finished.take(http_switch, body), lambda: finished.take(http_switch, backwards))
    statuses = [result.status for result in (*first, *second)]
    assert (statuses.count("applied"), statuses.count("duplicate")) == (20, 20)
    assert ledger() == (sorted(str(number) for number in range(20)), 20)


def test_a_start_beside_the_rest_of_its_call(http_switch: Switch) -> None:
    for number in range(5):
        events = call(f"s{number}")
        together(
            lambda events=events: intake.take_documents(http_switch, events[:1]),
            lambda events=events: intake.take_documents(http_switch, events[1:]),
        )
    sweep_held()
    assert (ledger()[0], HeldEvent.objects.count()) == (["s0", "s1", "s2", "s3", "s4"], 0)
    assert SessionRoute.objects.count() == 5
