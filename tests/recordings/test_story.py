"""The story of a call's recordings, as its page and the REST API tell it."""

import re
from html import unescape

import pytest
from django.db import connection
from django.test import Client

from accounts.roles import Role
from cdr.models import CDR
from recordings.models import Decision
from recordings.story import ledger_of, story_of
from tenants.models import Switch, Tenant
from tests.cdr.tables import SESSION, ext, outside
from tests.recordings.people import browser, program
from tests.recordings.stage import Stage, inbound, joined, left, over


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.extension("102")
    return stage


def told() -> list[str]:
    story = story_of(call := CDR.objects.get(session_id=SESSION), ledger_of(call))
    return [f"{line.clock} {line.words} {line.more}".strip() for line in story.lines]


def summary() -> str:
    return story_of(call := CDR.objects.get(session_id=SESSION), ledger_of(call)).summary


OFF = "Not recorded: “Record Audio Calls” was off for each extension in the call, and for the company."
ON_101 = "Recorded: “Record Audio Calls” was on for extension 101."


def test_recorded_call_says_whose_switch_it_was_and_what_the_switch_did(stage: Stage) -> None:
    stage.play(*inbound(), over(65))
    assert told() == [f"0:05 {ON_101} Commanded start; the switch confirmed after 0.2 s."]
    assert summary() == "Audio was recorded for 1:00."


def test_pause_and_resume_by_code_name_the_party_and_the_code(stage: Stage) -> None:
    codes = [(at, "feature.dialled", {"code": code, "leg": "a"}) for at, code in ((185, "*48"), (223, "*49"))]
    stage.play(*inbound(), *codes, over(305))
    assert told()[1:] == [
        "3:05 Paused by 101 by feature code *48. Commanded pause; the switch confirmed after 0.2 s.",
        "3:43 Resumed by 101 by feature code *49. Commanded resume; the switch confirmed after 0.2 s.",
    ]
    assert summary() == "Audio was recorded for 4:22; 0:38 is missing."


def test_start_and_stop_by_hand_are_one_line_each(stage: Stage) -> None:
    codes = [(at, "feature.dialled", {"code": code, "leg": "a"}) for at, code in ((10, "*44"), (20, "*45"))]
    stage.play(*inbound("102"), *codes, over(30))
    assert told() == [
        f"0:05 {OFF}",
        "0:10 Started by 102 by feature code *44. Commanded start; the switch confirmed after 0.2 s.",
        "0:20 Stopped by 102 by feature code *45. Commanded stop; the switch confirmed after 0.2 s.",
    ]


def test_transfer_out_tells_the_new_segment_and_the_stop(stage: Stage) -> None:
    stage.external_calls(recorded=False)
    stage.extension("103", audio=True)
    stage.play(*inbound(), *joined(10, "b", ext("103")), left(12, "a"), *joined(20, "c", outside("5550199")),
               left(23, "b"), over(40))  # fmt: skip
    assert told()[-3:] == [
        "0:12 Recorded: “Record Audio Calls” was on for extension 103.",
        "0:12 Transfer: the recording goes on in a new segment. Commanded stop; the switch confirmed after 0.2 s."
        " Commanded start of segment 2; the switch confirmed after 0.2 s.",
        "0:23 Not recorded: all parties were external, and the system switch “Record the call between external"
        " numbers” was off. Commanded stop of segment 2; the switch confirmed after 0.2 s.",
    ]


def test_failed_pause_tells_the_reason_and_the_stop(stage: Stage) -> None:
    stage.refuses = {"pause": "mixer gone"}
    stage.play(*inbound(), (10, "feature.dialled", {"code": "*48", "leg": "a"}), over(30))
    assert told()[1:] == [
        "0:10 Paused by 101 by feature code *48. Commanded pause; the switch could not: mixer gone.",
        "0:10 Stopped, because the pause failed and somebody asked not to be recorded."
        " Commanded stop; the switch confirmed after 0.0 s.",
    ]


def test_switch_that_stops_by_itself_is_told(stage: Stage) -> None:
    stage.play(*inbound())
    recording = Decision.objects.exclude(recording=None).get().recording_id
    stage.play((20, "recording.stopped", {"recording_id": str(recording), "reason": "disk full"}), over(40))
    assert any(line.startswith("0:20 The switch stopped recording by itself.") for line in told())


def test_call_that_nobody_wanted_recorded_says_why(stage: Stage) -> None:
    stage.play(*inbound("102"), over(30))
    assert (told(), summary()) == ([f"0:05 {OFF}"], "Nothing of this call was recorded.")


def test_call_that_nobody_answered_says_so(stage: Stage) -> None:
    stage.play(*inbound("102")[:3], over(30))
    assert (told(), summary()) == ([], "Not recorded: nobody answered.")


def test_call_told_only_when_it_was_over_says_that_nothing_was_decided(stage: Stage) -> None:
    stage.play(*inbound("102"), over(30))
    Decision.objects.all().delete()
    assert (told(), summary().split(":")[0]) == ([], "No decision is kept")


def test_both_media_are_told_apart(stage: Stage, acme: Tenant) -> None:
    acme.enable_extension_audio_recording = acme.enable_extension_video_recording = True
    stage.play(*inbound(media=["audio", "video"]), (10, "feature.dialled", {"code": "*48", "leg": "a"}), over(65))
    call = CDR.objects.get()
    story = story_of(call, ledger_of(call))
    each = "was recorded for 0:05; 0:55 is missing."
    assert story.summary == f"Audio {each} Video {each}"
    assert [(line.clock, line.medium, line.tone) for line in story.lines] == [
        ("0:05", "audio", "on"), ("0:05", "video", "on"), ("0:10", "audio", "gap"), ("0:10", "video", "gap"),
    ]  # fmt: skip
    assert [f"{each.whose}: {each.words}" for each in story.in_force] == [
        "Extension 101: Record Audio Calls on, Record Video Calls off",
        "Company: audio on, video on",
        "System: Record the call between external numbers on",
    ]


# --- Doors -------------------------------------------------------------------------------------------------


def page(client: Client, address: str = f"/call-statistics/cdr/{SESSION}") -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", client.get(address).content.decode())))


def test_calls_page_tells_the_story(stage: Stage) -> None:
    stage.play(*inbound(), over(65))
    text = page(browser(Role.QUEUE_MANAGER))
    assert "Why it was recorded" in text
    assert f"0:05 {ON_101} Commanded start; the switch confirmed after 0.2 s." in text
    assert "Settings then in force Extension 101 Record Audio Calls on, Record Video Calls off" in text
    assert "Why it was recorded" in page(browser(Role.USER, "101"))


def test_calls_page_of_an_unrecorded_call_says_why_not(stage: Stage) -> None:
    stage.play(*inbound("102"), over(65))
    text = page(browser())
    assert (
        f"Why it was not recorded Minutes and seconds of the call Nothing of this call was recorded. 0:05 {OFF}" in text
    )


def test_rest_gives_each_decision_with_its_words(stage: Stage, acme: Tenant) -> None:
    acme.announce_recording = True
    stage.play(*inbound(), over(65))
    body = browser(Role.ADMIN).get(f"/api/v1/cdrs/{SESSION}").json()
    start = Decision.objects.exclude(command="").get()
    common = {
        "at": "2023-03-22T09:20:05.000Z", "second": 5.0, "medium": "audio", "record": True, "rule": "user_switch",
        "extension": "101", "actor": "system Voxledger", "via": "policy",
        "settings": {
            "tenant": {"audio": False, "video": False},
            "users": {"101": {"audio": True, "video": False}},
            "record_external_calls": True,
        },
        "parties": [{"number": "1888722", "kind": "external"}, {"number": "101", "kind": "extension"}],
    }  # fmt: skip
    assert body["policy_decisions"] == [
        common | {
            "words": f"{ON_101} Commanded start; the switch confirmed after 0.2 s.",
            "recording_id": str(start.recording_id), "command": "start", "segment": 1, "outcome": "done",
            "outcome_reason": "", "answered_at": "2023-03-22T09:20:05.250Z",
        },
    ]  # fmt: skip
    assert body["recording_announced"] is True


def test_token_without_rights_on_recordings_gets_no_decisions(stage: Stage) -> None:
    stage.play(*inbound(), over(65))
    body = program(scopes=["cdr.view"]).get(f"/api/v1/cdrs/{SESSION}").json()
    assert (body["policy_decisions"], body["recording_announced"]) == ([], False)
    body = program(Role.QUEUE_MANAGER, scopes=["cdr.view", "recordings.view"]).get(f"/api/v1/cdrs/{SESSION}").json()
    assert len(body["policy_decisions"]) == 1


def test_other_tenant_and_other_peoples_extension_see_nothing(stage: Stage, globex: Tenant) -> None:
    stage.play(*inbound(), over(65))
    assert browser(Role.USER, "102").get(f"/api/v1/cdrs/{SESSION}").status_code == 404
    connection.set_tenant(globex)  # type: ignore[attr-defined]
    client = browser(host="globex")
    assert client.get(f"/call-statistics/cdr/{SESSION}").status_code == 404
    assert client.get(f"/api/v1/cdrs/{SESSION}").status_code == 404
