"""Recordings over REST: the list, one in full, its waveform, who listened, its deletion, its place in its call."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from accounts.roles import Role
from cdr import calls
from recordings.models import Decision, Gap, Play, Recording, RecordingFile
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.cdr.rows import make_call
from tests.cdr.tables import events, ext
from tests.recordings.kept import make_file
from tests.recordings.people import program
from tests.recordings.played import NOON, make_ready, pause

pytestmark = pytest.mark.django_db
LIST = "/api/v1/recordings"


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [item["id"] for item in answer.json()["items"]]


def one(recording: Recording, rest: str = "") -> str:
    return f"{LIST}/{recording.pk}{rest}"


def test_list_tells_of_each_recording(acme: Tenant) -> None:
    recording = make_ready(2.0, session_id="s-1")
    answer = program().get(LIST)
    assert answer.json() == {
        "items": [
            {
                "id": str(recording.pk), "session_id": "s-1", "medium": "audio", "state": "ready", "problem": "",
                "caller": "1888722", "callee": "101", "extensions": ["101"],
                "created_at": "2023-03-22T12:00:00.000Z", "start_time": "2023-03-22T12:00:00.000Z",
                "end_time": "2023-03-22T12:00:02.000Z", "ready_at": "2023-03-22T12:00:00.000Z",
                "duration_ms": 2000, "size": 32044, "content_type": "audio/wav",
                "file": f"/api/v1/recordings/{recording.pk}/file", "dual_tracks": False, "pause_style": "skip",
                "announced": False, "legal_hold": False, "deletion": "",
            }
        ],
        "next": None,
    }  # fmt: skip


def test_list_pages_both_ways_and_holds_its_queries(acme: Tenant) -> None:
    asker = program()
    made = [str(make_ready(at=NOON + timedelta(minutes=number // 2)).pk) for number in range(5)]
    newest_first = sorted(made, key=lambda pk: (made.index(pk) // 2, int(pk)), reverse=True)
    first = asker.get(LIST, {"limit": 2})
    second = asker.get(LIST, {"limit": 2, "cursor": first.json()["next"]})
    third = asker.get(LIST, {"limit": 2, "cursor": second.json()["next"]})
    assert ids(first) + ids(second) + ids(third) == newest_first
    assert third.json()["next"] is None
    assert ids(asker.get(LIST, {"order": "asc"})) == newest_first[::-1]

    counts = []
    for limit in (1, 3):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            asker.get(LIST, {"limit": limit})
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"caller": "1888*"}, "a"),
        ({"callee": "102"}, "b"),
        ({"number": "*9999"}, "b"),
        ({"extension": "102"}, "b"),
        ({"session_id": "s-a"}, "a"),
        ({"medium": "video"}, "b"),
        ({"state": "failed"}, "b"),
        ({"min_duration": "3"}, "b"),
        ({"max_duration": "3"}, "a"),
        ({"from": "2023-03-22T12:30:00Z"}, "b"),
        ({"to": "2023-03-22T12:30:00Z"}, "a"),
        ({"direction": "outbound"}, "b"),
        ({"trunk": "AudioCodes"}, "a"),
        ({"did": "18800606"}, "a"),
        ({"status": "noanswer"}, "b"),
        ({"end_reason": "caller_disconnect"}, "a"),
        ({"min_talk": "100"}, "b"),
        ({"max_talk": "100"}, "a"),
        ({"search": "18887"}, "a"),
        ({"search": "s-b"}, "b"),
        ({"search": "lovelace"}, "b"),
        ({"search": "lovelace", "direction": "outbound", "medium": "video"}, "b"),
        ({}, "ba"),
        ({"unknown": "1"}, "ba"),
    ],
)
def test_list_is_narrowed(acme: Tenant, query: dict[str, str], found: str) -> None:
    a = make_ready(2.0, session_id="s-a")
    make_call(1, session_id="s-a")
    b = make_ready(
        5.0, session_id="s-b", at=NOON + timedelta(hours=1), medium="video", state="failed", caller="102",
        callee="9999", extensions=["102"],
    )  # fmt: skip
    if query.get("callee") == "102":
        Recording.objects.filter(pk=b.pk).update(callee="102")
    make_call(
        2, session_id="s-b", direction="outbound", trunk_name="Other", did="", status="noanswer",
        end_reason="cancelled", talk_duration=200, caller_display_name="Ada Lovelace", callee_display_name="",
        caller="102", callee="9999",
    )  # fmt: skip
    names = {str(a.pk): "a", str(b.pk): "b"}
    assert "".join(names[pk] for pk in ids(program().get(LIST, query))) == found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"min_duration": "x"}, "not_valid"),
        ({"min_duration": "9", "max_duration": "3"}, "not_valid"),
        ({"medium": "smell"}, "not_valid"),
        ({"from": "yesterday"}, "not_valid"),
        ({"order": "up"}, "not_valid"),
        ({"limit": "501"}, "bad_limit"),
        ({"cursor": "x"}, "bad_cursor"),
        ({"cursor": "WyJ4IiwxXQ"}, "bad_cursor"),
    ],
)
def test_list_refuses_what_it_cannot_read(acme: Tenant, query: dict[str, str], code: str) -> None:
    answer = program().get(LIST, query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_own_recordings_only(acme: Tenant) -> None:
    own, other = make_ready(extensions=["101", "102"]), make_ready(extensions=["1020"])
    asker = program(Role.USER, "102")
    assert ids(asker.get(LIST)) == [str(own.pk)]
    assert asker.get(one(own)).status_code == 200
    for rest in ("", "/file", "/peaks", "/plays"):
        assert asker.get(one(other, rest)).status_code == 404
    assert asker.delete(one(other)).status_code == 404


def test_user_without_an_extension_has_none(acme: Tenant) -> None:
    make_ready(extensions=["", "101"])
    assert ids(program(Role.USER).get(LIST)) == []


def test_queue_manager_sees_all_and_deletes_none(acme: Tenant) -> None:
    recording = make_ready()
    asker = program(Role.QUEUE_MANAGER)
    assert ids(asker.get(LIST)) == [str(recording.pk)]
    assert asker.get(one(recording, "/peaks")).status_code == 200
    assert asker.get(one(recording, "/plays")).status_code == 403
    assert asker.delete(one(recording)).status_code == 403


def test_rights_for_calls_are_none_for_recordings(acme: Tenant) -> None:
    recording = make_ready()
    asker = program(scopes=["cdr.view", "cdr.full"])
    for rest in ("", "/file", "/peaks", "/plays"):
        assert asker.get(one(recording, rest)).status_code == 403
    assert asker.get(LIST).status_code == 403


def test_put_away_is_listed_for_the_administrator_who_asks(acme: Tenant) -> None:
    trashed, deleted = make_ready(state="trashed"), make_ready(state="deleted")
    admin, manager = program(), program(Role.QUEUE_MANAGER)
    assert ids(admin.get(LIST)) == []
    assert ids(admin.get(LIST, {"state": "trashed"})) == [str(trashed.pk)]
    assert ids(admin.get(LIST, {"state": "deleted"})) == [str(deleted.pk)]
    assert ids(manager.get(LIST, {"state": "deleted"})) == []
    told = admin.get(one(deleted)).json()
    assert (told["state"], told["file"], told["file_name"]) == ("deleted", None, None)


def test_one_with_its_ledger(acme: Tenant) -> None:
    recording = make_ready(10.0, session_id="s-1")
    pause(recording, 2, 5)
    told = program().get(one(recording)).json()
    assert told["file_name"] == f"{acme.pk}_s-1_1888722_1_20230322-120000.wav"
    (segment,) = told["segments"]
    file = segment.pop("file")
    assert segment == {
        "number": 1, "state": "ended", "started_at": "2023-03-22T12:00:00.000Z",
        "ended_at": "2023-03-22T12:00:10.000Z", "end_reason": "call_ended", "problem": "",
    }  # fmt: skip
    assert (file["size"], file["audio_codec"], file["channels"], len(file["sha256"])) == (160_044, "pcm_s16le", 1, 64)
    assert "storage_key" not in file
    assert told["gaps"] == [
        {
            "medium": "audio", "since": "2023-03-22T12:00:02.000Z", "until": "2023-03-22T12:00:05.000Z",
            "reason": "paused", "begun_by": "phone 101", "begun_via": "feature_code", "ended_by": "phone 101",
            "ended_via": "feature_code",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("written", ["1", "0", "x", "-1", "9" * 19, "9" * 40, "٣"])
@pytest.mark.parametrize("rest", ["", "/file", "/peaks", "/plays"])
def test_missing_recording(acme: Tenant, written: str, rest: str) -> None:
    answer = program().get(f"{LIST}/{written}{rest}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_peaks_and_stretches(acme: Tenant) -> None:
    recording = make_ready(10.0, channels=2)
    pause(recording, 2, 5)
    told = program().get(one(recording, "/peaks")).json()
    assert (told["recording_id"], told["duration_ms"], told["points"], told["loudest"]) == (
        str(recording.pk), 10_000, 200, 127,
    )  # fmt: skip
    assert [len(channel) for channel in told["channels"]] == [200, 200]
    assert all(60 <= point <= 65 for channel in told["channels"] for point in channel)
    assert [(each["begin_ms"], each["end_ms"], each["gap"]) for each in told["stretches"]] == [
        (0, 2_000, None), (2_000, 5_000, "paused"), (5_000, 10_000, None),
    ]  # fmt: skip
    assert told["stretches"][1]["told"] == "Paused by 101 by feature code"


def test_peaks_of_what_was_deleted_are_gone(acme: Tenant) -> None:
    assert program().get(one(make_ready(state="trashed"), "/peaks")).status_code == 410


def test_plays_for_the_administrator_and_whoever_was_recorded(acme: Tenant) -> None:
    recording = make_ready(state="deleted", extensions=["101"])
    for number in range(3):
        Play.objects.create(
            recording_id=recording.pk, session_id="s", kind="play", at=NOON + timedelta(minutes=number),
            last_at=NOON + timedelta(minutes=number), actor_kind="user", actor=f"u{number}", address="192.0.2.1",
            sent=7, reason="why",
        )  # fmt: skip
    Play.objects.create(recording_id=1, session_id="s", kind="play", actor_kind="user", actor="other")
    admin = program()
    first = admin.get(one(recording, "/plays"), {"limit": 2}).json()
    assert first["items"][0] == {
        "kind": "play", "at": "2023-03-22T12:02:00.000Z", "last_at": "2023-03-22T12:02:00.000Z",
        "actor_kind": "user", "actor": "u2", "on_behalf": "", "address": "192.0.2.1", "sent": 7, "reason": "why",
    }  # fmt: skip
    second = admin.get(one(recording, "/plays"), {"limit": 2, "cursor": first["next"]}).json()
    assert ([item["actor"] for item in second["items"]], second["next"]) == (["u0"], None)
    assert len(program(Role.USER, "101").get(one(recording, "/plays")).json()["items"]) == 3
    assert admin.get(one(recording, "/plays"), {"cursor": "x"}).status_code == 400


def test_deletion_goes_to_the_trash_and_is_noted(acme: Tenant) -> None:
    recording, asker = make_ready(), program()
    assert asker.delete(one(recording)).status_code == 204
    recording.refresh_from_db()
    assert recording.state == "trashed"
    assert ids(asker.get(LIST)) == []
    assert AuditEntry.objects.filter(action="recording.trashed", actor_kind="token").count() == 1
    assert asker.delete(one(recording)).status_code == 204, "there already"


def test_legal_hold_beats_deletion(acme: Tenant) -> None:
    recording = make_ready(legal_hold=True, legal_hold_reason="Case 5")
    answer = program().delete(one(recording))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "legal_hold")
    recording.refresh_from_db()
    assert recording.state == "ready"


def test_call_tells_of_its_recordings(acme: Tenant) -> None:
    make_call(1, session_id="s-1", recorded=True, extensions=["101", "102"])
    recording = make_ready(session_id="s-1", extensions=["101"])
    make_ready(session_id="s-2")
    make_ready(session_id="s-1", switch_session_id="x", state="trashed")
    told = program().get("/api/v1/cdrs/s-1").json()
    assert [each["id"] for each in told["recordings"]] == [str(recording.pk)]
    assert told["recordings"][0]["segments"][0]["file"]["content_type"] == "audio/wav"
    assert program(Role.USER, "101").get("/api/v1/cdrs/s-1").json()["recordings"][0]["id"] == str(recording.pk)
    assert program(Role.USER, "102").get("/api/v1/cdrs/s-1").json()["recordings"] == []
    assert program(scopes=["cdr.view"]).get("/api/v1/cdrs/s-1").json()["recordings"] == []


def recorded_call(tenant: Tenant, session: str) -> None:
    """Two WAV segments with a gap, a video that was joined once, and why both were made."""
    with transaction.atomic():
        calls.apply(
            tenant, 7,
            events(
                (0, "call.started", {"caller": ext("101"), "callee": ext("102")}),
                (1, "target.added", {"target_id": "t1", "callee": ext("102")}),
                (9, "call.ended", {}), session=session,
            ),
        )  # fmt: skip
    pause(make_ready(1.0, 1.0, session_id=session, announced=True), 0.5, 1)
    video = make_ready(1.0, 1.0, session_id=session, medium="video")
    RecordingFile.objects.filter(segment__recording=video).update(content_type="video/mp4")
    make_file(b"joined", joined_of=video, content_type="video/mp4")
    for number, medium in enumerate(("audio", "video")):
        Decision.objects.create(
            session_id=session, at=NOON + timedelta(seconds=number), medium=medium, rule="user_switch", record=True,
            extension="101", via="policy", outcome="none",
        )  # fmt: skip


@pytest.mark.parametrize("scopes", [None, ["cdr.view"], ["cdr.view", "recordings.view"]])
def test_changes_of_many_calls_cost_no_more_queries_than_of_one(acme: Tenant, scopes: list[str] | None) -> None:
    reader = program(scopes=scopes)

    def changes() -> tuple[list[Any], int]:
        with CaptureQueriesContext(connection) as queries:
            answer = reader.get("/api/v1/cdrs/changes")
        return [item["cdr"] for item in answer.json()["items"]], len(queries)

    recorded_call(acme, "s-0")
    changes()  # what is asked once and kept is asked now
    told, of_one = changes()
    assert len(told) == 1
    for number in range(1, 4):
        recorded_call(acme, f"s-{number}")
    told, of_four = changes()
    assert told == [reader.get(f"/api/v1/cdrs/s-{number}").json() for number in range(4)]
    if scopes != ["cdr.view"]:
        assert [each["file_name"] is not None for call in told for each in call["recordings"]] == [True] * 8
        assert [len(call["policy_decisions"]) for call in told] == [2] * 4
    assert [call["recording_announced"] for call in told] == [True] * 4
    assert of_four == of_one


def test_gap_that_lasts_has_no_end(acme: Tenant) -> None:
    recording = make_ready(10.0, state="paused", ended_at=None)
    pause(recording, 2, 5)
    Gap.objects.update(until=None)
    told = program().get(one(recording)).json()
    assert (told["gaps"][0]["until"], told["end_time"], told["file"]) == (None, None, None)
    assert program().get(one(recording, "/peaks")).status_code == 200


# --- Another tenant's --------------------------------------------------------------------------------------

PAGES = "/call-statistics/recordings"
MEDIA_ROUTES = [
    *(("get", f"{LIST}/{{id}}{rest}") for rest in ("", "/file", "/peaks", "/plays", "/hold")),
    ("head", f"{LIST}/{{id}}/file"),
    ("delete", f"{LIST}/{{id}}"),
    *(("get", f"{PAGES}/{{id}}{rest}") for rest in ("", "/file", "/download")),
    ("head", f"{PAGES}/{{id}}/file"),
    ("post", f"{PAGES}/{{id}}/reason"),
    ("get", f"{PAGES}/zip/{{id}}"),
    ("get", f"{PAGES}/zip/{{id}}/file"),
]  # fmt: skip


@pytest.fixture
def theirs(acme: Tenant, globex: Tenant) -> str:
    """The id of a recording of globex."""
    with in_schema("globex"):
        return str(make_ready().pk)


@pytest.mark.parametrize(("method", "path"), MEDIA_ROUTES)
def test_another_tenants_recording_does_not_exist(theirs: str, method: str, path: str) -> None:
    from tests.recordings.people import browser

    asker = program() if path.startswith("/api/") else browser()
    wanted = {404, 405} if path.endswith("/hold") else {404}
    assert getattr(asker, method)(path.format(id=theirs)).status_code in wanted
    with in_schema("globex"):
        assert (Play.objects.count(), Recording.objects.get().state) == (0, "ready")


@pytest.mark.parametrize(("method", "path"), MEDIA_ROUTES)
def test_stranger_gets_nothing(acme: Tenant, method: str, path: str) -> None:
    recording = make_ready()
    answer = getattr(Client(headers={"host": "acme.portal.test"}), method)(path.format(id=recording.pk))
    assert answer.status_code in {302, 401, 405}
    assert answer.get("Location", "/sign-in").startswith("/sign-in")


@pytest.mark.parametrize(("method", "path"), [route for route in MEDIA_ROUTES if "zip" not in route[1]])
def test_recording_of_others_does_not_exist_for_a_user(acme: Tenant, method: str, path: str) -> None:
    from tests.recordings.people import browser

    recording = make_ready(extensions=["101"])
    asker = program(Role.USER, "102") if path.startswith("/api/") else browser(Role.USER, "102")
    wanted = {403, 404, 405} if path.endswith("/hold") else {404}
    assert getattr(asker, method)(path.format(id=recording.pk)).status_code in wanted
    assert Play.objects.count() == 0


def test_filters_find_nothing_of_another_tenant(theirs: str) -> None:
    asker = program()
    for query in ({}, {"number": "1888722"}, {"search": "1888722"}, {"extension": "101"}):
        assert ids(asker.get(LIST, query)) == []
