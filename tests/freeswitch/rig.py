"""The FreeSWITCH that the tests were given, and the telephones around it."""

import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pbx.freeswitch.access import Access
from pbx.freeswitch.eventsocket import signed_in
from tests.asterisk.flows import ACME, CALLER, TONES
from tests.asterisk.phone import Phone
from tests.freeswitch.configure import PORTS, extension_password

HOST, TRUNK_HOST = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True)
class FreeSwitch:
    host: str
    port: int
    password: str
    folder: Path

    @property
    def recordings(self) -> Path:
        return self.folder / "recordings"

    @property
    def cdrs(self) -> Path:
        return self.folder / "cdr"

    async def ask(self, command: str) -> str:
        """What it answers at its event socket."""
        async with signed_in(Access(self.host, self.port, self.password), lambda message: None) as socket:
            return await socket.api(command)

    async def legs(self) -> list[dict[str, Any]]:
        """Of all calls in progress."""
        rows: list[dict[str, Any]] = json.loads(await self.ask("show channels as json")).get("rows", [])
        return rows


def given() -> FreeSwitch:
    """By the environment, see docs/switches/freeswitch.md."""
    host, _, port = os.environ["FREESWITCH_ADDRESS"].rpartition(":")
    return FreeSwitch(host, int(port), os.environ["FREESWITCH_PASSWORD"], Path(os.environ["FREESWITCH_FOLDER"]))


@dataclass
class Lab:
    """The phones; what tests.asterisk.flows needs to place its calls here."""

    phones: list[Phone] = field(default_factory=list)
    trunk: Phone = field(init=False)

    async def extension(self, number: str, domain: str = ACME, *, tone_hz: int = 0) -> Phone:
        """A registered device; asked twice for the same extension, it has two."""
        phone = Phone(
            number,
            domain,
            server=(HOST, PORTS["SIP_PORT"]),
            tone_hz=tone_hz or TONES[number, domain],
            password=extension_password(number, domain.partition(".")[0]),
        )
        self.phones.append(phone)
        await phone.open()
        await phone.register()
        return phone

    async def open_trunk(self) -> None:
        self.trunk = Phone(
            CALLER,
            TRUNK_HOST,
            server=(HOST, PORTS["TRUNKS_PORT"]),
            tone_hz=TONES["trunk", ""],
            host=TRUNK_HOST,
            port=PORTS["TRUNK_PORT"],
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
async def open_lab() -> AsyncIterator[Lab]:
    lab = Lab()
    await lab.open_trunk()
    try:
        yield lab
    finally:
        await lab.close()
