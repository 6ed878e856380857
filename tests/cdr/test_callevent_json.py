"""Events to JSON and back."""

import pytest

from cdr import callevent_json
from cdr.callevents import CallEvent
from tests.cdr.tables import events, ext, outside, spec_call

STARTED = {
    "call_id": "a@b",
    "domain": "acme.test",
    "did": "555",
    "caller": outside("+49 171", domain="sbc", display_name="Ann"),
    "callee": ext("101", "Bob"),
    "trunk": "T",
    "outbound_caller_id": "7",
    "user_data": "ticket 77",
    "media": ["audio", "video"],
}
TOLD = [
    *spec_call(),
    *events(
        (0.5, "call.started", STARTED),
        (1, "target.added", {"target_id": "t", "callee": ext("101"), "caller": ext("102"), "call_type": "queue_call"}),
        (1, "target.ended", {"target_id": "t", "end_reason": "None", "status_code": 0}),
        (1, "target.ended", {"target_id": "t"}),
        (2, "caller.left", {"end_reason": "attended_transfer_complete"}),
        (2, "party.updated", {"leg": "t", "display_name": "Cid"}),
        (2, "party.held", {"leg": "caller"}),
        (2, "party.unheld", {"leg": "caller"}),
        (2, "session.merged", {"into": "other"}),
        (2, "media.changed", {"media": ["audio"]}),
        (2, "feature.dialled", {"code": "*48", "leg": "t"}),
        (2, "recording.started", {"recording_id": "r"}),
        (2, "recording.stopped", {"recording_id": "r", "reason": "done"}),
        (2, "recording.failed", {"recording_id": "r"}),
        (3, "call.ended", {"ended_reason": "None", "status_code": 0, "incomplete": True}),
        (3, "call.ended", {}),
        session="json",
    ),
]


@pytest.mark.parametrize("event", TOLD, ids=lambda event: event.id)
def test_what_is_written_reads_back_as_equal(event: CallEvent) -> None:
    assert callevent_json.read(callevent_json.write(event)) == event


def test_end_without_an_error_stays_one_that_was_told() -> None:
    (end,) = events((3, "call.ended", {"status_code": 0}), session="zero")
    assert callevent_json.write(end)["status_code"] == 0
