"""What becomes of a stop and a resume that the switch refuses at its own door, or never answers."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client

from recordings.models import Decision
from recordings.tasks import COMMAND_PATIENCE, expire_commands
from tenants.models import Switch, SwitchCommand, Tenant
from tests.cdr.tables import SESSION
from tests.recordings.people import program
from tests.recordings.stage import Stage, gaps, inbound, over, segments

DOOR = "/api/switch/v1/commands"
BEARER = {"Authorization": "Bearer switch-token"}
Says = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    """A call that is being recorded, of a switch that from now on answers only what a test says."""
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.play(*inbound())
    stage.obeys = False
    return stage


@pytest.fixture
def waiting(stage: Stage, system_client: Client) -> Callable[[], list[dict[str, Any]]]:
    """What the switch is given when it asks, as it stands in its answer."""

    def ask() -> list[dict[str, Any]]:
        return list(_in_public(lambda: system_client.get(DOOR, headers=BEARER)).json()["commands"])

    return ask


@pytest.fixture
def says(system_client: Client, waiting: Callable[[], list[dict[str, Any]]]) -> Says:
    """The switch says this of the command that has waited longest, or of the one with this id."""

    def answer(status: str, reason: str = "", command_id: str = "") -> tuple[int, dict[str, Any]]:
        path = f"{DOOR}/{command_id or waiting()[0]['id']}"
        body = {"status": status, "reason": reason}
        given = _in_public(lambda: system_client.post(path, body, content_type="application/json", headers=BEARER))
        return given.status_code, given.json()

    return answer


def _in_public(ask: Callable[[], Any]) -> Any:
    """A request leaves the connection in the schema of its host."""
    try:
        return ask()
    finally:
        connection.set_tenant(Tenant.objects.get(schema_name="acme"))  # type: ignore[attr-defined]


def by_rest(operation: str) -> None:
    answer = program().post(
        f"/api/v1/calls/{SESSION}/recording", {"operation": operation, "wait": 0}, content_type="application/json"
    )
    assert answer.status_code == 202, answer.content


def audio() -> tuple[str, str, str | None]:
    """As Live Calls and programs see it."""
    (item,) = program().get("/api/v1/calls").json()["items"]
    told = item["recording"]["audio"]
    return told["state"], told["problem"], told["asked"]


def words(commands: list[dict[str, Any]]) -> list[str]:
    return [f"{each['command'].removesuffix('_recording')} {each['segment']}" for each in commands]


def outcomes(command: str) -> list[str]:
    rows = Decision.objects.filter(command=f"{command}_recording").order_by("command_id")
    return list(rows.values_list("outcome", flat=True))


def keep_silent() -> None:
    SwitchCommand.objects.filter(state="pending").update(at=F("at") - COMMAND_PATIENCE - timedelta(seconds=1))
    _in_public(expire_commands)


def test_a_stop_that_the_switch_refuses_is_asked_for_three_times_and_told(
    stage: Stage, waiting: Callable[[], list[dict[str, Any]]], says: Says
) -> None:
    by_rest("stop-audio-recording")
    for _ in range(3):
        assert words(waiting()) == ["stop 1"]
        code, said = says("failed", "Busy")
        assert (code, said["status"], said["reason"]) == (200, "failed", "Busy")
    assert waiting() == []
    assert audio()[1] == "The switch could not stop recording: Busy."
    assert outcomes("stop") == ["failed"] * 3
    stage.play(over(60))
    assert [(number, state) for _, number, state, *_ in segments()] == [(1, "ended")]


def test_a_stop_that_the_switch_never_answers_is_asked_for_until_it_does(
    stage: Stage, waiting: Callable[[], list[dict[str, Any]]], says: Says
) -> None:
    by_rest("stop-audio-recording")
    given_up = []
    for _ in range(4):
        (command,) = waiting()
        given_up.append(command["id"])
        keep_silent()
        assert words(waiting()) == ["stop 1"]
    (recording,) = program().get("/api/v1/recordings").json()["items"]
    assert recording["problem"] == "The switch could not stop recording: The switch did not confirm it in time."
    assert says("done", command_id=given_up[0])[1]["status"] == "expired"  # too late: it is noted by nobody
    assert words(waiting()) == ["stop 1"]
    assert says("done")[1]["status"] == "done"
    assert (waiting(), audio()[0]) == ([], "stopped")
    assert outcomes("stop") == ["expired"] * 4 + ["done"]


@pytest.mark.parametrize("silent", [False, True])
def test_a_resume_that_fails_goes_on_in_a_new_segment(
    stage: Stage, waiting: Callable[[], list[dict[str, Any]]], says: Says, *, silent: bool
) -> None:
    by_rest("pause-audio-recording")
    says("done")
    assert audio()[0] == "paused"
    by_rest("resume-audio-recording")
    (resume,) = waiting()
    if silent:
        keep_silent()
        assert says("done", command_id=resume["id"])[1]["status"] == "expired"
    else:
        says("failed", "No such mixer")
    reason = "The switch did not confirm it in time." if silent else "No such mixer."
    assert audio()[1] == f"The switch could not resume: {reason}"
    assert words(waiting()) == ["stop 1", "start 2"]
    says("done")
    says("done")
    assert (waiting(), audio()[0]) == ([], "recording")
    assert [(number, state) for _, number, state, *_ in segments()] == [(1, "ended"), (2, "running")]
    told = gaps()
    assert [(medium, reason) for medium, reason, *_ in told] == [("audio", "paused"), ("audio", "failed")]
    assert all(until is not None for _, _, _, until, *_ in told)
    assert outcomes("resume") == ["expired" if silent else "failed"]


def test_a_resume_that_the_switch_can_never_do_stays_a_pause(
    stage: Stage, waiting: Callable[[], list[dict[str, Any]]], says: Says
) -> None:
    by_rest("pause-audio-recording")
    says("done")
    by_rest("resume-audio-recording")
    says("failed", "unsupported: this switch cannot resume.")
    assert waiting() == []
    assert audio()[1] == "The switch could not resume: unsupported: this switch cannot resume."
    assert [(reason, until) for _, reason, _, until, *_ in gaps()] == [("paused", None)]
