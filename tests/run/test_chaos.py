"""Nothing pushed is ever lost, whatever is killed: small here, large by `make chaos`."""

import pytest

from tests.run.chaos import TYPES, carry_out

pytestmark = pytest.mark.stack


def test_every_event_reaches_every_door_whatever_is_killed() -> None:
    report = carry_out(calls=60, kill_every_seconds=2.0, seed=7)
    assert report.faults == {}
    assert report.logged == 60 * len(TYPES)
    assert sum(report.killed.values()) > 0
