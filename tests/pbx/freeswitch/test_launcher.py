"""Calls launched on a FreeSWITCH, over TCP: what it is told, and what is made of its answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from pbx.connectors.orders import Command, Launch, Order
from pbx.freeswitch import launcher
from pbx.freeswitch.access import Access
from pbx.freeswitch.eventsocket import signed_in
from pbx.freeswitch.launcher import NOT_KNOWN, OUT_OF_REACH, UNFIT, Launcher
from tests.pbx.freeswitch.fake import FakeFreeSwitch, fake_freeswitch

CALL = Launch("acme.test", "101", "5551000", "a, {b}")
RINGS = {"Event-Name": "CHANNEL_PROGRESS", "variable_voxledger_launch": "77"}


@dataclass
class Desk:
    fake: FakeFreeSwitch
    launcher: Launcher
    live: set[str] = field(default_factory=set)

    async def launch(self, launch: Launch = CALL, **more: Any) -> str:
        """The reason of its refusal; empty when it rings."""
        order = Order(1, Command.LAUNCH, 1, "77", "", 1, "", False, False, launch, **more)
        return (await self.launcher.launch(order, launch)).reason

    async def until_told(self) -> str:
        async with asyncio.timeout(30):
            while not self.fake.commands:
                await asyncio.sleep(0.01)
        return self.fake.commands[-1]


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with fake_freeswitch() as fake:
        fake.extensions = {"101": "acme", "102": ""}
        live: set[str] = set()
        made = Launcher(live.__contains__)
        async with signed_in(Access("127.0.0.1", fake.port, fake.password), made.hear) as socket:
            made.connect(socket)
            yield Desk(fake, made, live)


async def test_the_extension_is_called_and_then_goes_through_its_own_dialplan() -> None:
    async with desk() as at:
        launching = asyncio.create_task(at.launch())
        told = await at.until_told()
        at.fake.play([RINGS | {"variable_voxledger_launch": "78"}])  # another's
        at.fake.play([RINGS])
        assert await asyncio.wait_for(launching, 30) == ""
    assert told == (
        "bgapi originate {voxledger_launch=77,voxledger_callee=5551000,voxledger_callee_is_extension=false,"
        "voxledger_user_data=a%2C%20%7Bb%7D,x_session_id=77,export_vars=x_session_id,sip_h_X-Session-Id=77,"
        "domain_name=acme.test,origination_caller_id_number=5551000,origination_caller_id_name=5551000,"
        "effective_caller_id_number=101,effective_caller_id_name=101,ignore_early_media=true,originate_timeout=30}"
        "user/101@acme.test 5551000 XML acme"
    )


async def test_an_extension_without_a_context_of_its_own_has_the_default_one() -> None:
    async with desk() as at:
        launching = asyncio.create_task(at.launch(Launch("acme.test", "102", "101", "")))
        told = await at.until_told()
        at.fake.play([RINGS])
        assert await asyncio.wait_for(launching, 30) == ""
    assert told.endswith("user/102@acme.test 101 XML default")
    assert "voxledger_callee_is_extension=true,x_session_id" in told


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("-ERR USER_NOT_REGISTERED\n", "No phone of the extension 101 is registered."),
        ("-ERR USER_BUSY\n", "The extension 101 is busy."),
        ("-ERR GATEWAY_DOWN\n", "FreeSWITCH could not ring the extension 101: GATEWAY_DOWN."),
        ("+OK 0d1e\n", ""),
    ],
)
async def test_why_it_does_not_ring_is_said(said: str, reason: str) -> None:
    async with desk() as at:
        launching = asyncio.create_task(at.launch())
        await at.until_told()
        at.fake.end_job(said)
        assert await asyncio.wait_for(launching, 30) == reason


async def test_a_phone_that_does_not_say_that_it_rings_is_being_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "RINGS_WITHIN", 0.05)
    async with desk() as at:
        assert await at.launch() == ""


async def test_what_cannot_be_launched_is_said_and_not_tried() -> None:
    async with desk() as at:
        assert (
            await at.launch(Launch("acme.test", "109", "102", "")) == "FreeSWITCH knows no extension 109 of acme.test."
        )
        for odd in ("1}x", "1 2", "", "1\n2", "&park"):
            assert await at.launch(Launch("acme.test", "101", odd, "")) == UNFIT
            assert await at.launch(Launch("acme.test", odd, "101", "")) == UNFIT
        assert await at.launch(Launch("acme test", "101", "102", "")) == UNFIT
        again = await at.launch(was_handed_out=True)
        assert again == "It is not known whether an earlier connector launched this call."
        at.live.add("77")
        assert await at.launch(was_handed_out=True) == ""
        at.live.clear()
        at.launcher.disconnect()
        assert await at.launch() == OUT_OF_REACH
        assert at.fake.commands == []


async def test_a_connection_that_breaks_meanwhile_leaves_it_unknown() -> None:
    async with desk() as at:
        launching = asyncio.create_task(at.launch())
        await at.until_told()
        at.launcher.disconnect()
        assert await asyncio.wait_for(launching, 30) == NOT_KNOWN


async def test_what_nobody_waits_for_is_hung_up_on() -> None:
    async with desk() as at:
        await at.launcher.forget(Order(1, Command.LAUNCH, 1, "77", "", 1, "", False, False, CALL))
        assert at.fake.commands == ["hupall NORMAL_CLEARING voxledger_launch 77"]
