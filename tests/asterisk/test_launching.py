"""Calls that the portal launches on a real Asterisk: who rings, who talks, and what is on record of it."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from accounts.models import Extension
from pbx.asterisk import launcher
from tenants import outbox
from tenants.ids import new_id
from tenants.models import Switch, SwitchCommand, Tenant
from tenants.schemas import in_schema
from tests.asterisk.connected import connected
from tests.asterisk.flows import ACME, GLOBEX, MOBILE, Lab, hang_up, hear_each_other, mobile_answers, open_lab
from tests.asterisk.phone import Call, Phone
from tests.asterisk.rig import Asterisk
from tests.asterisk.test_calls import calls_when_there
from tests.pbx.asterisk.expected import EXPECTED, call, plain_call

pytestmark = [pytest.mark.asterisk, pytest.mark.django_db(transaction=True)]

PATIENCE = 60.0
DOMAINS = {"acme": ACME, "globex": GLOBEX}
USER_DATA = 'ticket 77; a "quoted", long story: ½ {${EXTEN}}'
NOBODY = {"rang": False, "answered": False, "has_call_id": True}


def order(switch: Switch, caller: str, callee: str, tenant: str, user_data: str) -> SwitchCommand:
    return outbox.enqueue(
        switch,
        tenant_id=Tenant.objects.get(schema_name=tenant).pk,
        command=SwitchCommand.Command.LAUNCH,
        session_id=str(new_id()),
        options={"domain": DOMAINS[tenant], "caller": caller, "callee": callee, "user_data": user_data},
    )


async def launched(
    switch: Switch, caller: str, callee: str, *, tenant: str = "acme", user_data: str = USER_DATA
) -> SwitchCommand:
    """The order, once the connector has said what became of it."""
    row = await sync_to_async(order)(switch, caller, callee, tenant, user_data)
    async with asyncio.timeout(PATIENCE):
        while row.state == SwitchCommand.State.PENDING:
            await asyncio.sleep(0.05)
            await row.arefresh_from_db()
    return row


async def launch(switch: Switch, phone: Phone, callee: str) -> tuple[Call, str]:
    """`phone` rings for a call to `callee`, and shows the number; under which session."""
    row = await launched(switch, phone.number, callee)
    assert (row.state, row.reason) == ("done", "")
    ringing = await phone.incoming()
    assert (ringing.caller_number, ringing.session_id, ringing.session_id_headers) == (callee, row.session_id, 1)
    return ringing, row.session_id


async def record_of(browsers: dict[str, Client], session_id: str, *, user_data: str = USER_DATA) -> dict[str, Any]:
    """What acme has on record, which is this call alone."""
    (found,) = (await calls_when_there(browsers, {"acme": 1, "globex": 0}))["acme"]
    assert (found["session_id"], found["user_data"]) == (session_id, user_data)
    return plain_call(found)


async def two(lab: Lab) -> tuple[Phone, Phone]:
    return await lab.extension("101"), await lab.extension("102")


async def test_the_caller_answers_and_then_the_callee(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]
) -> None:
    """The record is that of the same call dialled by hand."""
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob = await two(lab)
        caller, session_id = await launch(switch, alice, "102")
        caller.answer()
        callee = await bob.incoming()
        assert (callee.caller_number, callee.session_id, callee.session_id_headers) == ("101", session_id, 1)
        callee.answer()
        await hear_each_other(caller, callee)
        await hang_up(caller, callee)
        assert await record_of(browsers, session_id) == EXPECTED["extension_to_extension"][0]


async def test_a_call_is_launched_by_rest(
    asterisk: Asterisk, switch: Switch, tenants: None, browsers: dict[str, Client]
) -> None:
    def enrol() -> None:
        with in_schema("acme"):
            Extension.objects.bulk_create(Extension(number=number) for number in ("101", "102"))

    def post() -> tuple[int, dict[str, Any]]:
        told = {"caller": "101", "callee": "102", "user_data": USER_DATA}
        answer = browsers["acme"].post("/api/v1/calls", told, content_type="application/json")
        return answer.status_code, answer.json()

    await sync_to_async(enrol)()
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob = await two(lab)
        status, told = await sync_to_async(post)()
        assert status == 201, told
        caller = await alice.answer()
        callee = await bob.answer()
        await hear_each_other(caller, callee)
        await hang_up(callee, caller)
        assert await record_of(browsers, told["session_id"]) == EXPECTED["callee_hangs_up"][0]


async def test_of_several_phones_the_one_that_is_answered_has_the_call(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]
) -> None:
    async with connected(switch), open_lab(asterisk) as lab:
        desk, bob = await two(lab)
        mobile = await lab.extension("101")
        left, session_id = await launch(switch, desk, "102")
        caller = await mobile.answer()
        await left.until_ended()
        callee = await bob.answer()
        await hear_each_other(caller, callee)
        await hang_up(caller, callee)
        (found,) = (await calls_when_there(browsers, {"acme": 1, "globex": 0}))["acme"]
    assert plain_call(found) == EXPECTED["extension_to_extension"][0]
    assert (found["session_id"], found["call_id"], found["user_data"]) == (session_id, caller.call_id, USER_DATA)


async def test_two_phones_answered_at_once_call_once(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]
) -> None:
    async with connected(switch), open_lab(asterisk) as lab:
        desk, bob = await two(lab)
        mobile = await lab.extension("101")
        first, session_id = await launch(switch, desk, "102")
        second = await mobile.incoming()
        first.answer()
        second.answer()
        callee = await bob.answer()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait(
                {asyncio.ensure_future(each.ended.wait()) for each in (first, second)},
                return_when=asyncio.FIRST_COMPLETED,
            )
        (caller,) = [each for each in (first, second) if not each.ended.is_set()]
        await hear_each_other(caller, callee)
        await hang_up(caller, callee)
        assert await record_of(browsers, session_id) == EXPECTED["extension_to_extension"][0]


async def test_the_callee_may_be_outside(asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]) -> None:
    async with connected(switch), open_lab(asterisk) as lab:
        caller, session_id = await launch(switch, await lab.extension("101"), MOBILE)
        caller.answer()
        callee = await mobile_answers(lab)
        await hear_each_other(caller, callee)
        await hang_up(callee, caller)
        assert await record_of(browsers, session_id) == EXPECTED["outbound"][0]


async def test_the_callee_may_be_a_queue(asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]) -> None:
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob = await two(lab)
        carol = await lab.extension("103")
        caller, session_id = await launch(switch, alice, "8000")
        caller.answer()
        await bob.incoming()
        await carol.incoming()
        await caller.hang_up()
        assert await record_of(browsers, session_id) == EXPECTED["queue_abandoned"][0]


async def test_the_callee_may_be_busy(asterisk: Asterisk, switch: Switch, browsers: dict[str, Client]) -> None:
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob = await two(lab)
        caller, session_id = await launch(switch, alice, "102")
        caller.answer()
        (await bob.incoming()).reject(486)
        await caller.until_ended()
        assert await record_of(browsers, session_id) == EXPECTED["busy"][0]


@pytest.mark.parametrize(("how", "status"), [("declines", 603), ("is busy", 486), ("does not answer", 480)])
async def test_a_caller_who_does_not_take_it_ends_the_call(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client], monkeypatch: pytest.MonkeyPatch,
    how: str, status: int,
) -> None:  # fmt: skip
    """Nobody else rings."""
    monkeypatch.setattr(launcher, "RING_FOR", 3)
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob = await two(lab)
        ringing, session_id = await launch(switch, alice, "102")
        if how != "does not answer":
            ringing.reject(status)
        await ringing.until_ended()
        found = await record_of(browsers, session_id)
        assert bob.calls == {}
    over = {"status": "noanswer" if status == 480 else "failed", "status_code": status}
    assert found == call("102", "cancelled", [], **over) | NOBODY | {
        "callee_display_name": "",
        "final_display_name": "",
    }


@pytest.mark.parametrize(
    ("caller", "callee", "tenant", "reason"),
    [
        ("103", "102", "acme", "No phone of the extension 103 is registered."),
        ("999", "102", "acme", "Asterisk knows no endpoint 999@acme.test."),
        ("102", "101", "globex", "No phone of the extension 102 is registered."),  # acme's is
        ("101", "777", "acme", "Asterisk has no route to 777 for the extension 101."),
        ("101", "101,1)&SHELL(x", "acme", launcher.UNFIT),
        ("101\r\nAction: Logoff", "102", "acme", launcher.UNFIT),
    ],
)
async def test_what_cannot_be_launched_is_said_and_rings_nobody(
    asterisk: Asterisk, switch: Switch, browsers: dict[str, Client], caller: str, callee: str, tenant: str, reason: str
) -> None:
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob = await two(lab)
        row = await launched(switch, caller, callee, tenant=tenant)
        assert (row.state, row.reason) == ("failed", reason)
        assert await calls_when_there(browsers, {"acme": 0, "globex": 0}) == {"acme": [], "globex": []}
        assert (alice.calls, bob.calls) == ({}, {})
