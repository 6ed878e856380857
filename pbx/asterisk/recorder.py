"""Records calls on an Asterisk as the portal orders it, and keeps the ledger of what runs there.

Each party of a call has a MixMonitor of its own that keeps only what comes from that party's channel: one for the whole
call loses voices after a transfer (docs/switches/asterisk.md). Whenever the parties change, all of them begin a new
track, and the former ones are stopped once those run. A pause stops all tracks: what is not recorded cannot leak, and
Asterisk says Success to a mute where nothing records.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from pbx.asterisk.ami import Message, text
from pbx.asterisk.manager import ActionRefusedError, Ami, AmiError
from pbx.asterisk.state import Member
from pbx.asterisk.tracks import Track, label_of
from pbx.connectors.orders import Command, Key, Order, Outcome, Running, begun_by

VARIABLE = "VOXLEDGER_MIXMONITOR"  # of a channel: the id of the MixMonitor that records it for the portal
RECORDINGS = "../recording"  # ARI's folder, seen from the one where MixMonitor's paths begin
UNSUPPORTED_VIDEO = "unsupported_medium: Asterisk writes no video."
NOT_CONNECTED = "Nobody is connected in this call any more."
NOT_RECORDING = "This call is not being recorded."
OUT_OF_REACH = "The portal has no connection to Asterisk at the moment."
UNHEARD = 0.06  # seconds: three packets
_GONE = {"No such channel", "Could not start monitoring channel", "Could not stop monitoring channel"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Monitor:
    """A MixMonitor that was started and not stopped."""

    number: str
    channel: str
    uniqueid: str


@dataclass(slots=True, eq=False)
class _Take:
    """A segment that is being recorded."""

    running: Running
    tracks: list[Track] = field(default_factory=list)
    monitors: list[_Monitor] = field(default_factory=list)
    arranged_for: list[Member] | None = None  # who was connected when the last tracks began
    is_followed: bool = False  # somebody is about to look at it
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Recorder:
    """The takes of one Asterisk.

    `members` says who is connected in a session, None when it is over; `finished` gets what is complete.
    """

    def __init__(
        self,
        members: Callable[[str], Sequence[Member] | None],
        finished: Callable[[Running, Sequence[Track]], None],
    ) -> None:
        self._members = members
        self._finished = finished
        self._takes: dict[Key, _Take] = {}
        self._by_session: dict[str, list[_Take]] = {}
        self.is_connected = asyncio.Event()
        self._ami: Ami | None = None
        self._stops: Counter[str] = Counter()  # by Uniqueid: those we asked for that Asterisk has not told yet
        self._tasks: set[asyncio.Task[None]] = set()

    def segments(self) -> set[Key]:
        return set(self._takes)

    # --- Orders ----------------------------------------------------------------------------------------------

    async def obey(self, order: Order) -> Outcome | None:
        """What became of it; None when Asterisk is out of reach: then it is to be given again."""
        if order.medium != "audio":
            return Outcome(UNSUPPORTED_VIDEO)
        try:
            match order.command:
                case Command.START:
                    return await self._start(order)
                case Command.PAUSE:
                    return await self._pause(order)
                case Command.RESUME:
                    return await self._resume(order)
                case Command.STOP:
                    return await self._stop(order)
                case Command.LAUNCH:
                    return Outcome("unsupported: this connector launches no calls.")
        except ActionRefusedError as error:
            return Outcome(str(error))
        except AmiError as error:
            # A pause is for privacy: whoever asked must know at once that it did not work.
            return Outcome(str(error)) if order.command == Command.PAUSE else None

    async def _start(self, order: Order) -> Outcome:
        take = self._takes.get(order.key)
        if take is None:
            if not self._members(order.session_id):
                return Outcome(NOT_CONNECTED)
            take = self._keep(_Take(begun_by(order)))
        async with take.lock:
            if take.running.key in self._takes and take.arranged_for is None:
                try:
                    await self._begin(take, is_adopted=order.was_handed_out)
                except AmiError:
                    with contextlib.suppress(AmiError):
                        await self._silence(take)
                    self._drop(take)
                    raise
            if not take.tracks:
                self._drop(take)
                return Outcome(NOT_CONNECTED)
        return Outcome()

    async def _begin(self, take: _Take, *, is_adopted: bool) -> None:
        if is_adopted:
            take.running.is_adopted = True
            await self._adopt_monitors(take)
        await self._renew(take)

    async def _pause(self, order: Order) -> Outcome:
        take = self._takes.get(order.key)
        if take is None:
            return Outcome(NOT_RECORDING)
        async with take.lock:
            await self._silence(take)
            if not take.running.is_paused:
                take.running.is_paused = True
                take.running.stretch += 1
        return Outcome()

    async def _resume(self, order: Order) -> Outcome:
        take = self._takes.get(order.key)
        if take is None:
            return Outcome(NOT_RECORDING)
        async with take.lock:
            if take.running.is_paused:
                await self._renew(take)
                take.running.is_paused = False
            return Outcome() if take.monitors else Outcome(NOT_CONNECTED)

    async def _stop(self, order: Order) -> Outcome:
        if take := self._takes.get(order.key):
            async with take.lock:
                await self._silence(take)
                self._finish(take)
        return Outcome()

    async def forget(self, key: Key) -> None:
        """Stops what nobody waits for any longer."""
        if take := self._takes.get(key):
            async with take.lock:
                await self._silence(take)
                self._finish(take)

    # --- Calls that change -----------------------------------------------------------------------------------

    def look(self, session_ids: Iterable[str]) -> None:
        """Parties may have come or gone in these calls."""
        for session_id in session_ids:
            for take in self._by_session.get(session_id, ()):
                if not take.is_followed and not self._is_in_order(take):
                    take.is_followed = True
                    task = asyncio.get_running_loop().create_task(self._follow(take))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    def _is_in_order(self, take: _Take) -> bool:
        members = self._members(take.running.session_id)
        if members is None:
            return False
        return take.running.is_paused or self._ami is None or list(members) == take.arranged_for

    async def _follow(self, take: _Take) -> None:
        async with take.lock:
            take.is_followed = False
            while take.running.key in self._takes and not self._is_in_order(take):
                if self._members(take.running.session_id) is None:
                    self._finish(take)
                    return
                try:
                    await self._renew(take)
                except AmiError as error:
                    log.warning("recording does not follow its call", recording=take.running.key, reason=str(error))
                    return

    def first_track(self, key: Key) -> Track | None:
        take = self._takes.get(key)
        return take.tracks[0] if take and take.tracks else None

    def stop_told(self, uniqueid: str) -> None:
        """A MixMonitor was stopped; by the dialplan's StopMixMonitor perhaps, which takes whichever it finds."""
        if self._stops[uniqueid]:
            self._stops[uniqueid] -= 1
            return
        for take in self._takes.values():
            if any(monitor.uniqueid == uniqueid for monitor in take.monitors):
                log.warning("somebody else stopped a MixMonitor", recording=take.running.key, channel=uniqueid)
                take.arranged_for = None
                self.look([take.running.session_id])

    def channels(self) -> list[str]:
        """The Uniqueids of the channels that are being recorded."""
        return [monitor.uniqueid for take in self._takes.values() for monitor in take.monitors]

    async def begin_anew(self, uniqueid: str) -> None:
        """The party sends another RTP stream: a translator that knew the former one may take it for late packets.

        Asterisk gives the translator up when a packet has passed while nothing listens, so this costs a few of them.
        """
        for take in list(self._takes.values()):
            if any(monitor.uniqueid == uniqueid for monitor in take.monitors):
                async with take.lock:
                    for monitor in [each for each in take.monitors if each.uniqueid == uniqueid]:
                        await self._unmonitor(take, monitor)
        await asyncio.sleep(UNHEARD)
        for take in list(self._takes.values()):
            members = self._members(take.running.session_id) or ()
            if any(member.uniqueid == uniqueid for member in members):
                async with take.lock:
                    if not take.running.is_paused and take.running.key in self._takes:
                        await self._renew(take)

    # --- The connection --------------------------------------------------------------------------------------

    def connect(self, ami: Ami) -> None:
        """Asterisk is in reach, and its calls are known."""
        self._ami = ami
        self.is_connected.set()
        self.look(list(self._by_session))

    async def take_over(self, running: Sequence[Running]) -> None:
        """The segments that Asterisk should be recording since an earlier connector."""
        for each in running:
            if each.key not in self._takes and self._members(each.session_id) is not None:
                take = self._keep(_Take(each))
                async with take.lock:
                    try:
                        await self._adopt_monitors(take)
                        await (self._silence(take) if each.is_paused else self._renew(take))
                    except AmiError:
                        self._drop(take)
                        raise

    def disconnect(self) -> None:
        """What runs on Asterisk runs on without us."""
        self._ami = None
        self.is_connected.clear()
        self._stops.clear()

    async def _adopt_monitors(self, take: _Take) -> None:
        """Finds what an earlier connector has started."""
        for member in self._members(take.running.session_id) or ():
            try:
                answer = await self._ask("Getvar", Channel=member.channel, Variable=VARIABLE)
            except ActionRefusedError:
                continue  # it has just hung up
            if number := text(answer, "Value"):
                take.monitors.append(_Monitor(number, member.channel, member.uniqueid))

    # --- MixMonitors -----------------------------------------------------------------------------------------

    async def _renew(self, take: _Take) -> None:
        """A new track for each who is connected now. The former ones are stopped when those run: nothing is lost."""
        former = list(take.monitors)
        members = list(self._members(take.running.session_id) or ())
        began_ms = int(datetime.now(UTC).timestamp() * 1000)
        take.arranged_for = None
        for place, member in enumerate(members):
            await self._monitor(take, member, began_ms, is_first=place == 0)
        for monitor in former:
            await self._unmonitor(take, monitor)
        take.arranged_for = members

    async def _monitor(self, take: _Take, member: Member, began_ms: int, *, is_first: bool) -> None:
        running = take.running
        track = Track(
            recording_id=running.recording_id,
            segment=running.segment,
            stretch=running.stretch,
            began_ms=began_ms,
            is_first=is_first,
            channel=label_of(member.uniqueid),
        )
        options = f"r({RECORDINGS}/{track.name}.wav)i({VARIABLE})"
        try:
            answer = await self._ask("MixMonitor", Channel=member.channel, File="", Options=options)
        except ActionRefusedError as error:
            if error.why in _GONE:
                return
            raise
        take.tracks.append(track)
        take.monitors.append(_Monitor(text(answer, "MixMonitorID"), member.channel, member.uniqueid))

    async def _silence(self, take: _Take) -> None:
        """Stops all that runs. When this returns, Asterisk has closed the files."""
        for monitor in list(take.monitors):
            await self._unmonitor(take, monitor)

    async def _unmonitor(self, take: _Take, monitor: _Monitor) -> None:
        self._stops[monitor.uniqueid] += 1
        try:
            await self._ask("StopMixMonitor", Channel=monitor.channel, MixMonitorID=monitor.number)
        except AmiError as error:
            self._stops[monitor.uniqueid] -= 1
            if not isinstance(error, ActionRefusedError) or error.why not in _GONE:
                raise
            # A channel that is gone has ended its MixMonitor; so has somebody else who stopped it.
        take.monitors.remove(monitor)

    async def _ask(self, action: str, **fields: str) -> Message:
        if self._ami is None:
            raise AmiError(OUT_OF_REACH)
        return await self._ami.ask(action, **fields)

    # --- The ledger ------------------------------------------------------------------------------------------

    def _keep(self, take: _Take) -> _Take:
        self._takes[take.running.key] = take
        self._by_session.setdefault(take.running.session_id, []).append(take)
        return take

    def _drop(self, take: _Take) -> None:
        if self._takes.pop(take.running.key, None) is None:
            return
        takes = self._by_session[take.running.session_id]
        takes.remove(take)
        if not takes:
            del self._by_session[take.running.session_id]

    def _finish(self, take: _Take) -> None:
        if take.running.key in self._takes:
            self._drop(take)
            self._finished(take.running, take.tracks)
