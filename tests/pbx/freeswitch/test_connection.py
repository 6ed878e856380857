"""The connector against a FreeSWITCH that goes away, comes back, refuses, records, and talks nonsense."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command

from accounts.models import Extension
from cdr.models import CDR, LiveSession
from pbx.connectors.backoff import Backoff
from pbx.connectors.base import SwitchGoneError
from pbx.freeswitch import connection as connector
from pbx.freeswitch.connection import Connector
from recordings.models import Gap, Recording, RecordingFile, Segment
from tenants import outbox
from tenants.crypto import encrypt
from tenants.models import Switch, SwitchCommand, SystemSettings, Tenant
from tenants.schemas import enter_public, in_schema
from tests.pbx.freeswitch.fake import CDRS, PASSWORD, Event, FakeFreeSwitch, fake_freeswitch, frame, told_now

pytestmark = pytest.mark.django_db(transaction=True)

REC = "/srv/freeswitch/rec"


def make_switch(address: dict[str, Any], password: str) -> Switch:
    credentials = orjson.dumps({"password": password}).decode()
    return Switch.objects.create(
        name="PBX", kind=Switch.Kind.FREESWITCH, address=address, credentials=encrypt(credentials)
    )


async def switch_of(fake: FakeFreeSwitch, password: str = PASSWORD, **more: Any) -> Switch:
    address = {"host": "127.0.0.1", "port": fake.port, "recordings_path": REC, **more}
    return await sync_to_async(make_switch)(address, password)


def quick() -> Backoff:
    return Backoff(first=0.02, limit=0.05)


@contextlib.asynccontextmanager
async def running(switch: Switch) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(Connector(switch, backoff=quick).run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def until(is_so: Callable[[], Any]) -> Any:
    """What `is_so` (in the database, or in memory) answers as soon as it answers something."""
    async with asyncio.timeout(60):
        while True:
            if found := await sync_to_async(is_so)():
                return found
            await asyncio.sleep(0.02)


async def until_state(switch: Switch, state: str, message: str = "") -> str:
    def said() -> str:
        row = Switch.objects.get(pk=switch.pk)
        if row.connector_state == state and message in row.connector_message and row.connector_seen_at:
            return row.connector_message or "-"
        return ""

    return str(await until(said))


def records() -> list[dict[str, Any]]:
    with in_schema("acme"):
        return [
            {
                "session_id": cdr.session_id,
                "call_id": cdr.call_id,
                "callee": cdr.callee,
                "reason": (cdr.end_reason, cdr.status_code),
                "incomplete": cdr.incomplete,
                "targets": [(leg.callee, leg.end_reason, leg.status_code) for leg in cdr.targets.all()],
            }
            for cdr in CDR.objects.order_by("id")
        ]


def in_progress() -> list[str]:
    with in_schema("acme"):
        return list(LiveSession.objects.filter(ended_time=None).values_list("session_id", flat=True))


def split(events: list[Event], name: str, *, after: int = 1) -> tuple[list[Event], list[Event]]:
    """The events up to the first (second, third) of that name, that one included, and the rest."""
    index = [i for i, event in enumerate(events) if event["Event-Name"] == name][after - 1]
    return events[: index + 1], events[index + 1 :]


CALL_OF_101 = {
    "session_id": "218a24f6-6349-4990-926b-96171f074ae1",
    "call_id": "05aaeb8e40e3e1ac",
    "callee": "102",
    "reason": ("caller_disconnect", 0),
    "incomplete": False,
    "targets": [("102", "caller_disconnect", 0)],
}


# --- A call ---


async def test_a_call_becomes_its_record(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            said = await until_state(switch, "connected")
            assert said == "Connected to FreeSWITCH 1.11.2-release by the event socket."
            fake.play(told_now("extension_to_extension"))
            assert await until(records) == [CALL_OF_101]
        assert await until_state(switch, "stopped") == "-"
        assert fake.subscriptions == [
            "json CHANNEL_CREATE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_BRIDGE CHANNEL_HOLD"
            " CHANNEL_UNHOLD CALL_UPDATE CHANNEL_HANGUP_COMPLETE CHANNEL_DESTROY RECORD_STOP"
            " BACKGROUND_JOB CUSTOM callcenter::info portal::target portal::control"
        ]


async def test_the_same_events_twice_are_one_record(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        events = told_now("extension_to_extension")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(events)
            await until(records)
            fake.play(events)
            await asyncio.sleep(0.3)
        assert await sync_to_async(records)() == [CALL_OF_101]


async def test_nonsense_in_the_stream_harms_no_call(tenants: None) -> None:
    nonsense = [
        frame("text/event-json", "{"),
        frame("text/event-json", '{"Event-Name":"CHANNEL_ANSWER"}'),
        frame("text/event-json", '{"Event-Name":"CHANNEL_CREATE","Unique-ID":"a b\\n\\nexit"}'),
        frame("text/event-json", '{"Event-Name":"RECORD_STOP","Record-File-Path":7}'),
        frame("text/event-plain", "Event-Name: HEARTBEAT\n"),
        frame("log/data", "x" * 100_000),
        b"Content-Type: command/reply\nReply-Text: +OK nobody asked\n\n",
        b"Content-Type: never/heard-of\n\n",
    ]
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected")
            for index, event in enumerate(told_now("extension_to_extension")):
                fake.say_bytes(nonsense[index % len(nonsense)])
                fake.play([event])
            assert CALL_OF_101 in await until(records)
            assert fake.signed_in == 1


async def test_a_stream_that_lost_its_place_is_taken_up_anew(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, after = split(told_now("extension_to_extension"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(in_progress)
            fake.say_bytes(b"Content-Length: 20\nContent-Type: text/event-json\n\n{}" + b"cut off\n" * 5 + b"\n\n")
            await until(lambda: fake.signed_in == 2)
            await until_state(switch, "connected")
            fake.play(after)
            assert await until(records) == [CALL_OF_101]


async def test_a_wrong_clock_of_the_switch_is_corrected(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        fake.clock_ahead = 3600.0
        switch = await switch_of(fake)
        events = told_now("extension_to_extension")
        for event in events:
            event["Event-Date-Timestamp"] = str(int(event["Event-Date-Timestamp"]) + 3_600_000_000)
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(events)
            assert await until(records) == [CALL_OF_101]


# --- Who may not come in, who is not there ---


async def test_a_wrong_password_is_said_and_tried_again(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake, "wrong")
        async with running(switch):
            said = await until_state(switch, "refused")
            assert said == "FreeSWITCH refused the password: see event_socket.conf.xml."
            fake.password = "wrong"
            await until_state(switch, "connected")


async def test_an_address_that_is_not_let_in_is_said(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        fake.lets_in = False
        switch = await switch_of(fake)
        async with running(switch):
            assert await until_state(switch, "refused") == (
                "FreeSWITCH lets nobody in from the portal's address: see apply-inbound-acl in event_socket.conf.xml."
            )


async def test_a_freeswitch_that_is_down_is_waited_for(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        await fake.stop()
        switch = await switch_of(fake)
        async with running(switch):
            assert await until_state(switch, "unreachable") == (
                f"The event socket at 127.0.0.1:{fake.port} cannot be reached: Connect call failed "
                f"('127.0.0.1', {fake.port})."
            )
            await fake.start()
            await until_state(switch, "connected")


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2p1\r\n\n\n", b""])
async def test_a_wrong_port_is_said(tenants: None, monkeypatch: pytest.MonkeyPatch, banner: bytes) -> None:
    monkeypatch.setattr("pbx.freeswitch.eventsocket.ANSWER_TIMEOUT", 0.3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fake = FakeFreeSwitch()
    fake.port = port
    switch = await switch_of(fake)
    async with running(switch):
        said = await until_state(switch, "unreachable")
        assert said == f"What answers at 127.0.0.1:{port} is no event socket: check the port."
    server.close()


async def test_a_freeswitch_that_falls_silent_is_left(tenants: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "PING_EVERY", 0.1)
    monkeypatch.setattr("pbx.freeswitch.eventsocket.ANSWER_TIMEOUT", 1.0)
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected")
            fake.answers_pings = False
            assert await until_state(switch, "unreachable") in {
                "FreeSWITCH did not answer strepoch within 1 s.",
                "The event socket connection broke.",
                "FreeSWITCH closed the event socket connection.",
            }
            fake.answers_pings = True
            await until_state(switch, "connected")


async def test_settings_that_change_are_followed_and_a_switch_that_is_gone_is_left(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await sync_to_async(make_switch)({}, PASSWORD)
        task = asyncio.create_task(Connector(switch, backoff=quick).run(asyncio.Event()))
        said = await until_state(switch, "unconfigured")
        assert said == "The switch PBX has no host: fill it in under Switches."
        address = {"host": "127.0.0.1", "port": fake.port}
        await sync_to_async(Switch.objects.filter(pk=switch.pk).update)(address=address)
        await until_state(switch, "connected")
        await sync_to_async(Switch.objects.filter(pk=switch.pk).update)(enabled=False)
        with pytest.raises(SwitchGoneError, match="is switched off"):
            await asyncio.wait_for(task, 15)


def test_connect_takes_a_freeswitch_and_no_switch_that_calls_by_itself(tenants: None) -> None:
    off = make_switch({}, PASSWORD)
    Switch.objects.filter(pk=off.pk).update(enabled=False)
    with pytest.raises(CommandError, match="is switched off"):
        call_command("connect", "PBX")
    Switch.objects.create(name="Other", kind=Switch.Kind.HTTP)
    with pytest.raises(CommandError, match="nothing has to be connected"):
        call_command("connect", "Other")


# --- After a gap ---


async def test_a_call_goes_on_while_the_connection_breaks(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, after = split(told_now("extension_to_extension"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(in_progress)
            fake.cut()
            await until(lambda: fake.signed_in == 2)
            fake.said_before_list = []
            await until_state(switch, "connected")
            fake.play(after)
            assert await until(records) == [CALL_OF_101]


async def test_a_new_connector_takes_calls_as_they_are(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, after = split(told_now("extension_to_extension"), "CHANNEL_BRIDGE")
        fake.play(before)
        async with running(switch):
            await until(in_progress)
            fake.play(after)
            assert await until(records) == [CALL_OF_101]


async def test_a_call_that_is_over_is_not_in_progress_because_a_list_still_has_it(tenants: None) -> None:
    """FreeSWITCH takes a leg off its list of channels some time after it is gone."""
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, _ = split(told_now("extension_to_extension"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(in_progress)
            fake.gone = [*fake.live, "never-heard-of"]
            fake.live.clear()
            fake.cut()
            lost = CALL_OF_101 | {"reason": ("", 0), "incomplete": True, "targets": [("102", "", 0)]}
            assert await until(records) == [lost]


async def test_a_call_is_launched_and_confirmed(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        fake.extensions = {"101": "acme"}
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected")
            rows = [await sync_to_async(ordered)(switch, session_id) for session_id in ("77", "78")]
            await until(lambda: len([each for each in fake.commands if each.startswith("bgapi")]) == 2)
            for session_id, said in (("77", "+OK 0d1e\n"), ("78", "-ERR USER_BUSY\n")):
                fake.commands.append(next(each for each in fake.commands if f"voxledger_launch={session_id}," in each))
                fake.end_job(said)
            for row, ended in zip(rows, [("done", ""), ("failed", "The extension 101 is busy.")], strict=True):
                await until(lambda row=row: SwitchCommand.objects.get(pk=row.pk).state != "pending")
                found = await SwitchCommand.objects.aget(pk=row.pk)
                assert (found.state, found.reason) == ended


def ordered(switch: Switch, session_id: str) -> SwitchCommand:
    return outbox.enqueue(
        switch,
        tenant_id=Tenant.objects.get(schema_name="acme").pk,
        command=SwitchCommand.Command.LAUNCH,
        session_id=session_id,
        options={"domain": "acme.test", "caller": "101", "callee": "102", "user_data": ""},
    )


async def test_a_freeswitch_that_restarts_ends_its_calls(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, _ = split(told_now("extension_to_extension"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(in_progress)
            await fake.stop()
            fake.live.clear()
            await until_state(switch, "unreachable")
            await fake.start()
            lost = CALL_OF_101 | {"reason": ("", 0), "incomplete": True, "targets": [("102", "", 0)]}
            assert await until(records) == [lost]


async def test_a_call_that_ended_unseen_is_told_by_its_json_cdrs(tenants: None, tmp_path: Path) -> None:
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake, cdr_folder=str(tmp_path))
        events = told_now("ivr_queue_agent")
        before, _ = split(events, "CHANNEL_ANSWER")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(in_progress)
            await fake.stop()
            fake.live.clear()
            await until_state(switch, "unreachable")
            write_cdrs(tmp_path, events)
            await fake.start()
            assert await until(records) == [
                {
                    "session_id": "7001254c-c356-4a47-bac5-a3016b558616",
                    "call_id": "1-17648@127.0.0.1",
                    "callee": "5000",
                    "reason": ("callee_disconnect", 0),
                    "incomplete": False,
                    "targets": [("5000", "referred", 0), ("8000", "referred", 0), ("102", "", 0), ("103", "", 0)],
                }
            ]


def write_cdrs(folder: Path, events: Sequence[Event]) -> None:
    """The captured files, as if the call were that of `events`."""
    shift = int(events[-1]["Event-Date-Timestamp"]) - 1795382048350450
    for path in CDRS.iterdir():
        text = path.read_text()
        for stamp in {word for word in text.replace('"', " ").split() if word.isdigit() and len(word) == 16}:
            text = text.replace(stamp, str(int(stamp) + shift))
        (folder / path.name).write_text(text)


# --- Recording ---


def wants(*, audio: bool = False, video: bool = False, external: bool = True) -> None:
    """What 103 has switched on."""
    with in_schema("acme"):
        for number in ("101", "103"):
            Extension.objects.create(number=number, record_audio=audio, record_video=video)
    enter_public()
    SystemSettings.objects.update_or_create(pk=1, defaults={"record_external_calls": external})


def ids() -> dict[str, int]:
    with in_schema("acme"):
        return {row.medium: row.pk for row in Recording.objects.all()}


def segments() -> list[tuple[str, int, str]]:
    with in_schema("acme"):
        rows = Segment.objects.order_by("recording__medium", "number")
        return [(row.recording.medium, row.number, row.state) for row in rows.select_related("recording")]


def gaps() -> list[tuple[str, str, str, bool]]:
    with in_schema("acme"):
        rows = Gap.objects.order_by("recording__medium", "id").select_related("recording")
        return [(row.recording.medium, row.medium, row.reason, row.until is not None) for row in rows]


def files() -> list[tuple[str, int]]:
    with in_schema("acme"):
        return [(row.content_type, row.said_segment) for row in RecordingFile.objects.order_by("content_type", "id")]


def spoken(fake: FakeFreeSwitch, name: str) -> list[str]:
    """The commands about one file, in short: the verb, and the leg's first four characters."""
    words = [command.split(" ") for command in fake.commands if command.startswith("uuid_record")]
    return [f"{leg[:4]} {verb}" for _, leg, verb, path, *_ in words if path in (f"{REC}/{name}", "all")]


def code(events: Sequence[Event], dialled: str) -> Event:
    """The callee dials a code: the captured event of our dialplan, on the leg that it belongs to."""
    [leg] = {each["Unique-ID"] for each in events if each["Event-Name"] == "CHANNEL_ANSWER"} - {events[0]["Unique-ID"]}
    control = next(event for event in told_now("feature_codes") if event.get("Event-Subclass") == "portal::control")
    return control | {"Unique-ID": leg, "Call-Direction": "outbound", "code": dialled, "variable_x_session_id": ""}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_film_and_a_sound_are_recorded_paused_resumed_and_fetched(tenants: None, shared: Path) -> None:
    await sync_to_async(wants)(audio=True, video=True)
    async with fake_freeswitch() as fake:
        fake.folder = shared
        switch = await switch_of(fake, recordings_folder=str(shared))
        before, after = split(told_now("wav_and_mp4"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(lambda: segments() == [("audio", 1, "running"), ("video", 1, "running")])
            known = await sync_to_async(ids)()
            wav, mp4 = f"voxledger-{known['audio']}-1.wav", f"voxledger-{known['video']}-1.mp4"
            assert fake.recording == {f"{REC}/{wav}": before[0]["Unique-ID"], f"{REC}/{mp4}": before[0]["Unique-ID"]}
            assert (
                f"uuid_record {before[0]['Unique-ID']} start {REC}/{wav} 0"
                f" {{voxledger_recording={known['audio']},voxledger_segment=1}}" in fake.commands
            )
            fake.play([code(before, "*48")])
            await until(lambda: len(spoken(fake, mp4)) >= 2 and len(spoken(fake, wav)) >= 2)
            await asyncio.sleep(0.4)
            fake.play([code(before, "*49")])
            await until(lambda: gaps() and all(over for *_, over in gaps()))
            for path in list(fake.recording):
                fake.end_recording(path, **{"Hangup-Cause": "NORMAL_CLEARING"})
            fake.play(after)
            await until(lambda: len(files()) == 2)
            assert spoken(fake, wav)[0].endswith("start")
            assert [each.partition(" ")[2] for each in spoken(fake, wav)] == ["start", "pause", "resume"]
            assert [each.partition(" ")[2] for each in spoken(fake, mp4)] == [
                "start",
                "mask",
                "pause",
                "unmask",
                "resume",
            ]
            assert "mask" not in " ".join(spoken(fake, wav))
            await until(lambda: not list(shared.iterdir()))
        assert await sync_to_async(files)() == [("audio/wav", 1), ("video/mp4", 1)]
        assert await sync_to_async(segments)() == [("audio", 1, "ended"), ("video", 1, "ended")]


async def test_between_outside_numbers_recording_ends_and_the_dialplans_own_stop_is_no_fault(
    tenants: None, shared: Path
) -> None:
    await sync_to_async(wants)(audio=True, external=False)
    async with fake_freeswitch() as fake:
        fake.folder = shared
        switch = await switch_of(fake, recordings_folder=str(shared))
        before, rest = split(told_now("dialplan_stops_recording"), "CHANNEL_BRIDGE")
        transfer, after = split(rest, "CHANNEL_UNBRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(lambda: segments() == [("audio", 1, "running")])
            [path] = fake.recording
            fake.play(transfer)
            fake.end_recording(path, variable_voxledger_stopped="external numbers")
            fake.play(after)
            await until(records)
            await until(files)
        assert await sync_to_async(segments)() == [("audio", 1, "ended")]
        assert await sync_to_async(lambda: problem())() == ""
        assert [verb.partition(" ")[2] for verb in spoken(fake, Path(path).name)] == ["start"]


def problem() -> str:
    with in_schema("acme"):
        return Recording.objects.get().problem


async def test_a_recording_that_somebody_else_stops_is_begun_again(tenants: None, shared: Path) -> None:
    await sync_to_async(wants)(audio=True)
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, after = split(told_now("ivr_queue_agent"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(lambda: segments() == [("audio", 1, "running")])
            [path] = fake.recording
            fake.end_recording(path)
            await until(lambda: segments() == [("audio", 1, "ended"), ("audio", 2, "running")])
            assert await sync_to_async(problem)() == (
                "The switch stopped recording by itself: FreeSWITCH stopped it without being asked."
            )
            fake.play(after)
            await until(records)


async def test_what_cannot_be_paused_is_stopped_wherever_it_has_gone(tenants: None) -> None:
    await sync_to_async(wants)(audio=True)
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, after = split(told_now("wav_and_mp4"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(lambda: segments() == [("audio", 1, "running")])
            [(path, leg)] = fake.recording.items()
            [other] = set(fake.live) - {leg}
            fake.recording[path] = other  # recording_follow_transfer has moved it
            fake.play([code(before, "*48")])
            await until(lambda: not fake.recording)
            await until(lambda: segments() == [("audio", 1, "ended")])
            assert spoken(fake, Path(path).name) == [
                f"{leg[:4]} start",
                f"{leg[:4]} pause",
                f"{leg[:4]} stop",
                f"{leg[:4]} stop",
                f"{other[:4]} stop",
            ]
            assert (await sync_to_async(problem)()).startswith(
                "The switch could not pause, so the recording was stopped: FreeSWITCH refused uuid_record:"
            )
            assert await sync_to_async(gaps)() == [("audio", "audio", "paused", False)]
            fake.play(after)
            await until(records)


async def test_a_recording_that_cannot_begin_says_why(tenants: None) -> None:
    await sync_to_async(wants)(audio=True)
    async with fake_freeswitch() as fake:
        fake.refuses = lambda command: command.startswith("uuid_record")
        switch = await switch_of(fake)
        before, after = split(told_now("wav_and_mp4"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(lambda: segments() == [("audio", number, "failed") for number in (1, 2, 3)])
            assert await sync_to_async(problem)() == (
                "The switch could not start recording: FreeSWITCH refused uuid_record: Refused."
            )
            fake.play(after)
            await until(records)


async def test_a_new_connector_knows_what_the_former_one_records(tenants: None, shared: Path) -> None:
    await sync_to_async(wants)(audio=True)
    async with fake_freeswitch() as fake:
        fake.folder = shared
        switch = await switch_of(fake, recordings_folder=str(shared))
        before, after = split(told_now("wav_and_mp4"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(lambda: segments() == [("audio", 1, "running")])
        [path] = fake.recording
        (shared / Path(path).name).write_bytes(b"RIFF" + (0).to_bytes(4, "little"))  # it is being written
        async with running(switch):
            await until_state(switch, "connected")
            fake.play([code(before, "*48")])
            await until(lambda: any(each.endswith("pause") for each in spoken(fake, Path(path).name)))
            await asyncio.sleep(1.5)
            assert await sync_to_async(files)() == []
            fake.end_recording(path, **{"Hangup-Cause": "NORMAL_CLEARING"})
            fake.play(after)
            await until(lambda: files() == [("audio/wav", 1)])


async def test_a_recording_that_ended_unseen_is_begun_again(tenants: None) -> None:
    await sync_to_async(wants)(audio=True)
    async with fake_freeswitch() as fake:
        switch = await switch_of(fake)
        before, after = split(told_now("ivr_queue_agent"), "CHANNEL_BRIDGE")
        async with running(switch):
            await until_state(switch, "connected")
            fake.play(before)
            await until(lambda: segments() == [("audio", 1, "running")])
            fake.recording.clear()
            fake.cut()
            await until(lambda: segments() == [("audio", 1, "ended"), ("audio", 2, "running")])
            assert await sync_to_async(problem)() == (
                "The switch stopped recording by itself: FreeSWITCH does not record it any more."
            )
            fake.play(after)
            await until(records)


async def test_files_of_others_and_files_that_cannot_be_read_stay(tenants: None, shared: Path) -> None:
    async with fake_freeswitch() as fake:
        (shared / "voxledger-4711-1.wav").write_bytes(b"RIFF" + (0).to_bytes(4, "little"))
        (shared / "own.wav").write_bytes(b"")
        switch = await switch_of(fake, recordings_folder=str(shared))
        async with running(switch):
            await until_state(switch, "connected")
            await asyncio.sleep(1.2)
            assert sorted(path.name for path in shared.iterdir()) == ["own.wav", "voxledger-4711-1.wav"]
            shutil.rmtree(shared)
            said = await until_state(switch, "connected", "Recordings wait")
            assert said.startswith("Connected to FreeSWITCH 1.11.2-release by the event socket. Recordings wait")


async def test_json_of_a_leg_that_is_odd_ends_no_connection(tenants: None) -> None:
    async with fake_freeswitch() as fake:
        fake.live["a b"] = {"Call-Direction": "inbound"}
        fake.live["aaaa"] = {"Call-Direction": "inbound", "many": json.loads("[1]")}
        switch = await switch_of(fake)
        async with running(switch):
            await until_state(switch, "connected")
            assert fake.signed_in == 1
