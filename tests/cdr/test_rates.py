"""Company > Rates: rules one by one and by CSV, what a number would cost, and a period rated again."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from accounts.models import AuditEntry
from cdr import rates, tallies, tasks
from cdr.models import CDR, RateRule, Tally
from events.models import Event
from tenants.models import Tenant
from tests.cdr.rows import NOON, make_call, make_target

LIST = "/company/rates"
RULE = {
    "prefix": "+49", "note": "Germany", "connect_fee": "0.01", "price_1": "0.06", "interval_1": "60", "price_n": "0.06",
    "interval_n": "1",
}  # fmt: skip


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


def test_a_rate_is_added_changed_and_deleted(browser: Client) -> None:
    assert browser.post(f"{LIST}/new", RULE).headers["Location"] == LIST
    rule = RateRule.objects.get()
    assert (rule.prefix, rule.connect_fee, rule.interval_n, rule.grace_period) == ("49", Decimal("0.01"), 1, 0)
    assert "49 Germany 0.01 0.06 a min, 60 s 0.06 a min, 1 s 0 s 0.00 always" in text(browser.get(LIST))

    address = f"{LIST}/{rule.pk}"
    assert browser.post(address, RULE | {"price_n": "0.12", "valid_from": "2026-01-01"}).status_code == 302
    rule.refresh_from_db()
    assert (rule.price_n, rule.valid_from) == (Decimal("0.12"), datetime(2026, 1, 1, tzinfo=UTC))
    assert browser.get(f"{address}/delete").status_code == 405
    assert browser.post(f"{address}/delete").status_code == 302
    assert browser.post(f"{address}/delete").status_code == 404
    assert RateRule.objects.count() == 0
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "rate.created", "rate.changed", "rate.deleted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prefix": "49a"}, "A prefix is digits"),
        ({"price_1": "-1"}, "It must not be below 0."),
        ({"interval_n": "0"}, "An interval has at least one second."),
        ({"price_1": "much"}, "Enter a number."),
        ({"valid_from": "2026-02-01", "valid_until": "2026-01-01"}, "The end must come after the beginning."),
        ({}, "There is a rate for this prefix with the same beginning."),
    ],
)
def test_what_is_no_rate_is_refused(browser: Client, given: dict[str, str], words: str) -> None:
    RateRule.objects.create(prefix="49")
    response = browser.post(f"{LIST}/new", RULE | given)
    assert response.status_code == 200
    assert words in text(response)
    assert RateRule.objects.count() == 1


def test_one_rate_may_fit_every_number_and_only_one(browser: Client) -> None:
    assert browser.post(f"{LIST}/new", RULE | {"prefix": ""}).status_code == 302
    assert "There is a rate for this prefix" in text(browser.post(f"{LIST}/new", RULE | {"prefix": ""}))
    assert "every number" in text(browser.get(LIST))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("number=%2B49301&seconds=90", "1:30 to +49301: 0.10 EUR , by the rate of 49."),
        ("number=49301&seconds=0", "0:00 to 49301: 0.00 EUR"),
        ("number=112&seconds=60", "1:00 to 112: 0.00 EUR , an emergency number."),
        ("number=331&seconds=60", "No rule fits 331: a call to it has no cost."),
        ("number=49301&seconds=60&at=2019-01-01T00:00", "No rule fits 49301"),
        ("number=49*&seconds=60", "Give one whole number."),
        ("number=49301&seconds=soon", "Enter a whole number."),
        ("number=49301", "This field is required."),
    ],
)
def test_what_would_this_number_cost(browser: Client, query: str, words: str) -> None:
    browser.post(f"{LIST}/new", RULE | {"valid_from": "2020-01-01"})
    assert words in text(browser.get(f"{LIST}?{query}"))


CSV = "prefix,price_1,price_n,interval_n,note\n+49,0.06,0.06,1,Germany\n33,0.1,0.1,60,\n"


def upload(browser: Client, content: str | bytes, **more: str) -> Any:
    data = content if isinstance(content, bytes) else content.encode()
    return browser.post(f"{LIST}/import", {"file": SimpleUploadedFile("rates.csv", data), **more})


def test_a_csv_is_looked_at_before_it_is_written(browser: Client) -> None:
    RateRule.objects.create(prefix="49", price_1=Decimal(9))
    RateRule.objects.create(prefix="1", price_1=Decimal(9))

    looked = upload(browser, CSV)
    assert "2 rules would be written." in text(looked)
    assert RateRule.objects.filter(price_1=9).count() == 2
    hidden = unescape(re.findall(r'name="text" value="([^"]*)"', looked.content.decode())[0])

    assert browser.post(f"{LIST}/import", {"text": hidden, "apply": "1"}).headers["Location"] == LIST
    assert list(rates.rules().values_list("prefix", "price_1", "note")) == [
        ("1", Decimal(9), ""), ("33", Decimal("0.1"), ""), ("49", Decimal("0.06"), "Germany"),
    ]  # fmt: skip
    assert AuditEntry.objects.latest("pk").after == {"added": 1, "replaced": 1, "removed": 0}

    browser.post(f"{LIST}/import", {"text": hidden, "apply": "1", "replace_all": "on"})
    assert list(rates.rules().values_list("prefix", flat=True)) == ["33", "49"]
    assert AuditEntry.objects.latest("pk").after == {"added": 0, "replaced": 2, "removed": 1}


def test_each_bad_line_is_named_and_nothing_is_written(browser: Client) -> None:
    bad = "prefix,price_1,interval_n\n49,0.06,1\n4x,0.1,1\n33,much,1\n34,0.1\n+49,0.2,1\n35,0.1,0\n"
    page = text(upload(browser, bad, apply="1"))
    assert "5 of 6 lines cannot be taken. Nothing was changed." in page
    for line in (
        "3 4x prefix: A prefix is digits, with or without a plus before them.",
        "4 33 price_1: Enter a number.",
        "5 34 It has 2 cells, the first line 3.",
        "6 49 It says the same prefix and beginning as line 2.",
        "7 35 interval_n: An interval has at least one second.",
    ):
        assert line in page or line.replace(" 49 ", " +49 ") in page
    assert RateRule.objects.count() == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Choose a file."),
        ("price_1\n1\n", "The first line names the fields"),
        ("prefix,price\n1,1\n", "It does not know price."),
        ("prefix,prefix\n1,1\n", "The first line names the fields"),
        ("prefix\n", "There is no rule in it."),
        (b"prefix\n\xff\n", "The file must be text in UTF-8."),
    ],
)
def test_what_is_no_csv_of_rates_is_refused(browser: Client, content: str | bytes, words: str) -> None:
    page = text(upload(browser, content, apply="1"))
    assert words in page or (content == "" and "empty" in page)
    assert RateRule.objects.count() == 0


def test_a_period_is_rated_again_by_corrections_that_are_told(acme: Tenant, browser: Client) -> None:
    RateRule.objects.create(prefix="1888", price_1=Decimal("0.6"), price_n=Decimal("0.6"), interval_1=1, interval_n=1)
    given: dict[str, Any] = {"direction": "outbound", "caller": "101", "callee": "1888722"}
    calls = [make_call(number, start_time=NOON + timedelta(days=number), **given) for number in range(3)]
    for call in calls:
        make_target(call, kind="external", callee="1888722", caller="101", cost=Decimal("9.00000"))
        CDR.objects.filter(pk=call.pk).update(cost=Decimal("9.00000"))
    inside = make_call(7, start_time=NOON, direction="internal")
    make_target(inside)
    tallies.recount(NOON - timedelta(days=9), datetime(2023, 4, 9, tzinfo=UTC))

    assert browser.post(f"{LIST}/again", {"first": "2023-03-22", "last": "2023-03-23"}).status_code == 302
    tasks.rate_again_of("acme", "2023-03-22T00:00:00+00:00", "2023-03-24T00:00:00+00:00")

    connection.set_tenant(acme)
    found = dict(CDR.objects.values_list("session_id", "cost"))
    assert found == {
        calls[0].session_id: Decimal("0.60000"), calls[1].session_id: Decimal("0.60000"),
        calls[2].session_id: Decimal("9.00000"), inside.session_id: None,
    }  # fmt: skip
    assert sorted(Event.objects.values_list("type", "session_id")) == [
        ("cdr_updated", calls[0].session_id), ("cdr_updated", calls[1].session_id),
    ]  # fmt: skip
    assert CDR.objects.get(pk=calls[0].pk).version == 2
    assert sum(row.cost for row in Tally.objects.filter(subject="")) == Decimal("10.20000")
    page = text(browser.get(LIST))
    assert "3 calls looked at, 2 corrected." in page

    tasks.rate_again_of("acme", "2023-03-22T00:00:00+00:00", "2023-03-24T00:00:00+00:00")  # once more: nothing
    connection.set_tenant(acme)
    assert Event.objects.count() == 2


@pytest.mark.parametrize(
    "given", [{}, {"first": "2023-03-22", "last": "2023-03-21"}, {"first": "2020-01-01", "last": "2023-03-21"}]
)
def test_a_period_that_is_none_is_not_rated(browser: Client, given: dict[str, str]) -> None:
    assert browser.post(f"{LIST}/again", given).status_code == 302
    assert not AuditEntry.objects.filter(action="rates.rating_requested").exists()


def test_a_page_of_rates_ends_between_two_prefixes(browser: Client) -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    RateRule.objects.bulk_create(
        RateRule(prefix=f"{number // 2 + 100}", valid_from=day + timedelta(days=number % 2)) for number in range(151)
    )
    first = browser.get(LIST).content.decode()
    (following,) = re.findall(r'href="(\?prefix=&amp;after=\d+)"', first)
    second = browser.get(f"{LIST}{unescape(following)}").content.decode()
    assert first.count("data-open") + second.count("data-open") == 151


def test_only_who_runs_the_company_sees_rates(own_browser: Client, acme_client: Client, browser: Client) -> None:
    for path in ("", "/new", "/import"):
        assert own_browser.get(f"{LIST}{path}").status_code == 403
        assert acme_client.get(f"{LIST}{path}").status_code == 302
    assert own_browser.post(f"{LIST}/again", {}).status_code == 403
    assert browser.get(f"{LIST}/again").status_code == 405
    assert browser.post(LIST).status_code == 405


def test_another_tenants_rate_does_not_exist(browser: Client, globex: Tenant, acme: Tenant) -> None:
    connection.set_tenant(globex)
    rule = RateRule.objects.create(prefix="4999")
    assert browser.get(f"{LIST}/{rule.pk}").status_code == 404
    assert "4999" not in text(browser.get(LIST))
