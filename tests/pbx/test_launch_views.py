"""The button Call: on which rows it stands, what its page asks, and what it says of the switch's answer."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Extension, User
from accounts.roles import Role
from cdr.models import CDR
from recordings import ordered
from tenants.models import Switch, SwitchCommand, Tenant
from tests.pbx.launching import answering, confirming, fetches_commands
from tests.recordings.people import browser

PAGE = "/calls/launch"
BACK = "/users?q=10"


@pytest.fixture
def switch(acme: Tenant, http_switch: Switch, settings: Any) -> Switch:
    # Redis remembers what earlier runs have counted.
    settings.LAUNCHES_PER_MINUTE = settings.TENANT_LAUNCHES_PER_MINUTE = 1_000_000
    Extension.objects.create(number="102")
    return fetches_commands(http_switch)


def text_of(response: Any) -> str:
    body = re.sub(r"<[^>]+>", " ", response.content.decode().partition("<main")[2])
    return " ".join(unescape(body).split())


def post(client: Client, **fields: str) -> Any:
    return client.post(PAGE, {"caller": "101", "callee": "102", "user_data": "", "back": BACK} | fields)


def missed(caller: str, direction: str = "inbound", status: str = "noanswer") -> CDR:
    now = timezone.now()
    return CDR.objects.create(
        session_id=f"{caller}-{direction}-{status}", direction=direction, caller=caller, callee="101", status=status,
        start_time=now, ended_time=now, extensions=["101"],
    )  # fmt: skip


# --- The page ------------------------------------------------------------------------------------------------


def test_page_asks_once_more_before_anything_rings(switch: Switch) -> None:
    page = browser(Role.ADMIN, "101").get(PAGE, {"callee": "102", "back": BACK})
    said = page.content.decode()
    assert page.status_code == 200
    assert 'value="101"' in said
    assert 'value="102"' in said
    assert f'name="back" value="{BACK}"' in said
    assert "The phone of the extension rings first. Once it is answered, the other side is called." in text_of(page)
    assert not SwitchCommand.objects.exists()


def test_own_extension_is_not_asked_for(switch: Switch) -> None:
    page = browser(Role.USER, "101").get(PAGE, {"callee": "102"})
    assert 'name="caller"' not in page.content.decode()
    assert "Your phone 101 rings first. Once you have answered it, the other side is called." in text_of(page)


def test_who_has_no_extension_is_told_so(switch: Switch) -> None:
    page = browser(Role.USER).get(PAGE, {"callee": "102"})
    assert "You have no extension to call from." in text_of(page)
    assert '<button class="button primary"' not in page.content.decode()
    assert "You have no extension to call from." in text_of(post(browser(Role.USER)))
    assert not SwitchCommand.objects.exists()


def test_system_administrator_who_acts_for_the_company_names_the_extension(
    switch: Switch, admin_acting: Client
) -> None:
    Extension.objects.create(number="101")
    page = admin_acting.get(PAGE, {"callee": "102"})
    assert 'name="caller"' in page.content.decode()


@pytest.fixture
def admin_acting(acme: Tenant) -> Client:
    from accounts.managing import issue_ticket
    from tenants.changes import Actor
    from tenants.schemas import in_schema

    with in_schema("public"):
        administrator = User.objects.create_user("root", "correct horse", role=Role.SYSTEM)
        ticket = issue_ticket(Actor("user", "root"), administrator, acme)
    client = Client(headers={"host": "acme.portal.test"})
    assert client.get(f"/enter?ticket={ticket}").status_code == 302
    return client


@pytest.mark.django_db(transaction=True)
def test_switch_that_rings_is_told_in_words_and_leads_back(switch: Switch) -> None:
    client = browser(Role.ADMIN, "101")
    with answering(switch, confirming(switch)):
        answer = post(client, user_data="ticket 77")
    assert (answer.status_code, answer["Location"]) == (302, BACK)
    assert "101 is ringing. Once it is answered, 102 is called." in text_of(client.get(BACK))
    command = SwitchCommand.objects.get()
    assert command.options == {"domain": "acme.test", "caller": "101", "callee": "102", "user_data": "ticket 77"}
    entry = AuditEntry.objects.get(action="call.launched")
    assert (entry.actor_kind, entry.actor, entry.subject) == ("user", "u-admin101", "101 to 102")


@pytest.mark.django_db(transaction=True)
def test_standard_user_calls_from_the_own_extension_whatever_the_form_says(switch: Switch) -> None:
    client = browser(Role.USER, "101")
    with answering(switch, confirming(switch)):
        assert post(client, caller="102", callee="5551000").status_code == 302
    assert SwitchCommand.objects.get().options["caller"] == "101"


@pytest.mark.django_db(transaction=True)
def test_switch_that_cannot_is_quoted_and_the_form_stays(switch: Switch) -> None:
    client = browser(Role.ADMIN, "101")
    with answering(switch, confirming(switch, "failed", "The extension is not registered.")):
        page = post(client)
    assert page.status_code == 200
    assert "The switch could not do this: The extension is not registered." in text_of(page)


def test_order_that_nobody_fetches_is_withdrawn(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbx.launches.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("pbx.launches.outcome_of.__defaults__", (0.5,))
    page = post(browser(Role.ADMIN, "101"))
    assert "The switch has not fetched the order. It was withdrawn: nothing will ring." in text_of(page)
    assert SwitchCommand.objects.get().state == "expired"


def test_switch_that_has_the_order_and_is_silent_is_told_so(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered._places, "acquire", lambda blocking: False)
    client = browser(Role.ADMIN, "101")
    assert post(client, back="/call-statistics/live-calls").status_code == 302
    said = text_of(client.get("/call-statistics/live-calls"))
    assert "The switch has the order and has not answered. Live Calls shows what becomes of it." in said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"callee": "112"}, "Emergency numbers are dialled by a person on a phone, never by a program."),
        ({"callee": "abc"}, "A number has 1 to 32 digits"),
        ({"caller": "777"}, "The caller is no extension of this company."),
        ({"caller": ""}, "This field is required."),
        ({"callee": "101"}, "An extension cannot call itself."),
    ],
)
def test_what_cannot_be_launched_is_said_on_the_page(switch: Switch, fields: dict[str, str], said: str) -> None:
    page = post(browser(Role.ADMIN, "101"), **fields)
    assert page.status_code == 200
    assert said in text_of(page)
    assert not SwitchCommand.objects.exists()


def test_idle_switch_is_said_on_the_page(switch: Switch) -> None:
    Switch.objects.update(connector_seen_at=None)
    assert "No switch is connected that could launch the call." in text_of(post(browser(Role.ADMIN, "101")))


@pytest.mark.parametrize("back", ["https://evil.test/", "//evil.test", "javascript:alert(1)", ""])
def test_it_leads_back_to_pages_of_this_host_only(switch: Switch, back: str) -> None:
    page = browser(Role.ADMIN, "101").get(PAGE, {"callee": "102", "back": back})
    assert 'name="back" value="/call-statistics/live-calls"' in page.content.decode()


def test_strangers_sign_in_first_and_other_methods_are_refused(switch: Switch) -> None:
    stranger = Client(headers={"host": "acme.portal.test"})
    assert stranger.get(PAGE)["Location"].startswith("/sign-in")
    assert stranger.post(PAGE, {"caller": "101", "callee": "102"}).status_code == 302
    assert browser(Role.ADMIN, "101").put(PAGE).status_code == 405
    strict = Client(enforce_csrf_checks=True, headers={"host": "acme.portal.test"})
    strict.cookies = browser(Role.ADMIN, "101").cookies
    assert post(strict).status_code == 403
    assert not SwitchCommand.objects.exists()


# --- The rows ------------------------------------------------------------------------------------------------


def launch_links(response: Any) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="(/calls/launch[^"]*)"', response.content.decode())]


def test_users_row_has_the_button_when_it_can_be_called(switch: Switch) -> None:
    client = browser(Role.ADMIN, "101")
    names = ("bob", "cleo", "dan")
    bob, cleo, dan = (User.objects.create_user(name, "a password", role=Role.USER) for name in names)
    Extension.objects.filter(number="102").update(user=bob)
    Extension.objects.create(number="103", user=cleo, enabled=False)
    Extension.objects.create(number="911", user=dan)
    assert launch_links(client.get("/users?q=")) == ["/calls/launch?callee=102&back=%2Fusers%3Fq%3D"]


def test_missed_calls_row_and_page_have_the_button(switch: Switch) -> None:
    wanted = missed("+4930123456")
    for other in (missed("5551000", status="answered"), missed("102", "internal"), missed("5551000", "outbound")):
        assert other.pk
    missed("anonymous")
    client = browser(Role.USER, "101")
    link = "/calls/launch?callee=%2B4930123456&back=%2Fcall-statistics%2Fcdr"
    assert launch_links(client.get("/call-statistics/cdr")) == [link]
    own_page = f"/call-statistics/cdr/{wanted.session_id}"
    assert [each.partition("&")[0] for each in launch_links(client.get(own_page))] == [link.partition("&")[0]]
