"""Who is connected as each recorded call goes on: those whose voices are recorded."""

from datetime import UTC, datetime

import pytest

from pbx.asterisk.interpreter import Interpreter
from pbx.asterisk.names import endpoint_of
from pbx.asterisk.state import Member
from tests.pbx.asterisk.fake import recorded


def told(members: list[Member] | None) -> str:
    """`101 102`, the caller first; in brackets who holds."""
    if members is None:
        return "over"
    names = [endpoint_of(member.channel).partition("@")[0] for member in members]
    return " ".join(f"({name})" if member.is_held else name for name, member in zip(names, members, strict=True)) or "-"


def seen(flow: str) -> list[list[str]]:
    """For each session, in the order of their beginning, how its members change; looked at only when told to."""
    interpreter = Interpreter()
    sessions: dict[str, list[str]] = {}
    for row in recorded(flow):
        at = datetime.fromtimestamp(row["t"], UTC)
        (interpreter.ami if row["source"] == "ami" else interpreter.ari)(row["event"], at)
        for session_id in interpreter.take_touched():
            changes = sessions.setdefault(session_id, [])
            now = told(interpreter.members(session_id))
            if changes[-1:] != [now]:
                changes.append(now)
    return [sessions[session_id] for session_id in sorted(sessions)]


EXPECTED = {
    "extension_to_extension": ["- | 102 | 101 102 | 102 | over"],
    "no_answer": ["- | over"],
    "two_devices": ["- | 102 | 101 102 | 102 | over"],
    "ivr_queue_agent": ["- | AudioCodes | AudioCodes 103 | AudioCodes | over"],
    "ring_group": ["- | 105 | 101 105 | 101 | over"],
    "blind_transfer_by_callee": ["- | 102 | 101 102 | 101 | 101 103 | 103 | over"],
    "blind_transfer_by_caller": ["- | 102 | 101 102 | 102 | 102 103 | 102 | over"],
    "blind_transfer_to_nobody": ["- | 102 | 101 102 | 101 | over"],
    "caller_transfers_to_ivr": ["- | 105 | 101 105 | 105 | 105 102 | 105 | over"],
    "attended_transfer_by_callee": [
        "- | 101 | AudioCodes 101 | AudioCodes (101) | AudioCodes 101 | AudioCodes 103 | AudioCodes | over",
        "- | 103 | 101 103 | AudioCodes 103 | AudioCodes | over",  # until it is merged into the other
    ],
    "attended_transfer_by_caller": [
        "- | 102 | 101 102 | (101) 102 | 101 102 | 102 103 | 102 | over",
        "- | 103 | 101 103 | 102 103 | 102 | over",
    ],
    "trunk_transferred_to_trunk": ["- | 101 | AudioCodes 101 | AudioCodes | AudioCodes AudioCodes | AudioCodes | over"],
    "hold_unhold": ["- | 102 | 101 102 | (101) 102 | 101 102 | 101 (102) | 101 102 | 102 | over"],
    "two_tenants_at_once": ["- | 102 | 101 102 | 101 | over", "- | 102 | 101 102 | 101 | over"],
}


@pytest.mark.parametrize("flow", EXPECTED)
def test_members_follow_the_call(flow: str) -> None:
    assert [" | ".join(changes) for changes in seen(flow)] == EXPECTED[flow]


def test_a_session_that_nobody_knows_is_over() -> None:
    assert Interpreter().members("s-1") is None
