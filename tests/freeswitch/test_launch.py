"""Calls launched by REST on a real FreeSWITCH."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from accounts.models import Extension
from tenants.models import Switch
from tenants.schemas import in_schema
from tests.asterisk.flows import hang_up, hear_each_other, mobile_answers
from tests.freeswitch.connected import connected
from tests.freeswitch.expected import EXPECTED
from tests.freeswitch.rig import FreeSwitch, open_lab
from tests.freeswitch.test_calls import only_call, plain

pytestmark = [pytest.mark.freeswitch, pytest.mark.django_db(transaction=True)]

UNNAMED = {"caller_display_name": ""}  # a phone that is called does not say its name
USER_DATA = 'ticket 77, "ünï two", {a=b}, ${uuid}, 100 %'


@pytest.fixture
def calling(switch: Switch, browsers: dict[str, Client], settings: Any) -> Client:
    """An administrator of acme, which has 101 and 102; 104 is on no FreeSWITCH's directory."""
    # Redis remembers what earlier runs have counted.
    settings.LAUNCHES_PER_MINUTE = settings.TENANT_LAUNCHES_PER_MINUTE = 1_000_000
    with in_schema("acme"):
        for number in ("101", "102", "199"):
            Extension.objects.create(number=number)
    return browsers["acme"]


async def launch(browser: Client, caller: str, callee: str) -> tuple[int, dict[str, Any]]:
    def post() -> tuple[int, dict[str, Any]]:
        asked = {"caller": caller, "callee": callee, "user_data": USER_DATA}
        answer = browser.post("/api/v1/calls", asked, content_type="application/json")
        return answer.status_code, answer.json()

    return await sync_to_async(post)()


async def test_it_rings_the_extension_and_then_the_callee(
    freeswitch: FreeSwitch, browsers: dict[str, Client], calling: Client, switch: Switch
) -> None:
    """101 has two phones and takes the call at the second."""
    async with connected(switch), open_lab() as lab:
        desk, mobile, bob = [await lab.extension(number) for number in ("101", "101", "102")]
        status, answer = await launch(calling, "101", "102")
        assert (status, answer["status"]) == (201, "ringing")
        lost = await desk.incoming()
        caller = await mobile.answer()
        callee = await bob.answer()
        assert (caller.caller_number, callee.caller_number) == ("102", "101")
        await lost.until_ended()
        await hear_each_other(caller, callee)
        await hang_up(caller, callee)
        found = await only_call(browsers)
    told = {answer["session_id"], caller.session_id, lost.session_id, callee.session_id, found["session_id"]}
    assert len(told) == 1
    (expected,) = EXPECTED["extension_to_extension"]
    assert plain(found) == expected | UNNAMED
    assert (found["user_data"], found["call_id"]) == (USER_DATA, caller.call_id)


async def test_it_calls_out_over_the_trunk(
    freeswitch: FreeSwitch, browsers: dict[str, Client], calling: Client, switch: Switch
) -> None:
    async with connected(switch), open_lab() as lab:
        alice = await lab.extension("101")
        status, _ = await launch(calling, "101", "95550199")
        assert status == 201
        caller = await alice.answer()
        callee = await mobile_answers(lab)
        assert callee.caller_number == "18800600"
        await hear_each_other(caller, callee)
        await hang_up(callee, caller)
        found = await only_call(browsers)
    (expected,) = EXPECTED["outbound"]
    assert plain(found) == expected | UNNAMED


async def test_a_caller_who_does_not_take_it_is_on_record(
    freeswitch: FreeSwitch, browsers: dict[str, Client], calling: Client, switch: Switch
) -> None:
    async with connected(switch), open_lab() as lab:
        alice = await lab.extension("101")
        assert (await launch(calling, "101", "102"))[0] == 201
        call = await alice.incoming()
        await asyncio.sleep(0.5)
        call.reject(486)
        found = await only_call(browsers)
    told = (found["caller"], found["callee"], found["end_reason"], found["status_code"], found["targets"])
    assert told == ("101", "102", "cancelled", 486, [])


async def test_a_callee_who_is_nobody_or_absent_is_on_record(
    freeswitch: FreeSwitch, browsers: dict[str, Client], calling: Client, switch: Switch
) -> None:
    async with connected(switch), open_lab() as lab:
        alice = await lab.extension("101")
        assert (await launch(calling, "101", "102"))[0] == 201
        call = await alice.answer()
        await call.until_ended()
        found = await only_call(browsers)
    assert (found["status"], found["status_code"], found["targets"]) == ("noanswer", 480, [])


async def test_what_cannot_be_rung_is_refused_in_words(
    freeswitch: FreeSwitch, browsers: dict[str, Client], calling: Client, switch: Switch
) -> None:
    async with connected(switch), open_lab():
        absent = await launch(calling, "101", "102")
        unknown = await launch(calling, "199", "102")
    said = [(status, answer["error"]["message"]) for status, answer in (absent, unknown)]
    assert said == [
        (502, "The switch could not do this: No phone of the extension 101 is registered."),
        (502, "The switch could not do this: FreeSWITCH knows no extension 199 of acme.test."),
    ]
