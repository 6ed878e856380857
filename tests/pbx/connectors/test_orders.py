from typing import Any

import pytest

from pbx.connectors.orders import Command, Order, Running, State, begun_by, order_of, still_running
from tenants.models import SwitchCommand

START, PAUSE, RESUME, STOP = Command.START, Command.PAUSE, Command.RESUME, Command.STOP


def row(
    command: str, *, segment: int = 1, state: str = State.DONE, medium: str = "audio", **options: Any
) -> SwitchCommand:
    return SwitchCommand(
        id=5, tenant_id=3, command=command, session_id="s-1", recording_id="7", segment=segment, state=state,
        medium=medium, options=options,
    )  # fmt: skip


def running(*, segment: int = 1, **differs: Any) -> Running:
    return Running(
        recording_id="7", segment=segment, tenant_id=3, session_id="s-1", dual_tracks=False, keeps_pauses=False,
        is_adopted=True, **differs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([row(START)], [running()]),
        ([row(START), row(STOP)], []),
        ([row(START), row(PAUSE)], [running(is_paused=True, stretch=2)]),
        ([row(START), row(PAUSE), row(PAUSE)], [running(is_paused=True, stretch=2)]),
        ([row(START), row(PAUSE), row(RESUME)], [running(stretch=2)]),
        ([row(START), row(PAUSE), row(RESUME), row(PAUSE)], [running(is_paused=True, stretch=3)]),
        ([row(START), row(PAUSE, state=State.FAILED)], [running()]),
        ([row(START), row(STOP, state=State.PENDING)], [running()]),  # it comes again
        ([row(START, state=State.PENDING)], []),
        ([row(START, state=State.EXPIRED), row(PAUSE)], []),
        ([row(START), row(STOP), row(START, segment=2)], [running(segment=2)]),
        ([row(START), row(START, segment=2), row(PAUSE, segment=2)], [
            running(), running(segment=2, is_paused=True, stretch=2),
        ]),
        ([row(START, medium="video")], []),
    ],
)  # fmt: skip
def test_what_should_be_recording_follows_from_what_was_carried_out(
    rows: list[SwitchCommand], expected: list[Running]
) -> None:
    assert still_running(rows) == expected


@pytest.mark.parametrize(
    ("options", "dual_tracks", "keeps_pauses"),
    [
        ({}, False, False),
        ({"dual_tracks": True, "pause_style": "silence"}, True, True),
        ({"dual_tracks": False, "pause_style": "skip"}, False, False),
        ({"dual_tracks": "yes", "pause_style": None}, False, False),
    ],
)
def test_an_order_says_how_to_record(options: dict[str, Any], dual_tracks: bool, keeps_pauses: bool) -> None:
    order = order_of(row(START, **options))
    assert order == Order(
        id=5, command=START, tenant_id=3, session_id="s-1", recording_id="7", segment=1, medium="audio",
        dual_tracks=dual_tracks, keeps_pauses=keeps_pauses,
    )  # fmt: skip
    assert begun_by(order) == Running(
        recording_id="7", segment=1, tenant_id=3, session_id="s-1", dual_tracks=dual_tracks, keeps_pauses=keeps_pauses
    )
