"""Orders and what becomes of them on a FreeSWITCH, over TCP."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pbx.connectors.orders import Command, Order
from pbx.freeswitch.access import Access
from pbx.freeswitch.eventsocket import signed_in
from pbx.freeswitch.recorder import NO_VIDEO, NOT_CONNECTED, NOT_RECORDING, OUT_OF_REACH, Recorder
from pbx.freeswitch.state import Member
from pbx.freeswitch.takes import Take
from tests.pbx.freeswitch.fake import FakeFreeSwitch, fake_freeswitch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAV, MP4 = "/rec/voxledger-7-1.wav", "/rec/voxledger-8-1.mp4"
LEGS = {uuid: {"Event-Name": "CHANNEL_ANSWER", "Call-Direction": "inbound"} for uuid in ("aaaa", "bbbb")}


@dataclass
class Desk:
    fake: FakeFreeSwitch
    recorder: Recorder
    members: dict[str, list[Member]] = field(default_factory=dict)

    async def order(self, command: Command, medium: str = "audio", recording_id: str = "7", **more: Any) -> str | None:
        """The reason of its refusal; empty when it was carried out, None when it is to be given again."""
        self.fake.commands.clear()
        order = Order(
            1, command, 1, "s", recording_id, 1, medium, **{"dual_tracks": False, "keeps_pauses": False} | more
        )
        outcome = await self.recorder.obey(order)
        return outcome.reason if outcome else None


@contextlib.asynccontextmanager
async def desk(running: tuple[Take, ...] = (), recording: dict[str, str] | None = None) -> AsyncIterator[Desk]:
    """Two are connected in the call `s`, with video."""
    async with fake_freeswitch() as fake:
        fake.live |= LEGS
        fake.recording |= recording or {}
        members = {"s": [Member("aaaa", has_video=True), Member("bbbb", has_video=True)]}
        recorder = Recorder(members.get)
        recorder.folder = "/rec"
        async with signed_in(Access("127.0.0.1", fake.port, fake.password), lambda message: None) as socket:
            await recorder.connect(socket, running)
            yield Desk(fake, recorder, members)


async def test_a_recording_hangs_on_the_callers_leg_and_bears_its_id() -> None:
    async with desk() as at:
        assert await at.order(Command.START, dual_tracks=True) == ""
        assert at.fake.commands == [
            "uuid_setvar aaaa RECORD_STEREO true",
            f"uuid_record aaaa start {WAV} 0 {{voxledger_recording=7,voxledger_segment=1}}",
        ]
        assert await at.order(Command.START) == ""  # it comes again when its answer was lost
        assert at.fake.commands == []
        assert await at.order(Command.STOP) == ""
        assert at.fake.commands == [f"uuid_record aaaa stop {WAV}"]
        assert at.recorder.segments() == set()


async def test_when_the_caller_has_left_it_hangs_on_the_first_who_is_left() -> None:
    async with desk() as at:
        at.members["s"] = at.members["s"][1:]
        await at.order(Command.START)
        assert at.fake.recording == {WAV: "bbbb"}


async def test_a_pause_is_cut_out_or_silence_and_a_film_is_never_masked() -> None:
    said = {}
    async with desk() as at:
        for keeps in (False, True):
            await at.order(Command.START, keeps_pauses=keeps)
            await at.order(Command.START, "video", "8", keeps_pauses=keeps)
            for medium, recording_id in (("audio", "7"), ("video", "8"), ("audio", "8")):
                for command in (Command.PAUSE, Command.RESUME):
                    assert await at.order(command, medium, recording_id) == ""
                    [sent] = at.fake.commands
                    said[keeps, medium, recording_id, command.name] = sent.split(" ", 2)[2]
            await at.order(Command.STOP)
            await at.order(Command.STOP, "video", "8")
    assert said == {
        (False, "audio", "7", "PAUSE"): f"pause {WAV}",
        (False, "audio", "7", "RESUME"): f"resume {WAV}",
        (False, "video", "8", "PAUSE"): f"pause {MP4}",
        (False, "video", "8", "RESUME"): f"resume {MP4}",
        (False, "audio", "8", "PAUSE"): f"mask {MP4}",
        (False, "audio", "8", "RESUME"): f"unmask {MP4}",
        (True, "audio", "7", "PAUSE"): f"mask {WAV}",
        (True, "audio", "7", "RESUME"): f"unmask {WAV}",
        (True, "video", "8", "PAUSE"): f"pause {MP4}",
        (True, "video", "8", "RESUME"): f"resume {MP4}",
        (True, "audio", "8", "PAUSE"): f"mask {MP4}",
        (True, "audio", "8", "RESUME"): f"unmask {MP4}",
    }


async def test_what_cannot_be_is_said() -> None:
    async with desk() as at:
        assert await at.order(Command.PAUSE) == NOT_RECORDING
        assert await at.order(Command.RESUME) == NOT_RECORDING
        assert await at.order(Command.STOP) == ""  # it is so already
        at.members["s"] = [Member("aaaa", has_video=False)]
        assert await at.order(Command.START, "video", "8") == NO_VIDEO
        at.members["s"] = []
        assert await at.order(Command.START) == NOT_CONNECTED
        at.members["s"] = [Member("gone", has_video=False)]
        assert await at.order(Command.START) == "FreeSWITCH refused uuid_setvar: No such channel."
        assert at.recorder.segments() == set()


async def test_out_of_reach_only_a_pause_is_answered() -> None:
    async with desk() as at:
        await at.order(Command.START)
        at.recorder.disconnect()
        assert await at.order(Command.PAUSE) == OUT_OF_REACH
        for command in (Command.START, Command.RESUME, Command.STOP):
            assert await at.order(command) is None
        assert at.recorder.segments() == {("7", 1)}


async def test_an_answer_that_is_no_ok_is_none() -> None:
    async with desk() as at:
        at.fake._record = lambda uuid, verb, path: ""  # type: ignore[method-assign]
        assert await at.order(Command.START) == "FreeSWITCH refused uuid_record: nothing said."


def stop(path: str, **more: str) -> dict[str, Any]:
    return {"Event-Name": "RECORD_STOP", "Record-File-Path": path, **more}


async def test_a_recording_that_ends_with_its_leg_is_no_fault() -> None:
    async with desk() as at:
        await at.order(Command.START)
        assert at.recorder.hear_stop(stop("/other.wav"), "s", NOW) == []
        assert at.recorder.hear_stop(stop(WAV, **{"Hangup-Cause": "NORMAL_CLEARING"}), "s", NOW) == []
        assert await at.order(Command.PAUSE) == ""  # nothing is recorded, which is what was asked for
        assert await at.order(Command.RESUME) == NOT_RECORDING
        assert at.fake.commands == []
        outcome = await at.recorder.obey(Order(1, Command.STOP, 1, "s", "7", 1, "audio", False, False))
        assert outcome is not None
        assert (outcome.reason, outcome.at) == ("", NOW)


async def test_a_recording_that_somebody_ends_is_told_once() -> None:
    async with desk() as at:
        await at.order(Command.START)
        [told] = at.recorder.hear_stop(stop(WAV), "s", NOW)
        assert (told.id, told.session_id, told.at, told.recording_id) == ("s:stopped:7:1", "s", NOW, "7")
        assert told.reason == "FreeSWITCH stopped it without being asked"
        assert at.recorder.hear_stop(stop(WAV), "s", NOW) == []


async def test_a_call_that_is_over_is_recorded_no_more() -> None:
    async with desk() as at:
        await at.order(Command.START)
        at.recorder.look(["s"])
        assert at.recorder.segments() == {("7", 1)}
        del at.members["s"]
        at.recorder.look(["s"])
        assert at.recorder.segments() == set()


async def test_what_an_earlier_connector_began_is_found_or_missed() -> None:
    takes = tuple(Take(recording_id, 1, "s", "audio", False, False) for recording_id in ("7", "9"))
    over = Take("10", 1, "gone", "audio", False, False)
    async with desk((*takes, over), {WAV: "bbbb"}) as at:
        assert at.recorder.segments() == {("7", 1), ("9", 1)}
        assert await at.order(Command.PAUSE) == ""
        assert at.fake.commands == [f"uuid_record bbbb pause {WAV}"]
        assert await at.order(Command.RESUME, recording_id="9") == NOT_RECORDING
