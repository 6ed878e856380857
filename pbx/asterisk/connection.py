"""The connector of one Asterisk: follows AMI and ARI, reconnects, reconciles after a gap, feeds the portal."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog
from django.db import DatabaseError, InterfaceError

from cdr.callevents import CallEvent, RecordingFailed
from pbx.asterisk import portal
from pbx.asterisk.access import Access, AccessError, access_of
from pbx.asterisk.ami import Message, text
from pbx.asterisk.ari import Ari, AriError
from pbx.asterisk.collector import Collector, stored_tracks
from pbx.asterisk.interpreter import Interpreter
from pbx.asterisk.launcher import Launcher
from pbx.asterisk.manager import PING_EVERY, Ami, AmiError, AmiRefusedError, signed_in
from pbx.asterisk.recorder import Recorder
from pbx.connectors import portal as shared
from pbx.connectors.backoff import Backoff
from pbx.connectors.base import SwitchConnector, SwitchGoneError
from pbx.connectors.orders import Command, Order, Outcome, Running, begun_by
from pbx.connectors.spool import Census
from tenants.models import Switch

log = structlog.get_logger(__name__)

M = TypeVar("M")
LOOK_AT_STREAMS_EVERY = 2.0
VERIFY_AFTER = 0.5  # seconds from a start until its file must be there
NO_FILE = "Asterisk does not write into its folder of recordings: see its log, its disk and the folder's owner."
TICK_EVERY = 0.1
DATABASE_PATIENCE = 5.0
CLOCK_TOLERANCE = timedelta(seconds=2)
HELD_BACK_MAX = 100_000  # events that come while the list of channels does


class Connector(SwitchConnector):
    """Runs until it is asked to stop, whatever Asterisk, the network or the database do meanwhile."""

    def __init__(self, switch: Switch, *, backoff: Callable[[], Backoff] = Backoff) -> None:
        self._ami_changed = asyncio.Event()
        self._ari_changed = asyncio.Event()
        super().__init__(switch, backoff, (self._ami_changed, self._ari_changed))
        self._interpreter = Interpreter()
        self._has_ari = False
        self._ari_trouble = ""
        self._held_back: list[tuple[Message, datetime]] | None = None
        self._collector = Collector(
            self._ari, self._hand_over, self._note_lack, backoff, workplace=f"asterisk-{switch.pk}"
        )
        self._recorder = Recorder(self._interpreter.members, self._collector.put, self._tell_failed)
        self._launcher = Launcher(self._is_live, self._interpreter.expect)
        self._knows_running = asyncio.Event()
        self._has_new_tracks = asyncio.Event()
        self._streams: dict[str, int] = {}  # by Uniqueid: the RTP stream (SSRC) of each channel that is recorded

    async def run(self, stop: asyncio.Event) -> None:
        """Raises SwitchGoneError when there is nothing left to connect to."""
        try:
            with contextlib.suppress(DatabaseError, InterfaceError, TimeoutError):  # before the first call is told
                await asyncio.wait_for(self._learn_trunks(), DATABASE_PATIENCE)
            async with asyncio.TaskGroup() as group:
                works = (
                    self._end_with(stop),
                    self._follow_ami(),
                    self._follow_ari(),
                    self._watch(),
                    self._tick(),
                    self._take_orders(),
                    self._take_over(),
                    self._find_leftovers(),
                    self._watch_streams(),
                )
                following = [group.create_task(work) for work in works]
                delivering = group.create_task(self._deliver())
                await self._over.wait()
                for task in following:
                    task.cancel()
                await asyncio.gather(*self._orders.values(), return_exceptions=True)
                await self._collector.close()
                await self._say_last_words()
                delivering.cancel()
        finally:
            self._database.shutdown(wait=False, cancel_futures=True)
        if self._gone:
            raise SwitchGoneError(self._gone)

    async def _learn_trunks(self) -> None:
        self._interpreter.set_trunks(await self._in_database(portal.trunks_of, self._switch.pk))

    # --- State -----------------------------------------------------------------------------------------------

    def _message(self) -> str:
        state, message = self._state
        if state != "connected":
            return message
        lost = f"{self._spool.lost} call events were lost, the database was away too long." if self._spool.lost else ""
        stuck = "The database does not take call events." if self._spool.is_stuck else ""
        by = " by AMI and ARI." if self._has_ari else " by AMI."
        waiting = f"{len(self._collector)} recordings wait on Asterisk: {self._collector.trouble}"
        recordings = waiting if self._collector.trouble and len(self._collector) else ""
        without_ari = f"{self._ari_trouble} Calls have no SIP Call-ID." if self._ari_trouble else ""
        return " ".join(each for each in (message + by, without_ari, recordings, stuck, lost) if each)

    # --- AMI -------------------------------------------------------------------------------------------------

    async def _follow_ami(self) -> None:
        backoff = self._new_backoff()
        while True:
            try:
                await self._until(self._ami_changed, self._follow_ami_once(access_of(self._switch), backoff))
                continue
            except AccessError as error:
                self._say("unconfigured", str(error))
            except AmiRefusedError as error:
                self._say("refused", str(error))
            except AmiError as error:
                self._say("unreachable", str(error))
            await self._until(self._ami_changed, asyncio.sleep(backoff.next()))

    async def _follow_ami_once(self, access: Access, backoff: Backoff) -> None:
        self._held_back = []
        async with signed_in(access, self._on_ami) as ami:
            await self._set_clock(ami)
            version = text(await ami.ask("CoreSettings"), "AsteriskVersion")
            await self._reconcile(ami)
            backoff.reset()
            self._say("connected", f"Connected to Asterisk {version}")
            try:
                self._recorder.connect(ami)
                self._launcher.connect(ami)
                while True:
                    await asyncio.sleep(PING_EVERY)
                    await self._set_clock(ami)
            finally:
                self._recorder.disconnect()
                self._launcher.disconnect()

    async def _set_clock(self, ami: Ami) -> None:
        asked_at = datetime.now(UTC)
        pong = await ami.ask("Ping")
        answered_at = datetime.now(UTC)
        try:
            theirs = datetime.fromtimestamp(float(text(pong, "Timestamp")), UTC)
        except (ValueError, OverflowError, OSError):
            return
        offset = asked_at + (answered_at - asked_at) / 2 - theirs
        former = self._interpreter.clock_offset
        self._interpreter.clock_offset = offset if abs(offset) > CLOCK_TOLERANCE else timedelta()
        if abs(self._interpreter.clock_offset - former) > CLOCK_TOLERANCE:
            log.warning(
                "clock of the switch is off", switch=self._switch.name, seconds=round(offset.total_seconds(), 1)
            )

    async def _reconcile(self, ami: Ami) -> None:
        """Takes the calls in progress as they are. Events that come meanwhile are interpreted after the list."""
        channels = await ami.list_all("CoreShowChannels")
        self._spool.put(self._interpreter.reconcile(channels, datetime.now(UTC)))
        self._spool.put([Census(frozenset(self._interpreter.session_ids()))])
        held_back, self._held_back = self._held_back or [], None
        for message, received_at in held_back:
            self._interpret(self._interpreter.ami, message, received_at)

    def _on_ami(self, message: Message) -> None:
        received_at = datetime.now(UTC)
        if text(message, "Event") == "MixMonitorStop":
            self._recorder.stop_told(text(message, "Uniqueid"))
        self._launcher.hear(message)
        if self._held_back is None:
            self._interpret(self._interpreter.ami, message, received_at)
        elif len(self._held_back) < HELD_BACK_MAX:
            self._held_back.append((message, received_at))

    def _interpret(self, interpret: Callable[[M, datetime], list[CallEvent]], told: M, received_at: datetime) -> None:
        try:
            self._spool.put(interpret(told, received_at))
            self._recorder.look(self._interpreter.take_touched())
        except Exception:  # one message that is not understood must not end the connection and all calls with it
            log.exception("message was not understood", switch=self._switch.name)

    # --- ARI -------------------------------------------------------------------------------------------------

    async def _follow_ari(self) -> None:
        backoff = self._new_backoff()
        while True:
            try:
                await self._until(self._ari_changed, self._follow_ari_once(access_of(self._switch), backoff))
                self._lose_ari("Asterisk closed the ARI connection.")
            except AriError as error:
                self._lose_ari(str(error))
            except AccessError:
                self._lose_ari("")  # AMI has said it
            await self._until(self._ari_changed, asyncio.sleep(backoff.next()))

    def _lose_ari(self, trouble: str) -> None:
        self._interpreter.lose_ari()
        self._has_ari = False
        if trouble != self._ari_trouble:
            self._ari_trouble = trouble
            self._to_report.set()
            log.warning("calls have no SIP Call-ID", switch=self._switch.name, reason=trouble)

    async def _follow_ari_once(self, access: Access, backoff: Backoff) -> None:
        async with Ari(access.ari_url, access.ari_user, access.ari_password) as ari:
            async for event in ari.events():
                if event:
                    self._interpret(self._interpreter.ari, event, datetime.now(UTC))
                else:
                    await self._learn_call_ids(ari)
                    backoff.reset()

    async def _learn_call_ids(self, ari: Ari) -> None:
        self._interpreter.expects_ari = self._has_ari = True
        self._ari_trouble = ""
        self._to_report.set()
        for channel in await ari.channels():
            self._interpreter.learn_call_id(str(channel.get("id", "")), str(channel.get("protocol_id", "")))

    # --- Recording -------------------------------------------------------------------------------------------

    def _is_live(self, session_id: str) -> bool:
        return self._interpreter.members(session_id) is not None

    def _knows_what_runs(self) -> bool:
        return self._knows_running.is_set()

    async def _obey(self, order: Order) -> None:
        try:
            outcome = await self._carried_out(order)
            if outcome is None:  # Asterisk is out of reach: it comes again, until the portal gives it up
                return
            self._has_new_tracks.set()
            backoff = self._new_backoff()
            while not self._over.is_set():
                try:
                    is_taken = await self._in_database(shared.confirm, self._switch, order, outcome)
                    self._may_have_orders.set()  # the next of this segment has waited for it
                    if not is_taken:
                        await self._undo(order)
                    elif order.command == Command.START and not outcome.reason:
                        await self._verify(order)
                    return
                except (DatabaseError, InterfaceError, OSError):
                    await asyncio.sleep(backoff.next())
        except Exception:  # one order must not end the connection and all calls with it
            log.exception("order was not carried out", switch=self._switch.name, order=order.id)

    async def _carried_out(self, order: Order) -> Outcome | None:
        if order.launch:
            return await self._launcher.launch(order, order.launch)
        return await self._recorder.obey(order)

    async def _verify(self, order: Order) -> None:
        """MixMonitor says Success also when it cannot write its file."""
        await asyncio.sleep(VERIFY_AFTER)
        track = self._recorder.first_track(order.key)
        with contextlib.suppress(AriError):
            async with self._ari() as ari:
                if track is None or await ari.has_recording(track.name):
                    return
            await self._recorder.forget(order.key)
            self._tell_failed(begun_by(order), NO_FILE)

    def _tell_failed(self, running: Running, reason: str) -> None:
        failed = RecordingFailed(
            id=f"{running.recording_id}:{running.segment}:failed",
            session_id=running.session_id,
            at=datetime.now(UTC),
            recording_id=running.recording_id,
            segment=running.segment,
            reason=reason,
        )
        self._spool.put([failed])

    async def _undo(self, order: Order) -> None:
        """The portal had given up waiting: it believes that nothing was begun."""
        if order.launch:
            log.warning("call was launched too late", switch=self._switch.name, session=order.session_id)
            await self._launcher.forget(order)
        elif order.command == Command.START:
            log.warning("recording began too late", switch=self._switch.name, recording=order.key)
            await self._recorder.forget(order.key)

    async def _take_over(self) -> None:
        """What an earlier connector records in calls that go on; once, when Asterisk and the database are there."""
        backoff = self._new_backoff()
        while True:
            await self._recorder.is_connected.wait()
            try:
                session_ids = list(self._interpreter.session_ids())
                running = await self._in_database(portal.segments_running, self._switch, session_ids)
                await self._recorder.take_over(running)
                break
            except (DatabaseError, InterfaceError, OSError) as error:
                log.warning("recordings are not taken over yet", switch=self._switch.name, reason=str(error).strip())
                await asyncio.sleep(backoff.next())
        self._knows_running.set()
        self._may_have_orders.set()

    async def _find_leftovers(self) -> None:
        """Files of calls that ended while no connector was there; once, when it is known which calls go on."""
        await self._knows_running.wait()
        backoff = self._new_backoff()
        while True:
            try:
                async with self._ari() as ari:
                    keys = {(track.recording_id, track.segment) for track in await stored_tracks(ari)}
                for running in await self._in_database(portal.segments_begun, self._switch, list(keys)):
                    if running.key not in self._recorder.segments():
                        self._collector.put(running, ())
                return
            except (AriError, DatabaseError, InterfaceError, OSError):
                await asyncio.sleep(backoff.next())

    async def _watch_streams(self) -> None:
        backoff = self._new_backoff()
        while True:
            try:
                async with self._ari() as ari:
                    while True:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(LOOK_AT_STREAMS_EVERY):
                                await self._has_new_tracks.wait()
                        self._has_new_tracks.clear()
                        await self._look_at_streams(ari)
                        backoff.reset()
            except (AriError, AmiError):
                await asyncio.sleep(backoff.next())

    async def _look_at_streams(self, ari: Ari) -> None:
        """Whether a recorded party's phone, or the switch behind a trunk, has begun another RTP stream."""
        former, self._streams = self._streams, {}
        for uniqueid in self._recorder.channels():
            source = await ari.stream_to(uniqueid) or former.get(uniqueid, 0)
            self._streams[uniqueid] = source
            if former.get(uniqueid, source) != source:
                log.info("a party sends another stream", switch=self._switch.name, channel=uniqueid)
                await self._recorder.begin_anew(uniqueid)

    def _ari(self) -> Ari:
        try:
            access = access_of(self._switch)
        except AccessError as error:
            raise AriError(str(error)) from error
        return Ari(access.ari_url, access.ari_user, access.ari_password)

    async def _hand_over(self, running: Running, path: Path) -> None:
        loop = asyncio.get_running_loop()
        work = lambda: shared.with_database(portal.hand_over, self._switch, running, path)  # noqa: E731
        await loop.run_in_executor(None, work)  # not in the thread of the calls: hashing an hour takes its time

    async def _note_lack(self, running: Running, problem: str) -> None:
        await self._in_database(portal.note_lack, running, problem)

    # --- Into the portal ---------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_EVERY)
            self._spool.put(self._interpreter.tick(datetime.now(UTC)))
            self._recorder.look(self._interpreter.take_touched())
