"""Which switch launches a call: the one that is there and knows the extension, or the company."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from cdr.models import CDR, LiveSession
from pbx.launches import LaunchError, is_connected, switch_for
from tenants.models import Switch, Tenant, Trunk

NOW = timezone.now()
Make = Callable[..., Switch]


@pytest.fixture
def make(acme: Tenant) -> Make:
    def make_switch(name: str, *, ago: float | None = 1, **more: Any) -> Switch:
        seen = None if ago is None else timezone.now() - timedelta(seconds=ago)
        fields = {"kind": Switch.Kind.ASTERISK, "connector_state": "connected", "connector_seen_at": seen} | more
        return Switch.objects.create(name=name, **fields)

    return make_switch


def ended(switch: Switch, number: str, minutes_ago: float) -> None:
    moment = NOW - timedelta(minutes=minutes_ago)
    CDR.objects.create(
        session_id=f"{number}-{minutes_ago}", direction="internal", caller=number, callee="1", status="answered",
        start_time=moment, ended_time=moment, extensions=[number], switch_id=switch.pk,
    )  # fmt: skip


def goes_on(switch: Switch, number: str) -> None:
    LiveSession.objects.create(
        session_id=f"live-{number}", switch_id=switch.pk, caller=number, callee="1", direction="internal",
        start_time=NOW, extensions=[number],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "state", "ago", "there"),
    [
        ("asterisk", "connected", 59, True),
        ("asterisk", "connected", 61, False),
        ("asterisk", "connected", None, False),
        ("asterisk", "connecting", 1, False),
        ("freeswitch", "stopped", 1, False),
        ("http", "", 1, True),  # it asks for its commands
        ("http", "", 61, False),
        ("simulator", "", 1, True),
        ("simulator", "", None, False),
    ],
)
def test_switch_is_connected(kind: str, state: str, ago: float | None, there: bool) -> None:
    seen = None if ago is None else NOW - timedelta(seconds=ago)
    assert is_connected(Switch(kind=kind, connector_state=state, connector_seen_at=seen), NOW) is there


def test_the_only_one_that_is_there_is_taken_though_nothing_is_known(acme: Tenant, make: Make) -> None:
    make("gone", ago=None)
    make("off", enabled=False)
    there = make("there")
    assert switch_for(acme, "101") == there


def test_where_the_extension_was_heard_last(acme: Tenant, make: Make) -> None:
    first, second = make("first"), make("second")
    ended(first, "101", 30)
    ended(second, "101", 60)
    ended(second, "102", 1)
    assert (switch_for(acme, "101"), switch_for(acme, "102")) == (first, second)
    goes_on(second, "101")
    assert switch_for(acme, "101") == second


def test_where_the_company_was_heard_last_when_the_extension_never_was(acme: Tenant, make: Make) -> None:
    first, second = make("first"), make("second")
    ended(first, "101", 30)
    ended(second, "102", 60)
    assert switch_for(acme, "103") == first


def test_another_that_knows_the_company_stands_in_for_one_that_is_away(acme: Tenant, make: Make) -> None:
    away, there, _ = make("away", ago=600), make("there"), make("other")
    ended(away, "101", 30)
    Trunk.objects.create(name="t", tenant=acme, switch=there)
    assert switch_for(acme, "101") == there


def test_nobody_guesses_between_switches_that_know_nothing_of_the_company(
    acme: Tenant, globex: Tenant, make: Make
) -> None:
    make("first")
    second = make("second")
    Trunk.objects.create(name="t", tenant=globex, switch=second)
    with pytest.raises(LaunchError) as refused:
        switch_for(acme, "101")
    assert (refused.value.code, refused.value.message) == (
        "no_switch", "None of the switches that serve this company is connected.",
    )  # fmt: skip
