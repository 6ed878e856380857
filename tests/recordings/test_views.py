"""Call Recordings as a person sees it: the list, a recording's page with its player, deletion, the call's page."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.roles import Role
from recordings import listening_views, views
from recordings.models import Gap, Play, Recording
from tenants.models import Tenant
from tests.cdr.rows import make_call
from tests.recordings.people import browser
from tests.recordings.played import NOON, make_ready, pause

pytestmark = pytest.mark.django_db
LIST = "/call-statistics/recordings"


def text(response: Any) -> str:
    """The page without its markup, white space made one."""
    assert response.status_code == 200, response
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode())).strip()


def opened(response: Any) -> list[int]:
    """The ids of the rows, in order."""
    return [int(found) for found in re.findall(rf'<a href="{LIST}/(\d+)" data-open>', response.content.decode())]


def heads(response: Any) -> list[str]:
    head = re.search(r"<thead>.*?</thead>", response.content.decode(), re.DOTALL)
    assert head
    return [re.sub(r"<[^>]*>", "", words) for words in re.findall(r"<th\b[^>]*>(.*?)</th>", head[0], re.DOTALL)]


def page_of(recording: Recording) -> str:
    return f"{LIST}/{recording.pk}"


@pytest.fixture
def admin(acme: Tenant) -> Client:
    return browser()


def test_list_shows_the_named_columns_and_each_recording(admin: Client) -> None:
    make_call(1, session_id="s-1")
    recording = make_ready(62.0, session_id="s-1")
    pause(recording, 2, 40)
    page = admin.get(LIST)
    assert heads(page) == ["", "Play", "Caller", "Callee", "Start Time", "End Time", "Duration", "Medium",
                           "State and gaps", "Action"]  # fmt: skip
    assert "1888722 101 Front desk 12:00:00 12:01:02 1:02 Audio paused 0:38" in text(page)
    assert "CDR Call Recordings Enter Download" in text(page)
    assert opened(page) == [recording.pk]
    for address in ("/call-statistics/cdr/s-1", f"{page_of(recording)}/download", f"{page_of(recording)}#play"):
        assert f'href="{address}"' in page.content.decode()


def test_list_stands_in_the_menu_and_links_from_the_cdr_list(admin: Client) -> None:
    make_call(1, session_id="s-1", recorded=True)
    make_ready(session_id="s-1")
    calls = admin.get("/call-statistics/cdr").content.decode()
    assert f'href="{LIST}"' in calls
    assert f'href="{LIST}?session_id=s-1"' in calls
    assert 'href="/call-statistics/cdr/s-1#recordings"' in calls
    assert len(opened(admin.get(f"{LIST}?session_id=s-1"))) == 1


def test_list_pages_newer_and_older(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PAGE", 2)
    made = [make_ready(at=NOON + timedelta(minutes=number)).pk for number in range(5)][::-1]

    def follow(page: Any, rel: str) -> Any:
        found = re.search(rf'href="([^"]+)" rel="{rel}"', page.content.decode())
        assert found
        return admin.get(found[1].replace("&amp;", "&"))

    first = admin.get(f"{LIST}?caller=1888722")
    second, third = follow(first, "next"), follow(follow(first, "next"), "next")
    assert [opened(page) for page in (first, second, third)] == [made[:2], made[2:4], made[4:]]
    assert opened(follow(third, "prev")) == made[2:4]
    assert admin.get(f"{LIST}?after=x&caller=1").headers["Location"] == f"{LIST}?caller=1"


def test_list_holds_its_queries(admin: Client) -> None:
    counts = []
    for number in (1, 3):
        for _ in range(number):
            pause(make_ready(), 0.5, 1)
        with CaptureQueriesContext(connection) as queries:
            admin.get(LIST)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_list_is_narrowed_and_says_by_what(admin: Client) -> None:
    make_call(1, session_id="s-1", direction="outbound")
    recording = make_ready(session_id="s-1")
    make_ready(at=NOON + timedelta(days=1))
    page = admin.get(f"{LIST}?direction=outbound&medium=audio&min_duration=1&max_duration=x")
    assert opened(page) == [recording.pk]
    for said in ("Direction Outbound", "Medium Audio", "Duration at least 0:01", "This filter is left out."):
        assert said in text(page)
    assert "No recording fits these filters" in text(admin.get(f"{LIST}?caller=7"))


def test_list_says_what_is_no_recording_yet(admin: Client) -> None:
    make_ready(state="failed", problem="The switch could not start recording.")
    make_ready(state="processing")
    make_ready(state="trashed")
    page = admin.get(LIST)
    assert "Failed" in text(page)
    assert "Processing" in text(page)
    assert len(opened(page)) == 2
    assert "/download" not in page.content.decode().replace(f"{LIST}/download", "")


def test_empty_list(admin: Client) -> None:
    assert "No recordings yet" in text(admin.get(LIST))


def test_own_list_and_no_deletion(acme: Tenant) -> None:
    own, _ = make_ready(extensions=["102"]), make_ready(extensions=["101"])
    user = browser(Role.USER, "102")
    page = user.get(LIST)
    assert opened(page) == [own.pk]
    assert "The recordings of your own extension." in text(page)
    assert f"{LIST}/delete" not in page.content.decode()
    assert user.post(f"{LIST}/delete", {"recording": own.pk}).status_code == 403


# --- Deletion ----------------------------------------------------------------------------------------------


def test_deletion_of_marked_rows(admin: Client) -> None:
    gone, held, kept = make_ready(), make_ready(legal_hold=True, legal_hold_reason="Case 5"), make_ready()
    answer = admin.post(
        f"{LIST}/delete", {"recording": [gone.pk, held.pk, "x", "9" * 30], "back": f"{LIST}?medium=audio"}, follow=True
    )
    assert answer.redirect_chain == [(f"{LIST}?medium=audio", 302)]
    assert "1 recording is in the trash now, and gone for good in 7 days." in text(answer)
    assert "A legal hold keeps this recording: Case 5" in text(answer)
    assert set(opened(answer)) == {held.pk, kept.pk}


def test_deletion_of_nothing(admin: Client) -> None:
    assert "Select recordings first." in text(admin.post(f"{LIST}/delete", follow=True))


@pytest.mark.parametrize("back", ["//evil.test", "/users", "https://evil.test/call-statistics/recordings", ""])
def test_deletion_leads_back_to_the_list_only(admin: Client, back: str) -> None:
    assert admin.post(f"{LIST}/delete", {"back": back})["Location"] == LIST


def test_one_marked_row_is_downloaded_as_it_is(admin: Client) -> None:
    recording = make_ready()
    assert admin.post(f"{LIST}/download", {"recording": recording.pk})["Location"] == f"{page_of(recording)}/download"


# --- A recording's page ------------------------------------------------------------------------------------


def test_page_with_the_player(admin: Client) -> None:
    make_call(1, session_id="s-1", final_display_name="Front desk")
    recording = make_ready(100.0, channels=2, session_id="s-1", pause_style="silence")
    pause(recording, 20, 30)
    page = admin.get(page_of(recording))
    shown = page.content.decode()
    assert f'src="{page_of(recording)}/file"' in shown
    assert "<audio controls" in shown
    assert re.search(r'<div class="lanes"><span>1888722</span><span>101 <small>Front desk</small></span>', shown)
    assert len(re.findall(r'<path id="lane-', shown)) == 2
    scale = re.search(r'data-scale="([^"]+)"', shown)
    assert scale
    assert json.loads(scale[1]) == [[0, 20000, 0, 20.0], [20000, 30000, 20.0, 30.0], [30000, 100000, 30.0, 100.0]]
    assert "Paused by 101 by feature code, 0:10 from 12:00:20" in text(page)
    assert "Recorded 1:40 audio, from 12:00:00 , 1 gap of 0:10" in text(page)
    assert "0:20 0:30 12:00:20 0:10 Paused by 101 by feature code" in text(page), "the table says it too"
    assert 'href="/call-statistics/cdr/s-1"' in shown
    assert "Skip gaps" in shown


def test_page_begins_at_the_second_of_the_address(admin: Client) -> None:
    recording = make_ready(10.0)
    for written, second in (("7", "7.0"), ("7.5", "7.5"), ("99", "10.0")):
        shown = admin.get(page_of(recording), {"t": written}).content.decode()
        assert f'/file#t={second}"' in shown
    for nonsense in ("-1", "x", "nan", "inf", "1e9"):
        assert '/file"' in admin.get(page_of(recording), {"t": nonsense}).content.decode()


def test_page_of_a_video_and_its_sound(admin: Client) -> None:
    sound = make_ready(session_id="s-1")
    picture = make_ready(session_id="s-1", switch_session_id="s-1v", medium="video")
    shown = admin.get(page_of(picture)).content.decode()
    assert "<video controls" in shown
    assert "<audio" not in shown
    assert f'<a href="{page_of(sound)}">' in shown
    assert f'<a href="{page_of(picture)}" aria-current="page">' in shown


@pytest.mark.parametrize("state", ["failed", "processing", "recording", "trashed", "deleted"])
def test_page_of_what_cannot_be_played(admin: Client, state: str) -> None:
    recording = make_ready(state=state, problem="It broke.", deletion="Deleted by ada.")
    shown = admin.get(page_of(recording))
    assert "It broke. Deleted by ada." in text(shown)
    assert b"<audio" not in shown.content


def test_page_says_what_the_switch_delivered(admin: Client) -> None:
    recording = make_ready(1.0, 1.0)
    assert "1 12:00:00 12:00:01 The call ended audio/wav pcm_s16le, 1 track" in text(admin.get(page_of(recording)))


def test_listeners_are_shown_to_whom_it_concerns(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_views, "PLAYS", 1)
    recording = make_ready(extensions=["101"])
    for number in range(2):
        Play.objects.create(
            recording_id=recording.pk, session_id="s", kind="download", at=NOON + timedelta(minutes=number),
            actor_kind="user", actor=f"ada{number}", address="192.0.2.7", sent=2048, reason="Complaint 17",
        )  # fmt: skip
    for reader in (browser(), browser(Role.USER, "101")):
        page = reader.get(page_of(recording))
        assert "ada1 Downloaded" in text(page)
        assert "2.0 KB Complaint 17 192.0.2.7" in text(page).replace("\xa0", " ")
        older = re.search(r'href="(\?plays=[^"#]+)#listeners"', page.content.decode())
        assert older
        assert "ada0 Downloaded" in text(reader.get(page_of(recording) + older[1]))
    assert "Who listened" not in text(browser(Role.QUEUE_MANAGER).get(page_of(recording)))
    assert browser().get(page_of(recording) + "?plays=x")["Location"] == page_of(recording)


def test_listeners_are_shown_when_the_recording_is_gone(admin: Client) -> None:
    recording = make_ready(state="deleted")
    Play.objects.create(recording_id=recording.pk, session_id="s", kind="play", actor_kind="user", actor="ada")
    assert "ada Played" in text(admin.get(page_of(recording)))


def test_names_are_shown_as_text(admin: Client) -> None:
    make_call(1, session_id="s-1", caller_display_name="<b>Eve</b>")
    recording = make_ready(session_id="s-1", caller="<i>1</i>", channels=2, problem="<u>x</u>")
    Gap.objects.create(
        recording=recording, medium="audio", since=NOON, until=NOON + timedelta(seconds=1), reason="paused",
        begun_by="user <s>Eve</s>", begun_via="rest",
    )  # fmt: skip
    for address in (LIST, page_of(recording), "/call-statistics/cdr/s-1"):
        shown = admin.get(address).content.decode()
        for tag in ("<b>Eve", "<i>1", "<u>x", "<s>Eve"):
            assert tag not in shown


@pytest.mark.parametrize("written", ["1", "9" * 19, "9" * 40])
def test_page_of_no_recording(admin: Client, written: str) -> None:
    for rest in ("", "/file", "/download"):
        assert admin.get(f"{LIST}/{written}{rest}").status_code == 404


# --- The call's page ---------------------------------------------------------------------------------------


def test_call_plays_its_recordings(admin: Client) -> None:
    make_call(1, session_id="s-1", recorded=True, extensions=["101", "102"])
    recording = make_ready(session_id="s-1", extensions=["101"])
    shown = admin.get("/call-statistics/cdr/s-1").content.decode()
    assert f'src="{page_of(recording)}/file"' in shown
    assert f'href="{LIST}?session_id=s-1"' in shown
    assert (
        f'src="{page_of(recording)}/file"'
        not in browser(Role.USER, "102").get("/call-statistics/cdr/s-1").content.decode()
    )


def test_call_asks_for_the_reason_first(admin: Client, acme: Tenant) -> None:
    Tenant.objects.filter(pk=acme.pk).update(ask_play_reason=True)
    make_call(1, session_id="s-1", recorded=True)
    recording = make_ready(session_id="s-1")
    shown = admin.get("/call-statistics/cdr/s-1").content.decode()
    assert "<audio" not in shown
    assert f'action="{page_of(recording)}/reason"' in shown
    given = admin.post(f"{page_of(recording)}/reason", {"reason": "why", "back": "/call-statistics/cdr/s-1"})
    assert given["Location"] == f"/call-statistics/cdr/s-1#recording-{recording.pk}"
    assert b"<audio" in admin.get("/call-statistics/cdr/s-1").content


def test_call_without_recordings_has_no_player(admin: Client) -> None:
    make_call(1, session_id="s-1")
    assert b"data-player" not in admin.get("/call-statistics/cdr/s-1").content


def test_recording_that_lacks_a_file_plays_and_says_so(admin: Client) -> None:
    said = "The file of segment 2 is missing: the switch did not deliver it in time."
    recording = make_ready(2.0, 3.0, problem=said)
    recording.segments.get(number=2).file.delete()
    page = admin.get(page_of(recording))
    assert said in text(page)
    assert f'src="{page_of(recording)}/file"' in page.content.decode()
    assert "1 gap of 0:03" in text(page)
    assert "The file of this part is missing" in text(page)


def test_film_whose_sound_was_paused_says_so_and_skips_nothing(admin: Client) -> None:
    film = make_ready(60.0, medium="video", pause_style="silence")
    pause(film, 10, 40, medium="audio")
    page = admin.get(page_of(film))
    assert ", sound paused 0:30" in text(page)
    assert "gap of" not in text(page)
    assert "Skip gaps" not in text(page)
    assert 'data-silences="[]"' in page.content.decode()
