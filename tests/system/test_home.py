"""Home of the system: calls as they begin, switches that fell silent, what waits and what fails."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from events.models import Endpoint
from pbx.models import HeldEvent, Quarantined
from tenants.models import SessionRoute, Switch, SwitchCommand, Tenant
from tenants.schemas import in_schema

NOW = datetime(2026, 3, 25, 12, 5, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch, tenants: None) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    cache.delete(f"{connection.settings_dict['NAME']}:failing-endpoints")


def seen(client: Client) -> str:
    response = client.get("/")
    assert response.status_code == 200
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


def route(number: int, at: datetime) -> None:
    SessionRoute.objects.create(session_id=f"s{number}", switch_id=1, tenant_id=1, created_at=at)


def test_calls_are_counted_by_the_minute_in_which_they_began(desk: Client) -> None:
    for number, seconds in enumerate((5, 40, 50, 3_000, 4_000)):
        route(number, NOW - timedelta(seconds=seconds))

    page = desk.get("/").content.decode()
    assert "Calls in the last hour 4 2 in the last whole minute" in seen(desk)
    assert re.findall(r"<title>([^<]+, [1-9]\d* calls?)</title>", page) == [
        "11:15, 1 call",
        "12:04, 2 calls",
        "12:05, 1 call",
    ]
    assert page.count('<rect class="hit"') == 60


def command(switch: Switch, state: str, minutes: float, **more: object) -> None:
    about = {"command": "start_recording", "session_id": "s", "recording_id": "1", "medium": "audio", **more}
    confirmed_at = NOW - timedelta(minutes=minutes)
    SwitchCommand.objects.create(switch=switch, tenant_id=1, state=state, confirmed_at=confirmed_at, **about)


def test_recording_commands_that_failed_in_the_last_hour_are_shown(desk: Client) -> None:
    node = Switch.objects.create(name="Node", kind="http", last_event_at=NOW)
    for state, minutes in (("done", 1), ("failed", 61), ("expired", 61)):
        command(node, state, minutes)
    command(node, "expired", 1, command="launch_call")
    assert "recording command" not in seen(desk)
    command(node, "failed", 2, command="pause_recording", reason="No such channel.")
    assert (
        "1 recording command failed in the last hour. The last one: pause, Node. No such channel. Open switch"
    ) in seen(desk)
    command(node, "expired", 1, command="stop_recording", reason="The switch did not confirm it in time.")
    assert "2 recording commands failed in the last hour. The last one: stop, Node. The switch did not" in seen(desk)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"last_event_at": NOW - timedelta(minutes=59)}, "Hears calls"),
        ({"last_event_at": NOW - timedelta(minutes=61)}, "Silent for 1 h"),
        ({"last_event_at": NOW - timedelta(days=3)}, "Silent for 3 days"),
        ({}, "Nothing has come yet"),
        ({"enabled": False}, "Disabled"),
        ({"kind": "asterisk", "last_event_at": NOW}, "No connector is running"),
        ({"kind": "asterisk", "last_event_at": NOW, "connector_seen_at": NOW, "connector_state": "connecting"},
         "Not connected"),
        ({"kind": "asterisk", "last_event_at": NOW, "connector_seen_at": NOW, "connector_state": "connected"},
         "Hears calls"),
    ],
)  # fmt: skip
def test_a_switch_that_fell_silent_is_told(desk: Client, given: dict[str, object], words: str) -> None:
    Switch.objects.create(**{"name": "North", "kind": "http", **given})

    page = seen(desk)
    is_fine = words in ("Hears calls", "Disabled", "Nothing has come yet")
    assert page.count(words) == (1 if is_fine else 2)  # its row, and a notice
    assert ("nothing to look at" in page) == is_fine


def test_what_waits_is_counted(desk: Client, http_switch: Switch) -> None:
    SwitchCommand.objects.create(
        switch=http_switch, tenant_id=1, command="start_recording", session_id="s", at=NOW - timedelta(minutes=3)
    )
    SwitchCommand.objects.create(
        switch=http_switch, tenant_id=1, command="stop_recording", session_id="s", state="done"
    )
    HeldEvent.objects.create(switch_id=http_switch.pk, event_id="e", session_id="s", body="{}")
    Quarantined.objects.create(switch_id=http_switch.pk, kind="event", code="unknown_tenant", message="", raw=b"")

    page = seen(desk)
    assert "Commands to switches 1 the oldest since Wed 25 Mar 2026, 12:02:30" in page
    assert "Events that wait for their call 1 Quarantined messages 1" in page
    assert "1 message waits in quarantine." in page


def test_failing_endpoints_are_told_by_tenant_without_their_secrets(desk: Client, acme_row: Tenant) -> None:
    with in_schema("acme"):
        common = {"secret": "x", "event_types": []}
        Endpoint.objects.create(
            url="https://u:hidden@crm.example.com/hidden", failing_since=NOW - timedelta(hours=5), **common
        )
        Endpoint.objects.create(url="https://fine.example.com/", **common)
        Endpoint.objects.create(url="https://off.example.com/", enabled=False, **common)
    with in_schema("globex"):
        Endpoint.objects.create(
            url="https://gone.example.com/", enabled=False, disabled_reason="It answered 410.", **common
        )

    page = seen(desk)
    told = page.partition("Failing endpoints")[2]
    assert "Acme Inc. crm.example.com Nothing arrived for 5 h Globex Inc. gone.example.com It answered 410." in told
    assert "hidden" not in page
    assert "fine.example.com" not in page
    assert "off.example.com" not in page
    assert connection.schema_name == "public"  # type: ignore[attr-defined]


def test_disk_and_database_are_told(desk: Client) -> None:
    page = seen(desk)
    assert re.search(r"Data: \S+ \S+ of \S+ \S+ used, \S+ \S+ free", page)
    assert re.search(r"The database holds \S+ \S+\.", page)
    assert "No webhook endpoint of a tenant is failing." in page
