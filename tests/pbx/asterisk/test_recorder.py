"""What a recorder asks of an Asterisk, and what it says became of an order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest

from pbx.asterisk import recorder as module
from pbx.asterisk.access import Access
from pbx.asterisk.ami import Message, text
from pbx.asterisk.manager import Ami, AmiError, signed_in
from pbx.asterisk.recorder import NOT_CONNECTED, NOT_RECORDING, UNSUPPORTED_VIDEO, Recorder
from pbx.asterisk.state import Member
from pbx.asterisk.tracks import Track
from pbx.connectors.orders import Command, Key, Order, Running, begun_by
from tests.pbx.asterisk.fake import PASSWORD, USER, FakeAsterisk, fake_asterisk

PATIENCE = 30.0  # seconds that a busy machine may take for what takes milliseconds
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
        self.failed: list[tuple[Key, str]] = []
        self.recorder = self.new_recorder()

    def new_recorder(self) -> Recorder:
        return Recorder(lambda session_id: self.members if session_id == SESSION else None, self._finish, self._fail)

    def _fail(self, running: Running, reason: str) -> None:
        self.failed.append((running.key, reason))

    def _finish(self, running: Running, tracks: Sequence[Track]) -> None:
        self.finished.append((running, [(track.stretch, track.channel) for track in tracks]))

    async def told(self, order: Order) -> str | None:
        """Why an order was not carried out; empty: it was."""
        outcome = await self.recorder.obey(order)
        return None if outcome is None else outcome.reason

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        """Until it is left, or cut; what the body waits for is cut off then."""

        def listen(message: Message) -> None:
            for listener in self.listeners:
                listener(text(message, "Uniqueid"))

        with contextlib.suppress(AmiError):
            async with signed_in(access_of(self.fake), listen) as self.ami:
                self.recorder.connect(self.ami)
                try:
                    yield
                finally:
                    self.recorder.disconnect()

    def look(self) -> None:
        self.recorder.look([SESSION])

    async def does(self, *expected: str) -> None:
        """Waits until Asterisk was asked to do so much, and shortly after: no more than that."""
        await until(lambda: len(self.fake.done) >= self._seen + len(expected))
        await self.until_idle()
        assert self.done == list(expected)

    async def until_idle(self) -> None:
        """What followed from all that Asterisk has said by now was asked of it."""
        for _ in range(3):
            await self.ami.ask("Ping")

    @property
    def done(self) -> list[str]:
        """What Asterisk was asked to do since this was looked at last: `start A`, `stop A`."""
        said = [f"{each.split()[0]} {CHANNELS[each.split()[-1]]}" for each in self.fake.done[self._seen :]]
        self._seen = len(self.fake.done)
        return said

    _seen = 0
    ami: Ami

    @property
    def recorded(self) -> list[str]:
        """Whose voices are being recorded, once for each MixMonitor."""
        return sorted(CHANNELS[channel] for channel, _ in self.fake.monitors.values())


def access_of(fake: FakeAsterisk) -> Access:
    return Access(
        host="127.0.0.1", ami_port=fake.ami_port, ami_tls=False, ami_user=USER, ami_password=PASSWORD, ari_url="",
        ari_user="", ari_password="",
    )  # fmt: skip


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with unconnected_desk() as made, made.connection():
        yield made


@contextlib.asynccontextmanager
async def unconnected_desk() -> AsyncIterator[Desk]:
    async with fake_asterisk(ari=False) as fake:
        yield Desk(fake)


async def test_each_party_has_a_track_of_its_own_voice() -> None:
    async with desk() as at:
        assert await at.told(START) == ""
        assert at.done == ["start A", "start B"]
        options = [options for _, options in at.fake.monitors.values()]
    for option, (lane, channel) in zip(options, (("first", "17_0"), ("other", "17_1")), strict=True):
        name, variable = option.split(".wav)")
        assert name.startswith("r(../recording/voxledger/7-1-1-")
        assert name.endswith(f"-{lane}-{channel}")
        assert variable == "i(VOXLEDGER_7_1)"


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
        at.look()
        await at.does("start A", "start B")
        at.members = [A, C]
        at.look()
        await at.does("start A", "start C", "stop A", "stop B")
        at.members = [replace(A, is_held=True), C]
        at.look()
        await at.does("start A", "start C", "stop A", "stop C")
        at.members = [C]
        at.look()
        await at.does("start C", "stop A", "stop C")
        assert at.recorded == ["C"]


async def test_while_it_is_paused_nobody_who_joins_is_recorded() -> None:
    async with desk() as at:
        await at.told(START)
        await at.told(PAUSE)
        at.members = [A, B, C]
        at.look()
        await at.until_idle()
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
        at.look()
        await until(lambda: at.finished)
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
    async with unconnected_desk() as at:
        async with at.connection():
            await at.told(START)
            at.fake.held = []
            pausing = asyncio.create_task(at.recorder.obey(PAUSE))
            await until(lambda: at.fake.held)
            at.fake.cut()
            await until_cut()
        outcome = await asyncio.wait_for(pausing, PATIENCE)
    assert outcome
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
        at.look()
        await at.until_idle()
        assert at.recorded == ["A", "B"]
        at.recorder.connect(ami)
        await until(lambda: at.recorded == ["A", "B", "C"])


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
        at.look()  # stops of our own are told, too
        await at.does("start A", "start B", "start A", "start C", "stop A", "stop B")
        number = next(number for number, (channel, _) in at.fake.monitors.items() if channel == A.channel)
        del at.fake.monitors[number]
        at.fake.say({"Event": "MixMonitorStop", "Channel": A.channel, "Uniqueid": A.uniqueid})
        await at.does("start A", "start C", "stop C")
        assert at.recorded == ["A", "C"]
        at.fake.say({"Event": "MixMonitorStop", "Channel": B.channel, "Uniqueid": B.uniqueid})
        await at.does()


# --- What goes wrong on the way ---


async def until_cut() -> None:
    """In the body of a connection, which ends here."""
    await asyncio.sleep(PATIENCE)
    raise AssertionError("the connection was not cut")


async def cut_off(at: Desk, order: Order | None, *, after: str = "", before: str = "", on: str = "") -> str | None:
    """An order, or a look at the call, at which the network goes; what was said of the order."""
    at.fake.cuts_after, at.fake.cuts_before, at.fake.cuts_on = after, before, on
    task: asyncio.Task[str | None] | None = None
    async with at.connection():
        await at.until_idle()
        if order is None:
            at.look()
        else:
            task = asyncio.create_task(at.told(order))
        await until_cut()
    return await task if task else None


@contextlib.asynccontextmanager
async def begun() -> AsyncIterator[Desk]:
    """A and B are being recorded; the network is gone."""
    async with unconnected_desk() as at:
        async with at.connection():
            assert await at.told(START) == ""
        yield at


@pytest.mark.parametrize("on", ["A", "C"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_track_whose_answer_was_lost_is_found_again(when: str, on: str) -> None:
    """Whether Asterisk has begun it or not: afterwards each party is recorded once, and what was begun is fetched."""
    async with begun() as at:
        at.members = [A, C]
        channel = {"A": A, "C": C}[on].channel
        await cut_off(at, None, **{when: "MixMonitor"}, on=channel)
        async with at.connection():
            await until(lambda: at.recorded == ["A", "C"])
            await at.until_idle()
            assert at.recorded == ["A", "C"]
            assert await at.told(STOP) == ""
            assert at.recorded == []
        assert [running.is_adopted for running, _ in at.finished] == [True]  # Asterisk is asked for its files


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_start_whose_answer_was_lost_is_undone_unless_it_comes_again(when: str) -> None:
    async with unconnected_desk() as at:
        assert await cut_off(at, START, **{when: "MixMonitor"}, on=B.channel) is None
        assert at.recorded == (["A"] if when == "before" else ["A", "B"])
        async with at.connection():
            await until(lambda: at.recorded == [])
        assert at.recorder.segments() == set()
        async with at.connection():
            assert await at.told(replace(START, was_handed_out=True)) == ""
            assert at.recorded == ["A", "B"]
            assert await at.told(STOP) == ""
        assert [running.is_adopted for running, _ in at.finished] == [True]


async def test_a_start_that_comes_again_at_once_is_recorded_once() -> None:
    async with unconnected_desk() as at:
        assert await cut_off(at, START, after="MixMonitor", on=A.channel) is None
        async with at.connection():
            assert await at.told(replace(START, was_handed_out=True)) == ""
            await at.until_idle()
            assert at.recorded == ["A", "B"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_was_to_be_silent_is_silent_after_a_reconnect(when: str) -> None:
    """A pause is answered at once that it failed; nobody need say another word for it to become true."""
    async with begun() as at:
        assert await cut_off(at, PAUSE, **{when: "StopMixMonitor"}, on=A.channel) == "The AMI connection broke."
        at.members = [A, C]
        async with at.connection():
            await until(lambda: at.recorded == [])
            at.members = [A, B, C]
            at.look()
            await at.until_idle()
            assert at.recorded == []
            assert await at.told(STOP) == ""
        assert [len(tracks) for _, tracks in at.finished] == [2]


async def test_a_pause_without_a_connection_is_kept_as_soon_as_there_is_one() -> None:
    async with begun() as at:
        assert await at.told(PAUSE) == "The portal has no connection to Asterisk at the moment."
        async with at.connection():
            await until(lambda: at.recorded == [])
            assert await at.told(RESUME) == ""
            assert at.recorded == ["A", "B"]


async def test_a_resume_whose_answer_was_lost_is_paused_until_it_comes_again() -> None:
    async with begun() as at:
        async with at.connection():
            await at.told(PAUSE)
        assert await cut_off(at, RESUME, after="MixMonitor", on=A.channel) is None
        async with at.connection():
            await until(lambda: at.recorded == [])
            assert await at.told(RESUME) == ""
            assert at.recorded == ["A", "B"]


async def test_a_resume_that_asterisk_refuses_leaves_it_paused() -> None:
    async with desk() as at:
        await at.told(START)
        await at.told(PAUSE)
        at.fake.refusals = {"MixMonitor": "Permission denied"}
        assert await at.told(RESUME) == "Asterisk refused MixMonitor: Permission denied."
        assert at.recorded == []
        at.fake.refusals = {}
        assert await at.told(RESUME) == ""
        assert at.recorded == ["A", "B"]


async def test_a_stop_whose_answer_was_lost_is_carried_out_before_it_comes_again() -> None:
    async with begun() as at:
        assert await cut_off(at, STOP, after="StopMixMonitor", on=A.channel) is None
        assert (at.recorded, at.finished) == (["B"], [])
        async with at.connection():
            await until(lambda: at.recorded == [])
            assert await at.told(STOP) == ""
        assert len(at.finished) == 1


async def test_a_recording_that_nobody_waits_for_is_stopped_when_asterisk_is_back() -> None:
    async with begun() as at:
        await at.recorder.forget(START.key)
        assert (at.recorded, at.finished, at.recorder.segments()) == (["A", "B"], [], {START.key})
        async with at.connection():
            await until(lambda: at.finished)
            assert (at.recorded, at.recorder.segments()) == ([], set())


async def test_a_new_track_that_asterisk_refuses_ends_the_segment_and_is_told() -> None:
    """Else the voice of who joined would be missing from the file, and nothing would say so."""
    async with desk() as at:
        await at.told(START)
        at.fake.refusals = {"MixMonitor": "Permission denied"}
        at.members = [A, B, C]
        at.look()
        await until(lambda: at.finished)
        assert at.failed == [(START.key, "Asterisk refused MixMonitor: Permission denied.")]
        assert [tracks for _, tracks in at.finished] == [[(1, "17_0"), (1, "17_1")]]
        assert (at.recorded, at.recorder.segments()) == ([], set())


async def test_a_party_whose_stream_is_new_is_recorded_on_after_a_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNHEARD", 0)
    async with begun() as at:
        at.fake.cuts_after, at.fake.cuts_on = "StopMixMonitor", A.channel
        async with at.connection():
            anew = asyncio.create_task(at.recorder.begin_anew(A.uniqueid))
            await until_cut()
        with pytest.raises(AmiError):
            await anew
        async with at.connection():
            await until(lambda: at.recorded == ["A", "B"])


async def test_a_number_that_asterisk_uses_again_is_not_stopped_with_its_former_owner() -> None:
    async with unconnected_desk() as at:
        at.fake.reuses_numbers = True
        async with at.connection():
            await at.told(START)
        at.members = [A, C]
        await cut_off(at, None, after="StopMixMonitor", on=A.channel)
        assert at.recorded == ["A", "B", "C"]
        async with at.connection():
            await until(lambda: at.recorded == ["A", "C"])
            await at.until_idle()
            assert at.recorded == ["A", "C"]
            await at.told(PAUSE)
            assert at.recorded == []


async def test_a_pause_that_waited_while_the_call_ended_has_nothing_to_pause() -> None:
    async with desk() as at:
        await at.told(START)
        at.fake.held = []
        at.members = [A, C]
        at.look()
        await until(lambda: at.fake.held)
        orders = [asyncio.create_task(at.told(each)) for each in (PAUSE, RESUME)]
        at.members, at.fake.gone = None, {A.channel, B.channel, C.channel}
        at.fake.release()
        assert await asyncio.gather(*orders) == [NOT_RECORDING, NOT_RECORDING]
        assert len(at.finished) == 1


async def test_orders_of_one_segment_are_carried_out_in_turn() -> None:
    async with desk() as at:
        at.fake.held = []
        orders = [asyncio.create_task(at.told(each)) for each in (START, PAUSE, RESUME, STOP)]
        await until(lambda: at.fake.held)
        at.fake.release()
        assert await asyncio.gather(*orders) == [""] * 4
        await at.does("start A", "start B", "stop A", "stop B", "start A", "start B", "stop A", "stop B")
