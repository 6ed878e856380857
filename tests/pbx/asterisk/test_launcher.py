"""What a launcher asks of an Asterisk, and what it says became of a call that was to be launched."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from cdr.callevents import Party, PartyKind
from pbx.asterisk import launcher as module
from pbx.asterisk.launcher import HANDED_OUT, NO_DIALPLAN, NOT_KNOWN, OUT_OF_REACH, UNFIT, Launcher
from pbx.asterisk.manager import Ami, AmiError, signed_in
from pbx.asterisk.state import Launched
from pbx.connectors.orders import Command, Launch, Order
from tests.pbx.asterisk.fake import FakeAsterisk, fake_asterisk
from tests.pbx.asterisk.test_recorder import PATIENCE, access_of, until, until_cut

LAUNCH = Launch("acme.test", "101", "5551000", "ticket 77")
ORDER = Order(
    id=1, command=Command.LAUNCH, tenant_id=3, session_id="s-7", recording_id="", segment=1, medium="",
    dual_tracks=False, keeps_pauses=False, launch=LAUNCH,
)  # fmt: skip
DESK, MOBILE = "PJSIP/101@acme.test/sip:101@192.0.2.7", "PJSIP/101@acme.test/sip:101@192.0.2.8"
FUNCTIONS = {
    "PJSIP_ENDPOINT(101@acme.test,context)": "acme-phones",
    "PJSIP_ENDPOINT(101@acme.test,callerid)": '"Acme 101" <101>',
    "PJSIP_DIAL_CONTACTS(101@acme.test)": f"{DESK}&{MOBILE}",
    "DIALPLAN_EXISTS(voxledger-launch,s,1)": "1",
    "DIALPLAN_EXISTS(acme-phones,5551000,1)": "1",
}
ROUTE = {"Context": "acme", "Extension": "_5X.", "AppData": "PJSIP/${EXTEN}@AudioCodes"}


class Desk:
    """A launcher at a fake Asterisk, on which 101 has two phones."""

    ami: Ami

    def __init__(self, fake: FakeAsterisk) -> None:
        self.fake = fake
        self.fake.functions, self.fake.dialplan = dict(FUNCTIONS), [dict(ROUTE)]
        self.live: set[str] = set()
        self.expected: dict[str, Launched] = {}
        self.launcher = Launcher(self.live.__contains__, self.expected.__setitem__)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        with contextlib.suppress(AmiError):
            async with signed_in(access_of(self.fake), self.launcher.hear) as self.ami:
                self.launcher.connect(self.ami)
                try:
                    yield
                finally:
                    self.launcher.disconnect()

    async def launch(self, order: Order = ORDER) -> str:
        """What became of it."""
        assert order.launch
        return (await self.launcher.launch(order, order.launch)).reason

    async def launching(self, phones: int = 2) -> "asyncio.Task[str]":
        """Under way: Asterisk was asked to ring the phones."""
        task = asyncio.create_task(self.launch())
        await until(lambda: len(self.fake.originated) == phones)
        return task

    def say(self, event: str, phone: int, **fields: str) -> None:
        self.fake.say({"Event": event, "Uniqueid": f"s-7-{phone}", **fields})


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with fake_asterisk(ari=False) as fake:
        made = Desk(fake)
        async with made.connection():
            yield made


async def test_all_phones_of_the_extension_are_asked_to_ring() -> None:
    async with desk() as at:
        task = await at.launching()
        at.say("Newstate", 2, ChannelState="5")
        assert await task == ""
        callee = Party("5551000", PartyKind.EXTERNAL)
        told = Launched("s-7", "Acme 101", callee, "ticket 77", "acme.test")
        assert at.expected == {"s-7-1": told, "s-7-2": told}
        assert at.fake.originated == [
            {
                "Action": "Originate", "ActionID": uniqueid, "Channel": contact, "ChannelId": uniqueid,
                "Context": "voxledger-launch", "Exten": "s", "Priority": "1", "CallerID": "<5551000>",
                "Timeout": "30000", "Async": "true",
                "Variable": "__SESSIONID=s-7,PJSIP_HEADER(add,X-Session-Id)=s-7,VOXLEDGER_ENDPOINT=101@acme.test,"
                "VOXLEDGER_CALLER=101,VOXLEDGER_CONTEXT=acme-phones,VOXLEDGER_NUMBER=5551000",
            }
            for uniqueid, contact in (("s-7-1", DESK), ("s-7-2", MOBILE))
        ]  # fmt: skip


async def test_when_one_phone_is_answered_the_others_stop() -> None:
    async with desk() as at:
        task = await at.launching()
        at.say("Newstate", 1, ChannelState="6")
        at.say("UserEvent", 1, UserEvent="VoxledgerLaunch")
        assert await task == ""
        await until(lambda: at.fake.hung_up == ["s-7-2"])
        await at.launcher.forget(ORDER)  # it talks by now: nobody hangs up on it
        assert at.fake.hung_up == ["s-7-2"]


async def test_a_call_that_nobody_waits_for_stops_ringing() -> None:
    async with desk() as at:
        task = await at.launching()
        at.say("Newstate", 1, ChannelState="5")
        assert await task == ""
        at.say("Hangup", 2, Cause="17", TechCause="486")
        await at.ami.ask("Ping")  # what was said before its answer has been heard
        await at.launcher.forget(ORDER)
        await at.launcher.forget(ORDER)
        assert at.fake.hung_up == ["s-7-1"]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([("Hangup", {"TechCause": "486"})] * 2, "The extension 101 is busy."),
        ([("Hangup", {"TechCause": "603"})] * 2, "The phone of the extension 101 declined."),
        ([("Hangup", {"Cause": "20"})] * 2, "No phone of the extension 101 could be called (SIP 480)."),
        ([("OriginateResponse", {"Reason": "0"})] * 2, "Asterisk cannot reach a phone of the extension 101."),
        ([("OriginateResponse", {"Reason": "8"})] * 2, "Asterisk could not ring the extension 101."),
        ([("Hangup", {"TechCause": "486"}), ("Newstate", {"ChannelState": "5"})], ""),
    ],
)
async def test_it_has_failed_when_no_phone_can_ring(events: list[tuple[str, dict[str, str]]], reason: str) -> None:
    async with desk() as at:
        task = await at.launching()
        for phone, (event, fields) in enumerate(events, start=1):
            at.say(event, phone, **fields, ActionID=f"s-7-{phone}", Response="Failure")
        assert await asyncio.wait_for(task, PATIENCE) == reason


async def test_a_phone_that_does_not_say_that_it_rings_is_being_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RINGS_WITHIN", 0.01)
    async with desk() as at:
        assert await at.launch() == ""


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        ("PJSIP_ENDPOINT(101@acme.test,context)", "Asterisk knows no endpoint 101@acme.test."),
        ("PJSIP_DIAL_CONTACTS(101@acme.test)", "No phone of the extension 101 is registered."),
        ("DIALPLAN_EXISTS(voxledger-launch,s,1)", NO_DIALPLAN),
        ("DIALPLAN_EXISTS(acme-phones,5551000,1)", "Asterisk has no route to 5551000 for the extension 101."),
    ],
)
async def test_what_asterisk_does_not_have_is_said(without: str, reason: str) -> None:
    async with desk() as at:
        del at.fake.functions[without]
        assert await at.launch() == reason
        assert at.fake.originated == []


@pytest.mark.parametrize(
    ("step", "callee"),
    [
        (ROUTE | {"Context": "voxledger-unknown"}, None),
        (ROUTE | {"AppData": "voxledger-target,s,1(queue,8000)"}, PartyKind.SERVICE),
        (ROUTE, PartyKind.EXTERNAL),
        (None, PartyKind.EXTERNAL),  # a switch statement's, which is not listed
    ],
)
async def test_the_dialplan_says_whom_the_call_is_for(step: dict[str, Any] | None, callee: PartyKind | None) -> None:
    async with desk() as at:
        at.fake.dialplan = [dict(step)] if step else []
        if callee is None:
            assert await at.launch() == "Asterisk has no route to 5551000 for the extension 101."
            return
        task = await at.launching()
        at.say("Newstate", 1, ChannelState="5")
        assert await task == ""
        assert {launched.callee for launched in at.expected.values()} == {Party("5551000", callee)}


@pytest.mark.parametrize(
    "launch",
    [
        replace(LAUNCH, caller="101,1"), replace(LAUNCH, caller=""), replace(LAUNCH, callee="1 2"),
        replace(LAUNCH, callee="1)\r\nAction: Logoff"), replace(LAUNCH, callee="${SHELL}"),
        replace(LAUNCH, domain="acme.test/x"), replace(LAUNCH, callee="1" * 65),
    ],
)  # fmt: skip
async def test_what_could_mean_something_else_is_not_said(launch: Launch) -> None:
    async with desk() as at:
        assert await at.launch(replace(ORDER, launch=launch)) == UNFIT
        assert at.fake.originated == []


async def test_a_call_is_never_launched_twice() -> None:
    async with desk() as at:
        assert await at.launch(replace(ORDER, was_handed_out=True)) == HANDED_OUT
        at.live.add("s-7")
        assert await at.launch(replace(ORDER, was_handed_out=True)) == ""
        assert at.fake.originated == []


async def test_without_a_connection_nothing_is_launched() -> None:
    async with fake_asterisk(ari=False) as fake:
        assert await Desk(fake).launch() == OUT_OF_REACH


@pytest.mark.parametrize("cut", ["Getvar", "ShowDialPlan", "Originate", ""])
async def test_a_connection_that_breaks_leaves_it_unknown(cut: str) -> None:
    async with fake_asterisk(ari=False) as fake:
        at = Desk(fake)
        fake.cuts_after = cut
        async with at.connection():
            task = asyncio.create_task(at.launch())
            if not cut:
                await until(lambda: len(fake.originated) == 2)
                fake.cut()
            await until_cut()
        assert await asyncio.wait_for(task, PATIENCE) == NOT_KNOWN


async def test_a_refusal_by_asterisk_is_said_in_its_words() -> None:
    async with desk() as at:
        at.fake.refusals = {"Originate": "Permission denied"}
        assert await at.launch() == "Asterisk refused Originate: Permission denied."
