"""Records calls on an Asterisk as the portal orders it, and keeps the ledger of what runs there.

Each party of a call has a MixMonitor of its own that keeps only what comes from that party's channel: one for the whole
call loses voices after a transfer (docs/switches/asterisk.md). Whenever the parties change, all of them begin a new
track, and the former ones are stopped once those run. A pause stops all tracks: what is not recorded cannot leak, and
Asterisk says Success to a mute where nothing records.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

import structlog

from pbx.asterisk.ami import Message, text
from pbx.asterisk.manager import ActionRefusedError, Ami, AmiError
from pbx.asterisk.state import Member
from pbx.asterisk.tracks import Track, label_of
from pbx.connectors.orders import Command, Key, Order, Outcome, Running, begun_by

RECORDINGS = "../recording"  # ARI's folder, seen from the one where MixMonitor's paths begin
UNSUPPORTED_VIDEO = "unsupported_medium: Asterisk writes no video."
NOT_CONNECTED = "Nobody is connected in this call any more."
NOT_RECORDING = "This call is not being recorded."
OUT_OF_REACH = "The portal has no connection to Asterisk at the moment."
UNHEARD = 0.06  # seconds: three packets
TRY_AGAIN_AFTER = 1.0  # seconds from when Asterisk, in reach, did not answer
_GONE = {"No such channel", "Could not start monitoring channel", "Could not stop monitoring channel"}

log = structlog.get_logger(__name__)


class OutOfReachError(AmiError):
    """Asterisk was not even asked."""


@dataclass(slots=True, eq=False)
class _Monitor:
    """A MixMonitor that was started and not stopped. Its number is an address, and may be another's later."""

    number: str
    channel: str
    uniqueid: str


@dataclass(slots=True, eq=False)
class _Take:
    """A segment that is being recorded."""

    running: Running
    tracks: list[Track] = field(default_factory=list)
    monitors: list[_Monitor] = field(default_factory=list)
    unanswered: list[Member] = field(default_factory=list)  # who may have a MixMonitor that we do not know of
    arranged_for: list[Member] | None = None  # who was connected when the last tracks began
    is_to_be_silent: bool = False  # a pause or a stop was ordered: whatever fails, nothing is begun
    is_kept: bool = True  # its tracks are fetched when it is over
    is_followed: bool = False  # somebody is about to look at it
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Recorder:
    """The takes of one Asterisk.

    `members` says who is connected in a session, None when it is over; `finished` gets what is complete, and `failed`
    what cannot go on, with a sentence that says why.
    """

    def __init__(
        self,
        members: Callable[[str], Sequence[Member] | None],
        finished: Callable[[Running, Sequence[Track]], None],
        failed: Callable[[Running, str], None],
    ) -> None:
        self._members = members
        self._finished = finished
        self._failed = failed
        self._takes: dict[Key, _Take] = {}
        self._by_session: dict[str, list[_Take]] = {}
        self._unwanted: list[_Take] = []  # what may run and must not: stopped as soon as Asterisk is in reach
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self.is_connected = asyncio.Event()
        self._ami: Ami | None = None
        self._stops: Counter[str] = Counter()  # by Uniqueid: those we asked for that Asterisk has not told yet
        self._tasks: set[asyncio.Task[None]] = set()

    def segments(self) -> set[Key]:
        return {*self._takes, *(take.running.key for take in self._unwanted)}

    # --- Orders ----------------------------------------------------------------------------------------------

    async def obey(self, order: Order) -> Outcome | None:
        """What became of it; None when Asterisk is out of reach: then it is to be given again.

        Orders of one segment are carried out one after the other, as they come.
        """
        if order.medium != "audio":
            return Outcome(UNSUPPORTED_VIDEO)
        lock = self._locks.setdefault(order.key, asyncio.Lock())
        try:
            async with lock:
                return await self._obey(order)
        except ActionRefusedError as error:
            return Outcome(str(error))
        except AmiError as error:
            # A pause is for privacy: whoever asked must know at once that it did not work.
            return Outcome(str(error)) if order.command == Command.PAUSE else None

    async def _obey(self, order: Order) -> Outcome:
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
                raise ValueError("A call to be launched is no recording.")

    async def _start(self, order: Order) -> Outcome:
        await self._stop_unwanted()
        take = self._takes.get(order.key)
        if take is None:
            members = self._members(order.session_id)
            if not members:
                return Outcome(NOT_CONNECTED)
            take = self._keep(_Take(begun_by(order)))
            if order.was_handed_out:
                take.running.is_adopted = True
                take.unanswered = list(members)
        try:
            async with take.lock:
                if self._is_kept(take) and take.arranged_for is None and not take.is_to_be_silent:
                    await self._renew(take)
                if not take.tracks:
                    self._drop(take)
        except AmiError:
            self._discard(take, is_kept=False)
            await self._tidy()
            raise
        return Outcome() if take.tracks else Outcome(NOT_CONNECTED)

    async def _pause(self, order: Order) -> Outcome:
        take = self._takes.get(order.key)
        if take is None:
            return Outcome(NOT_RECORDING)
        async with take.lock:
            if not self._is_kept(take):
                return Outcome(NOT_RECORDING)
            take.is_to_be_silent = True
            if not take.running.is_paused:
                take.running.is_paused = True
                take.running.stretch += 1
            await self._silence(take)
        return Outcome()

    async def _resume(self, order: Order) -> Outcome:
        take = self._takes.get(order.key)
        if take is None:
            return Outcome(NOT_RECORDING)
        async with take.lock:
            if not self._is_kept(take):
                return Outcome(NOT_RECORDING)
            if take.running.is_paused:
                try:
                    await self._renew(take)
                except AmiError:
                    with contextlib.suppress(AmiError):
                        await self._silence(take)  # else as soon as Asterisk is in reach
                    self._look_soon(take)
                    raise
                take.running.is_paused = take.is_to_be_silent = False
            return Outcome() if take.monitors else Outcome(NOT_CONNECTED)

    async def _stop(self, order: Order) -> Outcome:
        await self._stop_unwanted()
        if take := self._takes.get(order.key):
            async with take.lock:
                take.is_to_be_silent = True
                await self._silence(take)
                self._finish(take)
        return Outcome()

    # --- What must not run -----------------------------------------------------------------------------------

    async def forget(self, key: Key) -> None:
        """Stops what nobody waits for any longer; if not now, then as soon as Asterisk is in reach."""
        if take := self._takes.get(key):
            async with take.lock:
                self._discard(take, is_kept=True)
            await self._tidy()

    def _discard(self, take: _Take, *, is_kept: bool) -> None:
        if self._is_kept(take):
            self._drop(take)
            take.is_kept = is_kept
            self._unwanted.append(take)

    async def _tidy(self) -> None:
        while self._unwanted and self._ami is not None:
            try:
                await self._stop_unwanted()
            except AmiError as error:
                log.warning("recording is not stopped yet", reason=str(error))
                await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _stop_unwanted(self) -> None:
        for take in list(self._unwanted):
            async with take.lock:
                if take not in self._unwanted:
                    continue
                try:
                    await self._silence(take)
                except ActionRefusedError as error:
                    log.error("recording cannot be stopped", recording=take.running.key, reason=str(error))
                self._unwanted.remove(take)
                if take.is_kept:
                    self._finished(take.running, take.tracks)

    # --- Calls that change -----------------------------------------------------------------------------------

    def look(self, session_ids: Iterable[str]) -> None:
        """Parties may have come or gone in these calls."""
        for session_id in session_ids:
            for take in self._by_session.get(session_id, ()):
                if not take.is_followed and not self._is_in_order(take):
                    take.is_followed = True
                    self._spawn(self._follow(take))

    def _look_soon(self, take: _Take) -> None:
        if self._ami is not None:  # else it is looked at as soon as Asterisk is in reach
            asyncio.get_running_loop().call_later(TRY_AGAIN_AFTER, self.look, [take.running.session_id])

    def _is_in_order(self, take: _Take) -> bool:
        members = self._members(take.running.session_id)
        if members is None:
            return False
        if self._ami is None:
            return True
        if take.is_to_be_silent:
            return not (take.monitors or take.unanswered)
        return list(members) == take.arranged_for

    async def _follow(self, take: _Take) -> None:
        async with take.lock:
            take.is_followed = False
            while self._is_kept(take) and not self._is_in_order(take):
                if self._members(take.running.session_id) is None:
                    self._finish(take)
                    return
                try:
                    await (self._silence(take) if take.is_to_be_silent else self._renew(take))
                except ActionRefusedError as error:
                    self._give_up(take, str(error))
                    return
                except AmiError as error:
                    log.warning("recording does not follow its call", recording=take.running.key, reason=str(error))
                    self._look_soon(take)
                    return

    def _give_up(self, take: _Take, reason: str) -> None:
        """Somebody's voice would be missing without a word: the segment ends, and the portal is told why."""
        log.error("recording cannot go on", recording=take.running.key, reason=reason)
        if not take.is_to_be_silent:  # else whoever ordered it was told that it did not work
            self._failed(take.running, reason)
            self._discard(take, is_kept=True)
            self._spawn(self._tidy())

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
        takes = [take for take in self._takes.values() if uniqueid in {each.uniqueid for each in take.monitors}]
        try:
            for take in takes:
                async with take.lock:
                    for monitor in [each for each in take.monitors if each.uniqueid == uniqueid]:
                        await self._unmonitor(take, monitor)
            await asyncio.sleep(UNHEARD)
        finally:
            for take in takes:
                take.arranged_for = None
                await self._follow(take)

    # --- The connection --------------------------------------------------------------------------------------

    def connect(self, ami: Ami) -> None:
        """Asterisk is in reach, and its calls are known."""
        self._ami = ami
        self.is_connected.set()
        self._spawn(self._tidy())
        self.look(list(self._by_session))

    async def take_over(self, running: Sequence[Running]) -> None:
        """The segments that Asterisk should be recording since an earlier connector."""
        for each in running:
            members = self._members(each.session_id)
            if each.key not in self._takes and members is not None:
                take = self._keep(_Take(each, unanswered=list(members), is_to_be_silent=each.is_paused))
                await self._follow(take)

    def disconnect(self) -> None:
        """What runs on Asterisk runs on without us."""
        self._ami = None
        self.is_connected.clear()
        self._stops.clear()

    # --- MixMonitors -----------------------------------------------------------------------------------------

    async def _renew(self, take: _Take) -> None:
        """A new track for each who is connected now. The former ones are stopped when those run: nothing is lost."""
        await self._find_unanswered(take)
        former = list(take.monitors)
        members = list(self._members(take.running.session_id) or ())
        began_ms = int(datetime.now(UTC).timestamp() * 1000)
        take.arranged_for = None
        for place, member in enumerate(members):
            await self._monitor(take, member, began_ms, is_first=place == 0)
        for monitor in former:
            if monitor in take.monitors:
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
        options = f"r({RECORDINGS}/{track.name}.wav)i({_variable(running)})"
        try:
            answer = await self._ask("MixMonitor", Channel=member.channel, File="", Options=options)
        except OutOfReachError:
            raise
        except ActionRefusedError as error:
            if error.why in _GONE:
                return
            raise
        except AmiError:
            take.unanswered.append(member)
            running.is_adopted = True  # only Asterisk knows whether there is a track
            raise
        number = text(answer, "MixMonitorID")
        # One of the same number on the same channel is over, whatever we were not told: addresses are used again.
        take.monitors = [each for each in take.monitors if (each.number, each.channel) != (number, member.channel)]
        take.tracks.append(track)
        take.monitors.append(_Monitor(number, member.channel, member.uniqueid))

    async def _find_unanswered(self, take: _Take) -> None:
        """What was started by a request whose answer was lost, or by an earlier connector."""
        while take.unanswered:
            member = take.unanswered[0]
            number = ""
            try:
                answer = await self._ask("Getvar", Channel=member.channel, Variable=_variable(take.running))
                number = text(answer, "Value")
            except ActionRefusedError as error:
                if error.why not in _GONE:
                    raise
            del take.unanswered[0]
            known = {(each.number, each.channel) for each in take.monitors}
            if number and (number, member.channel) not in known:
                take.monitors.append(_Monitor(number, member.channel, member.uniqueid))

    async def _silence(self, take: _Take) -> None:
        """Stops all that runs. When this returns, Asterisk has closed the files."""
        take.arranged_for = None
        await self._find_unanswered(take)
        for monitor in list(take.monitors):
            await self._unmonitor(take, monitor)

    async def _unmonitor(self, take: _Take, monitor: _Monitor) -> None:
        self._stops[monitor.uniqueid] += 1
        try:
            await self._ask("StopMixMonitor", Channel=monitor.channel, MixMonitorID=monitor.number)
        except AmiError as error:
            self._stops[monitor.uniqueid] = max(0, self._stops[monitor.uniqueid] - 1)
            if not isinstance(error, ActionRefusedError) or error.why not in _GONE:
                raise
            # A channel that is gone has ended its MixMonitor; so has somebody else who stopped it.
        take.monitors.remove(monitor)

    async def _ask(self, action: str, **fields: str) -> Message:
        if self._ami is None:
            raise OutOfReachError(OUT_OF_REACH)
        return await self._ami.ask(action, **fields)

    # --- The ledger ------------------------------------------------------------------------------------------

    def _keep(self, take: _Take) -> _Take:
        self._takes[take.running.key] = take
        self._by_session.setdefault(take.running.session_id, []).append(take)
        return take

    def _is_kept(self, take: _Take) -> bool:
        """Not dropped while its lock was waited for."""
        return self._takes.get(take.running.key) is take

    def _drop(self, take: _Take) -> None:
        if not self._is_kept(take):
            return
        del self._takes[take.running.key]
        takes = self._by_session[take.running.session_id]
        takes.remove(take)
        if not takes:
            del self._by_session[take.running.session_id]

    def _finish(self, take: _Take) -> None:
        if self._is_kept(take):
            self._drop(take)
            self._finished(take.running, take.tracks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _variable(running: Running) -> str:
    """Of a channel: the number of the MixMonitor that records it for this segment."""
    return f"VOXLEDGER_{running.recording_id}_{running.segment}"
