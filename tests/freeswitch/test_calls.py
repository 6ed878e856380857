"""Real calls through a real FreeSWITCH with the connector behind it, and what the portal then has on record of each."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from tenants.models import Switch
from tests.asterisk.flows import FLOWS, hang_up
from tests.asterisk.flows import connect as talk
from tests.freeswitch.connected import PATIENCE, connected
from tests.freeswitch.expected import EXPECTED, by_start
from tests.freeswitch.rig import FreeSwitch, open_lab
from tests.pbx.asterisk.expected import plain_call

pytestmark = [pytest.mark.freeswitch, pytest.mark.django_db(transaction=True)]

TENANTS = {"acme": "acme.test", "globex": "globex.test"}
Calls = dict[str, list[dict[str, Any]]]


def calls_of(browser: Client) -> list[dict[str, Any]]:
    """Every call of a tenant in full, oldest first, by REST."""
    listed = browser.get("/api/v1/cdrs?order=asc").json()["items"]
    return [browser.get(f"/api/v1/cdrs/{each['session_id']}").json() for each in listed]


async def calls_when(browsers: dict[str, Client], is_so: Callable[[Calls], bool]) -> Calls:
    async with asyncio.timeout(PATIENCE):
        while True:
            found = {name: await sync_to_async(calls_of)(browser) for name, browser in browsers.items()}
            if is_so(found):
                return found
            await asyncio.sleep(0.1)


async def only_call(browsers: dict[str, Client]) -> dict[str, Any]:
    """The one call of acme that is on record."""
    (found,) = (await calls_when(browsers, lambda calls: bool(calls["acme"])))["acme"]
    return found


def plain(call: dict[str, Any]) -> dict[str, Any]:
    told = plain_call(call)
    return told | {"targets": by_start(told["targets"])}


@pytest.mark.parametrize("flow", EXPECTED)
async def test_a_real_call_is_on_record_as_a_person_would_write_it(
    freeswitch: FreeSwitch, switch: Switch, browsers: dict[str, Client], flow: str
) -> None:
    expected = {
        name: [call for call in EXPECTED[flow] if call["callee_domain"] == domain] for name, domain in TENANTS.items()
    }
    async with connected(switch):
        async with open_lab() as lab:
            legs = await FLOWS[flow](lab)
        found = await calls_when(
            browsers, lambda calls: all(len(calls[name]) >= len(expected[name]) for name in TENANTS)
        )
    assert {name: [plain(call) for call in calls] for name, calls in found.items()} == expected
    calls = [call for each in found.values() for call in each]
    rang = {call["session_id"] for call in calls if any(leg["kind"] != "service" for leg in call["targets"])}
    told = {leg.session_id for leg in legs.values() if leg.is_incoming}
    assert told == rang if "attended" not in flow else told > rang
    assert {call["call_id"] for call in calls} <= {leg.call_id for leg in legs.values() if not leg.is_incoming}


async def test_a_call_found_in_progress_is_adopted(
    freeswitch: FreeSwitch, switch: Switch, browsers: dict[str, Client]
) -> None:
    """The portal comes up while 101 talks to 102: it cannot know when it rang, all else it can."""
    async with open_lab() as lab:
        caller, callee = await talk(await lab.extension("101"), "102", await lab.extension("102"))
        async with connected(switch):
            await hang_up(caller, callee)
            found = await only_call(browsers)
    assert [plain(found)] == EXPECTED["extension_to_extension"]
    assert (found["session_id"], found["call_id"]) == (callee.session_id, caller.call_id)


async def test_a_call_goes_on_while_the_connector_restarts(
    freeswitch: FreeSwitch, switch: Switch, browsers: dict[str, Client]
) -> None:
    """The queue rings while the portal is there; an agent answers while it is not; it is back before the end."""
    async with open_lab() as lab:
        alice, bob, carol = [await lab.extension(number) for number in ("101", "102", "103")]
        async with connected(switch):
            caller = await alice.dial("8000")
            lost = await carol.incoming()
            ringing = await bob.incoming()
            await asyncio.sleep(0.5)
        ringing.answer()
        await lost.until_ended()
        async with connected(switch):
            await hang_up(ringing, caller)
            found = await only_call(browsers)
    legs = {leg["callee"]: (leg["end_reason"], leg["answered_time"] is not None) for leg in found["targets"]}
    assert (found["end_reason"], found["status_code"], found["incomplete"]) == ("callee_disconnect", 0, False)
    assert legs == {"8000": ("referred", True), "102": (None, True), "103": (None, False)}


async def test_a_call_that_ended_unseen_is_told_by_the_json_cdrs(
    freeswitch: FreeSwitch, switch: Switch, browsers: dict[str, Client]
) -> None:
    async with open_lab() as lab:
        async with connected(switch):
            caller, callee = await talk(await lab.extension("101"), "102", await lab.extension("102"))
        await hang_up(caller, callee)
        async with connected(switch):
            found = await only_call(browsers)
    assert [plain(found)] == EXPECTED["extension_to_extension"]
    assert found["session_id"] == callee.session_id


async def test_a_call_that_nobody_heard_of_is_told_by_the_json_cdrs(
    freeswitch: FreeSwitch, switch: Switch, browsers: dict[str, Client]
) -> None:
    """The specification's example, placed while no connector was there."""
    async with open_lab() as lab:
        legs = await FLOWS["ivr_queue_agent"](lab)
    async with connected(switch):
        found = await only_call(browsers)
    assert [plain(found)] == EXPECTED["ivr_queue_agent"]
    assert found["session_id"] == legs["103"].session_id


async def test_a_blind_transfer_to_nobody_ends_the_call(
    freeswitch: FreeSwitch, switch: Switch, browsers: dict[str, Client]
) -> None:
    async with connected(switch), open_lab() as lab:
        caller, callee = await talk(await lab.extension("101"), "102", await lab.extension("102"))
        assert (await callee.transfer("777"), await callee.until_transferred()) == (202, 200)
        await callee.hang_up()
        await caller.until_ended()
        found = await only_call(browsers)
    (call,) = EXPECTED["extension_to_extension"]
    (target,) = call["targets"]
    assert plain(found) == call | {"end_reason": None, "targets": [target | {"end_reason": "referred"}]}
