"""Records calls on a FreeSWITCH as the portal orders it, and keeps the ledger of what runs there.

A recording hangs on one leg and is known by that leg and its path. It is begun on the leg that stays: the caller's, or
the first that is left. FreeSWITCH tells when a recording ends, but neither when it is paused nor whether it is, so what
it answered to our own commands is all there is to believe. What cannot be paused is stopped: that is for privacy.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from cdr.callevents import RecordingStopped
from pbx.connectors.orders import Command, Key, Order, Outcome
from pbx.freeswitch.esl import Message, text, variable
from pbx.freeswitch.eventsocket import CommandRefusedError, EslError, EventSocket
from pbx.freeswitch.state import Member
from pbx.freeswitch.takes import Take, begun_by, note_pause

NOT_CONNECTED = "Nobody is connected in this call any more."
NOT_RECORDING = "This call is not being recorded."
NO_VIDEO = "Nobody in this call has video."
OUT_OF_REACH = "The portal has no connection to FreeSWITCH at the moment."
BY_DIALPLAN = "voxledger_stopped"  # the variable by which our dialplan says why it stopped a recording
_UNASKED = "FreeSWITCH stopped it without being asked"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Verbs:
    pause: str
    resume: str


_CUT, _SILENCE = _Verbs("pause", "resume"), _Verbs("mask", "unmask")


class Recorder:
    """The takes of one FreeSWITCH. `members` says who is connected in a session, None when it is over."""

    def __init__(self, members: Callable[[str], Sequence[Member] | None]) -> None:
        self.folder = ""  # where FreeSWITCH writes
        self._members = members
        self._takes: dict[Key, Take] = {}
        self._socket: EventSocket | None = None
        self.is_ready = False  # FreeSWITCH is in reach, and what an earlier connector records is known

    def segments(self) -> set[Key]:
        return set(self._takes)

    # --- Orders ----------------------------------------------------------------------------------------------

    async def obey(self, order: Order) -> Outcome | None:
        """What became of it; None when FreeSWITCH is out of reach: then it is to be given again.

        Orders of one segment come one after the other; who gives them sees to that.
        """
        if not self.is_ready:
            return Outcome(OUT_OF_REACH) if order.command == Command.PAUSE else None
        try:
            return await self._obey(order)
        except CommandRefusedError as error:
            return Outcome(str(error))
        except EslError as error:
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
        if order.key in self._takes:
            return Outcome()
        members = self._members(order.session_id) or ()
        if not members:
            return Outcome(NOT_CONNECTED)
        if order.medium == "video" and not any(member.has_video for member in members):
            return Outcome(NO_VIDEO)
        take = begun_by(order)
        take.leg = members[0].uuid
        await self._api(f"uuid_setvar {take.leg} RECORD_STEREO {_word(take.dual_tracks and take.medium == 'audio')}")
        self._takes[take.key] = take  # before: its RECORD_STOP may come before the answer
        try:
            known = f"{{voxledger_recording={take.recording_id},voxledger_segment={take.segment}}}"
            await self._api(f"uuid_record {take.leg} start {self._path(take)} 0 {known}")
        except EslError:
            del self._takes[take.key]
            raise
        return Outcome()

    async def _pause(self, order: Order) -> Outcome:
        take = self._takes.get(order.key)
        if take is None:
            return Outcome(NOT_RECORDING)
        if take.ended_at is None:
            try:
                await self._api(f"uuid_record {take.leg} {_verbs(take, order).pause} {self._path(take)}")
            except CommandRefusedError as error:
                await self._silence(take)
                return Outcome(f"{error} It was stopped.")
        note_pause(take, order)
        return Outcome()

    async def _resume(self, order: Order) -> Outcome:
        take = self._takes.get(order.key)
        if take is None or take.ended_at is not None:
            return Outcome(NOT_RECORDING)
        await self._api(f"uuid_record {take.leg} {_verbs(take, order).resume} {self._path(take)}")
        note_pause(take, order)
        return Outcome()

    async def _stop(self, order: Order) -> Outcome:
        if (take := self._takes.get(order.key)) is None:
            return Outcome()
        await self._silence(take)
        ended_at = take.ended_at
        self._takes.pop(take.key, None)
        return Outcome(at=min(ended_at, datetime.now(UTC))) if ended_at else Outcome()

    async def forget(self, key: Key) -> None:
        """Stops what nobody waits for any longer."""
        if take := self._takes.get(key):
            await self._silence(take)
            self._takes.pop(key, None)

    async def _silence(self, take: Take) -> None:
        """Whatever else happens, this is not being recorded when it returns."""
        if take.ended_at is not None:
            return
        take.is_stopping = True
        try:
            await self._api(f"uuid_record {take.leg} stop {self._path(take)}")
        except CommandRefusedError as error:
            # It has moved to another leg, where its path is not known: all that runs in this call is ended.
            members = self._members(take.session_id) or ()
            log.warning("recording is not where it was begun", recording=take.key, reason=str(error))
            for member in members:
                await self._stop_all(member)
        take.ended_at = take.ended_at or datetime.now(UTC)

    async def _stop_all(self, member: Member) -> None:
        try:
            await self._api(f"uuid_record {member.uuid} stop all")
        except CommandRefusedError as error:
            log.info("nothing was recorded on a leg", leg=member.uuid, reason=error.why)

    # --- What FreeSWITCH tells ---------------------------------------------------------------------------------

    def hear_stop(self, message: Message, session_id: str, at: datetime) -> list[RecordingStopped]:
        """A RECORD_STOP. The portal is told when it did not order it and the call goes on as before."""
        path = text(message, "Record-File-Path")
        take = next((each for each in self._takes.values() if self._path(each) == path), None)
        if take is None or take.ended_at is not None:
            return []
        take.ended_at = at
        # With its leg it ends by itself; what goes on is a new segment, as soon as the portal sees who talks to whom.
        if take.is_stopping or text(message, "Hangup-Cause") or not session_id:
            return []
        if why := variable(message, BY_DIALPLAN):
            log.info("recording stopped by the dialplan", recording=take.key, reason=why)
            return []
        return [_stopped(take, session_id, at, _UNASKED)]

    def look(self, session_ids: Iterable[str]) -> None:
        """These calls may be over, and what was recorded of them with them."""
        for session_id in session_ids:
            if self._members(session_id) is None:
                for take in [each for each in self._takes.values() if each.session_id == session_id]:
                    self._takes.pop(take.key, None)

    # --- The connection --------------------------------------------------------------------------------------

    async def connect(self, socket: EventSocket, running: Sequence[Take]) -> list[RecordingStopped]:
        """FreeSWITCH is in reach and its calls are known; `running` are what an earlier connector has begun.

        Told is what ended unseen, in calls that go on.
        """
        self._socket = socket
        self.look({take.session_id for take in self._takes.values()})
        known = {take.key: take for take in running if self._members(take.session_id) is not None} | self._takes
        over: list[RecordingStopped] = []
        for take in [each for each in known.values() if each.ended_at is None]:
            take.leg = await self._leg_with(take)
            if not take.leg:
                take.ended_at = datetime.now(UTC)
                over.append(_stopped(take, take.session_id, take.ended_at, "FreeSWITCH does not record it any more"))
        self._takes = known
        self.is_ready = True
        return over

    def disconnect(self) -> None:
        """What runs on FreeSWITCH runs on without us."""
        self._socket, self.is_ready = None, False

    async def _leg_with(self, take: Take) -> str:
        """The leg that records it; none when nobody does."""
        for member in self._members(take.session_id) or ():
            try:
                if self._path(take) in await self._api(f"uuid_buglist {member.uuid}"):
                    return member.uuid
            except CommandRefusedError:
                continue  # it has just hung up
        return ""

    async def _api(self, command: str) -> str:
        if self._socket is None:
            raise EslError(OUT_OF_REACH)
        answer = await self._socket.api(command)
        if command.startswith("uuid_record") and not answer.startswith("+OK"):
            raise CommandRefusedError("uuid_record", answer or "nothing said")
        return answer

    def _path(self, take: Take) -> str:
        return f"{self.folder}/{take.file_name}"


def _verbs(take: Take, order: Order) -> _Verbs:
    """A mask is silence and never covers video; a pause leaves out sound and picture alike."""
    if order.medium != take.medium:
        return _SILENCE  # the sound of a film, which goes on
    return _SILENCE if take.keeps_pauses and take.medium == "audio" else _CUT


def _stopped(take: Take, session_id: str, at: datetime, reason: str) -> RecordingStopped:
    event_id = f"{session_id}:stopped:{take.recording_id}:{take.segment}"
    return RecordingStopped(
        id=event_id,
        session_id=session_id,
        at=at,
        recording_id=take.recording_id,
        segment=take.segment,
        reason=reason,
    )


def _word(value: bool) -> str:
    return "true" if value else "false"
