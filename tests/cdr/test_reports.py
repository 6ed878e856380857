"""Call Statistics > Reports and GET /api/v1/reports, in figures."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Extension
from accounts.roles import Role
from cdr import reports, tallies
from cdr.models import CDR
from cdr.reports import Narrowing, Sums
from tenants.models import Tenant
from tests.cdr.rows import make_call, make_target

PAGE = "/call-statistics/reports"
API = "/api/v1/reports"
NOON = datetime(2026, 3, 25, 12, 5, tzinfo=UTC)  # a Wednesday


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def count() -> None:
    tallies.recount(NOON - timedelta(days=400), NOON + timedelta(days=2))


@pytest.fixture
def some_calls(acme: Tenant) -> None:
    """Three calls yesterday and one today."""
    yesterday = NOON - timedelta(days=1)
    Extension.objects.create(number="101", display_name="Anna")
    make_target(make_call(1, start_time=yesterday, cost=Decimal("0.12500")))
    make_call(
        2, start_time=yesterday + timedelta(hours=1), status="noanswer", answered_time=None, talk_duration=0,
        end_reason="cancelled", trunk_name="Other", did="",
    )  # fmt: skip
    out = make_call(
        3, start_time=yesterday + timedelta(hours=1), direction="outbound", caller="102", callee="1888722",
        extensions=["102"], end_reason="", did="", talk_duration=30,
    )  # fmt: skip
    make_target(out, kind="external", callee="1888722", cost=Decimal("0.50000"))
    make_call(4, start_time=NOON)
    count()


def told(client: Client, query: str) -> dict[str, Any]:
    response = client.get(f"{API}?{query}")
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


def lines(client: Client, query: str) -> dict[str, tuple[Any, ...]]:
    names = ("calls", "answered", "missed", "met", "wait_seconds", "talk_seconds", "cost")
    return {item["key"]: tuple(item[name] for name in names) for item in told(client, query)["items"]}


@pytest.mark.usefixtures("some_calls")
def test_a_report_by_day_has_every_day_and_the_total(program: Callable[..., Client]) -> None:
    report = told(program(), "by=day&from=2026-03-23&to=2026-03-25")
    nothing = {
        "name": "", "calls": 0, "answered": 0, "missed": 0, "met": 0, "wait_seconds": 0, "talk_seconds": 0,
        "cost": None,
    }  # fmt: skip
    assert report == {
        "by": "day", "from": "2026-03-23", "to": "2026-03-25", "time_zone": "UTC", "currency": "EUR",
        "items": [
            {"key": "2026-03-23", **nothing},
            {"key": "2026-03-24", "name": "", "calls": 3, "answered": 2, "missed": 1, "met": 2, "wait_seconds": 10,
             "talk_seconds": 90, "cost": "0.12500"},
            {"key": "2026-03-25", **nothing, "calls": 1, "answered": 1, "talk_seconds": 60},
        ],
        "total": {"calls": 4, "answered": 3, "missed": 1, "met": 2, "wait_seconds": 10, "talk_seconds": 150,
                  "cost": "0.12500"},
    }  # fmt: skip


@pytest.mark.usefixtures("some_calls")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("by=extension", {
            "101": (3, 1, 1, 1, 5, 60, None), "102": (1, 1, 0, 1, 5, 30, "0.50000"),
        }),
        ("by=trunk", {"AudioCodes": (3, 3, 0, 2, 10, 150, "0.12500"), "Other": (1, 0, 1, 0, 0, 0, None)}),
        ("by=did", {"18800606": (2, 2, 0, 1, 5, 120, "0.12500")}),
        ("by=end_reason", {
            "caller_disconnect": (2, 2, 0, 1, 5, 120, "0.12500"),
            "None": (1, 1, 0, 1, 5, 30, None),
            "cancelled": (1, 0, 1, 0, 0, 0, None),
        }),
        ("by=direction", {"inbound": (3, 2, 1, 1, 5, 120, "0.12500"), "outbound": (1, 1, 0, 1, 5, 30, None)}),
        ("by=direction&trunk=Other", {"inbound": (1, 0, 1, 0, 0, 0, None)}),
        ("by=trunk&direction=outbound", {"AudioCodes": (1, 1, 0, 1, 5, 30, None)}),
        ("by=trunk&trunk=Other", {"Other": (1, 0, 1, 0, 0, 0, None)}),
        ("by=direction&end_reason=None", {"outbound": (1, 1, 0, 1, 5, 30, None)}),
        ("by=direction&period=today", {"inbound": (1, 1, 0, 0, 0, 60, None)}),
        ("by=direction&extension=102", {"outbound": (1, 1, 0, 1, 5, 30, "0.50000")}),
    ],
)  # fmt: skip
def test_a_report_by_value(program: Callable[..., Client], query: str, expected: dict[str, tuple[Any, ...]]) -> None:
    assert lines(program(), query) == expected


@pytest.mark.parametrize(
    ("zone", "days", "hours"),
    [
        ("UTC", {"2026-03-24": 1, "2026-03-25": 2}, {"23:00": 1, "00:00": 1, "12:00": 1}),
        ("Asia/Kathmandu", {"2026-03-25": 3}, {"05:00": 2, "18:00": 1}),
        ("America/St_Johns", {"2026-03-24": 2, "2026-03-25": 1}, {"21:00": 2, "10:00": 1}),
        ("Pacific/Chatham", {"2026-03-25": 2, "2026-03-26": 1}, {"13:00": 2, "02:00": 1}),
    ],
)
def test_days_and_hours_are_those_of_the_zone(
    program: Callable[..., Client], zone: str, days: dict[str, int], hours: dict[str, int]
) -> None:
    for number, (hour, minute) in enumerate([(-1, 50), (0, 10), (12, 50)]):
        make_call(number, start_time=datetime(2026, 3, 25, tzinfo=UTC) + timedelta(hours=hour, minutes=minute))
    count()
    client = program()
    query = f"from=2026-03-23&to=2026-03-27&time_zone={zone}"
    assert {key: line[0] for key, line in lines(client, f"by=day&{query}").items() if line[0]} == days
    assert {key: line[0] for key, line in lines(client, f"by=hour&{query}").items() if line[0]} == hours


def test_a_report_equals_a_count_of_the_list_it_leads_to(browser: Client) -> None:
    chance = 7
    for number in range(40):
        chance = chance * 75 % 65_537
        make_call(
            number,
            start_time=NOON - timedelta(minutes=chance % 9000),
            direction=("inbound", "outbound")[chance % 2],
            trunk_name=("A", "B")[chance % 3 == 0],
            did=("", "1", "2")[chance % 3],
            extensions=[["101"], ["102"], ["101", "102"]][chance % 3],
            end_reason=("", "cancelled")[chance % 2],
        )
    count()
    for by in ("day", "extension", "trunk", "did", "end_reason", "direction"):
        page = browser.get(f"{PAGE}?by={by}&from=2026-03-18&to=2026-03-25").content.decode()
        table = page.partition("<tbody>")[2].partition("All calls")[0]
        found = re.findall(r'href="([^"]+)">.*?data-slot="aside">(\d+)', table)
        assert found
        for href, calls in found:
            listed = browser.get(unescape(href)).content.decode()
            assert listed.count("data-open") == int(calls), (by, href)


@pytest.mark.usefixtures("some_calls")
def test_the_page_shows_lines_chart_and_filters(browser: Client) -> None:
    page = browser.get(f"{PAGE}?by=extension&period=yesterday&direction=inbound").content.decode()
    words = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))
    assert "Calls by extension Tuesday 24 March 2026, days of UTC." in words
    assert "101 Anna 2 1 50.0 % 1 0:05 1:00 1:00 –" in words
    assert "All calls 2 1 50.0 % 1 0:05 1:00 1:00 0.125" in words
    assert "Direction Inbound" in words
    assert (
        'href="/call-statistics/cdr?from=2026-03-24&amp;to=2026-03-24&amp;direction=inbound&amp;extension=101"' in page
    )

    days = browser.get(PAGE).content.decode()
    assert "<title>Tue 24 Mar 2026: 2 answered, 1 not</title>" in days
    assert days.count('<rect class="hit"') == 7
    assert 'aria-label="Calls by day. Most: Tue 24 Mar 2026, 3 calls."' in days
    assert "No calls in this time" in browser.get(f"{PAGE}?from=2025-01-01&to=2025-01-02").content.decode()
    assert "No call fits" in browser.get(f"{PAGE}?trunk=none").content.decode()


@pytest.mark.usefixtures("some_calls")
def test_a_report_is_taken_away_as_a_file(browser: Client) -> None:
    response = browser.get(f"{PAGE}/file/csv?by=trunk&period=yesterday")
    assert response.headers["Content-Disposition"] == (
        'attachment; filename="calls-by-trunk-2026-03-24-2026-03-24.csv"'
    )
    assert list(csv.reader(io.StringIO(response.content.decode("utf-8-sig")))) == [
        ["Trunk", "Name", "Calls", "Answered", "Missed", "Reached a person", "Waiting, average", "Talking Time",
         "Talking Time, average", "Cost"],
        ["AudioCodes", "", "2", "2", "0", "2", "0:00:05", "0:01:30", "0:00:45", "0.12500"],
        ["Other", "", "1", "0", "1", "0", "", "0:00:00", "", ""],
        ["Total", "", "3", "2", "1", "2", "0:00:05", "0:01:30", "0:00:45", "0.12500"],
    ]  # fmt: skip
    lines = browser.get(f"{PAGE}/file/ndjson?by=extension&period=yesterday").content.splitlines()
    assert [(line["extension"], line["name"], line["calls"]) for line in map(json.loads, lines)] == [
        ("101", "Anna", 2),
        ("102", "", 1),
    ]
    assert browser.get(f"{PAGE}/file/xlsx").content.startswith(b"PK")
    assert browser.get(f"{PAGE}/file/pdf").status_code == 404


WRONG = [
    ("by=moon", "by"), ("period=never", "period"), ("from=soon", "from"), ("from=2026-03-02&to=2026-03-01", "to"),
    ("from=2025-01-01&to=2026-03-01", "to"), ("direction=up", "direction"), ("trunk=a&did=1", "did"),
    ("by=did&trunk=a", "trunk"), ("end_reason=moon", "end_reason"), ("from=0001-01-01", "from"),
    ("to=9999-12-31", "to"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "field"), WRONG)
def test_what_is_wrong_is_refused_by_rest_and_left_out_by_the_page(
    program: Callable[..., Client], browser: Client, query: str, field: str
) -> None:
    response = program().get(f"{API}?{query}")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "not_valid")
    assert field in response.json()["error"]["details"]
    page = browser.get(f"{PAGE}?{query}")
    assert page.status_code == 200
    assert "This filter is left out." in page.content.decode()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "Europe", "a\x00b"])
def test_a_zone_that_is_none_is_refused(program: Callable[..., Client], zone: str) -> None:
    assert program().get(API, {"time_zone": zone}).status_code == 400


def test_only_who_sees_all_calls_sees_reports(
    own_browser: Client, acme_client: Client, program: Callable[..., Client], browser: Client
) -> None:
    for address in (PAGE, f"{PAGE}/file/csv"):
        assert own_browser.get(address).status_code == 403
        assert acme_client.get(address).status_code == 302
        assert browser.post(address).status_code == 405
    assert program(Role.USER).get(API).status_code == 403
    assert program(Role.QUEUE_MANAGER).get(API).status_code == 200
    assert Client(headers={"host": "acme.portal.test"}).get(API).status_code == 401
    assert browser.post(API).status_code in (403, 405)


def test_another_tenants_calls_are_not_summed(browser: Client, globex: Tenant, acme: Tenant) -> None:
    connection.set_tenant(globex)
    make_call(1, start_time=NOON, trunk_name="Secret line")
    count()
    connection.set_tenant(acme)
    page = browser.get(f"{PAGE}?by=trunk").content.decode()
    assert "Secret line" not in page
    assert "No calls in this time" in page


def test_a_span_that_ends_within_a_quarter_is_exact(acme: Tenant) -> None:
    call = make_call(1, start_time=NOON - timedelta(minutes=3), cost=Decimal("0.10000"))
    make_target(call)
    make_call(2, start_time=NOON - timedelta(minutes=1))
    make_call(3, start_time=NOON - timedelta(minutes=20))
    count()
    found = reports.until_the_minute(NOON - timedelta(hours=12, minutes=5), NOON - timedelta(minutes=2))
    assert found == Sums(2, 2, 0, 1, 5, 120, 1, Decimal("0.10000"))
    assert CDR.objects.count() == 3


def test_two_subjects_at_a_time_are_not_counted(acme: Tenant) -> None:
    narrowing = Narrowing(NOON - timedelta(days=1), NOON, subject="trunk", value="A")
    with pytest.raises(ValueError, match="one subject"):
        reports.grouped(narrowing, "did", "UTC")
