"""The connector of one FreeSWITCH: follows its event socket, reconnects, reconciles after a gap, feeds the portal."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from django.db import DatabaseError, InterfaceError

from pbx.connectors import portal as shared
from pbx.connectors.backoff import Backoff
from pbx.connectors.base import SwitchConnector, SwitchGoneError
from pbx.connectors.orders import Command, Key, Order, Outcome
from pbx.connectors.spool import Census
from pbx.freeswitch import cdrs, portal
from pbx.freeswitch.access import Access, AccessError, access_of
from pbx.freeswitch.collector import Collector
from pbx.freeswitch.esl import Message, message_of, rows_of, text
from pbx.freeswitch.eventsocket import (
    PING_EVERY,
    CommandRefusedError,
    EslError,
    EslRefusedError,
    EventSocket,
    signed_in,
)
from pbx.freeswitch.interpreter import SUBCLASSES, SUBSCRIPTIONS, Interpreter
from pbx.freeswitch.launcher import Launcher
from pbx.freeswitch.names import is_uuid
from pbx.freeswitch.recorder import Recorder
from pbx.freeswitch.takes import Take
from tenants.models import Switch

log = structlog.get_logger(__name__)

TICK_EVERY = 0.1
DATABASE_PATIENCE = 5.0
CLOCK_TOLERANCE = timedelta(seconds=2)
GAP_MARGIN = timedelta(seconds=30)  # a connector that died had said so late that it lived
LONGEST_GAP = timedelta(days=1)  # further back the JSON CDRs are not read
HELD_BACK_MAX = 100_000  # events that come while the list of channels does
DUMPS_MAX = 10_000
SUBSCRIBE = f"event json {' '.join(SUBSCRIPTIONS)} RECORD_STOP BACKGROUND_JOB CUSTOM {' '.join(SUBCLASSES)}"
_VERSION = re.compile(r"Version ([0-9A-Za-z._-]+)")


class Connector(SwitchConnector):
    """Runs until it is asked to stop, whatever FreeSWITCH, the network or the database do meanwhile."""

    def __init__(self, switch: Switch, *, backoff: Callable[[], Backoff] = Backoff) -> None:
        self._changed = asyncio.Event()
        super().__init__(switch, backoff, (self._changed,))
        self._interpreter = Interpreter()
        self._held_back: list[tuple[Message, datetime]] | None = None
        self._gap_since = switch.connector_seen_at or datetime.now(UTC)
        self._recorder = Recorder(self._interpreter.members)
        self._launcher = Launcher(lambda session_id: self._interpreter.members(session_id) is not None)
        self._collector = Collector(self._is_over, self._hand_over)
        self._knows_running = False

    async def run(self, stop: asyncio.Event) -> None:
        """Raises SwitchGoneError when there is nothing left to connect to."""
        try:
            with contextlib.suppress(DatabaseError, InterfaceError, TimeoutError):  # before the first call is told
                await asyncio.wait_for(self._learn_trunks(), DATABASE_PATIENCE)
            async with asyncio.TaskGroup() as group:
                works = (
                    self._end_with(stop),
                    self._follow(),
                    self._watch(),
                    self._tick(),
                    self._take_orders(),
                    self._collector.follow(self._folder),
                )
                following = [group.create_task(work) for work in works]
                delivering = group.create_task(self._deliver())
                await self._over.wait()
                for task in following:
                    task.cancel()
                await asyncio.gather(*self._orders.values(), return_exceptions=True)
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
        return " ".join(each for each in (message, self._collector.trouble, stuck, lost) if each)

    # --- The event socket ------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        backoff = self._new_backoff()
        while True:
            try:
                await self._until(self._changed, self._follow_once(access_of(self._switch), backoff))
                continue
            except AccessError as error:
                self._say("unconfigured", str(error))
            except EslRefusedError as error:
                self._say("refused", str(error))
            except EslError as error:
                self._say("unreachable", str(error))
            await self._until(self._changed, asyncio.sleep(backoff.next()))

    async def _follow_once(self, access: Access, backoff: Backoff) -> None:
        self._held_back = []
        was_connected = False
        try:
            async with signed_in(access, self._on_event) as socket:
                await self._set_clock(socket)
                await socket.ask(SUBSCRIBE)
                found = _VERSION.search(await socket.api("version"))
                await self._reconcile(socket, access)
                backoff.reset()
                was_connected = True
                version = f" {found[1]}" if found else ""
                self._say("connected", f"Connected to FreeSWITCH{version} by the event socket.")
                self._launcher.connect(socket)
                await self._connect_recorder(socket, access)
                while True:
                    await asyncio.sleep(PING_EVERY)
                    await self._set_clock(socket)
        finally:
            self._recorder.disconnect()
            self._launcher.disconnect()
            if was_connected:
                self._gap_since = datetime.now(UTC)

    async def _set_clock(self, socket: EventSocket) -> None:
        asked_at = datetime.now(UTC)
        answer = await socket.api("strepoch")
        answered_at = datetime.now(UTC)
        if not (answer.isascii() and answer.isdigit() and len(answer) == 10):
            return
        theirs = datetime.fromtimestamp(int(answer), UTC) + timedelta(seconds=0.5)  # it says whole seconds
        offset = asked_at + (answered_at - asked_at) / 2 - theirs
        former = self._interpreter.clock_offset
        self._interpreter.clock_offset = offset if abs(offset) > CLOCK_TOLERANCE else timedelta()
        if abs(self._interpreter.clock_offset - former) > CLOCK_TOLERANCE:
            log.warning(
                "clock of the switch is off", switch=self._switch.name, seconds=round(offset.total_seconds(), 1)
            )

    async def _reconcile(self, socket: EventSocket, access: Access) -> None:
        """Takes the calls in progress as they are. Events that come meanwhile are interpreted after the list."""
        rows = rows_of(await socket.api("show channels as json"))
        if rows is None:
            raise EslError("FreeSWITCH did not list its channels as JSON.")
        missed = await self._missed(access)
        # A leg stands in the list for a while after it is gone. One that has a JSON CDR is over, too.
        listed = {uuid for row in rows if is_uuid(uuid := str(row.get("uuid", "")))}
        listed -= {text(message, "Unique-ID") for message in missed}
        known = listed & self._interpreter.legs()
        live = {uuid for uuid in known if await socket.api(f"uuid_exists {uuid}") == "true"}
        dumps = {uuid: await _dump(socket, uuid) for uuid in sorted(listed - known)[:DUMPS_MAX]}
        live |= {uuid for uuid, dump in dumps.items() if dump}
        self._spool.put(self._interpreter.adopt([dump for dump in dumps.values() if dump], datetime.now(UTC)))
        for message in missed:
            self._spool.put(self._interpreter.take(message, datetime.now(UTC)))
        self._spool.put(self._interpreter.end_all_but(live, datetime.now(UTC)))
        self._spool.put([Census(frozenset(self._interpreter.session_ids()))])
        held_back, self._held_back = self._held_back or [], None
        for message, received_at in held_back:
            self._interpret(message, received_at)
        self._recorder.look(self._interpreter.take_touched())

    async def _missed(self, access: Access) -> list[Message]:
        if access.cdr_folder is None:
            return []
        since = max(self._gap_since - GAP_MARGIN, datetime.now(UTC) - LONGEST_GAP)
        return await asyncio.to_thread(cdrs.missed_since, access.cdr_folder, since)

    def _on_event(self, message: Message) -> None:
        received_at = datetime.now(UTC)
        self._launcher.hear(message)
        if self._held_back is None:
            self._interpret(message, received_at)
        elif len(self._held_back) < HELD_BACK_MAX:
            self._held_back.append((message, received_at))

    def _interpret(self, message: Message, received_at: datetime) -> None:
        try:
            if text(message, "Event-Name") == "RECORD_STOP":
                leg = self._interpreter.session_id_of(text(message, "Unique-ID"))
                self._spool.put(self._recorder.hear_stop(message, leg, received_at))
            self._spool.put(self._interpreter.take(message, received_at))
            self._recorder.look(self._interpreter.take_touched())
        except Exception:  # one message that is not understood must not end the connection and all calls with it
            log.exception("message was not understood", switch=self._switch.name)

    # --- Recording -------------------------------------------------------------------------------------------

    def _knows_what_runs(self) -> bool:
        return self._recorder.is_ready

    async def _obey(self, order: Order) -> None:
        try:
            outcome = await self._carried_out(order)
            if outcome is None:  # FreeSWITCH is out of reach: it comes again, until the portal gives it up
                return
            backoff = self._new_backoff()
            while not self._over.is_set():
                try:
                    if not await self._in_database(shared.confirm, self._switch, order, outcome):
                        await self._undo(order)
                    self._may_have_orders.set()  # the next of this segment has waited for it
                    return
                except (DatabaseError, InterfaceError, OSError):
                    await asyncio.sleep(backoff.next())
        except Exception:  # one order must not end the connection and all calls with it
            log.exception("order was not carried out", switch=self._switch.name, order=order.id)

    async def _carried_out(self, order: Order) -> Outcome | None:
        if order.launch:
            return await self._launcher.launch(order, order.launch)
        return await self._recorder.obey(order)

    async def _undo(self, order: Order) -> None:
        """The portal had given up waiting: it believes that nothing was begun."""
        if order.launch:
            log.warning("call was launched too late", switch=self._switch.name, session=order.session_id)
            await self._launcher.forget(order)
        elif order.command == Command.START:
            log.warning("recording began too late", switch=self._switch.name, recording=order.key)
            await self._recorder.forget(order.key)

    async def _connect_recorder(self, socket: EventSocket, access: Access) -> None:
        """Until it is known what an earlier connector has begun, no file is anybody's to take."""
        self._recorder.folder = access.recordings_path
        backoff = self._new_backoff()
        running: list[Take] | None = [] if self._knows_running else None
        while running is None:
            try:
                session_ids = list(self._interpreter.session_ids())
                running = await self._in_database(portal.takes_running, self._switch, session_ids)
            except (DatabaseError, InterfaceError, OSError):
                await asyncio.sleep(backoff.next())
        self._spool.put(await self._recorder.connect(socket, running))
        self._knows_running = True
        self._may_have_orders.set()

    def _folder(self) -> Path | None:
        """Where finished recordings lie, while it is known which are finished."""
        try:
            return access_of(self._switch).recordings_folder if self._is_settled() else None
        except AccessError:
            return None

    def _is_settled(self) -> bool:
        return self._knows_running and self._state[0] == "connected"

    def _is_over(self, key: Key) -> bool:
        return self._is_settled() and key not in self._recorder.segments()

    async def _hand_over(self, key: Key, path: Path) -> bool:
        loop = asyncio.get_running_loop()
        work = lambda: shared.with_database(portal.hand_over, self._switch, key, path)  # noqa: E731
        return await loop.run_in_executor(None, work)  # not in the thread of the calls: an hour takes its time

    # --- Into the portal ---------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_EVERY)
            self._spool.put(self._interpreter.tick(datetime.now(UTC)))
            self._recorder.look(self._interpreter.take_touched())


async def _dump(socket: EventSocket, uuid: str) -> Message | None:
    """All that FreeSWITCH knows of a leg; None when it is gone by now."""
    try:
        return message_of((await socket.api(f"uuid_dump {uuid} json")).encode())
    except CommandRefusedError:
        return None
