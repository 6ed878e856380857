"""The calls: each flow places a real one on the rig's Asterisk and checks what the people on it hear.

Numbers are in README.md beside this file. A flow returns its legs, so that a test can compare them with the record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.asterisk.phone import Call, Phone
from tests.asterisk.rig import HOST, TRUNK_HOST, Asterisk, extension_password

ACME, GLOBEX = "acme.test", "globex.test"
CALLER = "1888722"  # somebody out on the trunk
MOBILE = "95550199"  # 9 and an outside number
TONES = {
    ("101", ACME): 500, ("102", ACME): 650, ("103", ACME): 850, ("104", ACME): 1050, ("105", ACME): 1250,
    ("101", GLOBEX): 400, ("102", GLOBEX): 750,
    ("trunk", ""): 1450,
    ("mobile", ""): 1650,
}  # fmt: skip
Legs = dict[str, Call]


@dataclass
class Lab:
    """The phones around one Asterisk."""

    asterisk: Asterisk
    phones: list[Phone] = field(default_factory=list)
    trunk: Phone = field(init=False)

    async def extension(self, number: str, domain: str = ACME, *, tone_hz: int = 0) -> Phone:
        """A registered device; asked twice for the same extension, it has two."""
        phone = Phone(
            number,
            domain,
            server=(HOST, self.asterisk.sip_port),
            tone_hz=tone_hz or TONES[number, domain],
            password=extension_password(number, domain),
        )
        self.phones.append(phone)
        await phone.open()
        await phone.register()
        return phone

    async def open_trunk(self) -> None:
        server = (HOST, self.asterisk.sip_port)
        self.trunk = Phone(
            CALLER,
            TRUNK_HOST,
            server=server,
            tone_hz=TONES["trunk", ""],
            host=TRUNK_HOST,
            port=self.asterisk.trunk_port,
        )
        self.phones.append(self.trunk)
        await self.trunk.open()

    async def close(self) -> None:
        for phone in self.phones:
            if phone is not self.trunk:
                with contextlib.suppress(Exception):  # what the scenario was about has been said by now
                    await phone.register(expires=0)
            await phone.close()


@contextlib.asynccontextmanager
async def open_lab(asterisk: Asterisk) -> AsyncIterator[Lab]:
    lab = Lab(asterisk)
    await lab.open_trunk()
    try:
        yield lab
    finally:
        await lab.close()


async def hear_each_other(*calls: Call) -> None:
    """Every party hears the tones of all others, and nobody else."""
    tones = {call.audio.tone_hz for call in calls}
    await asyncio.sleep(0.3)  # frames of a moment ago are still on their way
    heard = await asyncio.gather(*(call.hears(TONES.values()) for call in calls))
    expected = [tones - {call.audio.tone_hz} for call in calls]
    if heard != expected:
        raise AssertionError(f"{[call.phone.number for call in calls]} heard {heard}, not {expected}")


async def connect(caller: Phone, number: str, callee: Phone) -> tuple[Call, Call]:
    """`caller` dials, `callee` answers, they talk."""
    theirs = await caller.dial(number)
    ours = await callee.answer(after=0.5)
    await theirs.until_answered()
    await hear_each_other(theirs, ours)
    return theirs, ours


async def hang_up(leaving: Call, *others: Call) -> None:
    await leaving.hang_up()
    for other in others:
        await other.until_ended()


async def mobile_answers(lab: Lab) -> Call:
    """The trunk's far end as the person who is called out there."""
    call = await lab.trunk.answer(after=1)
    call.audio.tone_hz = TONES["mobile", ""]
    return call


def expect(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, not {expected!r}")


# --- two parties ---


async def extension_to_extension(lab: Lab) -> Legs:
    """101 calls 102, who answers; 101 hangs up."""
    caller, callee = await connect(await lab.extension("101"), "102", await lab.extension("102"))
    await hang_up(caller, callee)
    return {"caller": caller, "102": callee}


async def callee_hangs_up(lab: Lab) -> Legs:
    """101 calls 102, who answers and hangs up."""
    caller, callee = await connect(await lab.extension("101"), "102", await lab.extension("102"))
    await hang_up(callee, caller)
    return {"caller": caller, "102": callee}


async def two_devices(lab: Lab) -> Legs:
    """101 calls 102, who has two devices; the second answers."""
    alice = await lab.extension("101")
    desk, mobile = await lab.extension("102"), await lab.extension("102")
    caller = await alice.dial("102")
    lost = await desk.incoming()
    callee = await mobile.answer(after=1)
    await lost.until_ended()
    await hear_each_other(caller, callee)
    await hang_up(caller, callee)
    return {"caller": caller, "102": callee, "102 lost": lost}


async def no_answer(lab: Lab) -> Legs:
    """101 calls 103, who lets it ring until the dialplan gives up (8 s)."""
    alice, carol = await lab.extension("101"), await lab.extension("103")
    caller = await alice.dial("103")
    callee = await carol.incoming()
    await callee.until_ended()
    await caller.until_ended()
    return {"caller": caller, "103": callee}


async def no_answer_forward(lab: Lab) -> Legs:
    """101 calls 104, who does not answer; after 4 s it rings at 105, who does."""
    alice, dave, erin = await lab.extension("101"), await lab.extension("104"), await lab.extension("105")
    caller = await alice.dial("104")
    first = await dave.incoming()
    second = await erin.answer(after=1)
    await first.until_ended()
    await hear_each_other(caller, second)
    await hang_up(caller, second)
    return {"caller": caller, "104": first, "105": second}


async def busy(lab: Lab) -> Legs:
    """101 calls 102, whose phone answers 486."""
    return await _refused(lab, 486)


async def rejected(lab: Lab) -> Legs:
    """101 calls 102, who declines with 603."""
    return await _refused(lab, 603)


async def _refused(lab: Lab, status: int) -> Legs:
    alice, bob = await lab.extension("101"), await lab.extension("102")
    caller = await alice.dial("102")
    callee = await bob.incoming()
    await asyncio.sleep(0.5)
    callee.reject(status)
    await caller.until_ended()
    return {"caller": caller, "102": callee}


async def redirected(lab: Lab) -> Legs:
    """101 calls 102, whose phone answers 302 to 103; 103 answers."""
    alice, bob, carol = await lab.extension("101"), await lab.extension("102"), await lab.extension("103")
    caller = await alice.dial("102")
    first = await bob.incoming()
    await asyncio.sleep(0.5)
    first.redirect("103")
    second = await carol.answer(after=1)
    await caller.until_answered()
    await hear_each_other(caller, second)
    await hang_up(caller, second)
    return {"caller": caller, "102": first, "103": second}


async def cancelled(lab: Lab) -> Legs:
    """101 calls 102 and gives up while it rings."""
    alice, bob = await lab.extension("101"), await lab.extension("102")
    caller = await alice.dial("102")
    callee = await bob.incoming()
    await asyncio.sleep(1)
    await caller.cancel()
    await callee.until_ended()
    return {"caller": caller, "102": callee}


async def unknown_number(lab: Lab) -> Legs:
    """101 calls 777, which is nobody's."""
    caller = await (await lab.extension("101")).dial("777")
    await caller.until_ended()
    expect(caller.status, 404, "status")
    return {"caller": caller}


async def unknown_did(lab: Lab) -> Legs:
    """The trunk calls a DID that no rule knows."""
    caller = await lab.trunk.dial("18809999")
    await caller.until_ended()
    expect(caller.status, 404, "status")
    return {"caller": caller}


async def absent(lab: Lab) -> Legs:
    """101 calls 103, who has no phone registered."""
    caller = await (await lab.extension("101")).dial("103")
    await caller.until_ended()
    expect(caller.status, 480, "status")
    return {"caller": caller}


async def two_tenants_at_once(lab: Lab) -> Legs:
    """Both tenants have 101 and 102; both 101 call their 102 at the same time, and nobody hears the other tenant."""
    names = [(number, domain) for domain in (ACME, GLOBEX) for number in ("101", "102")]
    phones = {name: await lab.extension(*name) for name in names}
    (acme, acme_102), (globex, globex_102) = await asyncio.gather(
        *(connect(phones["101", domain], "102", phones["102", domain]) for domain in (ACME, GLOBEX))
    )
    await hang_up(acme, acme_102)
    await hang_up(globex_102, globex)
    return {"acme caller": acme, "acme 102": acme_102, "globex caller": globex, "globex 102": globex_102}


# --- the trunk ---


async def trunk_to_extension(lab: Lab) -> Legs:
    """The trunk calls the DID of 101, who answers; the caller hangs up."""
    caller, callee = await connect(lab.trunk, "18800101", await lab.extension("101"))
    await hang_up(caller, callee)
    return {"caller": caller, "101": callee}


async def outbound(lab: Lab) -> Legs:
    """101 calls a mobile through the trunk; the mobile hangs up."""
    caller = await (await lab.extension("101")).dial(MOBILE)
    callee = await mobile_answers(lab)
    await caller.until_answered()
    await hear_each_other(caller, callee)
    expect(callee.caller_number, "18800600", "caller id at the trunk")
    await hang_up(callee, caller)
    return {"caller": caller, "mobile": callee}


async def did_to_mobile(lab: Lab) -> Legs:
    """The trunk calls a DID that leads straight to a mobile, out over the trunk again."""
    caller = await lab.trunk.dial("18800199")
    callee = await mobile_answers(lab)
    await caller.until_answered()
    await hear_each_other(caller, callee)
    await hang_up(caller, callee)
    return {"caller": caller, "mobile": callee}


# --- services ---


async def ivr_queue_agent(lab: Lab) -> Legs:
    """The specification's example: trunk, IVR 5000, digit 1, queue 8000, 102 and 103 ring, 103 answers and hangs up."""
    bob, carol = await lab.extension("102"), await lab.extension("103")
    caller = await lab.trunk.dial("18800606")
    await caller.until_answered()
    await asyncio.sleep(1.5)
    await caller.press("1")
    lost = await bob.incoming()
    agent = await carol.answer(after=1.5)
    await lost.until_ended()
    await hear_each_other(caller, agent)
    await hang_up(agent, caller)
    return {"caller": caller, "103": agent, "102 lost": lost}


async def ivr_abandoned(lab: Lab) -> Legs:
    """The trunk reaches the IVR and hangs up without a digit."""
    caller = await lab.trunk.dial("18800606")
    await caller.until_answered()
    await asyncio.sleep(1.5)
    await caller.hang_up()
    return {"caller": caller}


async def queue_abandoned(lab: Lab) -> Legs:
    """101 calls the queue and hangs up while both agents ring."""
    bob, carol = await lab.extension("102"), await lab.extension("103")
    caller = await (await lab.extension("101")).dial("8000")
    first, second = await bob.incoming(), await carol.incoming()
    await asyncio.sleep(1)
    await hang_up(caller, first, second)
    return {"caller": caller, "102": first, "103": second}


async def ring_group(lab: Lab) -> Legs:
    """101 calls the ring group 6000: 104 and 105 ring, 105 answers, 101 hangs up."""
    dave, erin = await lab.extension("104"), await lab.extension("105")
    caller = await (await lab.extension("101")).dial("6000")
    lost = await dave.incoming()
    callee = await erin.answer(after=1)
    await lost.until_ended()
    await hear_each_other(caller, callee)
    await hang_up(caller, callee)
    return {"caller": caller, "105": callee, "104 lost": lost}


async def ivr_ring_group(lab: Lab) -> Legs:
    """The trunk reaches the IVR, presses 2 for the ring group; 104 answers, the caller hangs up."""
    dave, erin = await lab.extension("104"), await lab.extension("105")
    caller = await lab.trunk.dial("18800606")
    await caller.until_answered()
    await asyncio.sleep(1)
    await caller.press("2")
    lost = await erin.incoming()
    callee = await dave.answer(after=1)
    await lost.until_ended()
    await hear_each_other(caller, callee)
    await hang_up(caller, callee)
    return {"caller": caller, "104": callee, "105 lost": lost}


# --- transfers ---


async def leave(transferor: Call, *, status: int) -> None:
    """A phone hangs up once it is told that its transfer worked; Asterisk leaves that to it."""
    expect(status, 202, "REFER")
    expect(await transferor.until_transferred(), 200, "report on the transfer")
    await transferor.hang_up()


async def blind_transfer(transferor: Call, number: str) -> None:
    await leave(transferor, status=await transferor.transfer(number))


async def blind_transfer_by_callee(lab: Lab) -> Legs:
    """101 calls 102, who transfers 101 to 103; 103 answers, 101 hangs up."""
    carol = await lab.extension("103")
    caller, first = await connect(await lab.extension("101"), "102", await lab.extension("102"))
    answering = asyncio.create_task(carol.answer(after=1))
    await blind_transfer(first, "103")
    second = await answering
    await hear_each_other(caller, second)
    await hang_up(caller, second)
    return {"caller": caller, "102": first, "103": second}


async def blind_transfer_by_caller(lab: Lab) -> Legs:
    """101 calls 102, then transfers 102 to 103; 103 answers and hangs up."""
    carol = await lab.extension("103")
    caller, first = await connect(await lab.extension("101"), "102", await lab.extension("102"))
    answering = asyncio.create_task(carol.answer(after=1))
    await blind_transfer(caller, "103")
    second = await answering
    await hear_each_other(first, second)
    await hang_up(second, first)
    return {"caller": caller, "102": first, "103": second}


async def blind_transfer_to_nobody(lab: Lab) -> Legs:
    """101 calls 102, who transfers 101 to an unknown number: that is refused, and they talk on."""
    caller, callee = await connect(await lab.extension("101"), "102", await lab.extension("102"))
    expect(await callee.transfer("777"), 202, "REFER")
    expect(await callee.until_transferred(), 404, "report on the transfer")
    await hear_each_other(caller, callee)
    await hang_up(caller, callee)
    return {"caller": caller, "102": callee}


async def caller_transfers_to_ivr(lab: Lab) -> Legs:
    """101 calls 105 and transfers 105 to the IVR; 105 presses 1, the queue rings 102 and 103, 102 answers.

    The specification's other example. 105 hangs up.
    """
    bob, carol = await lab.extension("102"), await lab.extension("103")
    caller, first = await connect(await lab.extension("101"), "105", await lab.extension("105"))
    await blind_transfer(caller, "5000")
    await asyncio.sleep(1.5)
    await first.press("1")
    lost = await carol.incoming()
    agent = await bob.answer(after=1)
    await lost.until_ended()
    await hear_each_other(first, agent)
    await hang_up(first, agent)
    return {"caller": caller, "105": first, "102": agent, "103 lost": lost}


async def attended_transfer_by_callee(lab: Lab) -> Legs:
    """The trunk calls 101, who asks 103 and joins the two; the caller hangs up."""
    alice, carol = await lab.extension("101"), await lab.extension("103")
    caller, first = await connect(lab.trunk, "18800101", alice)
    await first.hold()
    consulting, second = await connect(alice, "103", carol)
    await leave(first, status=await first.transfer_to_call(consulting))
    await consulting.until_ended()
    await hear_each_other(caller, second)
    await hang_up(caller, second)
    return {"caller": caller, "101": first, "101 consulting": consulting, "103": second}


async def attended_transfer_by_caller(lab: Lab) -> Legs:
    """101 calls 102, asks 103 and joins the two; 103 hangs up."""
    alice, carol = await lab.extension("101"), await lab.extension("103")
    caller, first = await connect(alice, "102", await lab.extension("102"))
    await caller.hold()
    consulting, second = await connect(alice, "103", carol)
    await leave(caller, status=await caller.transfer_to_call(consulting))
    await consulting.until_ended()
    await hear_each_other(first, second)
    await hang_up(second, first)
    return {"caller": caller, "102": first, "101 consulting": consulting, "103": second}


async def trunk_transferred_to_trunk(lab: Lab) -> Legs:
    """The trunk calls 101, who transfers the caller to a mobile: both outside from then on. The mobile hangs up."""
    caller, first = await connect(lab.trunk, "18800101", await lab.extension("101"))
    answering = asyncio.create_task(mobile_answers(lab))
    await blind_transfer(first, MOBILE)
    second = await answering
    await hear_each_other(caller, second)
    await hang_up(second, caller)
    return {"caller": caller, "101": first, "mobile": second}


# --- during a call ---


async def hold_unhold(lab: Lab) -> Legs:
    """101 calls 102 and holds, then 102 holds; 101 hangs up."""
    caller, callee = await connect(await lab.extension("101"), "102", await lab.extension("102"))
    await caller.hold()
    if caller.audio.tone_hz in await callee.hears(TONES.values()):
        raise AssertionError("a held party still hears the other")
    await caller.unhold()
    await hear_each_other(caller, callee)
    await callee.hold()
    await asyncio.sleep(1)
    await callee.unhold()
    await hear_each_other(caller, callee)
    await hang_up(caller, callee)
    return {"caller": caller, "102": callee}


async def feature_codes(lab: Lab) -> Legs:
    """101 talks to 102; *48 and *49 by the caller, then *45 and *44 by the callee. Neither hears the other's tones."""
    caller, callee = await connect(await lab.extension("101"), "102", await lab.extension("102"))
    for party, code in ((caller, "*48"), (caller, "*49"), (callee, "*45"), (callee, "*44")):
        await party.press(code)
        await asyncio.sleep(0.8)
    expect((caller.audio.events_received, callee.audio.events_received), (0, 0), "DTMF that reached the other party")
    await hear_each_other(caller, callee)
    await hang_up(caller, callee)
    return {"caller": caller, "102": callee}


Flow = Callable[[Lab], Awaitable[Legs]]
FLOWS: dict[str, Flow] = {
    flow.__name__: flow
    for flow in (
        extension_to_extension,
        callee_hangs_up,
        two_devices,
        no_answer,
        no_answer_forward,
        busy,
        rejected,
        redirected,
        cancelled,
        unknown_number,
        unknown_did,
        absent,
        two_tenants_at_once,
        trunk_to_extension,
        outbound,
        did_to_mobile,
        ivr_queue_agent,
        ivr_abandoned,
        queue_abandoned,
        ring_group,
        ivr_ring_group,
        blind_transfer_by_callee,
        blind_transfer_by_caller,
        blind_transfer_to_nobody,
        caller_transfers_to_ivr,
        attended_transfer_by_callee,
        attended_transfer_by_caller,
        trunk_transferred_to_trunk,
        hold_unhold,
        feature_codes,
    )
}
