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

    async def extension(self, number: str, domain: str = ACME) -> Phone:
        """A registered device; asked twice for the same extension, it has two."""
        phone = Phone(
            number,
            domain,
            server=(HOST, self.asterisk.sip_port),
            tone_hz=TONES[number, domain],
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
    heard = await asyncio.gather(*(call.hears(TONES.values()) for call in calls))
    expected = [tones - {call.audio.tone_hz} for call in calls]
    if heard != expected:
        raise AssertionError(f"{[call.phone.number for call in calls]} heard {heard}, not {expected}")


async def extension_to_extension(lab: Lab) -> Legs:
    """101 calls 102, who answers; 101 hangs up."""
    alice, bob = await lab.extension("101"), await lab.extension("102")
    caller = await alice.dial("102")
    callee = await bob.answer(after=1)
    await caller.until_answered()
    await hear_each_other(caller, callee)
    await caller.hang_up()
    await callee.until_ended()
    return {"caller": caller, "102": callee}


Flow = Callable[[Lab], Awaitable[Legs]]
FLOWS: dict[str, Flow] = {flow.__name__: flow for flow in (extension_to_extension,)}
