"""Real calls through a real Asterisk with the connector behind it, and what the portal then has on record of each."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from cdr import calls
from tenants.models import Switch
from tests.asterisk.connected import TENANTS, connected
from tests.asterisk.flows import FLOWS, hang_up, open_lab
from tests.asterisk.flows import connect as talk
from tests.asterisk.ledger import until
from tests.asterisk.rig import Asterisk
from tests.pbx.asterisk.expected import EXPECTED, plain_call

pytestmark = [pytest.mark.asterisk, pytest.mark.django_db(transaction=True)]

PATIENCE = 60.0  # seconds that a busy machine may take from the end of a flow until its records are there


def calls_of(browser: Client) -> list[dict[str, Any]]:
    """Every call of a tenant in full, oldest first, by REST."""
    listed = browser.get("/api/v1/cdrs?order=asc").json()["items"]
    return [browser.get(f"/api/v1/cdrs/{each['session_id']}").json() for each in listed]


async def calls_when_there(browsers: dict[str, Client], count: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    """What each tenant has on record, once it has as much as expected, and a moment later: no more than that."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = {name: await sync_to_async(calls_of)(browser) for name, browser in browsers.items()}
            if {name: len(calls) for name, calls in found.items()} == count:
                break
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    return {name: await sync_to_async(calls_of)(browser) for name, browser in browsers.items()}


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_real_call_is_on_record_as_a_person_would_write_it(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client], flow: str
) -> None:
    expected = {
        name: [call for call in EXPECTED[flow] if call["callee_domain"] == domain] for name, domain in TENANTS.items()
    }
    async with connected(switch), open_lab(asterisk) as lab:
        legs = await FLOWS[flow](lab)
        found = await calls_when_there(browsers, {name: len(calls) for name, calls in expected.items()})
    assert {name: [plain_call(call) for call in calls] for name, calls in found.items()} == expected
    # The phones were told the session by X-Session-Id, and the caller's own Call-ID is the record's. A consultation has
    # a session of its own until the transfer merges it.
    records = [call for each in found.values() for call in each]
    heard = {call["session_id"] for call in records if any(leg["kind"] != "service" for leg in call["targets"])}
    told = {leg.session_id for leg in legs.values() if leg.is_incoming}
    assert told == heard if "attended" not in flow else told > heard
    assert {call["call_id"] for call in records} <= {leg.call_id for leg in legs.values() if not leg.is_incoming}


async def test_a_call_found_in_progress_is_adopted(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]
) -> None:
    """The portal comes up while 101 talks to 102: it cannot know when it rang, all else it can."""
    async with open_lab(asterisk) as lab:
        caller, callee = await talk(await lab.extension("101"), "102", await lab.extension("102"))
        async with connected(switch):
            await hang_up(caller, callee)
            (found,) = (await calls_when_there(browsers, {"acme": 1, "globex": 0}))["acme"]
    (expected,) = EXPECTED["extension_to_extension"]
    (device,) = expected["targets"]
    assert plain_call(found) == expected | {"targets": [device | {"destination": "sip:102@acme.test"}]}
    assert (found["session_id"], found["call_id"]) == (callee.session_id, caller.call_id)


def rang(session_id: str) -> set[str]:
    """The targets of a call in progress that have rung, as far as the portal knows."""
    (session,) = calls.sessions_now([session_id]) or [None]
    return {leg.callee.number for leg in session.legs.values() if leg.ring_time} if session else set()


async def test_a_call_goes_on_while_the_connector_restarts(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]
) -> None:
    """The queue rings while the portal is there; an agent answers while it is not; it is back before the end."""
    async with open_lab(asterisk) as lab:
        alice, bob, carol = [await lab.extension(number) for number in ("101", "102", "103")]
        async with connected(switch):
            caller = await alice.dial("8000")
            lost = await carol.incoming()
            ringing = await bob.incoming()
            await until(lambda: rang(ringing.session_id) == {"8000", "102", "103"} or None)
        ringing.answer()
        await lost.until_ended()
        async with connected(switch):
            await hang_up(ringing, caller)
            (found,) = (await calls_when_there(browsers, {"acme": 1, "globex": 0}))["acme"]
    legs = {leg["callee"]: (leg["end_reason"], leg["answered_time"] is not None) for leg in found["targets"]}
    assert (found["end_reason"], found["status_code"], found["incomplete"]) == ("callee_disconnect", 0, False)
    assert legs == {"8000": ("referred", True), "102": (None, True), "103": (None, False)}


async def test_a_call_that_ended_unseen_is_closed_as_incomplete(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]
) -> None:
    async with open_lab(asterisk) as lab:
        async with connected(switch):
            caller, callee = await talk(await lab.extension("101"), "102", await lab.extension("102"))
        await hang_up(caller, callee)
        async with connected(switch):
            (found,) = (await calls_when_there(browsers, {"acme": 1, "globex": 0}))["acme"]
    (expected,) = EXPECTED["extension_to_extension"]
    (device,) = expected["targets"]
    unknown = {"end_reason": None, "incomplete": True, "targets": [device | {"end_reason": None}]}
    assert plain_call(found) == expected | unknown
