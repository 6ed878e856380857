"""Commanding a call's recording over REST, and reading what is recorded of the calls in progress."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from accounts.roles import Role
from recordings import ordered
from recordings.models import Decision, Recording
from tenants import outbox
from tenants.models import Switch, SwitchCommand, Tenant
from tests.cdr.tables import SESSION, outside
from tests.recordings.people import program
from tests.recordings.stage import Stage, inbound, joined, left, over

ADDRESS = f"/api/v1/calls/{SESSION}/recording"
Answers = Callable[..., Any]


def post(client: Client, operation: object, address: str = ADDRESS, **more: object) -> tuple[int, dict[str, Any]]:
    response = client.post(address, {"operation": operation} | more, content_type="application/json")
    return response.status_code, response.json()


def code(answer: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.extension("102")
    return stage


# --- In one thread: the switch answers before or after, never meanwhile --------------------------------------


def test_command_without_waiting_is_pending_and_done_when_it_is_so(stage: Stage) -> None:
    stage.play(*inbound())
    admin = program()
    status, body = post(admin, "pause-audio-recording", wait=0)
    (command,) = SwitchCommand.objects.filter(command="pause_recording")
    audio = body["recording"].pop("audio")
    assert (status, body) == (
        202,
        {
            "session_id": SESSION, "operation": "pause-audio-recording", "status": "pending",
            "commands": [str(command.pk)], "recording": {"video": None},
        },
    )  # fmt: skip
    assert (audio["state"], audio["asked"]) == ("recording", "pause")  # until the switch says so
    assert post(admin, "pause-audio-recording", wait=0)[0] == 202  # a second one waits for the same answer
    stage.obey()
    status, body = post(admin, "pause-audio-recording", wait=0)
    assert (status, body["status"], body["commands"]) == (200, "done", [])
    assert (body["recording"]["audio"]["state"], body["recording"]["audio"]["asked"]) == ("paused", None)
    assert SwitchCommand.objects.filter(command="pause_recording").count() == 1


@pytest.mark.parametrize(
    ("word", "states"),
    [
        ("pause-audio-recording", ("paused", "recording")),
        ("pause-video-recording", ("recording", "paused")),
        ("pause-recording", ("paused", "paused")),
        ("stop-audio-recording", ("stopped", "recording")),
        ("stop-video-recording", ("recording", "stopped")),
        ("stop-recording", ("stopped", "stopped")),
    ],
)
def test_word_acts_on_the_medium_it_names_and_on_both_without_one(
    stage: Stage, acme: Tenant, word: str, states: tuple[str, str]
) -> None:
    acme.enable_extension_audio_recording = acme.enable_extension_video_recording = True
    stage.play(*inbound(media=["audio", "video"]))
    admin = program()
    assert post(admin, word, wait=0)[0] == 202
    stage.obey()
    assert tuple(Recording.objects.order_by("medium").values_list("state", flat=True)) == states
    back = word.replace("pause", "resume").replace("stop", "start")
    assert post(admin, back, wait=0)[0] == 202
    stage.obey()
    assert set(Recording.objects.values_list("state", flat=True)) == {"recording"}


def test_token_is_named_in_the_decision(stage: Stage) -> None:
    stage.play(*inbound())
    post(program(), "stop-audio-recording", wait=0)
    last = Decision.objects.filter(rule="stop").get()
    assert (last.actor, last.via, last.record) == ("token t", "rest", False)


def test_party_commands_its_own_call_and_nobody_elses(stage: Stage) -> None:
    stage.play(*inbound("101"))
    party, stranger, nobody = program(Role.USER, "101"), program(Role.USER, "102"), program(Role.USER)
    assert post(party, "pause-recording", wait=0)[0] == 202
    refused = (403, "not_a_party")
    assert code(post(stranger, "pause-recording")) == refused
    assert code(post(nobody, "pause-recording")) == refused
    assert code(post(program(Role.QUEUE_MANAGER, "103"), "pause-recording")) == refused
    assert Decision.objects.filter(rule="pause").count() == 1


def test_party_that_has_left_is_a_stranger(stage: Stage) -> None:
    stage.play(*inbound("101"), *joined(10, "b", {"number": "102", "kind": "extension"}), left(12, "a"))
    assert code(post(program(Role.USER, "101"), "pause-recording")) == (403, "not_a_party")


def test_party_that_only_rings_is_a_stranger(stage: Stage) -> None:
    stage.play(*inbound("101")[:3])
    assert code(post(program(Role.USER, "101"), "start-recording")) == (403, "not_a_party")


def test_token_without_the_right_is_refused(stage: Stage) -> None:
    stage.play(*inbound())
    assert code(post(program(scopes=["cdr.view", "recordings.view"]), "pause-recording")) == (403, "forbidden")
    assert code(post(program(scopes=["own_calls"]), "pause-recording")) == (403, "not_a_party")
    assert post(program(scopes=["recordings.full", "cdr.view", "audit"]), "pause-recording", wait=0)[0] == 202


def test_call_that_is_not_there_is_not_found(stage: Stage, globex: Tenant) -> None:
    admin = program()
    for address in ("/api/v1/calls/nobody/recording", "/api/v1/calls/a%00b/recording", ADDRESS):
        assert code(post(admin, "pause-recording", address)) == (404, "call_not_found")
    stage.play(*inbound(), over(20))
    assert code(post(admin, "pause-recording")) == (404, "call_not_found")


def test_other_tenants_call_does_not_exist(stage: Stage, globex: Tenant) -> None:
    stage.play(*inbound())
    connection.set_tenant(globex)  # type: ignore[attr-defined]
    assert code(post(program(host="globex"), "stop-recording")) == (404, "call_not_found")
    assert SwitchCommand.objects.filter(command="stop_recording").count() == 0


def test_what_is_not_recorded_cannot_be_paused(stage: Stage) -> None:
    stage.play(*inbound("102"))
    answer = post(program(), "pause-audio-recording")
    assert answer[1]["error"]["message"] == "The audio of this call is not being recorded."
    assert code(answer) == (409, "not_recording")
    assert code(post(program(Role.ADMIN, "9"), "pause-video-recording")) == (409, "not_recording")


def test_policy_stands_above_a_persons_word(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    stage.play(*inbound("101"), *joined(10, "b", outside("5550199")), left(12, "a"))
    assert code(post(program(), "start-recording")) == (403, "forbidden_by_policy")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "unknown_operation"),
        ({"operation": "pause"}, "unknown_operation"),
        ({"operation": ["pause-recording"]}, "unknown_operation"),
        ({"operation": "pause-recording", "wait": 11}, "not_valid"),
        ({"operation": "pause-recording", "wait": True}, "not_valid"),
        ({"operation": "pause-recording", "medium": "audio"}, "not_valid"),
        ([], "not_an_object"),
    ],
)
def test_malformed_command_is_refused(stage: Stage, body: object, expected: str) -> None:
    stage.play(*inbound())
    response = program().post(ADDRESS, body, content_type="application/json")
    assert (response.status_code, response.json()["error"]["code"]) == (400, expected)


def test_only_post_is_taken(stage: Stage) -> None:
    assert {getattr(program(number=str(n)), method)(ADDRESS).status_code for n, method in
            enumerate(("get", "put", "patch", "delete"))} == {405}  # fmt: skip
    assert Client(headers={"host": "acme.portal.test"}).post(ADDRESS).status_code == 401


def test_silent_switch_is_told_as_not_confirmed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered, "_LOOK_SECONDS", 0.5)
    stage.play(*inbound())
    admin = program()
    answer = post(admin, "pause-recording", wait=1)
    assert (answer[1]["error"]["message"], code(answer)) == (
        "The switch has not fetched the command within 1 s.", (504, "not_confirmed"),
    )  # fmt: skip
    assert answer[1]["error"]["details"]["recording"]["audio"]["asked"] == "pause"
    outbox.pending_for(stage.switch)
    assert post(admin, "pause-recording", wait=1)[1]["error"]["message"] == "The switch has not answered within 1 s."


def test_start_of_what_the_switch_never_records_says_why(stage: Stage) -> None:
    stage.extension("105", video=True)
    stage.refuses = {"start": "unsupported: this switch records no video."}
    stage.play(*inbound("105", media=["audio", "video"]))
    answer = post(program(), "start-video-recording", wait=0)
    assert (code(answer), answer[1]["error"]["message"]) == (
        (409, "unsupported"),
        "The switch cannot record the video of this call: this switch records no video.",
    )


# --- With a switch that answers meanwhile --------------------------------------------------------------------


@pytest.fixture
def answers(http_switch: Switch) -> Iterator[Answers]:
    """A switch in a thread of its own, which confirms the next command it finds."""
    threads: list[threading.Thread] = []

    def work(state: str, reason: str) -> None:
        try:
            for _ in range(1200):
                if rows := outbox.pending_for(http_switch):
                    outbox.confirm(http_switch, rows[0].pk, SwitchCommand.State(state), reason)
                    return
                time.sleep(0.05)
        finally:
            connection.close()

    def answer(state: str = "done", reason: str = "") -> None:
        threads.append(threading.Thread(target=work, args=(state, reason)))
        threads[-1].start()

    yield answer
    for thread in threads:
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_command_is_done_once_the_switch_has_confirmed_it(stage: Stage, answers: Answers) -> None:
    stage.play(*inbound())
    admin = program()
    answers()
    status, body = post(admin, "pause-audio-recording")
    assert (status, body["status"]) == (200, "done")
    assert (body["recording"]["audio"]["state"], body["recording"]["audio"]["asked"]) == ("paused", None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("reason", "expected"),
    [("disk full", (502, "switch_failed")), ("unsupported: no video here", (409, "unsupported"))],
)
def test_command_that_the_switch_refuses_fails_with_its_words(
    stage: Stage, answers: Answers, reason: str, expected: tuple[int, str]
) -> None:
    stage.play(*inbound("102"))
    answers("failed", reason)
    answer = post(program(), "start-audio-recording")
    assert code(answer) == expected
    assert answer[1]["error"]["message"].endswith(reason)


@pytest.mark.django_db(transaction=True)
def test_pause_that_fails_stops_and_says_so(stage: Stage, answers: Answers) -> None:
    stage.play(*inbound())
    answers("failed", "mixer gone")
    status, body = post(program(), "pause-recording")
    audio = body["error"]["details"]["recording"]["audio"]
    assert (status, audio["asked"], audio["problem"]) == (
        502, "stop", "The switch could not pause, so the recording was stopped: mixer gone.",
    )  # fmt: skip


# --- Reading -------------------------------------------------------------------------------------------------


def recording_of(client: Client) -> Any:
    (item,) = client.get("/api/v1/calls").json()["items"]
    return item["recording"]


def test_calls_in_progress_say_what_is_recorded(stage: Stage) -> None:
    admin = program()
    stage.play(*inbound("102")[:3])
    off = {"state": "off", "recording_id": None, "since": None, "asked": None, "problem": ""}
    assert recording_of(admin) == {"audio": {**off, "words": "Nobody has answered yet."}, "video": None}
    stage.play(inbound("102")[3])
    why = "Not recorded: “Record Audio Calls” was off for each extension in the call, and for the company."
    assert recording_of(admin) == {"audio": {**off, "words": why}, "video": None}


def test_calls_in_progress_say_what_runs_and_what_is_paused(stage: Stage) -> None:
    stage.play(*inbound(media=["audio", "video"]), (9, "feature.dialled", {"code": "*48", "leg": "a"}))
    recording = Recording.objects.get()
    assert recording_of(program()) == {
        "audio": {
            "state": "paused", "recording_id": str(recording.pk), "since": "2023-03-22T09:20:09.250Z", "asked": None,
            "problem": "", "words": "Paused by 101 by feature code.",
        },
        "video": {
            "state": "off", "recording_id": None, "since": None, "asked": None, "problem": "",
            "words": "Not recorded: “Record Video Calls” was off for each extension in the call, and for the company.",
        },
    }  # fmt: skip


def test_own_calls_say_their_recording_and_a_narrow_token_does_not(stage: Stage) -> None:
    stage.play(*inbound())
    assert recording_of(program(Role.USER, "101"))["audio"]["state"] == "recording"
    assert recording_of(program(Role.QUEUE_MANAGER))["audio"]["state"] == "recording"
    assert recording_of(program(scopes=["cdr.view"])) is None


def test_reading_many_calls_costs_no_more_queries(stage: Stage, django_assert_num_queries: Any) -> None:
    admin = program()
    stage.play(*inbound())
    admin.get("/api/v1/calls")
    with transaction.atomic(), django_assert_num_queries(11):
        admin.get("/api/v1/calls")
    for number in range(3):
        stage.play(*[(at, kind, more | {"session_id": f"s{number}"}) for at, kind, more in inbound()])
    with transaction.atomic(), django_assert_num_queries(11):
        assert len(admin.get("/api/v1/calls").json()["items"]) == 4
