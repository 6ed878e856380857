"""What a recorder asks of an Asterisk, and what it says became of an order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pbx.asterisk import recorder as module
from pbx.asterisk.access import Access
from pbx.asterisk.ami import Message, text
from pbx.asterisk.manager import signed_in
from pbx.asterisk.recorder import NOT_CONNECTED, NOT_RECORDING, UNSUPPORTED_VIDEO, VARIABLE, Recorder
from pbx.asterisk.state import Member
from pbx.asterisk.tracks import Track
from pbx.connectors.orders import Command, Order, Running, begun_by
from tests.pbx.asterisk.fake import PASSWORD, USER, FakeAsterisk, fake_asterisk

SESSION = "s-1"
A, B, C = (Member(f"17.{number}", f"PJSIP/{name}-0001", False) for number, name in enumerate(("101", "102", "103")))
CHANNELS = {member.channel: name for member, name in ((A, "A"), (B, "B"), (C, "C"))}
START = Order(
    id=1, command=Command.START, tenant_id=3, session_id=SESSION, recording_id="7", segment=1, medium="audio",
    dual_tracks=False, keeps_pauses=False,
)  # fmt: skip
PAUSE, RESUME, STOP = (replace(START, command=each) for each in (Command.PAUSE, Command.RESUME, Command.STOP))


class Desk:
    """A recorder that is connected to a fake Asterisk, on which one call goes on."""

    def __init__(self, fake: FakeAsterisk) -> None:
        self.fake = fake
        self.members: list[Member] | None = [A, B]
        self.listeners: list[Callable[[str], None]] = []  # for the channels whose MixMonitor was stopped
        self.finished: list[tuple[Running, list[tuple[int, str]]]] = []
        self.recorder = self.new_recorder()

    def new_recorder(self) -> Recorder:
        return Recorder(lambda session_id: self.members if session_id == SESSION else None, self._finish)

    def _finish(self, running: Running, tracks: Sequence[Track]) -> None:
        self.finished.append((running, [(track.stretch, track.channel) for track in tracks]))

    async def told(self, order: Order) -> str | None:
        """Why an order was not carried out; empty: it was."""
        outcome = await self.recorder.obey(order)
        return None if outcome is None else outcome.reason

    async def look(self) -> None:
        self.recorder.look([SESSION])
        await asyncio.sleep(0.1)

    @property
    def done(self) -> list[str]:
        """What Asterisk was asked to do since this was looked at last: `start A`, `stop A`."""
        said = [f"{each.split()[0]} {CHANNELS[each.split()[-1]]}" for each in self.fake.done[self._seen :]]
        self._seen = len(self.fake.done)
        return said

    _seen = 0

    @property
    def recorded(self) -> list[str]:
        """Whose voices are being recorded, once for each MixMonitor."""
        return sorted(CHANNELS[channel] for channel, _ in self.fake.monitors.values())


def access_of(fake: FakeAsterisk) -> Access:
    return Access(
        host="127.0.0.1", ami_port=fake.ami_port, ami_tls=False, ami_user=USER, ami_password=PASSWORD, ari_url="",
        ari_user="", ari_password="",
    )  # fmt: skip


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with fake_asterisk(ari=False) as fake:
        made = Desk(fake)

        def listen(message: Message) -> None:
            for listener in made.listeners:
                listener(text(message, "Uniqueid"))

        async with signed_in(access_of(fake), listen) as ami:
            made.recorder.connect(ami)
            yield made


async def test_each_party_has_a_track_of_its_own_voice() -> None:
    async with desk() as at:
        assert await at.told(START) == ""
        assert at.done == ["start A", "start B"]
        options = [options for _, options in at.fake.monitors.values()]
    for option, (lane, channel) in zip(options, (("first", "17_0"), ("other", "17_1")), strict=True):
        name, variable = option.split(".wav)")
        assert name.startswith("r(../recording/voxledger/7-1-1-")
        assert name.endswith(f"-{lane}-{channel}")
        assert variable == f"i({VARIABLE})"


async def test_an_order_given_twice_is_obeyed_once() -> None:
    async with desk() as at:
        assert [await at.told(each) for each in (START, START, PAUSE, PAUSE, RESUME, RESUME, STOP, STOP)] == [""] * 8
        assert at.done == ["start A", "start B", "stop A", "stop B", "start A", "start B", "stop A", "stop B"]
        assert [tracks for _, tracks in at.finished] == [[(1, "17_0"), (1, "17_1"), (2, "17_0"), (2, "17_1")]]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (replace(START, medium="video"), UNSUPPORTED_VIDEO),
        (replace(PAUSE, medium="video"), UNSUPPORTED_VIDEO),
        (replace(START, session_id="another"), NOT_CONNECTED),
        (PAUSE, NOT_RECORDING),
        (RESUME, NOT_RECORDING),
        (STOP, ""),  # nothing records, which is what was wanted
    ],
)
async def test_what_cannot_be_done_is_said(order: Order, reason: str) -> None:
    async with desk() as at:
        assert await at.told(order) == reason
        assert (at.done, at.finished) == ([], [])


async def test_who_joins_or_leaves_begins_new_tracks_before_the_former_end() -> None:
    async with desk() as at:
        await at.told(START)
        await at.look()
        assert at.done == ["start A", "start B"]
        at.members = [A, C]
        await at.look()
        assert at.done == ["start A", "start C", "stop A", "stop B"]
        at.members = [replace(A, is_held=True), C]
        await at.look()
        assert at.done == ["start A", "start C", "stop A", "stop C"]
        at.members = [C]
        await at.look()
        assert at.done == ["start C", "stop A", "stop C"]
        assert at.recorded == ["C"]


async def test_while_it_is_paused_nobody_who_joins_is_recorded() -> None:
    async with desk() as at:
        await at.told(START)
        await at.told(PAUSE)
        at.members = [A, B, C]
        await at.look()
        assert at.recorded == []
        await at.told(RESUME)
        assert at.recorded == ["A", "B", "C"]


@pytest.mark.parametrize("paused", [False, True])
async def test_a_call_that_is_over_ends_its_recording(paused: bool) -> None:
    async with desk() as at:
        await at.told(START)
        if paused:
            await at.told(PAUSE)
        at.members = None
        await at.look()
        assert [tracks for _, tracks in at.finished] == [[(1, "17_0"), (1, "17_1")]]
        assert at.recorder.segments() == set()


async def test_one_who_hangs_up_at_that_moment_does_not_spoil_it() -> None:
    async with desk() as at:
        at.fake.gone = {B.channel}
        assert await at.told(START) == ""
        assert at.recorded == ["A"]
        assert await at.told(STOP) == ""


async def test_all_who_hang_up_at_that_moment_leave_nothing_to_record() -> None:
    async with desk() as at:
        at.fake.gone = {A.channel, B.channel}
        assert await at.told(START) == NOT_CONNECTED
        assert (at.finished, at.recorder.segments()) == ([], set())


async def test_a_start_that_asterisk_refuses_leaves_nothing_running() -> None:
    async with desk() as at:
        at.fake.refusals = {"MixMonitor": "Permission denied"}
        assert await at.told(START) == "Asterisk refused MixMonitor: Permission denied."
        assert (at.recorded, at.recorder.segments()) == ([], set())
        at.fake.refusals = {}
        assert await at.told(START) == ""


async def test_a_pause_that_asterisk_refuses_has_failed_and_a_stop_can_follow() -> None:
    async with desk() as at:
        await at.told(START)
        at.fake.refusals = {"StopMixMonitor": "Permission denied"}
        assert await at.told(PAUSE) == "Asterisk refused StopMixMonitor: Permission denied."
        assert at.recorded == ["A", "B"]
        at.fake.refusals = {}
        assert await at.told(STOP) == ""
        assert at.recorded == []


async def test_without_a_connection_a_pause_has_failed_at_once_and_the_rest_waits() -> None:
    async with desk() as at:
        await at.told(START)
        at.recorder.disconnect()
        assert await at.told(PAUSE) == "The portal has no connection to Asterisk at the moment."
        assert [await at.told(each) for each in (replace(START, segment=2), STOP)] == [None, None]
        assert (at.recorded, at.finished) == (["A", "B"], [])


async def test_a_connection_that_breaks_fails_a_pause_at_once() -> None:
    fails: asyncio.Task[Any] | None = None
    with contextlib.suppress(Exception):
        async with desk() as at:
            await at.told(START)
            at.fake.is_deaf = True
            fails = asyncio.create_task(at.recorder.obey(PAUSE))
            await asyncio.sleep(0.1)
            at.fake.cut()
            await asyncio.sleep(1)
    assert fails
    outcome = await asyncio.wait_for(fails, 1)
    assert outcome.reason == "The AMI connection broke."


@pytest.mark.parametrize("paused", [False, True])
async def test_what_an_earlier_connector_recorded_is_taken_over(paused: bool) -> None:
    async with desk() as at, signed_in(access_of(at.fake), lambda _: None) as ami:
        await at.told(START)
        assert at.done == ["start A", "start B"]
        at.recorder = at.new_recorder()
        at.recorder.connect(ami)
        await at.recorder.take_over([replace(begun_by(START), is_paused=paused, is_adopted=True)])
        taken_over = ["stop A", "stop B"] if paused else ["start A", "start B", "stop A", "stop B"]
        assert at.done == taken_over
        assert await at.told(STOP) == ""
        assert at.recorded == []
        assert [running.is_adopted for running, _ in at.finished] == [True]


async def test_a_start_whose_connector_died_of_it_is_taken_over() -> None:
    async with desk() as at, signed_in(access_of(at.fake), lambda _: None) as ami:
        await at.told(START)
        at.recorder = at.new_recorder()
        at.recorder.connect(ami)
        assert await at.told(replace(START, was_handed_out=True)) == ""
        assert at.recorded == ["A", "B"]
        assert await at.told(STOP) == ""
        assert at.recorded == []
        assert [running.is_adopted for running, _ in at.finished] == [True]


async def test_a_call_that_ended_meanwhile_is_not_taken_over() -> None:
    async with desk() as at, signed_in(access_of(at.fake), lambda _: None) as ami:
        at.recorder.connect(ami)
        await at.recorder.take_over([replace(begun_by(START), session_id="over")])
        assert (at.done, at.recorder.segments()) == ([], set())


async def test_what_changed_while_asterisk_was_out_of_reach_is_followed() -> None:
    async with desk() as at, signed_in(access_of(at.fake), lambda _: None) as ami:
        await at.told(START)
        at.recorder.disconnect()
        at.members = [A, B, C]
        await at.look()
        assert at.recorded == ["A", "B"]
        at.recorder.connect(ami)
        await asyncio.sleep(0.1)
        assert at.recorded == ["A", "B", "C"]


async def test_another_stream_is_listened_to_anew_after_a_moment_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNHEARD", 0)
    async with desk() as at:
        await at.told(START)
        assert (at.done, at.recorder.channels()) == (["start A", "start B"], ["17.0", "17.1"])
        await at.recorder.begin_anew(A.uniqueid)
        assert at.done == ["stop A", "start A", "start B", "stop B"]
        await at.told(PAUSE)
        assert (at.done, at.recorder.channels()) == (["stop A", "stop B"], [])
        await at.recorder.begin_anew(A.uniqueid)
        assert at.done == []


async def test_a_recording_that_nobody_waits_for_is_stopped() -> None:
    async with desk() as at:
        await at.told(START)
        await at.recorder.forget(START.key)
        await at.recorder.forget(START.key)
        assert (at.recorded, len(at.finished)) == ([], 1)


async def test_what_somebody_else_stopped_is_begun_again() -> None:
    """The dialplan's StopMixMonitor takes whichever it finds, and that may be ours."""
    async with desk() as at:
        at.listeners.append(at.recorder.stop_told)
        at.fake.uniqueids = {member.channel: member.uniqueid for member in (A, B, C)}
        await at.told(START)
        at.members = [A, C]
        await at.look()  # stops of our own are told, too
        assert at.done == ["start A", "start B", "start A", "start C", "stop A", "stop B"]
        number = next(number for number, (channel, _) in at.fake.monitors.items() if channel == A.channel)
        del at.fake.monitors[number]
        at.fake.say({"Event": "MixMonitorStop", "Channel": A.channel, "Uniqueid": A.uniqueid})
        await asyncio.sleep(0.1)
        assert at.done == ["start A", "start C", "stop C"]
        assert at.recorded == ["A", "C"]
        at.fake.say({"Event": "MixMonitorStop", "Channel": B.channel, "Uniqueid": B.uniqueid})
        await asyncio.sleep(0.1)
        assert at.done == []
