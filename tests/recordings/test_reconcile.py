"""What is missing, what is left over, why, and what an administrator can do about it, through the pages."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Extension
from accounts.roles import Role
from recordings import completion, holds, reconcile
from recordings.models import Decision, Recording, RecordingFile, Segment
from tenants.changes import Actor, announce
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.recordings.kept import files_in_store, make_cdr, make_file, make_recording
from tests.recordings.media import spoken
from tests.recordings.people import browser as browser_of

BASE = "/call-statistics/reconciliation"
ADMIN = Actor(kind="user", name="admin")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def browser(acme: Tenant) -> Client:
    return browser_of()


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def cells(response: Any) -> list[list[str]]:
    """The rows of the page's table, in words."""
    assert response.status_code == 200
    body = response.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    plain = [
        [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", cell)).strip() for cell in row.split("</td>")] for row in rows
    ]
    return [row[:-1] for row in plain]


def stray(**more: Any) -> RecordingFile:
    fields: dict[str, Any] = {
        "state": "quarantined",
        "said_recording_id": "77",
        "problem": "This recording has no segment 9.",
    }
    return make_file(spoken(), **fields | more)


# --- Recordings without a file -------------------------------------------------------------------------------


def test_failed_and_late_recordings_are_told_with_their_reason(browser: Client) -> None:
    now = timezone.now()
    make_recording(caller="good")
    make_recording(caller="late", state="processing", at=now - timedelta(days=2), files=0)
    make_recording(caller="awaited", state="processing", at=now - 2 * MINUTE, files=0)
    failed = make_recording(caller="failed", state="failed", files=0, problem="The file of segment 1 is missing.")
    make_recording(caller="trashed", state="trashed", files=0)
    Recording.objects.filter(pk=make_recording(caller="goes on", state="failed", files=0).pk).update(ended_at=None)
    found = [(row[0], row[4], row[5]) for row in cells(browser.get(BASE))]
    assert found == [
        ("failed", "Failed", "The file of segment 1 is missing."),
        ("late", "Processing", "Its file is awaited longer than files may take."),
    ]
    assert browser.post(f"{BASE}/recordings/{failed.pk}/put-away")["Location"] == BASE
    failed.refresh_from_db()
    assert failed.state == "trashed"
    holds.place_hold(ADMIN, failed, "Case 12")
    refused = browser.post(f"{BASE}/recordings/{failed.pk}/put-away", follow=True)
    assert "A legal hold keeps this recording: Case 12" in text_of(refused)


def test_nothing_missing_says_so(browser: Client) -> None:
    make_recording()
    assert "Nothing is missing" in text_of(browser.get(BASE))
    assert "No such call here" in text_of(browser.get(f"{BASE}/calls"))
    assert "No file is left over" in text_of(browser.get(f"{BASE}/files"))


def test_the_list_goes_on_by_keyset(browser: Client) -> None:
    now = timezone.now()
    for number in range(52):
        make_recording(caller=f"c{number:02}", state="failed", files=0, at=now - (number + 5) * MINUTE)
    first = browser.get(BASE)
    (cursor,) = re.findall(r'href="\?(cursor=[^"]+)" rel="next"', first.content.decode())
    second = browser.get(f"{BASE}?{cursor}")
    assert (cells(first)[-1][0], [row[0] for row in cells(second)]) == ("c49", ["c50", "c51"])
    assert browser.get(f"{BASE}?cursor=x").status_code == 200


# --- Calls without a recording -------------------------------------------------------------------------------


def decide(session_id: str, *, record: bool) -> None:
    Decision.objects.create(
        session_id=session_id, at=timezone.now(), medium="audio", rule="user_switch", record=record, via="policy"
    )


def reasons(browser: Client) -> list[tuple[str, str]]:
    return [(row[0], row[4]) for row in cells(browser.get(f"{BASE}/calls"))]


def test_only_calls_that_should_have_been_recorded_are_told(acme: Tenant, browser: Client) -> None:
    Extension.objects.create(number="101", record_audio=True)
    Extension.objects.create(number="102")
    ago = timezone.now() - timedelta(hours=1)
    calls: dict[str, dict[str, Any]] = {
        "told late": {},
        "another's": {"extensions": ["102"]},
        "nobody's": {"extensions": []},
        "unanswered": {"status": "noanswer", "answered_time": None},
        "recorded": {"recorded": True},
        "not wanted": {},
        "never begun": {"extensions": ["102"]},
        "put away": {},
        "merged": {"merged_sessions": ["put away 2"]},
    }
    for number, (name, more) in enumerate(calls.items()):
        make_cdr(name, caller=name, start_time=ago - number * MINUTE, **more)
    decide("not wanted", record=False)
    decide("never begun", record=False)
    decide("never begun", record=True)
    make_recording(session_id="put away", state="deleted", files=0)
    make_recording(session_id="x", switch_session_id="put away 2", files=0)
    assert reasons(browser) == [
        ("told late", "Recording was on for extension 101, but the switch told of the call only when it was over."),
        ("never begun", "It was decided to record it, but no recording was ever begun."),
    ]


def test_what_was_before_the_switch_was_turned_on_is_not_missing(acme: Tenant, browser: Client) -> None:
    extension = Extension.objects.create(number="101", record_audio=True)
    announce(ADMIN, "extension.changed", subject="101", subject_id=extension.pk, after={"record_audio": True})
    make_cdr("before", start_time=timezone.now() - MINUTE)
    make_cdr("after", caller="after", start_time=timezone.now() + MINUTE)
    assert [caller for caller, _ in reasons(browser)] == ["after"]
    Tenant.objects.filter(pk=acme.pk).update(enable_extension_audio_recording=True)
    changed = {"enable_extension_audio_recording": True}
    announce(ADMIN, "company.changed", subject="Acme", subject_id=acme.pk, after=changed)
    Extension.objects.update(record_audio=False)
    assert reasons(browser) == [
        ("after", "Recording was on for the company, but the switch told of the call only when it was over.")
    ]


def test_a_long_ledger_is_looked_through_in_parts(
    acme: Tenant, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "CALLS_AT_ONCE", 2)
    monkeypatch.setattr(reconcile, "MOST_CALLS", 4)
    Extension.objects.create(number="101", record_audio=True)
    ago = timezone.now() - timedelta(hours=1)
    for number in range(5):
        make_cdr(f"s{number}", caller=f"c{number}", start_time=ago - number * MINUTE, extensions=["102"])
    make_cdr("old", caller="old", start_time=ago - 9 * MINUTE)
    first = browser.get(f"{BASE}/calls")
    assert "4 unrecorded calls were looked through, back to" in text_of(first)
    (cursor,) = re.findall(r'href="\?(cursor=[^"]+)" rel="next"', first.content.decode())
    assert [row[0] for row in cells(browser.get(f"{BASE}/calls?{cursor}"))] == ["old"]


# --- Files without a call ------------------------------------------------------------------------------------


def test_a_stray_file_is_given_to_its_segment_and_becomes_ready(browser: Client) -> None:
    make_cdr("a-call")
    recording = make_recording(session_id="a-call", state="failed", ready_at=None, files=0)
    segment = Segment.objects.create(
        recording=recording, number=1, state="ended", started_at=timezone.now(), ended_at=timezone.now()
    )
    file = stray()
    shown = cells(browser.get(f"{BASE}/files"))
    assert [(row[1], row[2], row[3]) for row in shown] == [
        ("This recording has no segment 9.", "no segment", "audio/wav")
    ]
    path = f"{BASE}/files/{file.pk}"
    assert "There is no such segment" in text_of(browser.get(path))
    page = browser.get(path, {"session_id": "a-call"})
    assert f'value="{segment.pk}" checked' in page.content.decode()
    assert browser.post(path, {"segment": str(segment.pk)})["Location"] == f"{BASE}/files"
    completion.probe_waiting()
    recording.refresh_from_db()
    file.refresh_from_db()
    assert (file.state, file.segment_id, recording.state) == ("ready", segment.pk, "ready")
    entry = AuditEntry.objects.get(action="recording_file.assigned")
    assert (entry.subject_id, entry.after) == (str(recording.pk), {"segment": 1, "sha256": file.sha256})
    assert browser.get(path).status_code == 404


def test_a_stray_file_replaces_one_that_is_no_good(browser: Client) -> None:
    recording = make_recording(state="failed", ready_at=None, files=0)
    segment = Segment.objects.create(recording=recording, number=1, state="ended", started_at=timezone.now())
    bad = make_file(b"junk", state="quarantined", segment=segment, problem="It is no WAV.")
    good = stray(said_recording_id=str(recording.pk))
    path = f"{BASE}/files/{good.pk}"
    assert f'value="{segment.pk}"' in browser.get(path).content.decode()
    browser.post(path, {"segment": str(segment.pk)})
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.segment_id, bad.state, good.segment_id, good.state) == (None, "quarantined", segment.pk, "stored")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("no such segment", "There is no such segment."),
        ("taken", "Segment 1 has a file."),
        ("video", "This is a recording of video, not audio/wav."),
        ("trashed", "This recording is in the trash or deleted."),
    ],
)
def test_a_file_is_not_given_where_it_does_not_belong(browser: Client, prepare: str, said: str) -> None:
    recording = make_recording(
        medium="video" if prepare == "video" else "audio", state="trashed" if prepare == "trashed" else "ready",
        files=1 if prepare == "taken" else 0,
    )  # fmt: skip
    segment = recording.segments.first() or Segment.objects.create(recording=recording, number=1)
    file = stray()
    chosen = "999" if prepare == "no such segment" else str(segment.pk)
    refused = browser.post(f"{BASE}/files/{file.pk}", {"segment": chosen}, follow=True)
    assert said in text_of(refused)
    file.refresh_from_db()
    assert (file.state, file.segment) == ("quarantined", None)
    assert "There is no such segment." in text_of(
        browser.post(f"{BASE}/files/{file.pk}", {"segment": "x"}, follow=True)
    )


def test_a_stray_file_is_taken_away_and_deleted_and_both_are_noted(browser: Client) -> None:
    file = stray()
    taken = browser.get(f"{BASE}/files/{file.pk}/bytes")
    assert (taken.status_code, taken["Content-Type"], b"".join(taken)) == (
        200, "application/octet-stream", spoken(),
    )  # fmt: skip
    assert taken["Content-Disposition"] == f'attachment; filename="quarantined-{file.pk}.bin"'
    assert browser.post(f"{BASE}/files/{file.pk}/delete")["Location"] == f"{BASE}/files"
    file.refresh_from_db()
    assert (file.state, files_in_store()) == ("deleted", 0)
    entries = AuditEntry.objects.order_by("id")
    assert [(entry.action, entry.subject_id, entry.before["sha256"]) for entry in entries] == [
        ("recording_file.downloaded", str(file.pk), file.sha256), ("recording_file.deleted", str(file.pk), file.sha256),
    ]  # fmt: skip


def test_a_bad_file_that_is_deleted_lets_the_others_be_played(acme: Tenant, browser: Client) -> None:
    make_cdr("a-call")
    recording = make_recording(session_id="a-call", state="failed", ready_at=None, files=0)
    for number, content in ((1, spoken()), (2, b"junk")):
        segment = Segment.objects.create(
            recording=recording, number=number, state="ended", started_at=timezone.now(), ended_at=timezone.now()
        )
        make_file(content, segment=segment, state="stored" if number == 1 else "quarantined", problem="No WAV.")
    completion.probe_waiting()
    bad = RecordingFile.objects.get(state="quarantined")
    holds.place_hold(ADMIN, recording, "Case 12")
    assert "A legal hold keeps" in text_of(browser.post(f"{BASE}/files/{bad.pk}/delete", follow=True))
    holds.release_hold(ADMIN, recording, "Closed")
    browser.post(f"{BASE}/files/{bad.pk}/delete")
    completion.settle_calls(["a-call"])
    recording.refresh_from_db()
    assert recording.state == "ready"


def test_what_a_held_recording_has_in_quarantine_stays_until_the_hold_ends(browser: Client) -> None:
    held_one, other = make_recording(), make_recording(files=0)
    place = Segment.objects.create(recording=other, number=1, state="ended")
    file = stray(said_recording_id=str(held_one.pk), said_segment=9)
    before = files_in_store()
    path = f"{BASE}/files/{file.pk}"
    assert f"{path}/delete" in browser.get(path).content.decode()
    holds.place_hold(ADMIN, held_one, "Case 12")
    page = browser.get(path)
    assert "A legal hold keeps this file with its recording: Case 12" in text_of(page)
    assert f"{path}/delete" not in page.content.decode()
    said = "A legal hold keeps this recording: Case 12"
    assert said in text_of(browser.post(f"{path}/delete", follow=True))
    assert said in text_of(browser.post(path, {"segment": str(place.pk)}, follow=True))
    file.refresh_from_db()
    assert (file.state, file.segment, files_in_store()) == ("quarantined", None, before)
    holds.release_hold(ADMIN, held_one, "Closed")
    browser.post(f"{path}/delete")
    file.refresh_from_db()
    assert (file.state, files_in_store()) == ("deleted", before - 1)


def test_a_file_that_was_given_to_a_held_recording_stays_with_it(browser: Client) -> None:
    recording = make_recording(state="failed", ready_at=None, files=0)
    segment = Segment.objects.create(recording=recording, number=1, state="ended", started_at=timezone.now())
    given, better = stray(), stray(said_recording_id="78")
    browser.post(f"{BASE}/files/{given.pk}", {"segment": str(segment.pk)})
    RecordingFile.objects.filter(pk=given.pk).update(state="quarantined", problem="It is no WAV.")
    browser.post(f"{BASE}/files/{better.pk}", {"segment": str(segment.pk)})
    holds.place_hold(ADMIN, recording, "Case 12")
    assert "A legal hold keeps" in text_of(browser.post(f"{BASE}/files/{given.pk}/delete", follow=True))
    given.refresh_from_db()
    assert (given.segment, given.said_recording_id, given.state) == (None, str(recording.pk), "quarantined")
    entry = AuditEntry.objects.filter(action="recording_file.assigned").earliest("id")
    assert entry.before == {"recording_id": "77", "segment": 1}


# --- Refusals ------------------------------------------------------------------------------------------------

DOORS = [
    ("get", ""), ("post", "/recordings/{recording}/put-away"), ("get", "/calls"), ("get", "/files"),
    ("get", "/files/{file}"), ("post", "/files/{file}"), ("get", "/files/{file}/bytes"),
    ("post", "/files/{file}/delete"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), DOORS)
@pytest.mark.parametrize("role", [Role.USER, Role.QUEUE_MANAGER])
def test_only_an_administrator_reconciles(acme: Tenant, role: Role, method: str, path: str) -> None:
    recording, file = make_recording(state="failed", files=0), stray()
    address = BASE + path.format(recording=recording.pk, file=file.pk)
    assert getattr(browser_of(role), method)(address).status_code == 403
    assert (Recording.objects.get().state, RecordingFile.objects.get().state) == ("failed", "quarantined")


@pytest.mark.parametrize(("method", "path"), [door for door in DOORS if "{" in door[1]])
def test_another_tenants_does_not_exist(browser: Client, globex: Tenant, method: str, path: str) -> None:
    with in_schema("globex"):
        recording, file = make_recording(state="failed", files=0), stray()
    for address in (path.format(recording=recording.pk, file=file.pk), path.format(recording="9" * 19, file="9" * 19)):
        assert getattr(browser, method)(BASE + address).status_code == 404
    with in_schema("globex"):
        assert (Recording.objects.get().state, RecordingFile.objects.get().state) == ("failed", "quarantined")


def test_wrong_methods_are_refused(browser: Client) -> None:
    file = stray()
    assert browser.post(BASE).status_code == 405
    assert browser.get(f"{BASE}/files/{file.pk}/delete").status_code == 405
    assert browser.post(f"{BASE}/files/{file.pk}/bytes").status_code == 405
