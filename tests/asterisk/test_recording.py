"""Calls recorded on a real Asterisk, as the portal ordered it; the files are listened to."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from recordings import vault
from recordings.models import Gap, Recording, RecordingFile, Segment
from tenants.models import Switch, SwitchCommand, SystemSettings, Tenant
from tests.asterisk.connected import connected
from tests.asterisk.flows import ACME, MOBILE, TONES, Lab, blind_transfer, hang_up, leave, mobile_answers, open_lab
from tests.asterisk.flows import connect as talk
from tests.asterisk.ledger import in_acme, until
from tests.asterisk.listening import Recorded
from tests.asterisk.phone import Call, Phone
from tests.asterisk.rig import Asterisk

pytestmark = [pytest.mark.asterisk, pytest.mark.django_db(transaction=True)]

ALICE, BOB, CAROL = 500, 650, 850  # their tones
NAMES = {"alice": ALICE, "bob": BOB, "carol": CAROL}
SECRET = 1250  # what must not be in a file


@pytest.fixture
def recorded(switch: Switch) -> Tenant:
    """acme records all calls."""
    Tenant.objects.filter(schema_name="acme").update(enable_extension_audio_recording=True)
    return Tenant.objects.get(schema_name="acme")


@dataclass(frozen=True)
class Part:
    """A segment, and what is heard in its file."""

    recording_id: int
    number: int
    end_reason: str
    sound: Recorded


async def parts_of(session_id: str) -> list[Part]:
    """The segments of a call that is over, once all files are there."""

    def complete() -> list[Part] | None:
        ended = Recording.objects.filter(switch_session_id=session_id, medium="audio").exclude(ended_at=None)
        if (recording := ended.first()) is None:
            return None
        segments = list(Segment.objects.filter(recording=recording).exclude(started_at=None).order_by("number"))
        files = {file.segment_id: file for file in RecordingFile.objects.filter(segment__in=segments)}
        if not segments or len(files) < len(segments):
            return None
        return [
            Part(
                recording.pk,
                each.number,
                each.end_reason,
                Recorded(b"".join(vault.read(files[each.pk]))),
            )
            for each in segments
        ]

    return await until(complete)


async def three(lab: Lab, number: int) -> tuple[Phone, Phone, Phone]:
    tones = (ALICE, BOB, CAROL)
    return tuple([await lab.extension(str(number + i), tone_hz=hz) for i, hz in enumerate(tones)])  # type: ignore[return-value]


async def until_recorded(session_id: str, segment: int) -> datetime:
    """Waits until the switch has confirmed it, however busy the test machine is; since when it runs."""

    def since() -> datetime | None:
        running = Segment.objects.filter(recording__session_id=session_id, number=segment, state="running")
        return running.values_list("started_at", flat=True).first()

    return await until(since)


async def until_stopped(session_id: str) -> None:
    """Waits until the switch has confirmed that nothing of the call is recorded any more."""

    def is_so() -> bool | None:
        found = Recording.objects.filter(session_id=session_id, medium="audio", state="stopped")
        confirmed = not SwitchCommand.objects.filter(session_id=session_id, state="pending").exists()
        return (found.exists() and confirmed) or None

    await until(is_so)


def share(line: str) -> float:
    """How much of a line sounds. A phone on a busy machine may falter, and the last block may be cut off."""
    return line.count("#") / max(1, len(line))


def longest_silence(line: str) -> float:
    """In seconds, between the first sound and the last."""
    return max(map(len, line.strip(".").split("#"))) / 10


@dataclass(frozen=True)
class Spoken:
    """How much two of the parties of a call have said, by their phones, in tenths of a second, since it was known that
    they are recorded."""

    session_id: str
    bob: int
    carol: int


async def transferred(alice: Phone, bob: Phone, carol: Phone) -> Spoken:
    """A calls B, who transfers A to C; C answers, they talk, A hangs up."""
    caller, first = await talk(alice, bob.number, bob)
    await until_recorded(first.session_id, 1)
    before = first.audio.seconds_said
    await asyncio.sleep(1)
    bobs = first.audio.seconds_said - before
    answering = asyncio.create_task(carol.answer(after=0.5))
    await blind_transfer(first, carol.number)
    second = await answering
    await until_recorded(first.session_id, 2)
    before = second.audio.seconds_said
    await asyncio.sleep(3)
    carols = second.audio.seconds_said - before
    await hang_up(caller, second)
    return Spoken(first.session_id, round(10 * bobs), round(10 * carols))


async def test_no_voice_is_lost_after_a_blind_transfer(asterisk: Asterisk, switch: Switch, recorded: Tenant) -> None:
    """Twenty calls, four at a time. One MixMonitor for the whole call lost the third party in every other one."""
    async with connected(switch), open_lab(asterisk) as lab:
        groups = [await three(lab, 201 + 3 * each) for each in range(4)]
        spoken: list[Spoken] = []
        for _ in range(5):
            spoken += await asyncio.gather(*(transferred(*group) for group in groups))
        calls = [await parts_of(each.session_id) for each in spoken]
    for said, parts in zip(spoken, calls, strict=True):
        assert [(part.number, part.end_reason) for part in parts] == [(1, "transfer"), (2, "call_ended")]
        heard = [{name: part.sound.line(hz) for name, hz in NAMES.items()} for part in parts]
        assert all(share(part["alice"]) > 0.8 for part in heard), heard
        assert heard[0]["bob"].count("#") >= 0.8 * said.bob - 2, heard
        assert heard[1]["carol"].count("#") >= 0.8 * said.carol - 2, heard
        assert share(heard[1]["carol"][-12:-2]) >= 0.5, heard  # to the end
        assert share(heard[1]["bob"]) == 0, heard


async def dial(call: Call, code: str, session_id: str, state: str) -> None:
    """Presses a feature code, and waits until the portal has what Asterisk made of it on its books."""
    await call.press(code)

    def is_so() -> bool | None:
        found = Recording.objects.filter(session_id=session_id, medium="audio", state=state)
        confirmed = not SwitchCommand.objects.filter(session_id=session_id, state="pending").exists()
        return (found.exists() and confirmed) or None

    await until(is_so)


def gaps_of(session_id: str) -> list[tuple[str, str, str]]:
    rows = Gap.objects.filter(recording__session_id=session_id, recording__medium="audio").order_by("since")
    return [(gap.reason, gap.begun_by, gap.ended_by) for gap in rows]


def pause_of(session_id: str) -> float:
    gap = Gap.objects.get(recording__session_id=session_id, recording__medium="audio")
    assert gap.until
    return (gap.until - gap.since).total_seconds()


@pytest.mark.parametrize("style", ["skip", "silence"])
async def test_a_pause_is_not_in_the_file(asterisk: Asterisk, switch: Switch, recorded: Tenant, style: str) -> None:
    """*48 by the caller, *49 by the callee: what was said between is gone, or silence."""
    await Tenant.objects.filter(pk=recorded.pk).aupdate(pause_style=style)
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob, _ = await three(lab, 201)
        caller, callee = await talk(alice, "202", bob)
        await until_recorded(callee.session_id, 1)
        await asyncio.sleep(1)
        await dial(caller, "*48", callee.session_id, "paused")
        await caller.send_tone(SECRET)
        await callee.send_tone(SECRET)
        await asyncio.sleep(2)
        await caller.send_tone(ALICE)
        await callee.send_tone(BOB)
        await asyncio.sleep(0.2)
        await dial(callee, "*49", callee.session_id, "recording")
        await asyncio.sleep(1.5)
        await hang_up(caller, callee)
        (part,) = await parts_of(callee.session_id)
        gaps = await sync_to_async(in_acme(lambda: gaps_of(callee.session_id)))()
        lasted = await sync_to_async(in_acme(lambda: pause_of(callee.session_id)))()
    assert gaps == [("paused", "phone 201", "phone 202")]
    lines = part.sound.lines((ALICE, BOB, SECRET))
    assert set(lines) == {ALICE, BOB}
    assert lasted > 2
    expected = lasted if style == "silence" else 0
    for line in lines.values():
        assert abs(longest_silence(line) - expected) < 1, (lasted, lines)


async def test_codes_start_and_stop_a_recording(asterisk: Asterisk, switch: Switch, tenants: None) -> None:
    """Nothing is recorded by the settings; *44 begins it, *45 ends it, *44 begins a second segment."""
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob, _ = await three(lab, 201)
        caller, callee = await talk(alice, "202", bob)
        await dial(callee, "*44", callee.session_id, "recording")
        await asyncio.sleep(1)
        await dial(caller, "*45", callee.session_id, "stopped")
        await caller.send_tone(SECRET)
        await asyncio.sleep(1)
        await caller.send_tone(ALICE)
        await asyncio.sleep(0.2)
        await dial(caller, "*44", callee.session_id, "recording")
        await asyncio.sleep(1)
        await hang_up(callee, caller)
        parts = await parts_of(callee.session_id)
        gaps = await sync_to_async(in_acme(lambda: gaps_of(callee.session_id)))()
    assert [(part.number, part.end_reason) for part in parts] == [(1, "stopped"), (2, "call_ended")]
    assert [reason for reason, _, _ in gaps] == ["stopped"]
    for part in parts:
        assert set(part.sound.lines((ALICE, BOB, SECRET))) == {ALICE, BOB}


async def test_dual_tracks_have_the_caller_left(asterisk: Asterisk, switch: Switch, recorded: Tenant) -> None:
    await Tenant.objects.filter(pk=recorded.pk).aupdate(record_dual_tracks=True)
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob, _ = await three(lab, 201)
        caller, callee = await talk(alice, "202", bob)
        await until_recorded(callee.session_id, 1)
        await asyncio.sleep(1)
        await hang_up(caller, callee)
        (part,) = await parts_of(callee.session_id)
    assert [set(part.sound.lines((ALICE, BOB), lane)) for lane in (0, 1)] == [{ALICE}, {BOB}]


@pytest.mark.parametrize("on", [False, True])
async def test_between_external_numbers(asterisk: Asterisk, switch: Switch, recorded: Tenant, on: bool) -> None:
    """The trunk calls 101, who transfers the caller to a mobile: it is recorded on, or stopped for good."""
    await SystemSettings.objects.aupdate(record_external_calls=on)
    async with connected(switch), open_lab(asterisk) as lab:
        extension = await lab.extension("101")
        caller, first = await talk(lab.trunk, "18800101", extension)
        await until_recorded(first.session_id, 1)
        await asyncio.sleep(1)
        answering = asyncio.create_task(mobile_answers(lab))
        await blind_transfer(first, MOBILE)
        second = await answering
        await (until_recorded(first.session_id, 2) if on else until_stopped(first.session_id))
        await second.send_tone(SECRET)
        await asyncio.sleep(2)
        await hang_up(second, caller)
        parts = await parts_of(first.session_id)
    outside, inside = TONES["trunk", ""], TONES["101", ACME]
    heard = [part.sound.lines((outside, inside, SECRET)) for part in parts]
    assert {outside, inside} <= set(heard[0])
    if on:
        assert [part.end_reason for part in parts] == ["transfer", "call_ended"]
        assert set(heard[1]) == {outside, SECRET}
        assert heard[1][SECRET].count("#") >= 10
    else:
        assert [part.end_reason for part in parts] == ["external_numbers"]
        assert SECRET not in heard[0]


def segment_since(session_id: str, moment: datetime) -> Segment | None:
    """One that was begun since then and still runs."""
    running = Segment.objects.filter(recording__switch_session_id=session_id, state="running", started_at__gt=moment)
    return running.first()


async def test_an_attended_transfer_goes_on_with_both(asterisk: Asterisk, switch: Switch, recorded: Tenant) -> None:
    """A calls B, who asks C and joins the two."""
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob, carol = await three(lab, 201)
        caller, first = await talk(alice, "202", bob)
        await until_recorded(first.session_id, 1)
        await asyncio.sleep(1)
        await first.hold()
        consulting, second = await talk(bob, "203", carol)
        moment = timezone.now()
        await leave(first, status=await first.transfer_to_call(consulting))
        await consulting.until_ended()
        await until(lambda: segment_since(first.session_id, moment))
        await asyncio.sleep(2.5)
        await hang_up(caller, second)
        parts = await parts_of(first.session_id)
    assert {ALICE, BOB} <= set(parts[0].sound.lines((ALICE, BOB, CAROL)))
    last = parts[-1].sound.lines((ALICE, BOB, CAROL))
    assert set(last) == {ALICE, CAROL}
    assert all(line.count("#") >= 15 for line in last.values()), last


async def test_a_party_that_begins_another_stream_is_heard_on(
    asterisk: Asterisk, switch: Switch, recorded: Tenant
) -> None:
    """A's phone goes on with sequence numbers that Asterisk takes for late packets, as the far end of a trunk may."""
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob, _ = await three(lab, 201)
        caller, callee = await talk(alice, "202", bob)
        await until_recorded(callee.session_id, 1)
        await asyncio.sleep(1)
        caller.audio.begin_another_stream(sequence=caller.audio.sequence - 20_000)
        await asyncio.sleep(8)  # it is looked for every two seconds; else it would be missing for minutes
        await hang_up(caller, callee)
        (part,) = await parts_of(callee.session_id)
    lines = part.sound.lines((ALICE, BOB))
    assert share(lines[ALICE][-22:-2]) > 0.8, lines
    assert share(lines[BOB]) > 0.8, lines


async def test_a_connector_that_dies_loses_nothing(asterisk: Asterisk, switch: Switch, recorded: Tenant) -> None:
    """The portal goes away while it records, and comes back: one file, with what was said meanwhile."""
    async with open_lab(asterisk) as lab:
        alice, bob, _ = await three(lab, 201)
        async with connected(switch):
            caller, callee = await talk(alice, "202", bob)
            await until_recorded(callee.session_id, 1)
        await asyncio.sleep(1.5)
        async with connected(switch):
            await asyncio.sleep(1)
            await hang_up(caller, callee)
            (part,) = await parts_of(callee.session_id)
    for line in part.sound.lines((ALICE, BOB)).values():
        assert len(line) >= 20, line
        assert share(line) > 0.8, line


async def test_a_call_that_ended_unseen_is_fetched_later(asterisk: Asterisk, switch: Switch, recorded: Tenant) -> None:
    async with open_lab(asterisk) as lab:
        alice, bob, _ = await three(lab, 201)
        async with connected(switch):
            caller, callee = await talk(alice, "202", bob)
            await until_recorded(callee.session_id, 1)
        await asyncio.sleep(1)
        await hang_up(caller, callee)
        async with connected(switch):
            (part,) = await parts_of(callee.session_id)
    assert set(part.sound.lines((ALICE, BOB))) == {ALICE, BOB}
    left = [path.name for path in (asterisk.recordings / "voxledger").glob(f"{part.recording_id}-*")]
    assert left == []
