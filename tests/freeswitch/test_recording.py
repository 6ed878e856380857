"""Calls recorded on a real FreeSWITCH, as the portal ordered it; the files are listened to and looked at."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from asgiref.sync import sync_to_async

from recordings import vault
from recordings.models import Gap, Recording, RecordingFile, Segment
from tenants.models import Switch, SwitchCommand, SystemSettings, Tenant
from tests.asterisk.flows import ACME, MOBILE, TONES, blind_transfer, hang_up, leave, mobile_answers
from tests.asterisk.flows import connect as talk
from tests.asterisk.ledger import in_acme, until
from tests.asterisk.listening import Recorded
from tests.asterisk.phone import Call, Phone
from tests.freeswitch.configure import PORTS, extension_password
from tests.freeswitch.connected import PATIENCE, connected
from tests.freeswitch.film import VideoCall, VideoPhone, colours_in
from tests.freeswitch.rig import HOST, FreeSwitch, Lab, open_lab

pytestmark = [pytest.mark.freeswitch, pytest.mark.django_db(transaction=True)]

ALICE, BOB, CAROL = 500, 650, 850  # their tones
SECRET = 1250  # what must not be in a file


@dataclass(frozen=True)
class Part:
    """A segment, and its file."""

    number: int
    end_reason: str
    data: bytes

    @property
    def sound(self) -> Recorded:
        return Recorded(self.data)


@pytest.fixture
def recorded(switch: Switch) -> Tenant:
    """acme records all calls."""
    Tenant.objects.filter(schema_name="acme").update(enable_extension_audio_recording=True)
    return Tenant.objects.get(schema_name="acme")


async def until_so(is_so: Callable[[], bool]) -> None:
    await until(lambda: is_so() or None)


async def parts_of(session_id: str, medium: str = "audio") -> list[Part]:
    """The segments of a call that is over, once all files are there."""

    def complete() -> list[Part] | None:
        ended = Recording.objects.filter(switch_session_id=session_id, medium=medium).exclude(ended_at=None)
        if (recording := ended.first()) is None:
            return None
        segments = list(Segment.objects.filter(recording=recording).exclude(started_at=None).order_by("number"))
        files = {file.segment_id: file for file in RecordingFile.objects.filter(segment__in=segments)}
        if not segments or len(files) < len(segments):
            return None
        return [Part(each.number, each.end_reason, b"".join(vault.read(files[each.pk]))) for each in segments]

    return await until(complete)


async def until_recorded(session_id: str, segment: int = 1, medium: str = "audio") -> None:
    rows = Segment.objects.filter(
        recording__session_id=session_id, recording__medium=medium, number=segment, state="running"
    )
    await until_so(lambda: rows.exists())


async def dial(call: Call, code: str, session_id: str, state: str) -> None:
    """Presses a feature code, and waits until the portal has what FreeSWITCH made of it on its books."""
    await call.press(code)

    def is_so() -> bool:
        found = Recording.objects.filter(session_id=session_id)
        waiting = SwitchCommand.objects.filter(session_id=session_id, state="pending")
        return found.exists() and not found.exclude(state=state).exists() and not waiting.exists()

    await until_so(is_so)


def gaps_of(session_id: str) -> list[tuple[str, str, str]]:
    rows = Gap.objects.filter(recording__session_id=session_id, recording__medium="audio").order_by("since")
    return [(gap.reason, gap.begun_by, gap.ended_by) for gap in rows]


async def three(lab: Lab) -> tuple[Phone, Phone, Phone]:
    found = [await lab.extension(str(201 + i), tone_hz=hz) for i, hz in enumerate((ALICE, BOB, CAROL))]
    return found[0], found[1], found[2]


async def test_a_call_is_recorded_whole(freeswitch: FreeSwitch, switch: Switch, recorded: Tenant) -> None:
    async with connected(switch), open_lab() as lab:
        alice, bob, _ = await three(lab)
        caller, callee = await talk(alice, "202", bob)
        await until_recorded(callee.session_id)
        before = caller.audio.seconds_said
        await asyncio.sleep(2)
        said = caller.audio.seconds_said - before
        await hang_up(caller, callee)
        (part,) = await parts_of(callee.session_id)
        assert (part.number, part.end_reason) == (1, "call_ended")
        async with asyncio.timeout(PATIENCE):
            while list(freeswitch.recordings.iterdir()):  # it is the portal's now
                await asyncio.sleep(0.1)
    lines = part.sound.lines((ALICE, BOB, SECRET))
    assert set(lines) == {ALICE, BOB}
    for line in lines.values():
        assert re.fullmatch(r"\.?#+\.{0,2}", line), line
        assert line.count("#") >= 10 * said - 5, (said, line)


async def test_dual_tracks_have_the_caller_left(freeswitch: FreeSwitch, switch: Switch, recorded: Tenant) -> None:
    await Tenant.objects.filter(pk=recorded.pk).aupdate(record_dual_tracks=True)
    async with connected(switch), open_lab() as lab:
        alice, bob, _ = await three(lab)
        caller, callee = await talk(alice, "202", bob)
        await until_recorded(callee.session_id)
        await asyncio.sleep(1)
        await hang_up(caller, callee)
        (part,) = await parts_of(callee.session_id)
    assert [set(part.sound.lines((ALICE, BOB), lane)) for lane in (0, 1)] == [{ALICE}, {BOB}]


@pytest.mark.parametrize("style", ["skip", "silence"])
async def test_a_pause_is_not_in_the_file(freeswitch: FreeSwitch, switch: Switch, recorded: Tenant, style: str) -> None:
    """*48 by the caller, *49 by the callee: what was said between is gone, or silence."""
    await Tenant.objects.filter(pk=recorded.pk).aupdate(pause_style=style)
    async with connected(switch), open_lab() as lab:
        alice, bob, _ = await three(lab)
        caller, callee = await talk(alice, "202", bob)
        await until_recorded(callee.session_id)
        await asyncio.sleep(1)
        await dial(caller, "*48", callee.session_id, "paused")
        await caller.send_tone(SECRET)
        await callee.send_tone(SECRET)
        await asyncio.sleep(2)
        await caller.send_tone(ALICE)
        await callee.send_tone(BOB)
        await asyncio.sleep(0.3)
        await dial(callee, "*49", callee.session_id, "recording")
        await asyncio.sleep(1.5)
        await hang_up(caller, callee)
        (part,) = await parts_of(callee.session_id)
        gaps = await sync_to_async(in_acme(lambda: gaps_of(callee.session_id)))()
    assert gaps == [("paused", "phone 201", "phone 202")]
    lines = part.sound.lines((ALICE, BOB, SECRET))
    assert set(lines) == {ALICE, BOB}
    silent = any(re.search(r"#\.{20,}#", line) for line in lines.values())
    assert silent is (style == "silence"), lines


async def test_codes_start_and_stop_a_recording(freeswitch: FreeSwitch, switch: Switch) -> None:
    """Nothing is recorded by the settings; *44 begins it, *45 ends it, *44 begins a second segment."""
    async with connected(switch), open_lab() as lab:
        alice, bob, _ = await three(lab)
        caller, callee = await talk(alice, "202", bob)
        await dial(callee, "*44", callee.session_id, "recording")
        await asyncio.sleep(1)
        await dial(caller, "*45", callee.session_id, "stopped")
        await caller.send_tone(SECRET)
        await asyncio.sleep(1)
        await caller.send_tone(ALICE)
        await asyncio.sleep(0.3)
        await dial(caller, "*44", callee.session_id, "recording")
        await asyncio.sleep(1)
        await hang_up(callee, caller)
        parts = await parts_of(callee.session_id)
    assert [(part.number, part.end_reason) for part in parts] == [(1, "stopped"), (2, "call_ended")]
    for part in parts:
        assert set(part.sound.lines((ALICE, BOB, SECRET))) == {ALICE, BOB}


async def test_a_blind_transfer_is_heard_on(freeswitch: FreeSwitch, switch: Switch, recorded: Tenant) -> None:
    """A calls B, who transfers A to C."""
    async with connected(switch), open_lab() as lab:
        alice, bob, carol = await three(lab)
        caller, first = await talk(alice, "202", bob)
        await until_recorded(first.session_id)
        await asyncio.sleep(1)
        answering = asyncio.create_task(carol.answer(after=0.5))
        await blind_transfer(first, "203")
        second = await answering
        await until_recorded(first.session_id, 2)
        await asyncio.sleep(2)
        await hang_up(caller, second)
        parts = await parts_of(first.session_id)
    assert [(part.number, part.end_reason) for part in parts] == [(1, "transfer"), (2, "call_ended")]
    heard = [set(part.sound.lines((ALICE, BOB, CAROL))) for part in parts]
    assert {ALICE, BOB} <= heard[0]
    assert heard[1] == {ALICE, CAROL}


@pytest.mark.parametrize("by", ["caller", "callee"])
async def test_an_attended_transfer_is_heard_on(
    freeswitch: FreeSwitch, switch: Switch, recorded: Tenant, by: str
) -> None:
    """A and B talk; one of them asks C and joins the other two. The leg that is recorded may be the one that goes."""
    async with connected(switch), open_lab() as lab:
        alice, bob, carol = await three(lab)
        caller, first = await talk(alice, "202", bob)
        leaving, staying, phone, hz = (caller, first, alice, BOB) if by == "caller" else (first, caller, bob, ALICE)
        await until_recorded(first.session_id)
        await asyncio.sleep(1)
        await leaving.hold()
        consulting, second = await talk(phone, "203", carol)
        await leave(leaving, status=await leaving.transfer_to_call(consulting))
        await consulting.until_ended()
        await asyncio.sleep(3)
        await hang_up(staying, second)
        parts = await parts_of(first.session_id)
    assert {ALICE, BOB} <= set(parts[0].sound.lines((ALICE, BOB, CAROL)))
    last = parts[-1].sound.lines((ALICE, BOB, CAROL))
    assert set(last) == {hz, CAROL}
    assert all(line.count("#") >= 10 for line in last.values()), last


@pytest.mark.parametrize("on", [False, True])
async def test_between_external_numbers(freeswitch: FreeSwitch, switch: Switch, recorded: Tenant, on: bool) -> None:
    """The trunk calls 101, who transfers the caller to a mobile. The dialplan of the tests always stops recording then;
    the portal begins it anew when it is to go on."""
    await SystemSettings.objects.aupdate(record_external_calls=on)
    async with connected(switch), open_lab() as lab:
        extension = await lab.extension("101")
        caller, first = await talk(lab.trunk, "18800101", extension)
        await until_recorded(first.session_id)
        await asyncio.sleep(1)
        answering = asyncio.create_task(mobile_answers(lab))
        await blind_transfer(first, MOBILE)
        second = await answering
        if on:
            await until_recorded(first.session_id, 2)
        await asyncio.sleep(2)
        await hang_up(second, caller)
        parts = await parts_of(first.session_id)
    trunk, inside, mobile = TONES["trunk", ""], TONES["101", ACME], TONES["mobile", ""]
    heard = [set(part.sound.lines((trunk, inside, mobile))) for part in parts]
    assert heard == ([{trunk, inside}, {trunk, mobile}] if on else [{trunk, inside}])


async def test_a_connector_that_dies_loses_nothing(freeswitch: FreeSwitch, switch: Switch, recorded: Tenant) -> None:
    """The portal goes away while it records, and comes back: one file, and what is paused then is not in it."""
    async with open_lab() as lab:
        alice, bob, _ = await three(lab)
        async with connected(switch):
            caller, callee = await talk(alice, "202", bob)
            await until_recorded(callee.session_id)
        await asyncio.sleep(1)
        async with connected(switch):
            await dial(callee, "*48", callee.session_id, "paused")
            await caller.send_tone(SECRET)
            await asyncio.sleep(1)
            await hang_up(caller, callee)
            (part,) = await parts_of(callee.session_id)
    lines = part.sound.lines((ALICE, BOB, SECRET))
    assert set(lines) == {ALICE, BOB}
    assert all(line.count("#") >= 10 for line in lines.values()), lines


async def test_an_event_socket_that_breaks_loses_nothing(
    freeswitch: FreeSwitch, switch: Switch, recorded: Tenant
) -> None:
    """FreeSWITCH loads its event socket anew in the middle of a call."""
    async with connected(switch), open_lab() as lab:
        alice, bob, _ = await three(lab)
        caller, callee = await talk(alice, "202", bob)
        await until_recorded(callee.session_id)
        await freeswitch.ask("bgapi reload mod_event_socket")
        rows = Switch.objects.filter(pk=switch.pk, connector_state="connected")
        await until_so(lambda: not rows.exists())
        await until_so(lambda: rows.exists())
        await dial(callee, "*48", callee.session_id, "paused")
        await caller.send_tone(SECRET)
        await asyncio.sleep(1)
        await hang_up(caller, callee)
        (part,) = await parts_of(callee.session_id)
    assert set(part.sound.lines((ALICE, BOB, SECRET))) == {ALICE, BOB}


async def test_what_has_moved_to_another_leg_is_stopped_all_the_same(
    freeswitch: FreeSwitch, switch: Switch, recorded: Tenant
) -> None:
    """A's recording follows its transfer, against our advice: FreeSWITCH then knows it by no path any more."""
    async with connected(switch), open_lab() as lab:
        alice, bob, carol = await three(lab)
        caller, first = await talk(alice, "202", bob)
        await until_recorded(first.session_id)
        (leg,) = [row["uuid"] for row in await freeswitch.legs() if row["direction"] == "inbound"]
        await freeswitch.ask(f"uuid_setvar {leg} recording_follow_transfer true")
        answering = asyncio.create_task(carol.answer(after=0.5))
        await blind_transfer(caller, "203")
        second = await answering
        await asyncio.sleep(1)
        await dial(second, "*45", first.session_id, "stopped")
        runs = [await freeswitch.ask(f"uuid_buglist {row['uuid']}") for row in await freeswitch.legs()]
        assert [each for each in runs if "voxledger-" in each] == []
        await hang_up(second, first)


# --- Film ---


async def filmed(lab: Lab) -> tuple[VideoCall, VideoCall]:
    """201 shows blue, 202 green; they talk."""
    phones = []
    for number, colour, hz in (("201", "blue", ALICE), ("202", "green", BOB)):
        phone = VideoPhone(
            number, ACME, server=(HOST, PORTS["SIP_PORT"]), tone_hz=hz, password=extension_password(number, "acme")
        )
        phone.colour = colour
        lab.phones.append(phone)
        await phone.open()
        await phone.register()
        phones.append(phone)
    caller, callee = await talk(phones[0], "202", phones[1])
    assert isinstance(caller, VideoCall)
    assert isinstance(callee, VideoCall)
    return caller, callee


async def test_a_film_and_a_sound_at_once(freeswitch: FreeSwitch, switch: Switch, recorded: Tenant) -> None:
    """Both are paused and resumed by codes: of what was shown and said meanwhile neither file has anything."""
    await Tenant.objects.filter(pk=recorded.pk).aupdate(enable_extension_video_recording=True)
    async with connected(switch), open_lab() as lab:
        caller, callee = await filmed(lab)
        await until_recorded(callee.session_id)
        await until_recorded(callee.session_id, medium="video")
        await asyncio.sleep(6)
        await dial(caller, "*48", callee.session_id, "paused")
        for call in (caller, callee):
            await call.send_tone(SECRET)
            call.camera.colour = "red"
        await asyncio.sleep(3)
        for call, hz, colour in ((caller, ALICE, "blue"), (callee, BOB, "green")):
            await call.send_tone(hz)
            call.camera.colour = colour
        await asyncio.sleep(2)
        await dial(callee, "*49", callee.session_id, "recording")
        await asyncio.sleep(5)
        await hang_up(caller, callee)
        (sound,) = await parts_of(callee.session_id)
        (film,) = await parts_of(callee.session_id, "video")
    assert set(sound.sound.lines((ALICE, BOB, SECRET))) == {ALICE, BOB}
    colours = colours_in(film.data)
    assert set(colours) <= {"blue", "green"}
    assert len(colours) >= 20
