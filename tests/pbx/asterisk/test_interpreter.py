"""From what a real Asterisk told about a call (`streams/`) to the events it means and the one record it becomes."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr import callevent_json
from cdr.callevents import CallEnded, CallEvent, CallStarted, SessionMerged
from cdr.records import Record, record_of
from cdr.session import fold
from pbx.asterisk.interpreter import Interpreter
from pbx.asterisk.names import Trunks
from tests.asterisk.flows import FLOWS
from tests.pbx.asterisk.expected import EXPECTED, plain_call
from tests.pbx.asterisk.fake import recorded

LATER = timedelta(seconds=10)


def interpreted(rows: Iterable[dict[str, Any]], interpreter: Interpreter | None = None) -> list[CallEvent]:
    interpreter = interpreter or Interpreter()
    events: list[CallEvent] = []
    at = datetime.now(UTC)
    for row in rows:
        at = datetime.fromtimestamp(row["t"], UTC)
        told = interpreter.ami if row["source"] == "ami" else interpreter.ari
        events += told(row["event"], at)
    return events + interpreter.tick(at + LATER)


def records_of(events: Sequence[CallEvent]) -> list[Record]:
    """One for each call that was not merged into another, in the order in which they began."""
    into = {event.session_id: event.into for event in events if isinstance(event, SessionMerged)}
    found = []
    for started in [event for event in events if isinstance(event, CallStarted)]:
        if started.session_id in into:
            continue
        members = {started.session_id, *(goes for goes, stays in into.items() if stays == started.session_id)}
        session = fold([event for event in events if event.session_id in members], started.session_id)
        assert session is not None
        found.append(record_of(session, sip_domain=started.domain or "acme.test"))
    return found


@pytest.mark.parametrize("flow", FLOWS)
def test_a_recorded_flow_becomes_the_record_a_person_would_write(flow: str) -> None:
    records = records_of(interpreted(recorded(flow)))
    assert [plain_call(asdict(record)) for record in records] == EXPECTED[flow]
