"""What an Asterisk says, told as the calls it means: AMI and ARI messages in, CallEvents out. Pure; it asks nobody.

AMI is the truth. ARI only adds each leg's SIP Call-ID, which no AMI event carries. A session is all channels with one
Linkedid, a target is a channel that was dialled, and an IVR or a queue is what the dialplan says by VoxledgerTarget
(`deploy/asterisk/extensions.conf`). A session's first events are kept back until its callee is known, and for a moment
until ARI has told the Call-ID, because a `call.started` is said once.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from cdr.callevent_json import CALL_ID_MAX, ID_MAX, NUMBER_MAX, clean_name
from cdr.callevents import (
    CALLER_LEG,
    CallEnded,
    CallerLeft,
    CallEvent,
    CallStarted,
    CallType,
    EndReason,
    FeatureDialled,
    Party,
    PartyHeld,
    PartyKind,
    PartyUnheld,
    PartyUpdated,
    SessionMerged,
    TargetAdded,
    TargetAnswered,
    TargetEnded,
    TargetRinging,
)
from pbx.asterisk import causes
from pbx.asterisk.ami import Message, plain, text, variables
from pbx.asterisk.names import Trunks, is_local
from pbx.asterisk.parties import Parties, first_callee, is_number
from pbx.asterisk.state import Channel, Launched, Member, Service, ServiceKind, Session, Talk, Target
from pbx.asterisk.verdicts import verdict_on, verdict_on_call

WAIT_FOR_CALL_ID = timedelta(seconds=2)  # it comes within milliseconds, or ARI hangs
WAIT_FOR_CALLEE = timedelta(seconds=5)
KEEP_CALL_ID = timedelta(minutes=1)  # a busy AMI may lag behind ARI by a whole short call
CLOCK_STEP = timedelta(seconds=5)  # events are out of order by less; more is a clock that was set
WAIT_FOR_HANGUPS = timedelta(seconds=2)  # CEL overtakes the hangups that it sums up
FEATURE_MAX = 16
LAUNCHED_MAX = 1000
_UP = "6"
_SERVICES: Mapping[str, ServiceKind] = {"ivr": "ivr", "queue": "queue"}
_SESSION_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")


class _Fact(TypedDict):
    """What every CallEvent has."""

    id: str
    session_id: str
    at: datetime


class Interpreter:
    """Holds the calls in progress of one Asterisk."""

    def __init__(self, trunks: Trunks | None = None) -> None:
        self._parties = Parties(trunks or Trunks())
        self.expects_ari = True  # false while ARI is away: then nobody waits for its Call-ID
        self.clock_offset = timedelta()  # what to add to the switch's clock to get ours
        self._sessions: dict[str, Session] = {}  # by Linkedid
        self._unstarted: dict[str, Session] = {}  # by Uniqueid of the caller; also some that have ended by now
        self._channels: dict[str, Channel] = {}
        self._merged: dict[str, str] = {}  # Linkedid of an absorbed session: that of the one that goes on
        self._local_diallers: dict[str, str] = {}  # a Local channel without its ;1 or ;2: Uniqueid of who dialled it
        self._call_ids: dict[str, str] = {}  # by Uniqueid, of the channels that ARI has told
        self._launched: dict[str, Launched] = {}  # by Uniqueid of a phone that is to ring for the call; not seen yet
        self._destroyed: dict[str, datetime] = {}  # by Uniqueid; AMI may not have told of its birth
        self._named: dict[str, Session] = {}  # by session id, also of a session merged into another
        self._touched: set[str] = set()  # ids of sessions whose members may have changed
        self._now = datetime.min.replace(tzinfo=UTC)  # by the switch's clock, corrected
        self._seen_at = self._now  # by ours
        self._out: list[CallEvent] = []

    def set_trunks(self, trunks: Trunks) -> None:
        self._parties.trunks = trunks

    # --- Doors -----------------------------------------------------------------------------------------------

    def ami(self, message: Message, received_at: datetime) -> list[CallEvent]:
        self._seen_at = max(self._seen_at, received_at)
        handler = _HANDLERS.get(text(message, "Event"))
        if handler is not None:
            moment = self._time_of(message, received_at)
            was_set_back = self._now - moment > CLOCK_STEP
            self._now = moment if was_set_back else max(self._now, moment)
            handler(self, message)
        return self._flush()

    def ari(self, event: Mapping[str, Any], received_at: datetime) -> list[CallEvent]:
        self._seen_at = max(self._seen_at, received_at)
        for role in ("channel", "caller", "peer"):
            told = event.get(role)
            if isinstance(told, Mapping):
                self.learn_call_id(str(told.get("id", "")), str(told.get("protocol_id", "")))
        if event.get("type") == "ChannelDestroyed" and isinstance(gone := event.get("channel"), Mapping):
            self._destroyed[str(gone.get("id", ""))] = received_at
        return self._flush()

    def learn_call_id(self, uniqueid: str, call_id: str) -> None:
        call_id = plain(call_id)[:CALL_ID_MAX]
        if not uniqueid or not call_id:
            return
        self._call_ids[uniqueid] = call_id  # ARI may be quicker than AMI, and it may be slower than the whole call
        if session := self._unstarted.get(uniqueid):
            session.caller.call_id = call_id  # which `call.started` tells
        elif (channel := self._channels.get(uniqueid)) and (session := self._session_of(channel.linkedid)):
            self._update_call_id(session, channel, call_id)

    def _update_call_id(self, session: Session, channel: Channel, call_id: str) -> None:
        """Of a leg that was told without it. Only the caller's and the targets' have a name."""
        is_told = channel is session.caller or channel.uniqueid in session.targets
        if is_told and channel.call_id != call_id:
            leg = self._leg_of(session, channel)
            self._say(session, PartyUpdated(**self._fact(session, leg, "call-id", call_id), leg=leg, call_id=call_id))
        channel.call_id = call_id

    def lose_ari(self) -> None:
        """Nobody waits for its Call-IDs until it is back."""
        self.expects_ari = False
        self._call_ids.clear()
        self._destroyed.clear()

    def tick(self, now: datetime) -> list[CallEvent]:
        """Time passes: what was kept back long enough goes out, and what Asterisk declared over is closed."""
        self._seen_at = max(self._seen_at, now)
        for session in list(self._sessions.values()):
            if session.over_since and now - session.over_since > WAIT_FOR_HANGUPS:
                self._close(session)
        for uniqueid in [each for each, since in self._destroyed.items() if now - since > KEEP_CALL_ID]:
            del self._destroyed[uniqueid]
            self._call_ids.pop(uniqueid, None)
        return self._flush()

    def expect(self, uniqueid: str, launched: Launched) -> None:
        """A channel with this Uniqueid, if it comes, is a phone of the caller's."""
        self._launched[uniqueid] = launched
        while len(self._launched) > LAUNCHED_MAX:  # phones that could not be called at all
            del self._launched[next(iter(self._launched))]

    def session_ids(self) -> set[str]:
        return {session.session_id for session in self._sessions.values()}

    def members(self, session_id: str) -> list[Member] | None:
        """Who is connected, in the order of the call: its caller first. None when the session is unknown, or over."""
        session = self._named.get(session_id)
        if session is None:  # one that is found in progress has its name before its start is told
            session = next((each for each in self._unstarted.values() if each.session_id == session_id), None)
        if session is None or session.linkedid not in self._sessions:
            return None
        connected = [each for each in session.channels.values() if each.up_since and _is_party(each)]
        return [Member(each.uniqueid, each.name, each.is_held) for each in sorted(connected, key=session.place_of)]

    def _touch(self, session: Session) -> None:
        self._touched.update(session.names or [session.session_id])

    def take_touched(self) -> set[str]:
        """The sessions to look at again since this was asked last."""
        touched, self._touched = self._touched, set()
        return touched

    def reconcile(self, channels: Sequence[Message], now: datetime) -> list[CallEvent]:
        """After a gap: `channels` (CoreShowChannel) are all that live. Adopts what is new and ends what is gone.

        What is gone was last known to live when the gap began.
        """
        self._seen_at = max(self._seen_at, now)
        live = {text(each, "Uniqueid") for each in channels}
        for session in list(self._sessions.values()):
            if live.isdisjoint(session.channels):
                self._end(session, None, None, incomplete=True)
                continue
            for channel in [each for uniqueid, each in session.channels.items() if uniqueid not in live]:
                self._lose(session, channel)
        self._now = max(self._now, now)
        for message in sorted(channels, key=_oldest_first):
            if text(message, "Uniqueid") not in self._channels:
                self._adopt(message)
        return self._flush()

    # --- Out -------------------------------------------------------------------------------------------------

    def _fact(self, session: Session, *what: str) -> _Fact:
        return {"id": _event_id(session.session_id, *what), "session_id": session.session_id, "at": self._now}

    def _say(self, session: Session, event: CallEvent) -> None:
        (self._out if session.is_started else session.waiting).append(event)

    def _flush(self) -> list[CallEvent]:
        for session in [each for each in self._unstarted.values() if self._is_ready(each)]:
            self._start(session)
        out, self._out = self._out, []
        return out

    def _is_ready(self, session: Session) -> bool:
        waited = self._seen_at - session.seen_since
        if session.callee is None:
            return waited >= WAIT_FOR_CALLEE
        return bool(session.caller.call_id) or not self.expects_ari or waited >= WAIT_FOR_CALL_ID

    def _start(self, session: Session) -> None:
        """Says `call.started`, and all that waited for it."""
        caller = session.caller
        trunk = self._parties.trunk_of(caller)
        session.is_started = True
        if self._sessions.get(session.linkedid) is session:  # and is not over already
            session.names.append(session.session_id)
            self._named[session.session_id] = session
            self._touch(session)
        self._unstarted.pop(caller.uniqueid, None)
        self._out.append(
            CallStarted(
                id=_event_id(session.session_id, "started"),
                session_id=session.session_id,
                at=session.started_at,
                caller=self._parties.caller(session),
                callee=session.callee or Party(caller.exten, PartyKind.SERVICE),
                call_id=caller.call_id,
                domain=self._parties.domain_of(caller),
                did=(caller.variables.get("DID", "") or session.dialled)[:NUMBER_MAX] if trunk else "",
                trunk=trunk,
                user_data=session.user_data,
            )
        )
        self._out += session.waiting
        session.waiting = []

    # --- What is what ----------------------------------------------------------------------------------------

    def _time_of(self, message: Message, received_at: datetime) -> datetime:
        try:
            return datetime.fromtimestamp(float(text(message, "Timestamp")), UTC) + self.clock_offset
        except (ValueError, OverflowError, OSError):
            return received_at

    def _session_of(self, linkedid: str) -> Session | None:
        while linkedid in self._merged:
            linkedid = self._merged[linkedid]
        return self._sessions.get(linkedid)

    def _known(self, message: Message, prefix: str = "") -> tuple[Session, Channel] | None:
        """The session and channel a message is about, brought up to date with what it tells of the channel."""
        channel = self._channels.get(text(message, f"{prefix}Uniqueid"))
        session = self._session_of(channel.linkedid) if channel else None
        if channel is None or session is None:
            return None
        channel.variables |= variables(message, f"{prefix}ChanVariable")
        if is_number(exten := text(message, f"{prefix}Exten")[:NUMBER_MAX]):  # not `s` of a Gosub or `h`
            channel.exten = exten
        channel.caller_id = text(message, f"{prefix}CallerIDNum")[:NUMBER_MAX] or channel.caller_id
        if channel is session.caller and not session.is_started and not session.waiting:
            session.session_id = _session_id(channel)
        self._touch(session)
        return session, channel

    def _leg_of(self, session: Session, channel: Channel) -> str:
        return CALLER_LEG if channel is session.caller else channel.uniqueid

    # --- Channels --------------------------------------------------------------------------------------------

    def _new_channel(self, message: Message, *, adopts: bool = False) -> None:
        uniqueid, name = text(message, "Uniqueid"), text(message, "Channel")
        linkedid = text(message, "Linkedid") or uniqueid
        if not uniqueid or uniqueid in self._channels or not (is_local(name) or name.startswith("PJSIP/")):
            return
        channel = Channel(
            uniqueid=uniqueid,
            name=name,
            linkedid=linkedid,
            exten=text(message, "Exten")[:NUMBER_MAX],
            caller_id=text(message, "CallerIDNum")[:NUMBER_MAX],
            caller_name=clean_name(text(message, "CallerIDName")),
            created_at=self._now,
            variables=variables(message),
            call_id=self._call_ids.get(uniqueid, ""),
        )
        session = self._session_of(linkedid)
        if launched := self._launched.pop(uniqueid, None):
            session = self._ring_caller(channel, launched)
        if session is None:
            if uniqueid != linkedid and not adopts:
                return  # of a call that nobody told us of, or that is over
            session = self._open(channel)
        self._channels[uniqueid] = channel
        session.channels[uniqueid] = channel

    def _ring_caller(self, channel: Channel, launched: Launched) -> Session:
        """A phone of whom a call was launched for. Each has a Linkedid of its own, and all are one session."""
        channel.variables |= {"SESSIONID": launched.session_id, "TENANT_DOMAIN": launched.domain}
        channel.is_launched = True
        channel.caller_id, channel.caller_name = (
            "",
            launched.caller_name,
        )  # until now of the number that its phone shows
        found = next((each for each in self._sessions.values() if each.session_id == launched.session_id), None)
        if found is None:
            found = self._open(channel)
            found.callee, found.user_data = launched.callee, launched.user_data
        else:
            self._merged[channel.linkedid] = found.linkedid
        return found

    def _take_up(self, session: Session, channel: Channel) -> None:
        """Of the phones that ring for a launched call, this one was answered first."""
        former, session.caller = session.caller, channel
        for other in session.channels.values():
            other.has_left |= other.is_launched and other is not channel
        if self._unstarted.pop(former.uniqueid, None):
            self._unstarted[channel.uniqueid] = session
        elif channel.call_id and channel is not former:
            fact = self._fact(session, CALLER_LEG, "call-id", channel.call_id)
            self._say(session, PartyUpdated(**fact, leg=CALLER_LEG, call_id=channel.call_id))

    def _open(self, caller: Channel) -> Session:
        session = Session(
            linkedid=caller.linkedid,
            session_id=_session_id(caller),
            started_at=self._now,
            seen_since=self._seen_at,
            caller=caller,
            caller_number=caller.caller_id,
            dialled=caller.exten,
        )
        self._sessions[caller.linkedid] = self._unstarted[caller.uniqueid] = session
        return session

    def _new_state(self, message: Message) -> None:
        if (known := self._known(message)) and text(message, "ChannelState") == _UP:
            session, channel = known
            channel.up_since = channel.up_since or self._now
            if channel.service and not channel.service.is_answered:
                self._answer_service(session, channel.service)

    def _hangup_request(self, message: Message) -> None:
        known = self._known(message)
        if known is None or known[1].has_left:
            return
        session, channel = known
        channel.hung_up = True
        if not session.answered:
            session.cancelled |= channel is session.caller and not _was_not_taken(channel)
        elif session.talk is None:
            session.talk = Talk(channel.uniqueid, "", EndReason.CALLER_DISCONNECT)
        elif session.talk.hung_up is None and channel.uniqueid in (session.talk.caller, session.talk.callee):
            is_caller = channel.uniqueid == session.talk.caller
            session.talk.hung_up = EndReason.CALLER_DISCONNECT if is_caller else EndReason.CALLEE_DISCONNECT

    def _hangup(self, message: Message) -> None:
        known = self._known(message)
        if known is None:
            return
        session, channel = known
        cause, status = text(message, "Cause"), causes.sip_status(text(message, "TechCause"))
        self._leave_service(session, channel, EndReason.CALLEE_DISCONNECT)
        if (target := session.targets.get(channel.uniqueid)) and not target.is_ended:
            self._end_target(session, target, *verdict_on(session, target, cause, status))
        if _was_not_taken(channel):
            session.last_failure = EndReason.CANCELLED, status or 487
        elif channel is session.caller and not session.targets and not (channel.is_launched and cause == causes.NORMAL):
            session.last_failure = EndReason.NONE, status or causes.status_of_cause(cause)
        self._forget(session, channel)

    def _forget(self, session: Session, channel: Channel) -> None:
        self._touch(session)
        session.channels.pop(channel.uniqueid, None)
        self._channels.pop(channel.uniqueid, None)
        if is_local(channel.name):
            self._local_diallers.pop(channel.name[:-2], None)
        if not session.channels:
            self._close(session)

    def _cel(self, message: Message) -> None:
        linkedid = text(message, "LinkedID")
        session = self._sessions.get(linkedid) if text(message, "EventName") == "LINKEDID_END" else None
        if session and all(channel.linkedid == linkedid for channel in session.channels.values()):
            session.over_since = self._seen_at

    # --- Targets ---------------------------------------------------------------------------------------------

    def _dial_begin(self, message: Message) -> None:
        dialler = self._dialler(message)
        known = self._known(message, "Dest")
        if known is None:
            return
        session, dialled = known
        if is_local(dialled.name):
            if dialler:
                self._local_diallers[dialled.name[:-2]] = dialler.uniqueid
        elif dialled is not session.caller and not dialled.is_launched and dialled.uniqueid not in session.targets:
            self._add_target(session, dialled, dialler or session.caller, text(message, "DialString"))

    def _dialler(self, message: Message) -> Channel | None:
        """Who dials; the two ends of a Local channel are only a piece of wire."""
        known = self._known(message)
        channel = known[1] if known else None
        while channel is not None and is_local(channel.name):
            channel = self._channels.get(self._local_diallers.get(channel.name[:-2], ""))
        return channel

    def _add_target(self, session: Session, dialled: Channel, dialler: Channel, dial_string: str) -> None:
        party = self._parties.dialled(dialled, dialler, dial_string)
        trunk = self._parties.trunk_of(dialled)
        service = dialler.service
        if service and service.kind == "ivr":
            self._leave_service(session, dialler, EndReason.REFERRED)
        session.callee = session.callee or first_callee(dialler, party)
        uniqueid = dialled.uniqueid
        session.targets[uniqueid] = Target(
            channel=dialled,
            party=party,
            dialler=dialler.uniqueid,
            by_queue=bool(service and service.kind == "queue"),
        )
        self._say(
            session,
            TargetAdded(
                **self._fact(session, uniqueid, "added"),
                target_id=uniqueid,
                callee=party,
                caller=self._parties.dialler(session, dialler),
                destination=self._parties.destination(dialled, party, dial_string),
                call_type=CallType.RING_GROUP if dialler.rings_group else CallType.NORMAL,
                trunk=trunk,
                outbound_caller_id=self._parties.outbound_caller_id(session, dialler) if trunk else "",
                call_id=dialled.call_id,
            ),
        )

    def _dial_state(self, message: Message) -> None:
        if (known := self._dialled_target(message)) and text(message, "DialStatus") in {"RINGING", "PROGRESS"}:
            session, target = known
            uniqueid = target.channel.uniqueid
            self._say(session, TargetRinging(**self._fact(session, uniqueid, "ringing"), target_id=uniqueid))

    def _dial_end(self, message: Message) -> None:
        known = self._dialled_target(message)
        if known is None or known[1].answered_at or known[1].dial_ended_at:
            return
        session, target = known
        if (status := text(message, "DialStatus")) == "ANSWER":
            self._answer_target(session, target)
        else:
            target.dial_status, target.dial_ended_at = status, self._now
            target.forwarded = bool(text(message, "Forward"))

    def _answer_target(self, session: Session, target: Target) -> None:
        target.answered_at = self._now
        session.answered = True
        session.talk = Talk(target.dialler, target.channel.uniqueid)
        uniqueid = target.channel.uniqueid
        self._say(session, TargetAnswered(**self._fact(session, uniqueid, "answered"), target_id=uniqueid))
        if dialler := session.channels.get(target.dialler):
            self._leave_service(session, dialler, EndReason.REFERRED)

    def _dialled_target(self, message: Message) -> tuple[Session, Target] | None:
        self._known(message)
        known = self._known(message, "Dest")
        target = known[0].targets.get(known[1].uniqueid) if known else None
        return (known[0], target) if known and target and not target.is_ended else None

    def _end_target(self, session: Session, target: Target, reason: EndReason | None, status: int | None) -> None:
        target.is_ended = True
        fact = self._fact(session, target.channel.uniqueid, "ended")
        if target.answered_at is None:
            fact["at"] = target.dial_ended_at or self._now
            session.last_failure = reason or EndReason.NONE, status or 0
        self._say(
            session, TargetEnded(**fact, target_id=target.channel.uniqueid, end_reason=reason, status_code=status)
        )

    # --- IVRs, queues, ring groups -----------------------------------------------------------------------------

    def _user_event(self, message: Message) -> None:
        known = self._known(message)
        if known is None:
            return
        session, channel = known
        match text(message, "UserEvent"):
            case "VoxledgerTarget":
                self._enter(session, channel, text(message, "Kind"), text(message, "Number")[:NUMBER_MAX])
            case "VoxledgerLaunch" if channel.is_launched:
                self._take_up(session, channel)
            case "VoxledgerUnknown":
                session.unknown_number = session.callee is None or (channel.is_launched and not session.targets)
                session.callee = session.callee or Party(text(message, "Number")[:NUMBER_MAX], PartyKind.EXTENSION)
            case "VoxledgerFeature":
                leg = self._leg_of(session, channel)
                fact = self._fact(session, leg, "feature", self._instant())
                self._say(session, FeatureDialled(**fact, code=text(message, "Code")[:FEATURE_MAX], leg=leg))

    def _queue_join(self, message: Message) -> None:
        """A queue that the dialplan did not announce still has a name."""
        if (known := self._known(message)) and not (known[1].service and known[1].service.kind == "queue"):
            session, channel = known
            number = channel.exten if is_number(channel.exten) else text(message, "Queue")[:NUMBER_MAX]
            self._enter(session, channel, "queue", number)

    def _enter(self, session: Session, channel: Channel, kind: str, number: str) -> None:
        """A channel comes to an IVR, a queue or a ring group. The last rings others and is no target itself."""
        self._leave_service(session, channel, EndReason.REFERRED)
        session.callee = session.callee or Party(number, PartyKind.SERVICE)
        channel.rings_group = kind == "ring_group"
        if kind in _SERVICES:
            self._add_service(session, channel, _SERVICES[kind], number)

    def _add_service(self, session: Session, channel: Channel, kind: ServiceKind, number: str) -> None:
        name = f"{channel.uniqueid}:{kind}:{number}"
        visits = session.visits[name] = session.visits.get(name, 0) + 1
        service = channel.service = Service(name if visits == 1 else f"{name}:{visits}", kind)
        target_id = service.target_id
        domain = self._parties.domain_of(channel)
        self._say(
            session,
            TargetAdded(
                **self._fact(session, target_id, "added"),
                target_id=target_id,
                callee=Party(number, PartyKind.SERVICE),
                caller=self._parties.dialler(session, channel),
                destination=f"sip:{number}@{domain}" if domain else "",
            ),
        )
        self._say(session, TargetRinging(**self._fact(session, target_id, "ringing"), target_id=target_id))
        if channel.up_since is not None:
            self._answer_service(session, service)
        session.talk = Talk(channel.uniqueid, target_id)

    def _answer_service(self, session: Session, service: Service) -> None:
        service.is_answered = session.answered = True
        target_id = service.target_id
        self._say(session, TargetAnswered(**self._fact(session, target_id, "answered"), target_id=target_id))

    def _leave_service(self, session: Session, channel: Channel, otherwise: EndReason) -> None:
        """The channel goes on from its IVR or queue, or is gone: then its party hung up, or the dialplan did."""
        service, channel.service = channel.service, None
        if service is None:
            return
        reason, status = otherwise, 0
        if channel.hung_up:
            reason = EndReason.CALLER_DISCONNECT
            if not service.is_answered:
                reason, status = EndReason.CANCELLED, 487
        talk = session.talk
        if reason is not EndReason.REFERRED and talk and talk.callee == service.target_id:
            talk.hung_up = talk.hung_up or reason
        self._say(
            session,
            TargetEnded(
                **self._fact(session, service.target_id, "ended"),
                target_id=service.target_id,
                end_reason=reason,
                status_code=status,
            ),
        )

    # --- Bridges, hold and transfers ---------------------------------------------------------------------------

    def _bridge_enter(self, message: Message) -> None:
        if known := self._known(message):
            session, channel = known
            channel.bridge = text(message, "BridgeUniqueid")
            self._see_talk(session, channel)

    def _see_talk(self, session: Session, channel: Channel) -> None:
        """Of two connected parties the one who came into the call later is the one who was called."""
        for other in session.channels.values():
            connected = other is not channel and other.bridge and other.bridge == channel.bridge
            if connected and _is_party(other) and _is_party(channel):
                caller, callee = sorted((channel, other), key=session.place_of)
                session.talk = Talk(caller.uniqueid, callee.uniqueid)

    def _see_talks(self, session: Session) -> None:
        for channel in session.channels.values():
            self._see_talk(session, channel)

    def _bridge_leave(self, message: Message) -> None:
        if known := self._known(message):
            known[1].bridge = ""

    def _hold(self, message: Message) -> None:
        if (known := self._known(message)) and not known[1].is_held:
            session, channel = known
            channel.is_held = True
            leg = self._leg_of(session, channel)
            self._say(session, PartyHeld(**self._fact(session, leg, "held", self._instant()), leg=leg))

    def _unhold(self, message: Message) -> None:
        # Asterisk says Unhold before every transfer, held or not.
        if (known := self._known(message)) and known[1].is_held:
            session, channel = known
            channel.is_held = False
            leg = self._leg_of(session, channel)
            self._say(session, PartyUnheld(**self._fact(session, leg, "unheld", self._instant()), leg=leg))

    def _blind_transfer(self, message: Message) -> None:
        if text(message, "Result") == "Success" and (known := self._known(message, "Transferer")):
            self._transfer_away(*known, EndReason.REFERRED, EndReason.BLIND_TRANSFER_COMPLETE)

    def _attended_transfer(self, message: Message) -> None:
        if text(message, "Result") != "Success":
            return
        first = self._known(message, "OrigTransferer")
        second = self._known(message, "SecondTransferer")
        if first:
            complete = EndReason.ATTENDED_TRANSFER_COMPLETE
            self._transfer_away(*first, complete, complete)
        if second and not second[1].has_left:  # by a feature code both are one channel
            self._transfer_away(*second, EndReason.REPLACED, EndReason.REPLACED)
        if first and second and first[0] is not second[0]:
            self._merge(first[0], second[0])
        elif first:
            self._see_talks(first[0])

    def _transfer_away(self, session: Session, channel: Channel, as_target: EndReason, as_caller: EndReason) -> None:
        """The one who transfers leaves; the call goes on between the others."""
        channel.has_left = True
        session.talk = None
        if channel is session.caller:
            self._say(session, CallerLeft(**self._fact(session, "caller-left"), end_reason=as_caller))
        elif (target := session.targets.get(channel.uniqueid)) and not target.is_ended:
            self._end_target(session, target, as_target, 0)

    def _merge(self, one: Session, other: Session) -> None:
        """Two sessions become one record: the older goes on, as with Asterisk's own Linkedid."""
        stays, goes = sorted((one, other), key=lambda session: session.started_at)
        for session in (stays, goes):
            if not session.is_started:
                self._start(session)
        self._out.append(SessionMerged(**self._fact(goes, "merged"), into=stays.session_id))
        self._sessions.pop(goes.linkedid)
        self._merged[goes.linkedid] = stays.linkedid
        stays.names += goes.names
        self._named |= dict.fromkeys(goes.names, stays)
        stays.channels |= goes.channels
        stays.targets |= goes.targets
        stays.visits |= goes.visits
        stays.answered |= goes.answered
        self._see_talks(stays)

    # --- The end -----------------------------------------------------------------------------------------------

    def _close(self, session: Session) -> None:
        """All channels are gone."""
        for target in session.targets.values():
            if not target.is_ended:
                self._end_target(session, target, *verdict_on(session, target))
        self._answer_by_dialplan(session)
        self._end(session, *verdict_on_call(session))

    def _answer_by_dialplan(self, session: Session) -> None:
        """A call that nobody but the dialplan took (voice mail, an announcement) was answered by that number."""
        caller = session.caller
        if caller.up_since is None or session.targets or session.visits:
            return
        if caller.is_launched and (session.unknown_number or session.last_failure):
            return  # its caller was there before the number was looked for
        session.callee = session.callee or Party(caller.exten, PartyKind.SERVICE)
        ended_at, self._now = self._now, caller.up_since
        self._add_service(session, caller, "dialplan", session.callee.number)
        self._now = ended_at
        self._leave_service(session, caller, EndReason.CALLEE_DISCONNECT)

    def _end(self, session: Session, reason: EndReason | None, status: int | None, *, incomplete: bool = False) -> None:
        fact = self._fact(session, "lost" if incomplete else "ended")
        self._say(session, CallEnded(**fact, ended_reason=reason, status_code=status, incomplete=incomplete))
        session.callee = session.callee or Party(session.caller.exten, PartyKind.EXTENSION)
        self._sessions.pop(session.linkedid, None)
        for name in session.names:
            self._named.pop(name, None)
        self._touch(session)
        for uniqueid in session.channels:
            self._channels.pop(uniqueid, None)
        self._merged = {goes: stays for goes, stays in self._merged.items() if stays != session.linkedid}

    # --- After a gap -------------------------------------------------------------------------------------------

    def _lose(self, session: Session, channel: Channel) -> None:
        """A channel that went unseen, while its call goes on."""
        channel.service = None
        if (target := session.targets.get(channel.uniqueid)) and not target.is_ended:
            self._end_target(session, target, None, None)
        self._forget(session, channel)

    def _adopt(self, message: Message) -> None:
        """A channel found in the middle of its call: as much as can still be seen of it."""
        seen_at = self._now
        self._now = seen_at - _duration_of(message)
        self._new_channel(message, adopts=True)
        known = self._known(message)
        if known and known[1] is not known[0].caller and not is_local(known[1].name):
            self._add_target(known[0], known[1], known[0].caller, "")
        self._now = seen_at
        if known is None:
            return
        session, channel = known
        if text(message, "ChannelState") == _UP:
            channel.up_since = seen_at
            if target := session.targets.get(channel.uniqueid):
                self._answer_target(session, target)
        if text(message, "Application") == "Queue":
            self._queue_join(message)
        channel.bridge = text(message, "BridgeId")
        self._see_talk(session, channel)

    def _instant(self) -> str:
        return str(int(self._now.timestamp() * 1_000_000))


def _event_id(*parts: str) -> str:
    """The same fact has the same id, also when it is seen again after a gap."""
    joined = ":".join(parts)
    return joined if len(joined) <= ID_MAX else hashlib.sha256(joined.encode()).hexdigest()


def _session_id(caller: Channel) -> str:
    """What the dialplan (or an edge before it) calls the session, else Asterisk's own id."""
    named = caller.variables.get("SESSIONID", "")
    return named if _SESSION_ID.fullmatch(named) else caller.linkedid


def _was_not_taken(channel: Channel) -> bool:
    """A phone at which whom a call was launched for did not answer."""
    return channel.is_launched and channel.up_since is None


def _is_party(channel: Channel) -> bool:
    return not is_local(channel.name) and not channel.has_left


def _duration_of(message: Message) -> timedelta:
    """`Duration: 01:02:03` of a CoreShowChannel."""
    parts = text(message, "Duration").split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        return timedelta()
    hours, minutes, seconds = map(int, parts)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _oldest_first(message: Message) -> tuple[bool, timedelta, str]:
    """A call's caller before those it had dialled, who may be as old to the second."""
    uniqueid = text(message, "Uniqueid")
    return uniqueid != text(message, "Linkedid"), -_duration_of(message), uniqueid


_HANDLERS: dict[str, Callable[[Interpreter, Message], None]] = {
    "Newchannel": Interpreter._new_channel,
    "Newstate": Interpreter._new_state,
    "HangupRequest": Interpreter._hangup_request,
    "Hangup": Interpreter._hangup,
    "CEL": Interpreter._cel,
    "DialBegin": Interpreter._dial_begin,
    "DialState": Interpreter._dial_state,
    "DialEnd": Interpreter._dial_end,
    "UserEvent": Interpreter._user_event,
    "QueueCallerJoin": Interpreter._queue_join,
    "BridgeEnter": Interpreter._bridge_enter,
    "BridgeLeave": Interpreter._bridge_leave,
    "Hold": Interpreter._hold,
    "Unhold": Interpreter._unhold,
    "BlindTransfer": Interpreter._blind_transfer,
    "AttendedTransfer": Interpreter._attended_transfer,
}
