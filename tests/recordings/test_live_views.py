"""The page of calls in progress as people see it, and the commands they give there."""

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import numbers
from accounts.models import Extension
from accounts.roles import Role
from recordings import live, ordered
from recordings.live import Viewer, page_for
from recordings.models import Decision, Recording
from tenants.models import Switch, SwitchCommand, Tenant
from tests.cdr.tables import SESSION, at, ext, outside, service
from tests.recordings.people import browser, user
from tests.recordings.stage import Line, Stage, inbound, joined, left, over

PAGE = "/call-statistics/live-calls"
COMMAND = f"{PAGE}/command"
ALL = Viewer(sees_all=True, commands_all=True)


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.extension("102")
    return stage


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers while these tests wait."""
    monkeypatch.setattr(ordered, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(ordered.wait_for, "__defaults__", (0.0,))


def rows(client: Client, address: str = PAGE) -> list[str]:
    """The text of each row, without what only time changes."""
    page = client.get(address).content.decode()
    found = re.findall(r"<tr data-key.*?</tr>", page, re.S)
    return [words(row) for row in found]


def words(html: str) -> str:
    html = re.sub(r"<div class=\"menu.*?</div>", " ", html, flags=re.S)
    html = re.sub(r"<(b|span) data-since[^>]*>[^<]*</\1>", " ", html)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))).strip()


def buttons(client: Client) -> list[str]:
    return re.findall(r'name="command" value="([^"]*)"', client.get(PAGE).content.decode())


def of_session(session_id: str, lines: list[Line]) -> list[Line]:
    return [(second, kind, more | {"session_id": session_id}) for second, kind, more in lines]


def give(client: Client, word: str, session_id: str = SESSION, **more: Any) -> str:
    response = client.post(COMMAND, {"command": f"{word} {session_id}"}, headers={"HX-Request": "true"}, **more)
    assert response.status_code == 200
    return words(response.content.decode()).removesuffix(" Close")


# --- What is shown -----------------------------------------------------------------------------------------


def test_row_tells_who_talks_and_what_is_recorded(stage: Stage) -> None:
    admin = browser()
    assert "No calls in progress" in admin.get(PAGE).content.decode()
    stage.play(*inbound()[:3])
    assert rows(admin) == ["1888722 101 Ringing Not recorded"]
    stage.play(inbound()[3])
    assert rows(admin) == ["1888722 101 Talking Recording Pause"]
    stage.play((10, "feature.dialled", {"code": "*48", "leg": "a"}))
    assert rows(admin) == ["1888722 101 Talking Paused Resume"]
    stage.play(over(20))
    assert rows(admin) == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (inbound("102"), "1888722 102 Talking Not recorded: switched off Start"),
        ([*inbound(), (9, "party.held", {"leg": "a"})], "1888722 101 Held Recording Pause"),
        ([*inbound(), *joined(9, "b", ext("102", "Ann")), left(11, "a")],
         "1888722 101 → 102 Ann Talking Stopped: switched off Start"),
        ([*inbound(), *joined(9, "b", outside("5550199")), left(11, "a")],
         "1888722 101 → 5550199 Talking Stopped: both external Start"),
        ([*inbound("102", media=["audio", "video"])],
         "1888722 102 Talking Audio Not recorded: switched off Video Not recorded: switched off Start"),
        ([(0, "call.started", {"caller": outside("1888722"), "callee": service("8000", "Sales"), "did": "18800606"}),
          (0, "target.added", {"target_id": "q", "callee": service("8000"), "call_type": "queue_call"}),
          (1, "target.answered", {"target_id": "q"})],
         "1888722 8000 Sales Waiting Not recorded: no extension Start"),
    ],
)  # fmt: skip
def test_row_of_each_kind(stage: Stage, lines: list[Line], expected: str) -> None:
    stage.external_calls(recorded=False)
    stage.play(*lines)
    assert rows(browser()) == [expected]


def test_simulated_call_is_marked(stage: Stage) -> None:
    Switch.objects.update(kind=Switch.Kind.SIMULATOR)
    stage.play(*inbound())
    assert rows(browser()) == ["1888722 101 Simulated Talking Recording Pause"]


def test_stretches_lie_one_after_the_other(stage: Stage) -> None:
    lines: list[Line] = [
        (0, "call.started", {"caller": outside("1888722"), "callee": service("8000"), "did": "18800606"}),
        (0, "target.added", {"target_id": "q", "callee": service("8000")}),
        (2, "target.answered", {"target_id": "q"}),
        *joined(4, "a", ext("101")),
        left(5, "q"),
        (20, "party.held", {"leg": "a"}),
        (30, "party.unheld", {"leg": "a"}),
    ]
    stage.play(*lines)
    (call,) = page_for(ALL).calls
    assert [(each.kind, each.since) for each in call.stretches] == [
        ("ringing", at(0)), ("service", at(2)), ("talking", at(5)), ("held", at(20)), ("talking", at(30)),
    ]  # fmt: skip
    assert [each.until for each in call.stretches] == [at(2), at(5), at(20), at(30), None]


def test_counts_are_of_all_calls_and_the_page_of_some(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAGE", 2)
    for number in range(5):
        stage.play(*of_session(f"s{number}", inbound("101" if number % 2 else "102")))
    first = page_for(ALL)
    assert first.counts == live.Counts(in_progress=5, talking=5, recording=2, paused=0)
    seen, page = [call.session_id for call in first.calls], first
    while page.next:
        page = page_for(ALL, after=page.next)
        seen += [call.session_id for call in page.calls]
    assert seen == ["s0", "s1", "s2", "s3", "s4"]
    text = words(browser().get(PAGE).content.decode())
    assert "2 calls of 5 Newest Older" in text


def test_page_costs_the_same_for_one_call_and_for_many(stage: Stage) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            page_for(ALL)
        return len(queries)

    stage.play(*inbound())
    one = cost()
    for number in range(4):
        stage.play(*of_session(f"s{number}", inbound()))
    assert (one, cost()) == (10, 10)


@pytest.mark.parametrize(
    ("search", "found"),
    [("1888", 2), ("101", 1), ("102", 1), ("s1", 1), ("888", 0), ("%", 0), ("a\0b", 0), (" 1888722 ", 2)],
)
def test_search_by_number_extension_or_session(stage: Stage, search: str, found: int) -> None:
    stage.play(*of_session("s1", inbound("101")), *of_session("s2", inbound("102")))
    page = page_for(ALL, search=search)
    assert len(page.calls) == found if "\0" not in search else len(page.calls) == 2


@pytest.mark.parametrize("after", ["nonsense", "WyIyMDI2IiwgMV0", "WzEsIDJd"])
def test_cursor_that_no_list_gave_leads_to_the_beginning(stage: Stage, after: str) -> None:
    response = browser().get(PAGE, {"after": after})
    assert (response.status_code, response["Location"]) == (302, PAGE)


# --- Who sees and may what -----------------------------------------------------------------------------------


def test_standard_user_sees_own_calls_and_commands_those_he_is_in(stage: Stage) -> None:
    stage.play(*of_session("s1", inbound("101")), *of_session("s2", inbound("102")))
    client = browser(Role.USER, "101")
    assert rows(client) == ["1888722 101 Talking Recording Pause"]
    assert buttons(client) == ["pause-recording s1", "stop-recording s1"]
    assert rows(browser(Role.USER)) == []


def test_new_holder_of_a_number_sees_no_call_of_the_former_one(stage: Stage) -> None:
    former, heir = user(Role.USER, name="former"), user(Role.USER, name="heir")
    stage.play(*inbound("101"))
    numbers.take_up("101", former)
    numbers.take_up("101", heir)
    Extension.objects.filter(number="101").update(user=heir)
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(heir)
    assert rows(client) == []
    assert client.get("/api/v1/calls").json()["items"] == []


def test_queue_manager_sees_all_calls_and_commands_none_but_own(stage: Stage) -> None:
    stage.play(*of_session("s1", inbound("101")), *of_session("s2", inbound("102")))
    assert len(rows(browser(Role.QUEUE_MANAGER))) == 2
    assert buttons(browser(Role.QUEUE_MANAGER, "103")) == []


def test_party_that_has_left_sees_the_call_but_has_no_button(stage: Stage) -> None:
    stage.play(*inbound("101"), *joined(9, "b", ext("102")), left(11, "a"))
    client = browser(Role.USER, "101")
    assert len(rows(client)) == 1
    assert buttons(client) == []
    assert (
        give(client, "start-recording") == "Only an extension that is connected in this call may control its recording."
    )


def test_call_between_two_parties_can_still_be_paused(stage: Stage) -> None:
    stage.play(*inbound("101"), joined(10, "b", ext("102"))[0], left(11, "a"))
    assert rows(browser()) == ["1888722 101 Ringing Recording Pause"]
    assert give(browser(Role.ADMIN, "109"), "pause-recording").startswith("The switch has not fetched the command")


def test_both_media_are_commanded_together_or_apart(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_audio_recording = True
    stage.play(*inbound(media=["audio", "video"]))
    assert [each.removesuffix(f" {SESSION}") for each in buttons(browser())] == [
        "pause-recording", "start-recording", "stop-recording",
        "pause-audio-recording", "stop-audio-recording", "start-video-recording",
    ]  # fmt: skip


def test_stranger_and_other_tenant_see_nothing(stage: Stage, globex: Tenant) -> None:
    stage.play(*inbound())
    stranger = Client(headers={"host": "acme.portal.test"})
    assert stranger.get(PAGE).status_code == 302
    assert stranger.post(COMMAND, {"command": f"pause-recording {SESSION}"}).status_code == 302
    connection.set_tenant(globex)  # type: ignore[attr-defined]
    other = browser(host="globex")
    assert rows(other) == []
    assert give(other, "pause-recording") == "There is no such call in progress."
    connection.set_tenant(stage.tenant)  # type: ignore[attr-defined]
    assert not SwitchCommand.objects.filter(command="pause_recording").exists()


# --- Commands ------------------------------------------------------------------------------------------------


def test_command_is_asked_and_not_shown_as_done_before_the_switch_says_so(stage: Stage) -> None:
    stage.play(*inbound())
    client = browser()
    assert give(client, "pause-recording") == (
        "The switch has not fetched the command yet. The list shows what becomes of it."
    )
    assert rows(client) == ["1888722 101 Talking Pausing… Pause"]
    assert 'aria-busy="true" disabled' in client.get(PAGE).content.decode()
    stage.obey()
    assert rows(client) == ["1888722 101 Talking Paused Resume"]
    assert give(client, "pause-recording") == "Recording is paused already."
    assert Decision.objects.get(rule="pause").via == "live_calls"


def test_what_the_switch_could_not_do_is_shown(stage: Stage) -> None:
    stage.refuses = {"pause": "mixer gone"}
    stage.play(*inbound())
    client = browser()
    give(client, "pause-recording")
    stage.obey()
    assert Recording.objects.get().state == "paused"
    assert "The switch could not pause, so the recording was stopped: mixer gone." in client.get(PAGE).content.decode()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("pause-recording nobody", "There is no such call in progress."),
        (f"resume-video-recording {SESSION}", "The video of this call is not being recorded."),
        (f"burn {SESSION}", "This cannot be asked of a call."),
        ("pause-recording", "This cannot be asked of a call."),
        ("", "This cannot be asked of a call."),
    ],
)
def test_command_that_cannot_be_carried_out_says_why(stage: Stage, command: str, said: str) -> None:
    stage.play(*inbound())
    word, _, session_id = command.partition(" ")
    assert give(browser(), word, session_id) == said


def test_without_scripts_the_page_says_what_came_of_it(stage: Stage) -> None:
    stage.play(*inbound())
    client = browser()
    back = {"command": f"pause-recording {SESSION}", "back": f"{PAGE}?search=1888"}
    response = client.post(COMMAND, back)
    assert (response.status_code, response["Location"]) == (302, f"{PAGE}?search=1888")
    assert "The switch has not fetched the command yet." in client.get(response["Location"]).content.decode()
    elsewhere = client.post(COMMAND, back | {"back": "https://evil.test/"})
    assert elsewhere["Location"] == PAGE


def test_command_takes_a_post_with_its_token(stage: Stage) -> None:
    stage.play(*inbound())
    assert browser().get(COMMAND).status_code == 405
    strict = Client(enforce_csrf_checks=True, headers={"host": "acme.portal.test"})
    strict.force_login(user(Role.ADMIN, name="strict"))
    assert strict.post(COMMAND, {"command": f"pause-recording {SESSION}"}).status_code == 403
    assert not SwitchCommand.objects.filter(command="pause_recording").exists()
