"""A phone's own SIP MESSAGE, inside its dialog, finds its call on a real Asterisk: whoever of the call it is."""

import asyncio
import contextlib

import pytest
from asgiref.sync import sync_to_async

from accounts.extensions import set_sip_password
from accounts.models import Extension
from cdr import calls
from pbx.sip.desk import Desk, Reply
from tenants.changes import SYSTEM
from tenants.models import Switch, Tenant
from tests.asterisk.connected import connected
from tests.asterisk.flows import blind_transfer, hang_up, open_lab
from tests.asterisk.flows import connect as talk
from tests.asterisk.ledger import in_acme, until
from tests.asterisk.phone import Call
from tests.asterisk.rig import Asterisk
from tests.asterisk.test_recording import three, until_recorded
from tests.pbx.sip.test_desk import PASSWORD, message, send

pytestmark = [pytest.mark.asterisk, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def desk(switch: Switch) -> Desk:
    """201 to 203 may sign in at it."""

    def enrol() -> None:
        for number in ("201", "202", "203"):
            set_sip_password(SYSTEM, Extension.objects.create(number=number, record_audio=True), PASSWORD)

    in_acme(enrol)()
    return Desk(b"k" * 32)


async def says(desk: Desk, leg: Call, number: str, command: str) -> Reply:
    told = message(call_id=leg.call_id, is_in_dialog=True, body=command.encode())
    return await sync_to_async(send)(desk, told, number)


async def until_found(leg: Call) -> str:
    return await until(lambda: calls.session_with_call_id(leg.call_id))


async def test_every_party_pauses_and_resumes_by_its_own_dialog(
    asterisk: Asterisk, switch: Switch, tenants: None, desk: Desk
) -> None:
    """A calls B, who transfers A to C: caller, callee and who came later, each as long as it is in the call."""
    await Tenant.objects.filter(schema_name="acme").aupdate(enable_extension_audio_recording=True)
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob, carol = await three(lab, 201)
        caller, first = await talk(alice, "202", bob)
        await until_recorded(first.session_id, 1)
        for leg, number in ((first, "202"), (caller, "201")):
            assert await until_found(leg) == first.session_id
            for command in ("pause-audio-recording", "resume-audio-recording"):
                assert await says(desk, leg, number, command) == Reply(200, "OK")
        answering = asyncio.create_task(carol.answer(after=0.5))
        await blind_transfer(first, carol.number)
        second = await answering
        await until_recorded(first.session_id, 2)
        assert await until_found(second) == first.session_id
        assert await says(desk, second, "203", "pause-audio-recording") == Reply(200, "OK")
        gone = await says(desk, first, "202", "resume-audio-recording")
        foreign = await says(desk, second, "202", "resume-audio-recording")
        assert (gone.code, foreign.code) == (404, 403)
        await hang_up(caller, second)


@pytest.mark.parametrize("late", [False, True])
async def test_an_agent_of_a_queue_is_found_by_its_own_dialog(
    asterisk: Asterisk, switch: Switch, tenants: None, late: bool
) -> None:
    """Also when the connector comes in the middle of the call."""
    async with open_lab(asterisk) as lab, contextlib.AsyncExitStack() as stack:
        agent, other = await lab.extension("102"), await lab.extension("103")
        if not late:
            await stack.enter_async_context(connected(switch))
        caller = await (await lab.extension("101")).dial("8000")
        lost = await other.incoming()
        answered = await agent.answer()
        await lost.until_ended()
        if late:
            await stack.enter_async_context(connected(switch))
        assert [await until_found(leg) for leg in (answered, caller)] == [answered.session_id] * 2
        assert await until(lambda: calls.session_with_call_id(lost.call_id) is None or None)
        await hang_up(answered, caller)
