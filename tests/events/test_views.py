"""Company > Event URL, as an administrator uses it, and as nobody else may."""

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User
from accounts.roles import Role
from events import samples
from events.deliveries import lease_due, settle, stop_outdated
from events.models import Attempt, Delivery, Endpoint, Event
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.conftest import AT, write
from tests.events.receiver import receiver
from tests.events.test_deliveries import NOW, answered

Make = Callable[..., Any]
PAGE = "/company/event-url"
FORM = {
    "enabled": "on",
    "url": "http://127.0.0.1:9/cdr",
    "auth": "disable",
    "profile": "v16",
    "event_types": ["call_cdr"],
}


@pytest.fixture
def browser(acme: Tenant, acme_client: Client, make_user: Callable[..., User], loopback: None) -> Client:
    acme_client.force_login(make_user(), "accounts.backends.PortalBackend")
    return acme_client


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_first_visit_offers_the_form(browser: Client) -> None:
    page = text_of(browser.get(PAGE))
    for words in ("CDR Events", "Enable", "Authentication Method", "Disable", "Basic Authentication",
                  "Digest Authentication", "Bearer Authentication", "Add endpoint"):  # fmt: skip
        assert words in page


def test_endpoint_is_added_and_its_secret_shown_once(browser: Client) -> None:
    made = browser.post(f"{PAGE}/new", FORM | {"auth": "basic", "username": "anna", "password": "secret1"})
    endpoint = Endpoint.objects.get()
    assert made["Location"] == f"{PAGE}/{endpoint.pk}"
    first = text_of(browser.get(made["Location"]))
    secrets = re.findall(r"whsec_[\w+/=]+", first)
    assert len(secrets) == 1
    second = text_of(browser.get(PAGE))
    assert "whsec_" not in second
    assert "secret1" not in first + second
    assert "http://127.0.0.1:9/cdr" in second
    assert AuditEntry.objects.get(action="endpoint.created").actor == "admin"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": ""}, "Start the address with https:// or http://."),
        ({"url": "ftp://x/"}, "Start the address with https:// or http://."),
        ({"url": "http://10.1.1.1/"}, "10.1.1.1 is an inner address, which may not be called from here."),
        ({"auth": "basic", "username": "anna", "password": "12345"}, "A password has 6 to 64 printable characters."),
        ({"auth": "digest", "password": "secret1"}, "This authentication method needs a user name."),
        ({"auth": "bearer"}, "This authentication method needs a token."),
        ({"event_types": []}, "Choose at least one event type."),
    ],
)
def test_what_cannot_be_is_said_beside_the_field(browser: Client, changes: dict[str, Any], sentence: str) -> None:
    page = browser.post(f"{PAGE}/new", FORM | changes)
    assert page.status_code == 200
    assert sentence in text_of(page)
    assert Endpoint.objects.count() == 0


def test_settings_are_saved_and_secrets_kept(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint(auth="bearer", token="tok")
    path = f"{PAGE}/{endpoint.pk}"
    form = FORM | {"auth": "bearer", "profile": "v22", "version": "1", "event_types": ["call_cdr", "cdr_updated"]}
    assert browser.post(path, form)["Location"] == path
    saved = Endpoint.objects.get()
    assert (saved.profile, saved.event_types, saved.token, saved.version) == (
        "v22", ["call_cdr", "cdr_updated"], endpoint.token, 2,
    )  # fmt: skip
    assert "Somebody else changed this meanwhile." in text_of(browser.post(path, form))
    off = browser.post(path, {name: value for name, value in form.items() if name != "enabled"} | {"version": "2"})
    assert off.status_code == 302
    assert Endpoint.objects.get().enabled is False


def test_disabled_by_the_receiver_says_why(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a")
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 410)], now=NOW)
    page = text_of(browser.get(PAGE))
    assert "This endpoint was switched off. The receiver answered 410 Gone: it wants no more events." in page


def test_test_call_shows_its_outcome(browser: Client, make_endpoint: Make) -> None:
    with receiver() as there:
        endpoint = make_endpoint(there.url)
        page = browser.post(f"{PAGE}/{endpoint.pk}/test", follow=True)
    assert "The test call was acknowledged: 200 OK." in text_of(page)
    assert "webhook-test:</span> true" in text_of(page)
    assert there.got[0].headers["webhook-test"] == "true"
    Endpoint.objects.update(url="http://127.0.0.1:9/")
    page = browser.post(f"{PAGE}/{endpoint.pk}/test", follow=True)
    assert "The test call was not acknowledged: No connection: connection refused." in text_of(page)
    assert list(AuditEntry.objects.filter(action="endpoint.tested").values_list("actor", flat=True)) == ["admin"] * 2


def test_health_tells_what_became_and_what_waits(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write(*"abcd")
    leased = lease_due(endpoint, most=3, now=NOW)
    settle(endpoint.pk, [answered(leased[0], 200), answered(leased[1], 500), answered(leased[2], 410)], now=NOW)
    Attempt.objects.update(at=timezone.now())
    whole = text_of(browser.get(f"{PAGE}/{endpoint.pk}"))
    shown = text_of(browser.get(f"{PAGE}/{endpoint.pk}/health"))
    assert shown.strip() in whole
    assert re.findall(r'figure">([^<]+?) ?<', shown) == ["1", "2", "1", "12"]
    assert "1 gave up or stopped" in shown
    assert f'hx-get="{PAGE}/{endpoint.pk}/health" hx-trigger="every 10s"' in shown
    Delivery.objects.update(created_at=timezone.now() - timedelta(hours=25))
    Attempt.objects.update(at=timezone.now() - timedelta(hours=25))
    later = text_of(browser.get(f"{PAGE}/{endpoint.pk}/health"))
    assert re.findall(r'figure">([^<]+?) ?<', later) == ["0", "2", "1", "–"]


def test_page_links_the_contracts(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    page = text_of(browser.get(f"{PAGE}/{endpoint.pk}"))
    linked = re.findall(r'<a href="(/api/[^"]+)">', page)
    assert linked == ["/api/events/schemas/", "/api/asyncapi.json", "/api/schema/"]
    assert [browser.get(address).status_code for address in linked] == [200, 200, 200]


def test_test_sends_the_example_that_is_shown(browser: Client, make_endpoint: Make) -> None:
    with receiver() as there:
        endpoint = make_endpoint(there.url)
        path = f"{PAGE}/{endpoint.pk}"
        shown = re.findall(r'aria-label="Example of (\w+)">(.*?)</pre>', text_of(browser.get(path)), re.DOTALL)
        page = browser.post(f"{path}/test", {"event_type": "cdr_target_add"}, follow=True)
        wrong = browser.post(f"{path}/test", {"event_type": "recording_lost"}, follow=True)
    assert [name for name, _ in shown] == list(samples.EXAMPLES)
    assert "The test of cdr_target_add was acknowledged: 200 OK." in text_of(page)
    assert "<h1>cdr_target_add to http://127.0.0.1" in text_of(page)
    assert "There is no example of this event." in text_of(wrong)
    (got,) = there.got
    sent = json.loads(got.body)
    as_shown = json.loads(html.unescape(dict(shown)["cdr_target_add"]))
    assert sent | {"time": ""} == as_shown | {"time": ""}


def test_rotation_and_removal(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    page = browser.post(f"{PAGE}/{endpoint.pk}/rotate", follow=True)
    assert "New signing secret: <code" in text_of(page)
    assert browser.post(f"{PAGE}/{endpoint.pk}/delete")["Location"] == PAGE
    assert browser.get(f"{PAGE}/{endpoint.pk}").status_code == 404
    assert Endpoint.objects.get().deleted_at is not None


def test_log_is_filtered_and_paged(browser: Client, make_endpoint: Make, django_assert_max_num_queries: Make) -> None:
    endpoint = make_endpoint()
    write(*(f"s{n:03}" for n in range(120)))
    leased = lease_due(endpoint, most=3, now=NOW)
    settle(endpoint.pk, [answered(leased[0], 200), answered(leased[1], 500)], now=NOW)
    path = f"{PAGE}/{endpoint.pk}"

    def sessions(address: str) -> list[str]:
        return re.findall(r'<td class="mono" data-slot="title">(s\d+)</td>', text_of(browser.get(address)))

    everything = [f"s{n:03}" for n in range(119, -1, -1)]
    with django_assert_max_num_queries(14):
        first = text_of(browser.get(path))
    assert sessions(path) == everything[:50]
    older = re.search(r'href="([^"]+)#log" rel="next"', first)[1].replace("&amp;", "&")  # type: ignore[index]
    assert sessions(older) == everything[50:100]
    second = text_of(browser.get(older))
    newer = re.search(r'href="([^"]+)#log" rel="prev"', second)[1].replace("&amp;", "&")  # type: ignore[index]
    assert sessions(newer) == everything[:50]
    assert sessions(f"{path}?state=delivered") == ["s000"]
    assert sessions(f"{path}?session_id=s007") == ["s007"]
    assert sessions(f"{path}?state=nonsense&before=x") == everything[:50]
    assert "Waiting, next try" in text_of(browser.get(f"{path}?session_id=s001"))
    assert "No delivery for this filter" in text_of(browser.get(f"{path}?session_id=none"))


def test_delivery_shows_request_and_response_and_is_sent_again(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a")
    tried = answered(lease_due(endpoint, most=1, now=NOW)[0], 500, body="<b>no</b>", headers={"X-Said": "<i>"})
    settle(endpoint.pk, [tried], now=NOW)
    delivery = Delivery.objects.get()
    path = f"{PAGE}/deliveries/{delivery.pk}"
    page = text_of(browser.get(path))
    assert "&quot;event_id&quot;: &quot;1&quot;" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "x-said:</span> &lt;i&gt;" in page
    again = browser.post(f"{path}/again", follow=True)
    assert "It is being sent again." in text_of(again)
    assert "Sent again</span>" in text_of(again)
    Endpoint.objects.update(enabled=False)
    assert "The endpoint is switched off." in text_of(browser.post(f"{path}/again", follow=True))


def test_pages_need_no_inline_script_or_style(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a")
    for path in (PAGE, f"{PAGE}/new", f"{PAGE}/{endpoint.pk}", f"{PAGE}/deliveries/{Delivery.objects.get().pk}"):
        page = text_of(browser.get(path))
        assert not re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page)


DOORS = [
    ("get", ""), ("get", "/new"), ("post", "/new"), ("get", "/{endpoint}"), ("post", "/{endpoint}"),
    ("get", "/{endpoint}/health"), ("get", "/{endpoint}/log"), ("post", "/{endpoint}/delete"),
    ("post", "/{endpoint}/rotate"), ("post", "/{endpoint}/test"),
    ("get", "/deliveries/{delivery}"), ("post", "/deliveries/{delivery}/again"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "door"), DOORS)
def test_only_administrators_enter(
    acme_client: Client, make_endpoint: Make, make_user: Make, method: str, door: str
) -> None:
    endpoint = make_endpoint()
    write("a")
    path = PAGE + door.format(endpoint=endpoint.pk, delivery=Delivery.objects.get().pk)
    before = list(Endpoint.objects.values()), list(Delivery.objects.values())
    stranger = getattr(acme_client, method)(path, FORM)
    assert stranger.status_code == 302
    assert "/sign-in" in stranger["Location"]
    for role in (Role.USER, Role.QUEUE_MANAGER):
        acme_client.force_login(make_user(f"a-{role}", role), "accounts.backends.PortalBackend")
        assert getattr(acme_client, method)(path, FORM).status_code == 403
    assert (list(Endpoint.objects.values()), list(Delivery.objects.values())) == before


@pytest.mark.parametrize(("method", "door"), [door for door in DOORS if "{" in door[1]])
def test_another_tenants_pages_do_not_exist(
    globex_client: Client, make_endpoint: Make, make_user: Make, method: str, door: str
) -> None:
    endpoint = make_endpoint()
    write("a")
    path = PAGE + door.format(endpoint=endpoint.pk, delivery=Delivery.objects.get().pk)
    with in_schema("globex"):
        globex_client.force_login(make_user("other"), "accounts.backends.PortalBackend")
    assert getattr(globex_client, method)(path, FORM).status_code == 404


@pytest.mark.parametrize("door", [door for method, door in DOORS if method == "post" and "{" in door])
def test_state_changes_need_post_and_csrf(acme: Tenant, make_endpoint: Make, make_user: Make, door: str) -> None:
    endpoint = make_endpoint()
    write("a")
    path = PAGE + door.format(endpoint=endpoint.pk, delivery=Delivery.objects.get().pk)
    client = Client(headers={"host": "acme.portal.test"}, enforce_csrf_checks=True)
    client.force_login(make_user(), "accounts.backends.PortalBackend")
    assert client.post(path, FORM).status_code == 403
    if door != "/{endpoint}":
        assert client.get(path).status_code == 405


def test_every_form_carries_its_token(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a")
    page = text_of(browser.get(f"{PAGE}/{endpoint.pk}"))
    forms = re.findall(r'<form[^>]*method="post".*?</form>', page, re.DOTALL)
    assert len(forms) >= 6
    assert [form for form in forms if "csrfmiddlewaretoken" not in form] == []


def test_missing_rows(browser: Client) -> None:
    for door in ("/77", "/99999999999999999999", "/deliveries/77"):
        assert browser.get(PAGE + door).status_code == 404


def test_log_asks_how_its_rows_are_now_and_adds_none_by_itself(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a", "b")
    path = f"{PAGE}/{endpoint.pk}"
    newest = Delivery.objects.order_by("-id").first()
    assert newest is not None
    live = f"{path}/log?&upto={newest.pk}"
    page = text_of(browser.get(path))
    assert (
        f'id="log-rows" hx-get="{live.replace("&", "&amp;")}" hx-trigger="every 10s" hx-swap="outerHTML show:none"'
        in page
    )
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 200)], now=NOW)
    write("c")
    now = text_of(browser.get(live))
    assert re.findall(r'data-slot="title">(\w+)<', now) == ["b", "a"]
    assert now.count("Delivered</span>") == 1
    assert f'hx-get="{live.replace("&", "&amp;")}"' in now  # and so it goes on asking for the same rows
    assert re.findall(r'id="log-fresh" aria-live="polite" hx-swap-oob="true"><a class="fresh" href="([^"]+)"', now) == [
        f"{path}#log",
    ]  # fmt: skip
    assert "1 new delivery</a>" in now
    fresh = re.search(r'hx-get="([^"]+)" hx-target="#log-rows"', now)[1]  # type: ignore[index]
    assert re.findall(r'data-slot="title">(\w+)<', text_of(browser.get(fresh))) == ["c", "b", "a"]
    assert "1 new" not in text_of(browser.get(f"{path}/log?state=delivered&upto={newest.pk}"))


def test_live_log_of_nothing_shows_the_first_rows(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    live = f"{PAGE}/{endpoint.pk}/log?"
    assert f'hx-get="{live}"' in text_of(browser.get(f"{PAGE}/{endpoint.pk}"))
    write("a")
    assert re.findall(r'data-slot="title">(\w+)<', text_of(browser.get(live))) == ["a"]


def test_log_is_filtered_by_type_time_and_failure(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint(event_types=("call_cdr", "cdr_updated"))
    write("a", "b")
    write("c", type="cdr_updated")
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 500)], now=NOW)
    Delivery.objects.filter(event=2).update(created_at=AT)
    path = f"{PAGE}/{endpoint.pk}"

    def sessions(query: str) -> list[str]:
        return re.findall(r'data-slot="title">(\w+)<', text_of(browser.get(f"{path}?{query}")))

    assert sessions("state=failing") == ["a"]
    assert sessions("event_type=cdr_updated") == ["c"]
    assert sessions("from_time=2026-03-01T00:00&to_time=2026-03-02T00:00") == ["b"]
    wrong = text_of(browser.get(f"{path}?event_type=nonsense&from_time=x"))
    assert "There is no such event type." in wrong
    assert wrong.count("This filter is left out.") == 2
    assert len(re.findall(r'data-slot="title">', wrong)) == 3


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"auth": "basic", "username": "anna", "password": "secret1"}, "enter the password for it again."),
        ({"auth": "bearer", "token": "tok"}, "enter the token for it again."),
    ],
)
def test_credentials_are_asked_for_again_when_the_host_changes(
    browser: Client, make_endpoint: Make, auth: dict[str, str], said: str
) -> None:
    endpoint = make_endpoint(**auth)
    form = FORM | auth | {"url": "http://127.0.0.2:9/", "password": "", "token": "", "version": "1"}
    page = text_of(browser.post(f"{PAGE}/{endpoint.pk}", form))
    assert f"The URL leads to another scheme, host or port now: {said}" in page
    assert Endpoint.objects.get().url == endpoint.url
    assert browser.post(f"{PAGE}/{endpoint.pk}", form | auth).status_code == 302
    assert Endpoint.objects.get().url == "http://127.0.0.2:9/"


def test_secret_is_not_rotated_faster_than_promises_end(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    for _ in range(4):
        browser.post(f"{PAGE}/{endpoint.pk}/rotate")
    secret = Endpoint.objects.get().secret
    refused = text_of(browser.post(f"{PAGE}/{endpoint.pk}/rotate", follow=True))
    assert "4 former secrets still sign for the 24 hours they were promised. Rotate again in 24 hours." in refused
    assert Endpoint.objects.get().secret == secret


def test_delivery_on_its_way_is_live_and_queues_what_is_asked_for(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a")
    (leased,) = lease_due(endpoint, most=1, now=timezone.now())
    path = f"{PAGE}/deliveries/{Delivery.objects.get().pk}"
    again = text_of(browser.post(f"{path}/again", follow=True))
    assert "It is being tried at this moment, and is sent again after that." in again
    live = f'hx-get="{path}" hx-trigger="every 5s" hx-select="#delivery-tries" hx-select-oob="#delivery-state"'
    assert live in again
    settle(endpoint.pk, [answered(leased, 200)], now=timezone.now())
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 200)], now=NOW)
    ended = text_of(browser.get(path))
    assert live not in ended
    assert "Delivered</span>" in ended


def test_stopped_says_by_whom(browser: Client, make_endpoint: Make) -> None:
    endpoint = make_endpoint()
    write("a", "b")
    settle(endpoint.pk, [answered(lease_due(endpoint, most=1, now=NOW)[0], 410)], now=NOW)
    Event.objects.filter(id=2).update(written_at=timezone.now() - timedelta(days=31))
    Delivery.objects.update(started_at=timezone.now() - timedelta(days=31))
    stop_outdated(before=timezone.now() - timedelta(days=30), now=timezone.now())
    page = text_of(browser.get(f"{PAGE}/{endpoint.pk}"))
    assert re.findall(r'data-is="bad">(Stopped[^<]+)</span>', page) == ["Stopped, too old", "Stopped by the receiver"]
