"""Company > Retention and its REST doors, as an administrator, a reader and a stranger meet them."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User
from accounts.roles import Role
from accounts.tokens import create_token
from recordings import holds, tasks, trash
from recordings.models import Recording, RecordingFile
from tenants.changes import SYSTEM, Actor
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.recordings.kept import files_in_store, make_recording

DAY = timedelta(days=1)
JSON = "application/json"
RULES = {"version": "1", "recording_days": "180", "when_quota_full": "keep", "event_log_days": "30"}
ADMIN = Actor(kind="user", name="admin")


@pytest.fixture
def admin(acme: Tenant, make_user: Callable[..., User]) -> User:
    return make_user()


@pytest.fixture
def browser(admin: User) -> Client:
    client = Client(headers={"host": "acme.portal.test"})
    client.force_login(admin)
    return client


@pytest.fixture
def program(admin: User) -> Client:
    _, secret = create_token(SYSTEM, admin, {"name": "script"})
    return Client(headers={"host": "acme.portal.test", "authorization": f"Bearer {secret}"})


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- Rules -------------------------------------------------------------------------------------------------


def test_rules_are_saved_and_say_who(acme: Tenant, browser: Client) -> None:
    given = {**RULES, "recording_days": "365", "when_quota_full": "oldest", "event_log_days": "90"}
    assert browser.post("/company/retention", given)["Location"] == "/company/retention"
    acme.refresh_from_db()
    assert (acme.recording_days, acme.when_quota_full, acme.event_log_days, acme.version) == (365, "oldest", 90, 2)
    assert text_of(browser.get("/company/retention")).count("by admin") == 3
    late = browser.post("/company/retention", {**given, "recording_days": "30"})
    assert "Somebody else changed this meanwhile." in text_of(late)


@pytest.mark.parametrize(
    "wrong",
    [
        {"recording_days": "0"}, {"recording_days": "3651"}, {"recording_days": "many"}, {"recording_days": ""},
        {"when_quota_full": "drop"}, {"event_log_days": "0"}, {"event_log_days": "366"}, {"version": ""},
    ],
)  # fmt: skip
def test_rules_refuse(acme: Tenant, browser: Client, wrong: dict[str, str]) -> None:
    assert browser.post("/company/retention", {**RULES, **wrong}).status_code == 200
    acme.refresh_from_db()
    assert acme.version == 1


def test_fewer_days_that_put_recordings_away_are_confirmed(acme: Tenant, browser: Client) -> None:
    make_recording(at=timezone.now() - 40 * DAY)
    make_recording(at=timezone.now() - 40 * DAY, legal_hold=True)
    fewer = {**RULES, "recording_days": "30"}
    asked = text_of(browser.post("/company/retention", fewer))
    assert "1 recording is older than that. Nothing was saved yet." in asked
    acme.refresh_from_db()
    assert acme.recording_days == 180
    assert browser.post("/company/retention", {**RULES, "recording_days": "50"}).status_code == 302  # nothing that old
    assert browser.post("/company/retention", {**fewer, "version": "2", "confirmed": "on"}).status_code == 302
    acme.refresh_from_db()
    assert acme.recording_days == 30


def test_the_disk_is_told_with_its_forecast(acme: Tenant, browser: Client) -> None:
    page = text_of(browser.get("/company/retention"))
    assert "No quota is set" in page
    Tenant.objects.filter(pk=acme.pk).update(recording_quota_mb=100)
    row = make_recording(at=timezone.now() - 10 * DAY)
    RecordingFile.objects.filter(segment__recording=row).update(size=85 * 2**20)
    page = text_of(browser.get("/company/retention"))
    assert "The disk quota is nearly full. At the pace of the last four weeks it will be full in 1 day." in page
    assert "85.0 MB 85 % of 100.0 MB" in page
    RecordingFile.objects.update(size=101 * 2**20)
    page = text_of(browser.get("/company/retention"))
    assert "The disk quota is full. New recordings are kept beyond it." in page
    Tenant.objects.filter(pk=acme.pk).update(when_quota_full="oldest")
    assert "The oldest recordings are being deleted to make room" in text_of(browser.get("/company/retention"))


def test_a_full_quota_is_told_on_the_home_page_and_to_the_system(
    acme: Tenant, browser: Client, make_user: Callable[..., User]
) -> None:
    Tenant.objects.filter(pk=acme.pk).update(recording_quota_mb=10)
    make_recording(at=timezone.now() - 10 * DAY)
    with in_schema("public"):
        desk = Client(headers={"host": "portal.test"})
        desk.force_login(make_user("root", Role.SYSTEM))

    def told(megabytes: int) -> list[str]:
        with in_schema("acme"):
            RecordingFile.objects.update(size=megabytes * 2**20)
        tasks.keep_house_of("acme")
        pages = text_of(browser.get("/")), text_of(desk.get(f"/tenants/{acme.pk}"))
        return [
            word
            for page in pages
            for word in re.findall(r"disk quota of your[\w ]+|take [\d.]+ MB(?:, | of )\d+", page)
        ]

    assert told(1) == ["take 1.0 MB, 10"]
    assert told(9) == ["disk quota of your recordings is nearly full", "take 9.0 MB of 10"]
    assert told(11) == ["disk quota of your recordings is full", "take 11.0 MB of 10"]
    with in_schema("acme"):
        browser.force_login(make_user("ann", Role.USER))
    assert "disk quota" not in text_of(browser.get("/"))


# --- Trash -------------------------------------------------------------------------------------------------


def test_the_trash_restores_and_deletes(browser: Client) -> None:
    back, gone = make_recording(caller="1111"), make_recording(caller="2222")
    for row in (back, gone):
        trash.trash(ADMIN, row)
    page = text_of(browser.get("/company/retention/trash"))
    assert ("1111" in page, "2222" in page, page.count("Deleted by admin.")) == (True, True, 2)
    assert browser.post(f"/company/retention/trash/{back.pk}", {"do": "restore"})["Location"] == (
        "/company/retention/trash"
    )
    browser.post(f"/company/retention/trash/{gone.pk}", {"do": "delete"})
    assert "The trash is empty" in text_of(browser.get("/company/retention/trash"))
    assert dict(Recording.objects.values_list("caller", "state")) == {"1111": "ready", "2222": "deleted"}
    assert files_in_store() == 1
    again = browser.post(f"/company/retention/trash/{back.pk}", {"do": "delete"}, follow=True)
    assert "Only what is in the trash is deleted at once." in text_of(again)
    assert browser.post(f"/company/retention/trash/{back.pk}", {"do": "burn"}).status_code == 400
    assert browser.get(f"/company/retention/trash/{back.pk}").status_code == 405


def test_the_trash_goes_on_by_keyset(browser: Client) -> None:
    now = timezone.now()
    for number in range(52):
        trash.put_in_trash([make_recording(caller=f"c{number:02}", files=0)], now - timedelta(minutes=number), "x")
    first = browser.get("/company/retention/trash").content.decode()
    (cursor,) = re.findall(r'href="\?(cursor=[^"]+)" rel="next"', first)
    second = browser.get(f"/company/retention/trash?{cursor}").content.decode()
    assert (re.findall(r">(c\d\d)</a>", first)[-1], re.findall(r">(c\d\d)</a>", second)) == ("c49", ["c50", "c51"])
    assert browser.get("/company/retention/trash?cursor=x").status_code == 200


def test_the_trash_takes_as_many_queries_for_three_rows(browser: Client, django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        trash.put_in_trash([make_recording(files=0)], timezone.now(), "x")
    with django_assert_max_num_queries(14):
        browser.get("/company/retention/trash")


# --- Legal holds -------------------------------------------------------------------------------------------


def test_a_hold_is_placed_and_released_with_a_reason(browser: Client) -> None:
    row = make_recording(caller="1111")
    path = f"/company/retention/holds/{row.pk}"
    assert "Fill this in." in text_of(browser.post(path, {"do": "place", "reason": " "}))
    assert browser.post(path, {"do": "place", "reason": "Case 12"})["Location"] == "/company/retention/holds"
    page = text_of(browser.get("/company/retention/holds"))
    assert [word for word in ("1111", "Case 12", "admin", "Release") if word in page] == [
        "1111", "Case 12", "admin", "Release",
    ]  # fmt: skip
    assert "Held: Case 12" in text_of(browser.get(path))
    assert "It is held already: Case 12" in text_of(browser.post(path, {"do": "place", "reason": "more"}))
    assert browser.post(path, {"do": "release", "reason": "Closed"}).status_code == 302
    assert "Nothing is held" in text_of(browser.get("/company/retention/holds"))
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "recording.hold_placed", "recording.hold_released",
    ]  # fmt: skip


# --- REST --------------------------------------------------------------------------------------------------


def test_rest_tells_the_storage(acme: Tenant, program: Client) -> None:
    Tenant.objects.filter(pk=acme.pk).update(recording_quota_mb=1)
    make_recording(at=timezone.now() - 2 * DAY, size=2_000, files=2)
    assert program.get("/api/v1/company/recording-storage").json() == {
        "used": 2000, "files": 2, "in_trash": 0, "quota": 2**20, "level": "fine", "growth_per_day": 999,
        "days_until_full": 1046,
        "forecast": "At the pace of the last four weeks it will be full in 1046 days.",
    }  # fmt: skip


def _shown(row: Recording, **more: Any) -> dict[str, Any]:
    row.refresh_from_db()

    def written(moment: datetime | None) -> str | None:
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None

    shown = {
        "id": str(row.pk), "session_id": row.session_id, "medium": "audio", "state": "ready", "caller": "1888722",
        "callee": "101", "created_at": written(row.created_at), "size": 1000, "legal_hold": False,
        "legal_hold_reason": "", "trashed_at": written(row.trashed_at), "deleted_at": None, "deletion": "",
    }  # fmt: skip
    return {**shown, **more}


def test_rest_restores_and_deletes(program: Client) -> None:
    back, gone = make_recording(), make_recording()
    for row in (back, gone):
        trash.trash(ADMIN, row)
    shown = program.get("/api/v1/trash").json()
    put = {"state": "trashed", "deletion": "Deleted by admin."}
    assert shown == {"items": [_shown(gone, **put), _shown(back, **put)], "next": None}
    assert program.get(f"/api/v1/trash/{gone.pk}").json() == _shown(gone, **put)
    one = program.get("/api/v1/trash?limit=1").json()
    assert program.get("/api/v1/trash", {"cursor": one["next"]}).json()["items"] == [_shown(back, **put)]
    assert program.post(f"/api/v1/trash/{back.pk}/restore").json() == _shown(back)
    assert program.delete(f"/api/v1/trash/{gone.pk}").status_code == 204
    assert code(program.delete(f"/api/v1/trash/{gone.pk}")) == (404, "not_found")
    assert code(program.post(f"/api/v1/trash/{back.pk}/restore")) == (409, "not_in_trash")
    assert AuditEntry.objects.filter(action="recording.deleted").get().actor == "script"
    assert code(program.get("/api/v1/trash?cursor=x")) == (400, "bad_cursor")


def test_rest_holds_and_releases(program: Client) -> None:
    row = make_recording()
    path = f"/api/v1/recordings/{row.pk}/hold"
    assert code(program.post(path, {}, JSON)) == (400, "not_valid")
    assert code(program.post(path, {"reason": "x", "until": 1}, JSON)) == (400, "not_valid")
    assert code(program.post(path, [], JSON)) == (400, "not_an_object")
    held = {"legal_hold": True, "legal_hold_reason": "Case 12"}
    assert program.post(path, {"reason": "Case 12"}, JSON).json() == _shown(row, **held)
    assert code(program.post(path, {"reason": "Case 13"}, JSON)) == (409, "held_already")
    assert program.get("/api/v1/legal-holds").json() == {"items": [_shown(row, **held)], "next": None}
    assert code(program.delete(path, {}, JSON)) == (400, "not_valid")
    assert program.delete(path, {"reason": "Closed"}, JSON).json() == _shown(row)
    assert code(program.delete(path, {"reason": "Closed"}, JSON)) == (409, "not_held")
    assert program.get("/api/v1/legal-holds").json()["items"] == []


# --- Refusals ----------------------------------------------------------------------------------------------

DOORS = [
    ("get", "/company/retention"), ("post", "/company/retention"), ("get", "/company/retention/trash"),
    ("post", "/company/retention/trash/{id}"), ("get", "/company/retention/holds"),
    ("get", "/company/retention/holds/{id}"), ("post", "/company/retention/holds/{id}"),
    ("get", "/api/v1/company/recording-storage"), ("get", "/api/v1/trash"), ("get", "/api/v1/trash/{id}"),
    ("delete", "/api/v1/trash/{id}"), ("post", "/api/v1/trash/{id}/restore"), ("get", "/api/v1/legal-holds"),
    ("post", "/api/v1/recordings/{id}/hold"), ("delete", "/api/v1/recordings/{id}/hold"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), DOORS)
@pytest.mark.parametrize("role", [Role.USER, Role.QUEUE_MANAGER])
def test_only_an_administrator_keeps_house(
    acme_client: Client, make_user: Callable[..., User], role: Role, method: str, path: str
) -> None:
    row = make_recording()
    trash.trash(ADMIN, row)
    acme_client.force_login(make_user("ann", role))
    address = path.format(id=row.pk)
    assert getattr(acme_client, method)(address, {"do": "delete", "reason": "x"}).status_code == 403
    row.refresh_from_db()
    assert (row.state, row.legal_hold, files_in_store()) == ("trashed", False, 1)


@pytest.mark.parametrize(("method", "path"), [door for door in DOORS if "{id}" in door[1]])
def test_another_tenants_recording_does_not_exist(
    browser: Client, program: Client, globex: Tenant, method: str, path: str
) -> None:
    with in_schema("globex"):
        row = make_recording()
        trash.trash(ADMIN, row)
        other = make_recording()
        holds.place_hold(ADMIN, other, "theirs")
    client = program if path.startswith("/api") else browser
    for recording in (row, other):
        given = {"do": "delete", "reason": "x"}
        assert getattr(client, method)(path.format(id=recording.pk), given, content_type=JSON).status_code == 404 or (
            method == "get" and client.get(path.format(id=recording.pk)).status_code == 404
        )
    with in_schema("globex"):
        assert sorted(Recording.objects.values_list("state", "legal_hold")) == [("ready", True), ("trashed", False)]
    assert getattr(client, method)(path.format(id="9" * 19)).status_code in (404, 400)
