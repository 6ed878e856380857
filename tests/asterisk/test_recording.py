"""Calls recorded on a real Asterisk, as the portal ordered it; the files are listened to."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest
from asgiref.sync import sync_to_async

from recordings import vault
from recordings.models import Recording, RecordingFile, Segment
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema
from tests.asterisk.connected import connected
from tests.asterisk.flows import Lab, blind_transfer, hang_up, open_lab
from tests.asterisk.flows import connect as talk
from tests.asterisk.listening import Recorded
from tests.asterisk.phone import Phone
from tests.asterisk.rig import Asterisk

pytestmark = [pytest.mark.asterisk, pytest.mark.django_db(transaction=True)]

T = TypeVar("T")
ALICE, BOB, CAROL = 500, 650, 850  # their tones
PATIENCE = 20.0
LATE = 8  # tenths of a second that a busy test machine may take from an answer until it is recorded


@pytest.fixture
def recorded(switch: Switch) -> Tenant:
    """acme records all calls."""
    acme = Tenant.objects.get(schema_name="acme")
    acme.enable_extension_audio_recording = True
    acme.save()
    return acme


@dataclass(frozen=True)
class Part:
    """A segment, and what is heard in its file."""

    number: int
    end_reason: str
    sound: Recorded


def in_acme(work: Callable[[], T]) -> Callable[[], T]:
    def inside() -> T:
        with in_schema("acme"):
            return work()

    return inside


async def until(work: Callable[[], T | None]) -> T:
    async with asyncio.timeout(PATIENCE):
        while (found := await sync_to_async(in_acme(work))()) is None:
            await asyncio.sleep(0.1)
        return found


async def parts_of(session_id: str) -> list[Part]:
    """The segments of a call that is over, once all files are there."""

    def complete() -> list[Part] | None:
        recording = Recording.objects.filter(session_id=session_id, medium="audio").exclude(ended_at=None).first()
        if recording is None:
            return None
        segments = list(Segment.objects.filter(recording=recording).exclude(started_at=None).order_by("number"))
        files = {file.segment_id: file for file in RecordingFile.objects.filter(segment__in=segments)}
        if not segments or len(files) < len(segments):
            return None
        return [Part(each.number, each.end_reason, Recorded(b"".join(vault.read(files[each.pk])))) for each in segments]

    return await until(complete)


async def three(lab: Lab, number: int) -> tuple[Phone, Phone, Phone]:
    tones = (ALICE, BOB, CAROL)
    return tuple([await lab.extension(str(number + i), tone_hz=hz) for i, hz in enumerate(tones)])  # type: ignore[return-value]


@dataclass(frozen=True)
class Spoken:
    """What the phones know of a call: for how many tenths of a second the second and the third party talked."""

    session_id: str
    bob: int
    carol: int


async def transferred(alice: Phone, bob: Phone, carol: Phone) -> Spoken:
    """A calls B, who transfers A to C; C answers, they talk, A hangs up."""
    caller, first = await talk(alice, bob.number, bob)
    left_at = time.monotonic()
    answering = asyncio.create_task(carol.answer(after=0.5))
    await blind_transfer(first, carol.number)
    second = await answering
    joined_at = time.monotonic()
    await asyncio.sleep(2)
    await hang_up(caller, second)
    answered_at = caller.audio.received[0][0]
    return Spoken(first.session_id, round(10 * (left_at - answered_at)), round(10 * (time.monotonic() - joined_at)))


async def test_no_voice_is_lost_after_a_blind_transfer(asterisk: Asterisk, switch: Switch, recorded: Tenant) -> None:
    """Twenty calls, five at a time. One MixMonitor for the whole call lost the third party in every other one."""
    async with connected(switch), open_lab(asterisk) as lab:
        groups = [await three(lab, 201 + 3 * each) for each in range(5)]
        spoken: list[Spoken] = []
        for _ in range(4):
            spoken += await asyncio.gather(*(transferred(*group) for group in groups))
        calls = [await parts_of(each.session_id) for each in spoken]
    for said, parts in zip(spoken, calls, strict=True):
        assert [(part.number, part.end_reason) for part in parts] == [(1, "transfer"), (2, "call_ended")]
        alice, bob, carol = ("".join(part.sound.line(hz) for part in parts) for hz in (ALICE, BOB, CAROL))
        heard = f"{said}:\n{alice}\n{bob}\n{carol}"
        assert re.fullmatch(r"#+\.?#+\.?", alice), heard  # a block that is cut off at the end of a file may be quiet
        assert re.fullmatch(r"#+\.+", bob), heard
        assert re.fullmatch(r"\.+#+\.?#+\.?", carol), heard
        # The portal decides when the call is answered: before its order nothing runs.
        assert said.bob - LATE <= bob.count("#") <= said.bob + 3, heard
        assert said.carol - 2 <= carol.count("#") <= said.carol + 3, heard
