"""The built-in catcher: its page, its address, and the one way a delivery gets there."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEntry, User
from accounts.roles import Role
from events import caught, deliveries, endpoints
from events.catcher import address_of, current_catcher, inside_of, switch_on
from events.models import Catcher, CaughtRequest, Endpoint
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.events.receiver import receiver

Make = Callable[..., Any]
PAGE = "/company/event-url/catcher"
DOORS = [("get", ""), ("post", "/on"), ("post", "/clear"), ("post", "/off")]


@pytest.fixture
def browser(acme: Tenant, acme_client: Client, make_user: Callable[..., User]) -> Client:
    acme_client.force_login(make_user(), "accounts.backends.PortalBackend")
    return acme_client


@pytest.fixture
def address(acme: Tenant) -> str:
    return address_of(switch_on(actor=SYSTEM))


@pytest.fixture
def path(address: str) -> str:
    return "/catch/" + address.rpartition("/")[2]


def text_of(response: Any) -> str:
    return str(response.content.decode())


def bodies() -> list[bytes]:
    return [bytes(row.body) for row in CaughtRequest.objects.all()]


# --- The page ---------------------------------------------------------------------------------------------------


def test_catcher_from_switching_on_to_removal(browser: Client, acme: Tenant) -> None:
    assert "Try it without a receiver</a>" in text_of(browser.get("/company/event-url"))
    assert "Switch the catcher on" in text_of(browser.get(PAGE))
    assert browser.post(f"{PAGE}/on")["Location"] == PAGE
    (shown,) = re.findall(r'id="catcher-address">([^<]+)<', text_of(browser.get(PAGE)))
    assert re.fullmatch(r"http://acme\.portal\.test:8000/catch/vxc_[\w-]{43}", shown)
    catcher = Catcher.objects.get()
    assert shown.rpartition("/")[2] not in catcher.token + catcher.token_hash
    browser.post(f"{PAGE}/on")
    assert Catcher.objects.get().token == catcher.token
    path = shown.removeprefix("http://acme.portal.test:8000")
    assert browser.post(path, b"x", "text/plain").status_code == 204
    browser.post(f"{PAGE}/clear")
    assert bodies() == []
    browser.post(path, b"x", "text/plain")
    assert "The catcher is gone, with what it caught." in text_of(browser.post(f"{PAGE}/off", follow=True))
    assert (Catcher.objects.count(), bodies()) == (0, [])
    assert browser.post(path, b"x", "text/plain").status_code == 404
    assert list(AuditEntry.objects.order_by("id").values_list("action", "actor")) == [
        ("catcher.switched_on", "admin"), ("catcher.cleared", "admin"), ("catcher.switched_off", "admin"),
    ]  # fmt: skip


def test_page_shows_what_came_newest_first_and_escaped(browser: Client, address: str, path: str) -> None:
    browser.post(path, b'{"event_type": "<b>", "n": 1}', "application/json", headers={"X-Said": "<i>"})
    browser.post(path, b"\xff\x00<script>", "text/plain")
    page = text_of(browser.get(PAGE))
    shown = re.findall(r'aria-label="Body">(.*?)</pre>', page, re.DOTALL)
    assert shown == [
        "\N{REPLACEMENT CHARACTER}" * 2 + "&lt;script&gt;",
        "{\n  &quot;event_type&quot;: &quot;&lt;b&gt;&quot;,\n  &quot;n&quot;: 1\n}",
    ]
    assert "x-said:</span> &lt;i&gt;" in page
    assert page.count("Not signed") == 2
    newest = CaughtRequest.objects.first()
    assert newest is not None
    assert f'hx-get="{PAGE}?seen={newest.pk}" hx-trigger="every 3s"' in page
    assert browser.get(PAGE, {"seen": newest.pk}).status_code == 204
    behind = text_of(browser.get(PAGE, {"seen": ""}))
    assert behind.startswith('<section id="caught"')
    assert re.findall(r'aria-label="Body">(.*?)</pre>', behind, re.DOTALL) == shown
    CaughtRequest.objects.update(at=timezone.now() - timedelta(hours=25))
    assert "Nothing caught yet" in text_of(browser.get(PAGE))
    caught.forget(timezone.now())
    assert bodies() == []


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'["\\ud800\\u0000"]', '[\n  "?\\u0000"\n]'),
        (b"[" * 5000, "[" * 5000),
        (b"1" * 5000, "1" * 5000),
        (b"x" * 20_000, "x" * 16_384),
        (b'{"event_type": ["\\ud800"]}', '{\n  "event_type": [\n    "?"\n  ]\n}'),
    ],
)
def test_whatever_comes_can_be_shown(browser: Client, path: str, body: bytes, shown: str) -> None:
    assert browser.post(path, body, "application/json").status_code == 204
    (found,) = re.findall(r'aria-label="Body">(.*?)</pre>', text_of(browser.get(PAGE)), re.DOTALL)
    assert html.unescape(found) == shown


def test_poll_ends_with_the_catcher(browser: Client) -> None:
    assert browser.get(PAGE, {"seen": ""}).status_code == 286
    assert browser.post(f"{PAGE}/clear").status_code == 404


@pytest.mark.parametrize(("method", "door"), DOORS)
def test_only_administrators_enter(acme_client: Client, path: str, make_user: Make, method: str, door: str) -> None:
    acme_client.post(path, b"kept", "text/plain")
    stranger = getattr(acme_client, method)(PAGE + door)
    assert stranger.status_code == 302
    assert "/sign-in" in stranger["Location"]
    for role in (Role.USER, Role.QUEUE_MANAGER):
        acme_client.force_login(make_user(f"a-{role}", role), "accounts.backends.PortalBackend")
        assert getattr(acme_client, method)(PAGE + door).status_code == 403
    assert bodies() == [b"kept"]


@pytest.mark.parametrize("door", [door for method, door in DOORS if method == "post"])
def test_state_changes_need_post_and_csrf(path: str, make_user: Make, door: str) -> None:
    client = Client(headers={"host": "acme.portal.test"}, enforce_csrf_checks=True)
    client.force_login(make_user(), "accounts.backends.PortalBackend")
    assert client.post(PAGE + door).status_code == 403
    assert client.get(PAGE + door).status_code == 405
    assert Catcher.objects.count() == 1


# --- The address ------------------------------------------------------------------------------------------------


def test_programs_post_without_session_or_csrf_and_nothing_secret_is_kept(path: str) -> None:
    program = Client(headers={"host": "acme.portal.test"}, enforce_csrf_checks=True)
    said = {"Authorization": "Basic dTpw", "Cookie": "a=b", "X-Other": "c" * 3000}
    assert program.post(path, b"\0\xff", "application/octet-stream", headers=said).status_code == 204
    (row,) = CaughtRequest.objects.all()
    assert bytes(row.body) == b"\0\xff"
    assert row.headers == {
        "Host": "acme.portal.test", "Content-Type": "application/octet-stream", "Content-Length": "2",
        "Authorization": "Basic ••••", "X-Other": "c" * 2000,
    }  # fmt: skip


def test_address_refuses(acme_client: Client, globex_client: Client, system_client: Client, path: str) -> None:
    assert acme_client.post("/catch/vxc_guessed", b"x", "text/plain").status_code == 404
    assert globex_client.post(path, b"x", "text/plain").status_code == 404
    assert system_client.post(path, b"x", "text/plain").status_code == 404
    assert [getattr(acme_client, method)(path).status_code for method in ("get", "put", "delete")] == [405] * 3
    limit = 256 * 1024
    assert acme_client.post(path, b"x" * (limit + 1), "text/plain").status_code == 413
    assert bodies() == []
    assert acme_client.post(path, b"x" * limit, "text/plain").status_code == 204


def test_the_newest_are_kept_and_a_burst_is_refused(acme_client: Client, path: str) -> None:
    answers = [acme_client.post(path, str(n).encode(), "text/plain") for n in range(51)]
    assert [answer.status_code for answer in answers] == [204] * 50 + [429]
    assert answers[-1]["Retry-After"] == "5"
    CaughtRequest.objects.update(at=timezone.now() - timedelta(seconds=6))
    assert acme_client.post(path, b"new", "text/plain").status_code == 204
    assert bodies() == [b"new", *(str(n).encode() for n in range(49, 0, -1))]


# --- The way there ----------------------------------------------------------------------------------------------


def lead_here(address: str, **more: Any) -> Endpoint:
    return endpoints.create_endpoint(endpoints.Settings(url=address, **more), actor=SYSTEM)[0]


def test_a_delivery_goes_to_where_the_portal_listens_and_verifies(
    acme: Tenant, acme_client: Client, address: str, path: str, settings: Settings
) -> None:
    endpoint = lead_here(address, auth="bearer", token="tok")
    with receiver() as portal:
        settings.WEB_ADDRESS = f"localhost:{portal.port}"
        sent = deliveries.send_test(endpoint, acme, actor=SYSTEM)
    (got,) = portal.got
    assert (sent.state, got.path) == ("delivered", path)
    assert (got.headers["host"], got.headers["x-forwarded-proto"]) == ("acme.portal.test:8000", "http")
    signed = {name: value for name, value in got.headers.items() if name.startswith("webhook-")}
    assert acme_client.post(path, got.body, "application/json", headers=signed).status_code == 204
    assert acme_client.post(path, got.body + b" ", "application/json", headers=signed).status_code == 204
    late = signed | {"webhook-timestamp": "1"}
    assert acme_client.post(path, got.body, "application/json", headers=late).status_code == 204
    assert [row.signature for row in CaughtRequest.objects.all()] == ["wrong", "wrong", "verified"]


def test_no_other_address_gets_by(acme: Tenant, globex: Tenant, address: str, settings: Settings) -> None:
    with in_schema("globex"):
        others = address_of(switch_on(actor=SYSTEM))
    settings.PUBLIC_SCHEME = "http"
    assert inside_of(address) is not None
    host, _, token = address.removeprefix("http://").partition("/catch/")
    for url in (
        others, address + "/", address + "?x=1", address + "#x", address + "x", address.upper(),
        f"http://127.0.0.1:8000/catch/{token}", f"http://{host}/catch/../catch/{token}", f"http://u@{host}/catch/{token}",
        f"http://{host}/company/general", f"http://{host}/catch/", f"http://10.0.0.1/?u={address}",
        f"https://{host}/catch/{token}",
    ):  # fmt: skip
        assert inside_of(url) is None
    with pytest.raises(endpoints.EndpointError, match="is an inner address"):
        lead_here(f"http://127.0.0.1:8000/catch/{token}")
    Catcher.objects.all().delete()
    assert (current_catcher(), inside_of(address)) == (None, None)


def test_an_endpoint_is_added_by_the_page(browser: Client, address: str) -> None:
    page = text_of(browser.get(PAGE))
    form = re.search(r'<form[^>]*action="/company/event-url/new">(.*?)</form>', page, re.DOTALL)
    assert form is not None
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[1]))
    assert browser.post("/company/event-url/new", fields).status_code == 302
    endpoint = Endpoint.objects.get()
    assert (endpoint.url, endpoint.enabled, endpoint.event_types) == (address, True, ["call_cdr"])
    assert f'<a href="/company/event-url/{endpoint.pk}">An endpoint</a> leads here.' in text_of(browser.get(PAGE))
