"""Exports: the file holds the rows of the screen, only its owner has it, it can be cancelled and resumed."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.http.response import StreamingHttpResponse
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Extension, User
from accounts.roles import Role
from cdr import exports, tasks
from cdr.models import CDR, ListExport
from recordings.models import Recording
from tenants import lifecycle
from tenants.models import Tenant
from tests.cdr.rows import NOON, make_call

NEW = "/exports/new/cdr"
ORDER = {"form": "csv", "time_zone": "UTC", "fields_chosen": ["caller", "start_time", "talk_duration"]}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "VAR_DIR", tmp_path)


@pytest.fixture
def sign_in(acme: Tenant, make_user: Callable[..., User]) -> Callable[..., Client]:
    def enter(role: Role = Role.ADMIN, name: str = "") -> Client:
        user = make_user(name or role.value, role)
        if role is Role.USER:
            Extension.objects.create(number="102", user=user)
        client = Client(headers={"host": "acme.portal.test"})
        client.force_login(user)
        return client

    return enter


def ordered(client: Client, address: str = NEW, **given: Any) -> ListExport:
    response = client.post(address, ORDER | given)
    assert (response.status_code, response.headers.get("Location")) == (302, "/exports"), response.content.decode()
    return ListExport.objects.order_by("-pk")[0]


def taken(client: Client, export: ListExport, **headers: str) -> Any:
    return client.get(f"/exports/{export.pk}/file", headers=headers)


def body(response: Any) -> bytes:
    assert isinstance(response, StreamingHttpResponse)
    return b"".join(response)  # type: ignore[arg-type]


def made(client: Client, address: str = NEW, **given: Any) -> bytes:
    export = ordered(client, address, **given)
    exports.run(export.pk)
    response = taken(client, export)
    assert response.status_code == 200
    return body(response)


def lines(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))


def test_a_csv_holds_what_was_chosen_by_the_clock_that_was_chosen(sign_in: Callable[..., Client]) -> None:
    Tenant.objects.filter(schema_name="acme").update(time_zone="Europe/Berlin")
    make_call(1, caller='=cmd|"/C calc"!A0')
    make_call(2, caller="+49301", answered_time=None, talk_duration=0, status="noanswer")
    browser = sign_in()

    export = ordered(browser, time_zone="Europe/Berlin")
    exports.run(export.pk)
    response = taken(browser, export)

    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="cdr-\d{8}-\d{6}\.csv"', response.headers["Content-Disposition"])
    assert lines(body(response)) == [
        ["Caller", "Start Time", "Talking Time"],
        ["+49301", "2023-03-22T13:02:00+01:00", ""],
        ['\'=cmd|"/C calc"!A0', "2023-03-22T13:01:00+01:00", "0:01:00"],
    ]
    export.refresh_from_db()
    assert (export.state, export.done, export.problem) == ("ready", 2, "")
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "after"))[-2:] == [
        ("list.export_requested", {
            "list": "cdr", "query": "", "fields": ["caller", "start_time", "talk_duration"], "form": "csv",
        }),
        ("list.export_downloaded", {"list": "cdr", "rows": 2}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "", "order=asc", "status=noanswer", "caller=1888*", "from=2023-03-22&to=2023-03-22", "trunk=Other&order=asc",
        "min_talk=30&min_talk=x", "period=today", "from=nonsense", "search=Front", "extension=102",
    ],
)  # fmt: skip
def test_the_file_holds_the_rows_of_the_screen_in_their_order(sign_in: Callable[..., Client], query: str) -> None:
    for number in range(12):
        make_call(
            number,
            caller=("1888722", "4930")[number % 2],
            status=("answered", "noanswer")[number % 3 == 0],
            trunk_name=("AudioCodes", "Other")[number % 4 == 0],
            talk_duration=number * 10,
            extensions=[("101", "102")[number % 5 == 0]],
        )
    make_call(20, start_time=timezone.now())
    browser = sign_in()

    shown = re.findall(
        r'href="/call-statistics/cdr/(\d+)" data-open', browser.get(f"/call-statistics/cdr?{query}").content.decode()
    )
    data = made(browser, f"{NEW}?{query}", form="ndjson", fields_chosen=["session_id"])
    assert [json.loads(line)["session_id"] for line in data.splitlines()] == shown


def test_an_export_may_be_of_recordings_and_of_the_audit_trail(sign_in: Callable[..., Client]) -> None:
    browser = sign_in()
    Recording.objects.create(
        session_id="s", switch_session_id="s", switch_id=1, medium="audio", state="ready", caller="101", callee="102",
        created_at=NOON, started_at=NOON, ended_at=NOON + timedelta(seconds=70), duration_ms=61_400,
    )  # fmt: skip
    fields = ["caller", "callee", "start_time", "duration", "medium", "state"]
    assert lines(made(browser, "/exports/new/recordings", fields_chosen=fields)) == [
        ["Caller", "Callee", "Start Time", "Duration", "Medium", "State"],
        ["101", "102", "2023-03-22T12:00:00+00:00", "0:01:01", "audio", "Ready"],
    ]
    AuditEntry.objects.create(
        actor_kind="user", actor="=ann", action="company.changed", subject="Acme", after={"currency": "USD"}
    )
    found = lines(made(browser, "/exports/new/audit?action=company", fields_chosen=["actor", "action", "after"]))
    assert found == [["Who", "Action", "After"], ["'=ann", "company.changed", "currency: USD"]]


def test_a_standard_user_takes_only_the_own_calls(sign_in: Callable[..., Client]) -> None:
    make_call(1, caller="101")
    make_call(2, caller="102", extensions=["102"])
    browser = sign_in(Role.USER)
    assert lines(made(browser, fields_chosen=["caller"])) == [["Caller"], ["102"]]
    assert browser.get("/exports/new/audit").status_code == 403
    assert browser.post("/exports/new/audit", ORDER).status_code == 403


def test_rights_are_those_of_the_moment_in_which_it_is_made(sign_in: Callable[..., Client]) -> None:
    browser = sign_in(Role.ADMIN, "ann")
    make_call(1, caller="101")
    calls, trail = ordered(browser), ordered(browser, "/exports/new/audit", fields_chosen=["actor"])
    User.objects.filter(username="ann").update(role=Role.USER)
    exports.run(calls.pk)
    exports.run(trail.pk)
    calls.refresh_from_db()
    trail.refresh_from_db()
    assert (calls.state, calls.done) == ("ready", 0)
    assert (trail.state, trail.problem) == (
        "failed", "Whoever asked for it may not see this list any more."
    )  # fmt: skip
    assert taken(browser, trail).status_code == 403
    User.objects.filter(username="ann").update(is_active=False)
    again = ListExport.objects.create(
        list_name="cdr", fields=["caller"], form="csv", time_zone="UTC", owner=calls.owner
    )
    exports.run(again.pk)
    again.refresh_from_db()
    assert again.state == "failed"


def test_a_download_that_broke_off_goes_on(sign_in: Callable[..., Client]) -> None:
    for number in range(5):
        make_call(number)
    browser = sign_in()
    whole = made(browser)
    export = ListExport.objects.get()
    first = taken(browser, export, range="bytes=0-9")
    rest = taken(browser, export, range="bytes=10-", **{"if-range": first.headers["ETag"]})
    assert (first.status_code, rest.status_code) == (206, 206)
    assert rest.headers["Content-Range"] == f"bytes 10-{len(whole) - 1}/{len(whole)}"
    assert body(first) + body(rest) == whole
    assert taken(browser, export, range=f"bytes={len(whole)}-").status_code == 416
    assert AuditEntry.objects.filter(action="list.export_downloaded").count() == 2  # the whole, and its beginning


def test_progress_is_told_and_a_cancelled_export_stops(
    sign_in: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BLOCK", 2)
    browser = sign_in()
    for number in range(9):
        make_call(number)
    export = ordered(browser)
    assert 'hx-trigger="every 2s"' in browser.get("/exports").content.decode()
    pages: list[str] = []
    plain = exports._going

    def going(which: ListExport) -> Any:
        if which.done == 4:
            ListExport.objects.filter(pk=which.pk).update(total=9)
            pages.append(browser.get("/exports").content.decode())
            assert browser.post(f"/exports/{which.pk}/cancel").status_code == 302
        return plain(which)

    monkeypatch.setattr(exports, "_going", going)
    exports.run(export.pk)

    assert "2 of about 9 rows" in pages[0]
    export.refresh_from_db()
    assert (export.state, list(exports.folder_of("acme").iterdir())) == ("cancelled", [])
    assert taken(browser, export).status_code == 404
    exports.run(export.pk)  # its task, once more
    export.refresh_from_db()
    assert export.state == "cancelled"
    page = browser.get("/exports").content.decode()
    assert "Cancelled" in page
    assert "hx-trigger" not in page.partition('id="exports"')[2].partition(">")[0]


def test_what_fails_says_so_and_leaves_no_file(sign_in: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    browser = sign_in()
    make_call(1)
    export = ordered(browser)

    def broken(*given: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "writer_of", broken)
    exports.run(export.pk)
    export.refresh_from_db()
    assert (export.state, export.problem) == ("failed", "It failed: OSError. Try again, or narrow the list.")
    assert list(exports.folder_of("acme").iterdir()) == []


def test_only_the_owner_has_an_export(sign_in: Callable[..., Client], acme_client: Client) -> None:
    make_call(1)
    ann, ben = sign_in(Role.ADMIN, "ann"), sign_in(Role.ADMIN, "ben")
    made(ann)
    export = ListExport.objects.get()
    address = f"/exports/{export.pk}"
    for path, method in (("file", "get"), ("cancel", "post"), ("delete", "post")):
        assert getattr(ben, method)(f"{address}/{path}").status_code == 404
        assert getattr(acme_client, method)(f"{address}/{path}").status_code == 302
    assert str(export.pk) not in re.findall(r"/exports/(\d+)/", ben.get("/exports").content.decode())
    for path in ("cancel", "delete"):
        assert ann.get(f"{address}/{path}").status_code == 405
    assert ann.post("/exports").status_code == 405
    assert ann.get("/exports/99999999999999999999/file").status_code == 404
    assert ann.post(f"{address}/delete").status_code == 302
    assert (ListExport.objects.count(), list(exports.folder_of("acme").iterdir())) == (0, [])


def test_another_tenants_exports_do_not_exist(sign_in: Callable[..., Client], globex: Tenant) -> None:
    browser = sign_in()
    make_call(1)
    made(browser)
    export = ListExport.objects.get()
    connection.set_tenant(globex)
    user = User.objects.create_user("ann", "correct horse", role=Role.ADMIN)
    abroad = Client(headers={"host": "globex.portal.test"})
    abroad.force_login(user)
    assert abroad.get(f"/exports/{export.pk}/file").status_code == 404
    assert "No exports" in abroad.get("/exports").content.decode()


@pytest.mark.parametrize(
    "given",
    [
        {"form": "pdf"}, {"time_zone": "Mars/Olympus"}, {"fields_chosen": []}, {"fields_chosen": ["password"]},
        {"form": ""},
    ],
)  # fmt: skip
def test_what_is_not_offered_is_refused(sign_in: Callable[..., Client], given: dict[str, Any]) -> None:
    browser = sign_in()
    assert browser.post(NEW, ORDER | given).status_code == 200
    assert browser.get("/exports/new/moon").status_code == 404
    assert ListExport.objects.count() == 0


def test_three_at_a_time_are_enough(sign_in: Callable[..., Client]) -> None:
    browser = sign_in()
    for _ in range(3):
        ordered(browser)
    response = browser.post(NEW, ORDER)
    assert "3 of your exports are under way." in response.content.decode()
    assert ListExport.objects.count() == 3


def test_the_form_ticks_the_columns_of_the_screen(sign_in: Callable[..., Client]) -> None:
    browser = sign_in()
    page = browser.get(f"{NEW}?status=noanswer&after=x").content.decode()
    ticked = re.findall(r'name="fields_chosen" value="(\w+)"[^>]* checked', page)
    assert ticked == [
        "direction", "caller", "caller_display_name", "callee", "callee_display_name", "start_time", "ring_time",
        "answered_time", "ended_time", "talk_duration", "status", "status_code",
    ]  # fmt: skip
    assert "Filtered: status noanswer." in page
    browser.cookies["cdr_columns"] = "caller.cost"
    page = browser.get(NEW).content.decode()
    assert re.findall(r'name="fields_chosen" value="(\w+)"[^>]* checked', page) == [
        "direction", "caller", "caller_display_name", "start_time", "cost",
    ]  # fmt: skip
    listed = browser.get("/call-statistics/cdr?status=noanswer").content.decode()
    assert 'href="/exports/new/cdr?status=noanswer"' in listed


def test_old_exports_go_with_their_files(sign_in: Callable[..., Client], acme: Tenant) -> None:
    browser = sign_in()
    made(browser)
    old = ListExport.objects.get()
    ListExport.objects.update(created_at=timezone.now() - timedelta(days=8))
    lost = ordered(browser)
    ListExport.objects.filter(pk=lost.pk).update(state="running", seen_at=timezone.now() - timedelta(minutes=7))

    tasks.drop_old_exports_of("acme")

    connection.set_tenant(acme)
    lost.refresh_from_db()
    assert (lost.state, lost.problem) == ("failed", "Its worker was lost. Try again.")
    assert not ListExport.objects.filter(pk=old.pk).exists()
    assert list(exports.folder_of("acme").iterdir()) == []


def test_a_tenant_that_goes_leaves_no_export(sign_in: Callable[..., Client], acme: Tenant) -> None:
    made(sign_in())
    assert exports.folder_of("acme").exists()
    assert exports.remove_files in lifecycle.leavings
    exports.remove_files(acme)
    assert not exports.folder_of("acme").exists()


@pytest.mark.django_db(transaction=True)
def test_rows_come_through_a_cursor_of_the_database(
    sign_in: Callable[..., Client], acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside a transaction, as a worker has it: what is written meanwhile is in neither the file nor the way."""
    monkeypatch.setattr(exports, "BLOCK", 50)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    CDR.objects.bulk_create(
        CDR(
            session_id=str(number), direction="inbound", caller="1", callee="2", status="answered",
            start_time=start + timedelta(seconds=number), ended_time=start + timedelta(seconds=number),
        )
        for number in range(320)
    )  # fmt: skip
    with transaction.atomic():
        export = ordered(sign_in(), form="ndjson", fields_chosen=["session_id"])
    connection.set_tenant(acme)
    named: list[str] = []
    plain = exports._going

    def going(which: ListExport) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement FROM pg_cursors WHERE is_holdable")
            named.extend(statement for (statement,) in cursor.fetchall())
        CDR.objects.filter(session_id=str(which.done + 1)).delete()
        return plain(which)

    monkeypatch.setattr(exports, "_going", going)
    exports.run(export.pk)

    data = exports.path_of(export).read_bytes()
    assert [json.loads(line)["session_id"] for line in data.splitlines()] == [str(n) for n in range(319, -1, -1)]
    assert len(named) == 6
    assert all("cdr_cdr" in statement for statement in named)
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() != ("0",)
