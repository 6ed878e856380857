"""The CDR pages: what a person sees, and what stays unseen."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts.models import User
from cdr import views
from cdr.selectors import MANY, last_id, narrowed
from events.models import Attempt, Delivery, Endpoint, Event
from tenants.crypto import token_hash
from tenants.models import Switch, Tenant
from tests.cdr.rows import make_call, make_target

pytestmark = pytest.mark.django_db
LIST = "/call-statistics/cdr"
NEWER = "/call-statistics/cdr/newer"


def text(response: Any) -> str:
    """The page without its markup, white space made one."""
    assert response.status_code == 200, response
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode())).strip()


def opened(response: Any) -> list[str]:
    """The session ids of the rows, in order."""
    return re.findall(r'<a href="/call-statistics/cdr/([^"]+)" data-open>', response.content.decode())


def heads(response: Any) -> list[str]:
    """The column heads that show."""
    head = re.search(r"<thead>.*?</thead>", response.content.decode(), re.DOTALL)
    assert head
    cells = re.findall(r"<th\b([^>]*)>(.*?)</th>", head[0], re.DOTALL)
    return [re.sub(r"<[^>]*>", "", words) for attributes, words in cells if "hidden" not in attributes]


def test_list_shows_the_named_columns_and_each_call(browser: Client) -> None:
    make_call(1)
    page = browser.get(LIST)

    assert heads(page) == ["", "Direction", "Caller", "Callee", "Start Time", "Ring Time", "Answer Time", "End Time",
                           "Talking Time", "Status Code", "Recording", "Action"]  # fmt: skip
    row = "1888722 101 Front desk 12:01:00 12:01:01 12:01:05 12:02:05 1:00 Answered"
    assert row in text(page)
    assert "Wednesday 22 March 2023" in text(page)
    assert 'title="2023-03-22 12:01:00 UTC"' in page.content.decode()
    assert opened(page) == ["690852418417590001"]


def test_list_is_in_the_persons_zone_and_says_it_once(browser: Client, acme: Tenant) -> None:
    make_call(1)
    Tenant.objects.filter(pk=acme.pk).update(time_zone="Europe/Berlin")
    assert "13:01:00" in text(browser.get(LIST))

    User.objects.update(time_zone="Asia/Kolkata")
    page = browser.get(LIST)
    assert "17:31:00" in text(page)
    assert text(page).count("Times in Asia/Kolkata, UTC+05:30") == 1


def test_list_pages_newer_and_older(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PAGE", 2)
    ids = [make_call(number).session_id for number in range(5)][::-1]

    def follow(page: Any, rel: str) -> Any:
        return browser.get(re.search(rf'href="([^"]+)" rel="{rel}"', page.content.decode())[1].replace("&amp;", "&"))  # type: ignore[index]

    first = browser.get(f"{LIST}?caller=1888722")
    second = follow(first, "next")
    third = follow(second, "next")
    assert [opened(page) for page in (first, second, third)] == [ids[:2], ids[2:4], ids[4:]]
    assert opened(follow(third, "prev")) == ids[2:4]
    assert 'rel="prev"' not in first.content.decode()
    assert 'rel="next"' not in third.content.decode()
    assert "2 of 5 calls" in text(first)
    assert opened(follow(browser.get(f"{LIST}?order=asc"), "next")) == ids[::-1][2:4]


def test_a_cut_cursor_leads_back_to_the_list(browser: Client) -> None:
    response = browser.get(f"{LIST}?after=x&caller=1")
    assert (response.status_code, response.headers["location"]) == (302, f"{LIST}?caller=1")


def test_filters_in_use_are_chips_that_can_be_dropped(browser: Client) -> None:
    make_call(1)
    make_call(2, direction="outbound", talk_duration=5)
    page = browser.get(f"{LIST}?direction=inbound&min_talk=60&recorded=false&search=front")
    html = page.content.decode()

    assert opened(page) == ["690852418417590001"]
    for chip in ("Direction Inbound", "Talking Time at least 1:00", "Recorded no", "Search front"):
        assert chip in text(page)
    assert f'href="{LIST}?direction=inbound&amp;recorded=false&amp;search=front"' in html
    assert 'value="60"' in html


def test_a_filter_that_makes_no_sense_is_said_and_left_out(browser: Client) -> None:
    make_call(1)
    page = browser.get(f"{LIST}?from=never&caller=1888722&status=busy&min_talk=-5&session_id={'1' * 129}")

    assert opened(page) == ["690852418417590001"]
    notices = re.findall(r'data-is="warn">.*?<p>(.*?)</p><p>This filter is left out.</p>', page.content.decode())
    assert notices == [
        "Status: Select a valid choice. busy is not one of the available choices.",
        "Session id: Ensure this value has at most 128 characters (it has 129).",
        "Talking Time at least: Ensure this value is greater than or equal to 0.",
        "From: Give a date, a time as in 2023-03-22T10:20:51Z, or Unix seconds.",
    ]


def test_periods_are_days_of_the_reader(browser: Client) -> None:
    now = timezone.now()
    make_call(1, start_time=now)
    make_call(2, start_time=now - timedelta(days=400))

    assert opened(browser.get(f"{LIST}?period=today")) == ["690852418417590001"]
    assert opened(browser.get(f"{LIST}?period=7d&direction=inbound")) == ["690852418417590001"]
    assert len(opened(browser.get(f"{LIST}?period=never"))) == 2
    assert opened(browser.get(f"{LIST}?period=yesterday")) == []
    assert len(opened(browser.get(f"{LIST}?period=today&from=2020-01-01"))) == 2


def test_empty_lists_say_which_kind_of_empty(browser: Client) -> None:
    assert "No calls yet" in text(browser.get(LIST))
    assert "No calls in this time" in text(browser.get(f"{LIST}?period=today"))
    assert "No call fits these filters" in text(browser.get(f"{LIST}?caller=1"))


def test_what_a_switch_says_is_text_and_never_markup(browser: Client) -> None:
    bad = '<script>alert(1)</script>"&'
    call = make_call(1, caller=bad, caller_display_name=bad, session_id="x<b>'\"&/..", user_data=bad, trunk_name=bad)
    make_target(call, callee_display_name=bad, destination=bad)

    for address in (LIST, f"{LIST}?search={bad}", f"{LIST}/x%3Cb%3E'%22%26/.."):
        response = browser.get(address)
        assert response.status_code == 200
        assert b"<script>alert" not in response.content
        assert b"x<b>" not in response.content


def test_columns_are_chosen_without_scripts(browser: Client) -> None:
    make_call(1)
    response = browser.post(
        "/lists/cdr/columns", {"column": ["caller", "did", "nonsense"], "back": f"{LIST}?order=asc"}
    )

    assert (response.status_code, response.headers["location"]) == (302, f"{LIST}?order=asc")
    assert heads(browser.get(LIST)) == ["", "Direction", "Caller", "Start Time", "DID/DDI", "Recording", "Action"]
    elsewhere = browser.post("/lists/cdr/columns", {"back": "https://example.com/"})
    assert elsewhere.headers["location"] == "/"


def test_new_calls_announce_themselves(browser: Client) -> None:
    make_call(1)
    since = last_id()
    assert browser.get(f"{NEWER}?since={since}").status_code == 204

    make_call(2)
    assert text(browser.get(f"{NEWER}?since={since}")) == "1 new call"
    make_call(3, direction="outbound")
    assert text(browser.get(f"{NEWER}?since={since}")) == "2 new calls"
    assert text(browser.get(f"{NEWER}?since={since}&direction=outbound")) == "1 new call"
    for number in range(4, MANY + 5):
        make_call(number)
    assert text(browser.get(f"{NEWER}?since={since}")) == "50+ new calls"
    for nonsense in ("", "x", "-1", "9" * 30, "²"):
        assert browser.get(NEWER, {"since": nonsense}).status_code == 204


def test_list_takes_as_many_queries_for_three_calls_as_for_one(browser: Client) -> None:
    taken = []
    for number in range(3):
        make_call(number)
        with CaptureQueriesContext(connection) as queries:
            browser.get(LIST)
        taken.append(len(queries))
    assert taken == [taken[0]] * 3


def test_each_simulated_call_says_so_and_no_other(browser: Client, http_switch: Switch) -> None:
    simulator = Switch.objects.create(name="Simulator", kind=Switch.Kind.SIMULATOR, token_hash=token_hash("simulated"))
    real, simulated = make_call(1, switch_id=http_switch.pk), make_call(2, switch_id=simulator.pk)

    for address in (LIST, "/"):
        rows = re.findall(r"<tr>.*?</tr>", browser.get(address).content.decode(), re.DOTALL)
        marked = {call.pk: "Simulated" in row for call in (real, simulated) for row in rows if call.session_id in row}
        assert marked == {real.pk: False, simulated.pk: True}, address
    assert "Simulated" not in text(browser.get(f"{LIST}/{real.session_id}"))
    assert "Simulated" in text(browser.get(f"{LIST}/{simulated.session_id}"))


def test_details_tell_the_call_and_its_targets(browser: Client) -> None:
    call = make_call(1, callee="5000", callee_display_name="Main menu", talk_duration=60)
    start = call.start_time
    make_target(
        call,
        0,
        kind="service",
        callee="5000",
        callee_display_name="Main menu",
        ring_time=start,
        answered_time=start,
        ended_time=start + timedelta(seconds=18),
        end_reason="referred",
    )
    make_target(call, 1, callee="102", callee_display_name="", answered_time=None, end_reason="", status_code=408)
    make_target(call, 2, callee="103", callee_display_name="Sam", answered_time=start + timedelta(seconds=25))
    page = browser.get(f"{LIST}/{call.session_id}")
    words = text(page)

    assert (
        "1888722 called 5000 , went through Main menu 5000 (18 s) and talked 40 s with Sam 103 . The caller hung up."
        " 102 rang and did not answer."
    ) in words
    assert (
        "Callee Destination Start Ring Answer End DID/DDI Outbound Caller ID Ring Duration Talking Time Target Cost"
        " Status Code"
        " 5000 Main menu 192.0.2.21:9070 12:01:00 12:01:00 12:01:00 12:01:18 18800606 – 0:00 0:18 – 0 referred"
        " 102 192.0.2.21:9070 12:01:00 12:01:01 – 12:02:05 18800606 – 1:04 – – 408 None"
        " 103 Sam 192.0.2.21:9070 12:01:00 12:01:01 12:01:25 12:02:05 18800606 – 0:24 0:40 – 0 caller_disconnect"
    ) in words
    assert "&quot;did_cid&quot;" in page.content.decode()
    assert "&quot;call_status&quot;" in browser.get(f"{LIST}/{call.session_id}?profile=v22").content.decode()


def test_details_give_the_message_as_curl(browser: Client) -> None:
    call = make_call(1, session_id="a b")
    page = html.unescape(browser.get(f"{LIST}/{call.session_id}?profile=v22").content.decode())
    asked = "curl -H \"Authorization: Bearer $VOXLEDGER_TOKEN\" 'http://acme.portal.test/api/v1/cdrs/a%20b?profile=v22'"
    assert f'data-copy="{asked}"' in page


def test_details_of_a_call_that_led_nowhere(browser: Client) -> None:
    call = make_call(1, answered_time=None, status="failed", status_code=404, end_reason="", incomplete=True)
    words = text(browser.get(f"{LIST}/{call.session_id}"))

    assert "The call failed: 404, no such number" in words
    assert "this record is incomplete" in words
    assert "No target was tried" in words


def test_higher_rooms_show_their_parts(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    call = make_call(1)
    monkeypatch.setattr(views, "page_parts", [lambda request, found: SafeString(f"<p>part of {found.pk}</p>")])
    assert f"<p>part of {call.pk}</p>" in browser.get(f"{LIST}/{call.session_id}").content.decode()


def test_details_say_where_the_call_was_pushed_to_whom_it_concerns(browser: Client, own_browser: Client) -> None:
    call = make_call(1, extensions=["102"])
    address = f"{LIST}/{call.session_id}"
    assert "No endpoint asked for this call." in text(browser.get(address))

    event = Event.objects.create(id=7, type="call_cdr", session_id=call.session_id, sequence=1, body="{}")
    endpoint = Endpoint.objects.create(url="https://crm.example.com/calls", secret="encrypted")
    delivery = Delivery.objects.create(
        endpoint=endpoint, event=event, session_id=call.session_id, profile="v16", state="delivered", attempts_made=1
    )
    Attempt.objects.create(delivery=delivery, status=200, latency_ms=20)

    assert "https://crm.example.com/calls call_cdr" in text(browser.get(address))
    assert "1 200 Delivered" in text(browser.get(address))
    assert "crm.example.com" not in own_browser.get(address).content.decode()


def test_a_standard_user_sees_own_calls_only(own_browser: Client) -> None:
    make_call(1, caller="+49301111111")
    own = make_call(2, extensions=["102"])
    since = last_id()

    page = own_browser.get(LIST)
    assert opened(page) == [own.session_id]
    assert "The calls of your own extension." in text(page)
    assert "+49301111111" not in own_browser.get("/").content.decode()
    assert own_browser.get(f"{LIST}/690852418417590001").status_code == 404
    make_call(3)
    assert own_browser.get(f"{NEWER}?since={since}").status_code == 204
    assert 'title="Newer call"' not in own_browser.get(f"{LIST}/{own.session_id}").content.decode()


def test_another_tenants_call_does_not_exist(browser: Client, globex: Tenant, acme: Tenant) -> None:
    connection.set_tenant(globex)
    secret = make_call(1, caller="+49301111111")

    assert browser.get(f"{LIST}/{secret.session_id}").status_code == 404
    assert opened(browser.get(LIST)) == []
    abroad = Client(headers={"host": "globex.portal.test"})
    abroad.cookies = browser.cookies
    assert abroad.get(LIST).status_code == 302


@pytest.mark.parametrize("address", [LIST, NEWER, f"{LIST}/690852418417590001"])
def test_strangers_sign_in_first_and_nothing_can_be_posted(acme_client: Client, browser: Client, address: str) -> None:
    make_call(1)
    response = acme_client.get(address)
    assert (response.status_code, response.headers["location"].partition("?")[0]) == (302, "/sign-in")
    assert browser.post(address).status_code == 405
    assert browser.get("/lists/cdr/columns").status_code == 405


def test_strangers_do_not_see_home(acme_client: Client) -> None:
    assert acme_client.get("/").status_code == 302


def test_marked_calls_are_sent_again(browser: Client, own_browser: Client) -> None:
    on = Endpoint.objects.create(url="https://crm.example.com/", event_types=["call_cdr"])
    off = Endpoint.objects.create(url="https://old.example.com/", event_types=["call_cdr"], enabled=False)
    for number in (1, 2):
        call = make_call(number)
        event = Event.objects.create(id=number, type="call_cdr", session_id=call.session_id, sequence=1, body="{}")
        for endpoint in (on, off):
            Delivery.objects.create(
                endpoint=endpoint, event=event, session_id=call.session_id, profile="v16", state="delivered"
            )
    first = call_id(1)

    page = browser.post(f"{LIST}/send-again", {"session": [first, "no such call", "\0"], "back": f"{LIST}?order=asc"})
    assert (page.status_code, page.headers["location"]) == (302, f"{LIST}?order=asc")
    assert "1 delivery is sent again." in text(browser.get(LIST))
    waiting = Delivery.objects.filter(state="pending").values_list("session_id", "endpoint_id")
    assert list(waiting) == [(first, on.pk)]
    browser.post(f"{LIST}/send-again")
    assert "Nothing to send again" in text(browser.get(LIST))
    assert own_browser.post(f"{LIST}/send-again", {"session": [first]}).status_code == 403
    assert browser.get(f"{LIST}/send-again").status_code == 405
    assert "Send again" not in text(own_browser.get(LIST))


def call_id(number: int) -> str:
    return f"69085241841759{number:04}"


def test_time_without_calls_says_since_when(browser: Client, http_switch: Switch) -> None:
    assert "No calls yet" in text(browser.get(LIST))
    make_call(1, switch_id=http_switch.pk)

    empty = text(browser.get(f"{LIST}?period=today"))
    assert "Nothing has come in since Wed 22 Mar 2023, 12:01:00" in empty
    assert "on the switch Test switch" in empty
    assert "No calls in this time" in text(browser.get(f"{LIST}?period=yesterday"))
    assert "No call fits these filters" in text(browser.get(f"{LIST}?period=today&status=failed"))


def test_silence_tells_nothing_of_calls_one_may_not_see(own_browser: Client) -> None:
    make_call(1, extensions=["999"])
    assert "Nothing has come in since" not in own_browser.get(f"{LIST}?period=today").content.decode()


def test_hour_that_comes_twice_is_told_apart(browser: Client) -> None:
    make_call(
        1, start_time=datetime(2026, 10, 25, 0, 30, tzinfo=UTC), ended_time=datetime(2026, 10, 25, 0, 31, tzinfo=UTC)
    )
    make_call(
        2, start_time=datetime(2026, 10, 25, 1, 30, tzinfo=UTC), ended_time=datetime(2026, 10, 25, 3, 31, tzinfo=UTC)
    )
    User.objects.update(time_zone="Europe/Berlin")
    words = text(browser.get(LIST))
    assert words.index("02:30:00 CET") < words.index("02:30:00 CEST")
    assert "04:31:00 " in words
    assert "04:31:00 CE" not in words


def test_numbers_are_written_as_the_reader_wants_them(browser: Client) -> None:
    make_call(1, caller="12025550174", callee="101")
    assert "12025550174 101" in text(browser.get(LIST))
    browser.cookies["numbers"], browser.cookies["region"] = "national", "US"
    page = browser.get(LIST)
    assert "(202) 555-0174 101" in text(page)
    assert '<span title="12025550174">(202) 555-0174</span>' in page.content.decode()
    browser.cookies["numbers"] = "nonsense"
    assert "12025550174 101" in text(browser.get(LIST))


@pytest.fixture
def slow_list(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list whose query takes longer than it may."""
    settings.LIST_TIMEOUT_MS = 20
    make_call(1)
    monkeypatch.setattr("cdr.views.narrowed", lambda *given: narrowed(*given).extra(where=["pg_sleep(1) IS NOT NULL"]))


def test_search_that_takes_too_long_offers_a_narrower_one(browser: Client, slow_list: None) -> None:
    page = browser.get(LIST, {"caller": "1888*", "from": "2020-01-01T00:00"})
    assert page.status_code == 503
    offered = re.findall(r'<a class="button[^"]*" href="([^"]+)">([^<]+)</a>', page.content.decode())[
        :-1
    ]  # the last is the shell's
    assert offered == [
        (f"{LIST}?caller=1888%2A&amp;period=7d", "Last 7 days"),
        (f"{LIST}?caller=1888%2A&amp;period=yesterday", "Yesterday"),
        (f"{LIST}?caller=1888%2A&amp;period=today", "Today"),
        (LIST, "Without filters"),
    ]
    assert "This search took too long" in page.content.decode()


def test_swap_that_takes_too_long_shows_the_page_and_a_poll_changes_nothing(browser: Client, slow_list: None) -> None:
    swap = browser.get(LIST, headers={"HX-Request": "true", "HX-Boosted": "true"})
    assert (swap.status_code, swap.headers["HX-Retarget"], swap.headers["HX-Reselect"]) == (503, "#main", "#main")
    poll = browser.get(LIST, headers={"HX-Request": "true"})
    assert (poll.status_code, poll.headers["HX-Reswap"], poll.content) == (503, "none", b"")
