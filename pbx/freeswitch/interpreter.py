"""What a FreeSWITCH says, told as the calls it means: event socket messages in, CallEvents out. Pure; it asks nobody.

A session is a leg that came in and every leg that was made on its behalf; a target is a leg that was made. An IVR or a
queue is what the dialplan says by portal::target (`deploy/freeswitch/`). A leg that comes in is told before the
dialplan has run, so a session's first events are kept back until its name, its callee and its trunk are known: a
`call.started` is said once.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypedDict
from urllib.parse import unquote

from cdr.callevent_json import CALL_ID_MAX, ID_MAX, NUMBER_MAX, USER_DATA_MAX, clean_name
from cdr.callevents import (
    CALLER_LEG,
    CallEnded,
    CallerLeft,
    CallEvent,
    CallStarted,
    CallType,
    EndReason,
    FeatureDialled,
    MediaChanged,
    Medium,
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
from pbx.freeswitch import causes
from pbx.freeswitch.esl import Message, text, variable
from pbx.freeswitch.launcher import CALLEE, CALLEE_IS_EXTENSION, LAUNCHED, USER_DATA
from pbx.freeswitch.names import Trunks, is_number, is_uuid, user_of
from pbx.freeswitch.parties import Parties, first_callee
from pbx.freeswitch.state import Channel, Member, Service, ServiceKind, Session, Talk, Target
from pbx.freeswitch.verdicts import hung_up, transfer_of, verdict_on_answered, verdict_on_call, verdict_on_unanswered

WAIT_FOR_CALLEE = timedelta(seconds=5)
WAIT_FOR_ROUTE = timedelta(seconds=2)  # the leg of a trunk says what the dialplan made of it when it first rings
WAIT_FOR_OTHER_LEG = timedelta(seconds=2)  # the two legs of a call end within milliseconds of one another
SAME_VISIT = timedelta(seconds=1)  # an IVR or queue that is told twice, by the event and by the JSON CDR
WAIT_FOR_PARENT = timedelta(minutes=10)  # a leg that nobody owns: an originate that rings
FEATURE_MAX = 16
_VARIABLE_MAX = 512
_SERVICES: Mapping[str, ServiceKind] = {"ivr": "ivr", "queue": "queue"}
_SESSION_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
_AUDIO: frozenset[Medium] = frozenset({"audio"})
_VIDEO: frozenset[Medium] = frozenset({"audio", "video"})
_KEPT = (
    "cc_member_session_uuid", "cc_queue", "dialed_domain", "dialed_user", "did_number", "domain_name",
    "effective_caller_id_name", "originating_leg_uuid", "originator", "presence_id", "sip_auth_username",
    "sip_destination_url", "sip_from_host", "sip_gateway_name", "sip_network_ip", "sip_profile_name",
    "sip_received_ip", "sip_req_user", "trunk_name", "user_name", "x_session_id",
)  # fmt: skip
# As they were when the leg was new: later the dialplan or a transfer writes others over them.
_FROM_BIRTH = frozenset(
    {"dialed_user", "sip_auth_username", "sip_gateway_name", "sip_profile_name", "sip_req_user", "user_name"}
)
_KEPT_LATER = tuple(name for name in _KEPT if name not in _FROM_BIRTH)


class _Fact(TypedDict):
    """What every CallEvent has."""

    id: str
    session_id: str
    at: datetime


class Interpreter:
    """Holds the calls in progress of one FreeSWITCH."""

    def __init__(self, trunks: Trunks | None = None) -> None:
        self._parties = Parties(trunks or Trunks())
        self.clock_offset = timedelta()  # what to add to the switch's clock to get ours
        self._sessions: dict[str, Session] = {}  # by the uuid of the caller's leg
        self._unstarted: dict[str, Session] = {}  # the same, those whose call.started was not said yet
        self._by_leg: dict[str, Session] = {}  # of every leg that lives
        self._unowned: dict[str, tuple[Channel, datetime]] = {}  # legs that were made for nobody we know
        self._named: dict[str, Session] = {}  # by session id, also of a session merged into another
        self._touched: set[str] = set()  # ids of sessions whose members may have changed
        self._now = datetime.min.replace(tzinfo=UTC)  # by the switch's clock, corrected
        self._seen_at = self._now  # by ours
        self._out: list[CallEvent] = []

    def set_trunks(self, trunks: Trunks) -> None:
        self._parties.trunks = trunks

    # --- Doors -----------------------------------------------------------------------------------------------

    def take(self, message: Message, received_at: datetime) -> list[CallEvent]:
        self._seen_at = max(self._seen_at, received_at)
        name = text(message, "Event-Name")
        handler = _HANDLERS.get(f"{name} {text(message, 'Event-Subclass')}" if name == "CUSTOM" else name)
        if handler is not None:
            self._now = _moment(text(message, "Event-Date-Timestamp"), received_at - self.clock_offset)
            self._now += self.clock_offset
            handler(self, message)
        return self._flush()

    def tick(self, now: datetime) -> list[CallEvent]:
        """Time passes: what was kept back long enough goes out."""
        self._seen_at = max(self._seen_at, now)
        for session in list(self._sessions.values()):
            for target in session.targets.values():
                if target.left_seen and now - target.left_seen > WAIT_FOR_OTHER_LEG:
                    self._end_answered(session, target)
        for uuid in [uuid for uuid, (_, since) in self._unowned.items() if now - since > WAIT_FOR_PARENT]:
            del self._unowned[uuid]
        return self._flush()

    def session_ids(self) -> set[str]:
        return {session.session_id for session in self._sessions.values()}

    def legs(self) -> set[str]:
        return {*self._by_leg, *self._unowned}

    def session_id_of(self, leg: str) -> str:
        """Of a leg that lives, once its session was told; else nothing."""
        session = self._by_leg.get(leg)
        return session.session_id if session and session.is_started else ""

    def members(self, session_id: str) -> list[Member] | None:
        """Who is connected, in the order of the call: its caller first. None when the session is unknown, or over."""
        session = self._named.get(session_id)
        if session is None:  # one that is found in progress has its name before its start is told
            session = next((each for each in self._sessions.values() if each.session_id == session_id), None)
        if session is None or session.caller.uuid not in self._sessions:
            return None
        connected = [each for each in session.channels.values() if each.up_since and not each.has_left]
        connected.sort(key=lambda each: session.place_of(each.uuid))
        return [Member(each.uuid, each.has_video) for each in connected]

    def take_touched(self) -> set[str]:
        """The sessions to look at again since this was asked last."""
        touched, self._touched = self._touched, set()
        return touched

    def adopt(self, found: Sequence[Message], now: datetime) -> list[CallEvent]:
        """After a gap: the dumps of legs that live and are new to us."""
        self._seen_at = max(self._seen_at, now)
        for message in sorted(found, key=_oldest_first):
            self._adopt(message, now)
        return self._flush()

    def end_all_but(self, live: set[str], now: datetime) -> list[CallEvent]:
        """After a gap: `live` are all legs there are. What is gone was last known to live when the gap began."""
        self._seen_at = max(self._seen_at, now)
        for uuid in [uuid for uuid in self._unowned if uuid not in live]:
            del self._unowned[uuid]
        for session in list(self._sessions.values()):
            if live.isdisjoint(session.channels):
                self._end(session, None, None, incomplete=True)
                continue
            for channel in [each for uuid, each in session.channels.items() if uuid not in live]:
                self._lose(session, channel)
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
        return session.caller.is_user or session.caller.is_routed or waited >= WAIT_FOR_ROUTE

    def _start(self, session: Session) -> None:
        """Says `call.started`, and all that waited for it."""
        caller = session.caller
        self._unstarted.pop(caller.uuid, None)
        session.is_started = True
        session.names.append(session.session_id)
        self._named[session.session_id] = session
        self._touch(session)
        self._out.append(
            CallStarted(
                id=_event_id(session.session_id, "started"),
                session_id=session.session_id,
                at=session.started_at,
                caller=self._parties.caller(session),
                callee=session.callee or Party(caller.dialled or "anonymous", PartyKind.SERVICE),
                call_id=caller.call_id,
                domain=self._parties.domain_of(caller),
                did=self._parties.did(session),
                trunk=self._parties.trunk_of(caller),
                user_data=session.user_data,
                media=session.media,
            )
        )
        self._out += session.waiting
        session.waiting = []

    def _touch(self, session: Session) -> None:
        self._touched.update(session.names or [session.session_id])

    # --- What is what ----------------------------------------------------------------------------------------

    def _known(self, message: Message) -> tuple[Session, Channel] | None:
        """The session and channel a message is about, brought up to date with what it tells of the channel."""
        uuid = text(message, "Unique-ID")
        session = self._by_leg.get(uuid) or self._claim(uuid, message)
        if session is None:
            return None
        channel = session.channels[uuid]
        self._learn(channel, message)
        channel.is_routed = True
        if channel is session.caller and not session.is_started:
            # What was kept back bears the session's name already; it has one as soon as the dialplan says anything.
            if not session.waiting:
                session.session_id = _session_id(channel)
            session.media = _VIDEO if channel.has_video else _AUDIO
        target = session.targets.get(uuid)
        if target and not target.is_ended and (call_id := _call_id(message)) and not channel.call_id:
            self._say(session, PartyUpdated(**self._fact(session, uuid, "call-id"), leg=uuid, call_id=call_id))
        elif (
            channel is session.caller and session.is_started and not channel.call_id and (call_id := _call_id(message))
        ):
            told = self._fact(session, CALLER_LEG, "call-id", uuid)
            self._say(session, PartyUpdated(**told, leg=CALLER_LEG, call_id=call_id))
        channel.call_id = channel.call_id or _call_id(message)
        self._touch(session)
        return session, channel

    def _learn(self, channel: Channel, message: Message) -> None:
        names = _KEPT if channel.is_new else _KEPT_LATER
        channel.is_new = False
        for name in names:
            if value := variable(message, name):
                channel.variables[name] = value[:_VARIABLE_MAX]
        channel.dialled = text(message, "Caller-Destination-Number")[:NUMBER_MAX] or channel.dialled
        if "variable_video_media_flow" in message or "variable_rtp_use_video_codec_name" in message:
            flow = variable(message, "video_media_flow")
            channel.has_video = bool(variable(message, "rtp_use_video_codec_name")) and flow not in _NO_FLOW

    def _leg_of(self, session: Session, channel: Channel) -> str:
        return CALLER_LEG if channel is session.caller else channel.uuid

    # --- Legs that come --------------------------------------------------------------------------------------

    def _create(self, message: Message) -> None:
        uuid = text(message, "Unique-ID")
        if not is_uuid(uuid) or uuid in self._by_leg or uuid in self._unowned:
            return
        direction = text(message, "Call-Direction")
        channel = Channel(
            uuid=uuid,
            direction=direction,
            dialled="",
            caller_id=text(message, "Caller-Caller-ID-Number")[:NUMBER_MAX],
            caller_name=clean_name(text(message, "Caller-Caller-ID-Name")),
            created_at=self._now,
            is_user=False,
            call_id=_call_id(message),
        )
        self._learn(channel, message)
        channel.is_user = self._parties.is_user(direction, channel.variables)
        if direction == "inbound":
            self._open(channel)
        elif variable(message, LAUNCHED):
            self._open_launched(channel, message)
        elif owner := self._owner(channel, message):
            self._add_target(owner, channel, message)
        else:
            self._unowned[uuid] = channel, self._seen_at

    def _owner(self, channel: Channel, message: Message) -> Session | None:
        """The session that a leg was made for, and in `parent` the leg."""
        told = channel.variables
        for parent in _parents(channel, message):
            if parent in self._by_leg:
                channel.parent = parent
                return self._by_leg[parent]
        name = told.get("x_session_id", "")
        session = self._named.get(name) or self._by_leg.get(name)
        if session is not None:
            channel.parent = session.caller.uuid
        return session

    def _claim(self, uuid: str, message: Message) -> Session | None:
        """A leg that was nobody's has an owner by now; or it was made by itself, and calls somebody when it answers."""
        if uuid not in self._unowned:
            return None
        channel, _ = self._unowned[uuid]
        self._learn(channel, message)
        if owner := self._owner(channel, message):
            del self._unowned[uuid]
            self._add_target(owner, channel, message)
            return owner
        if text(message, "Event-Name") == "CHANNEL_ANSWER" and not any(_parents(channel, message)):
            del self._unowned[uuid]
            return self._open(channel)
        if text(message, "Event-Name") in {"CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"}:
            del self._unowned[uuid]
        return None

    def _open(self, caller: Channel) -> Session:
        session = Session(
            caller=caller,
            session_id=_session_id(caller),
            started_at=caller.created_at,
            seen_since=self._seen_at,
            caller_number=caller.caller_id,
            dialled=caller.dialled,
            media=_VIDEO if caller.has_video else _AUDIO,
        )
        session.channels[caller.uuid] = caller
        for each in (self._sessions, self._unstarted, self._by_leg):
            each[caller.uuid] = session
        return session

    def _open_launched(self, channel: Channel, message: Message) -> None:
        """The caller's leg of a call that the portal launched. Who has several phones has a leg at each."""
        name = _session_id(channel)
        session = next((each for each in self._sessions.values() if each.session_id == name), None)
        if session is None:
            session = self._open(channel)
            kind = PartyKind.EXTENSION if variable(message, CALLEE_IS_EXTENSION) == "true" else PartyKind.EXTERNAL
            session.is_launched = True
            session.callee = Party(variable(message, CALLEE)[:NUMBER_MAX] or "anonymous", kind)
            session.user_data = unquote(variable(message, USER_DATA))[:USER_DATA_MAX]
        session.channels[channel.uuid], self._by_leg[channel.uuid] = channel, session

    def _take_up(self, session: Session, channel: Channel) -> None:
        """Of the phones of whom a call was launched for, this one was answered."""
        former, session.caller = session.caller, channel
        for each in (self._sessions, self._unstarted):
            if each.pop(former.uuid, None):
                each[channel.uuid] = session
        if channel.call_id:
            told = self._fact(session, CALLER_LEG, "call-id", channel.uuid)
            self._say(session, PartyUpdated(**told, leg=CALLER_LEG, call_id=channel.call_id))

    def _add_target(self, session: Session, channel: Channel, message: Message) -> None:
        uuid = channel.uuid
        dialler = session.channels.get(channel.parent, session.caller)
        service = dialler.service
        if service and service.kind == "ivr":
            self._leave_service(session, dialler, EndReason.REFERRED)
        party = self._parties.dialled(channel)
        is_parents = text(message, "Other-Leg-Unique-ID") == dialler.uuid
        number = text(message, "Other-Leg-Destination-Number")[:NUMBER_MAX] if is_parents else dialler.dialled
        if not session.is_started and not session.waiting:  # of its own leg we have not heard since it was new
            session.caller.variables.setdefault("x_session_id", channel.variables.get("x_session_id", ""))
            session.session_id = _session_id(session.caller)
        session.callee = session.callee or first_callee(number, party)
        session.channels[uuid], self._by_leg[uuid] = channel, session
        by_queue = bool(channel.variables.get("cc_queue")) or bool(service and service.kind == "queue")
        session.targets[uuid] = Target(channel, party, dialler.uuid, by_queue)
        trunk = self._parties.trunk_of(channel)
        self._say(
            session,
            TargetAdded(
                **self._fact(session, uuid, "added"),
                target_id=uuid,
                callee=party,
                caller=self._parties.dialler(session, dialler),
                destination=self._parties.destination(channel, party),
                call_type=CallType.RING_GROUP if dialler.rings_group else CallType.NORMAL,
                trunk=trunk,
                outbound_caller_id=""
                if channel.is_user
                else self._parties.outbound_caller_id(session, channel, dialler),
                call_id=channel.call_id,
            ),
        )

    # --- What becomes of them --------------------------------------------------------------------------------

    def _progress(self, message: Message) -> None:
        known = self._known(message)
        target = known[0].targets.get(known[1].uuid) if known else None
        if known and target and not target.is_ringing and not target.is_ended:
            target.is_ringing = True
            session, uuid = known[0], target.channel.uuid
            self._say(session, TargetRinging(**self._fact(session, uuid, "ringing"), target_id=uuid))

    def _answer(self, message: Message) -> None:
        known = self._known(message)
        if known is None or known[1].up_since is not None:
            return
        session, channel = known
        channel.up_since = self._now
        if session.is_launched and session.caller.up_since is None and channel.uuid not in session.targets:
            self._take_up(session, channel)
        if channel.service and not channel.service.is_answered:
            self._answer_service(session, channel.service)
        if (target := session.targets.get(channel.uuid)) and not target.is_ended:
            self._answer_target(session, target)

    def _answer_target(self, session: Session, target: Target) -> None:
        target.answered_at = self._now
        session.answered = True
        dialler = session.channels.get(target.dialler)
        session.talk = Talk(target.dialler, target.channel.uuid)
        if dialler:
            self._see_media(session, dialler, target.channel)
        uuid = target.channel.uuid
        self._say(session, TargetAnswered(**self._fact(session, uuid, "answered"), target_id=uuid))
        if dialler:
            self._leave_service(session, dialler, EndReason.REFERRED)

    def _see_media(self, session: Session, one: Channel, other: Channel) -> None:
        """A call has video while both of those who talk have."""
        media = _VIDEO if one.has_video and other.has_video else _AUDIO
        if media != session.media:
            session.media = media
            self._say(session, MediaChanged(**self._fact(session, "media", self._instant()), media=media))

    def _update(self, message: Message) -> None:
        known = self._known(message)
        session, channel = known or (None, None)
        if session and channel and session.talk and channel.uuid in (session.talk.caller, session.talk.callee):
            caller, callee = (session.channels.get(each) for each in (session.talk.caller, session.talk.callee))
            if caller and callee and caller.up_since and callee.up_since:
                self._see_media(session, caller, callee)

    def _bridge(self, message: Message) -> None:
        self._known(message)
        one, other = (text(message, f"Bridge-{each}-Unique-ID") for each in "AB")
        self._claim(other, message)
        first, second = self._by_leg.get(one), self._by_leg.get(other)
        if first is None or second is None or one == other:
            return
        if first is not second:
            first = self._merge(first, second)
        caller, callee = sorted((one, other), key=first.place_of)
        first.talk = Talk(caller, callee)
        self._see_media(first, first.channels[caller], first.channels[callee])
        self._touch(first)

    def _hangup(self, message: Message) -> None:
        known = self._known(message)
        if known is None:
            return
        session, channel = known
        channel.hung_up = hung_up(message)
        how = transfer_of(message)
        if channel is session.caller:
            self._caller_hangs_up(session, channel, message, how)
        elif target := session.targets.get(channel.uuid):
            self._target_hangs_up(session, target, message, how)
        self._forget(session, channel)

    def _caller_hangs_up(self, session: Session, channel: Channel, message: Message, how: str) -> None:
        if how:
            self._leave_service(session, channel, EndReason.REFERRED)
            self._caller_leaves(session, how)
            return
        if channel.hung_up:
            session.cancelled |= not session.answered
            self._note_hangup(session, channel, EndReason.CALLER_DISCONNECT)
        self._leave_service(session, channel, EndReason.CALLEE_DISCONNECT)
        if session.targets or session.visits:
            return
        cause = text(message, "Hangup-Cause")
        if session.is_launched and channel.up_since is None:  # whom it was launched for did not take it
            session.cancelled = False
            session.last_failure = EndReason.CANCELLED, verdict_on_unanswered(message)[1] or 487
        elif channel.up_since is None or (session.is_launched and cause != causes.NORMAL):
            session.last_failure = EndReason.NONE, causes.status_of_cause(cause)

    def _caller_leaves(self, session: Session, how: str) -> None:
        complete = (
            EndReason.BLIND_TRANSFER_COMPLETE if how == "BLIND_TRANSFER" else EndReason.ATTENDED_TRANSFER_COMPLETE
        )
        session.caller.has_left = True
        session.talk = None
        self._say(session, CallerLeft(**self._fact(session, "caller-left"), end_reason=complete))

    def _target_hangs_up(self, session: Session, target: Target, message: Message, how: str) -> None:
        if target.is_ended:
            return
        if target.answered_at is None:
            reason, status = verdict_on_unanswered(message)
            session.last_failure = reason, status
            self._end_target(session, target, reason, status)
        elif how:
            target.channel.has_left, session.talk = True, None
            left = EndReason.REFERRED if how == "BLIND_TRANSFER" else EndReason.ATTENDED_TRANSFER_COMPLETE
            self._end_target(session, target, left, 0)
        else:
            target.left_at, target.left_seen = self._now, self._seen_at
            if target.channel.hung_up:
                self._note_hangup(session, target.channel, EndReason.CALLEE_DISCONNECT)
                self._end_answered(session, target)

    def _note_hangup(self, session: Session, channel: Channel, by: EndReason) -> None:
        """Who of the two that talk has ended it; what the other leg waits to hear."""
        talk = session.talk
        if talk is None or channel.uuid not in (talk.caller, talk.callee):
            return
        if talk.hung_up is None:
            is_caller = channel.uuid == talk.caller
            talk.hung_up = EndReason.CALLER_DISCONNECT if is_caller else by
        for target in session.targets.values():
            if target.left_at and not target.is_ended:
                self._end_answered(session, target)

    def _end_answered(self, session: Session, target: Target) -> None:
        if not target.is_ended:
            self._end_target(session, target, *verdict_on_answered(session, target))

    def _end_target(self, session: Session, target: Target, reason: EndReason | None, status: int | None) -> None:
        target.is_ended, target.left_seen = True, None
        fact = self._fact(session, target.channel.uuid, "ended")
        fact["at"] = target.left_at or self._now
        self._say(session, TargetEnded(**fact, target_id=target.channel.uuid, end_reason=reason, status_code=status))

    def _forget(self, session: Session, channel: Channel) -> None:
        self._touch(session)
        session.channels.pop(channel.uuid, None)
        self._by_leg.pop(channel.uuid, None)
        if not session.channels:
            self._close(session)

    # --- IVRs, queues, ring groups, codes ----------------------------------------------------------------------

    def _target_event(self, message: Message) -> None:
        known = self._known(message)
        if known is None:
            return
        kind, number = text(message, "target_type"), text(message, "target")[:NUMBER_MAX]
        if not number:
            return
        if kind == "unknown":
            known[0].unknown_number = known[0].callee is None or (known[0].is_launched and not known[0].targets)
            known[0].callee = known[0].callee or Party(number, PartyKind.EXTENSION)
        else:
            self._enter(*known, kind, number)

    def _queue_event(self, message: Message) -> None:
        """A queue that the dialplan did not announce still has a name."""
        if text(message, "CC-Action") != "member-queue-start" or (known := self._known(message)) is None:
            return
        session, channel = known
        number = user_of(text(message, "CC-Queue"))[:NUMBER_MAX]
        if number and not (channel.service and channel.service.kind == "queue"):
            self._enter(session, channel, "queue", number)

    def _control_event(self, message: Message) -> None:
        """A feature code; what it means is the tenant's affair."""
        known, code = self._known(message), text(message, "code")[:FEATURE_MAX]
        if known and code:
            session, channel = known
            leg = self._leg_of(session, channel)
            self._say(
                session,
                FeatureDialled(**self._fact(session, leg, "feature", self._instant()), code=code, leg=leg),
            )

    def _enter(self, session: Session, channel: Channel, kind: str, number: str) -> None:
        """A channel comes to an IVR, a queue or a ring group. The last rings others and is no target itself."""
        if kind in _SERVICES:
            visits = session.visits.setdefault(f"{channel.uuid}:{kind}:{number}", [])
            if any(abs(self._now - each) < SAME_VISIT for each in visits):
                return
            visits.append(self._now)
        self._leave_service(session, channel, EndReason.REFERRED)
        session.callee = session.callee or Party(number, PartyKind.SERVICE)
        channel.rings_group = kind == "ring_group"
        if kind in _SERVICES:
            self._add_service(session, channel, _SERVICES[kind], number)

    def _add_service(self, session: Session, channel: Channel, kind: ServiceKind, number: str) -> None:
        name = f"{channel.uuid}:{kind}:{number}"
        visits = len(session.visits.get(name, ()))
        service = channel.service = Service(f"{name}:{visits}" if visits > 1 else name, kind)
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
        session.talk = Talk(channel.uuid, target_id)

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

    # --- Hold and attended transfers -----------------------------------------------------------------------------

    def _hold(self, message: Message) -> None:
        if (known := self._known(message)) and not known[1].is_held:
            session, channel = known
            channel.is_held = True
            leg = self._leg_of(session, channel)
            self._say(session, PartyHeld(**self._fact(session, leg, "held", self._instant()), leg=leg))

    def _unhold(self, message: Message) -> None:
        if (known := self._known(message)) and known[1].is_held:
            session, channel = known
            channel.is_held = False
            leg = self._leg_of(session, channel)
            self._say(session, PartyUnheld(**self._fact(session, leg, "unheld", self._instant()), leg=leg))

    def _merge(self, one: Session, other: Session) -> Session:
        """Legs of two calls were put together: an attended transfer. The older call goes on, and is the one record."""
        stays, goes = sorted((one, other), key=lambda session: session.started_at)
        for session in (stays, goes):
            if not session.is_started:
                self._start(session)
        self._say(goes, SessionMerged(**self._fact(goes, "merged"), into=stays.session_id))
        self._sessions.pop(goes.caller.uuid, None)
        stays.names += goes.names
        self._named |= dict.fromkeys(goes.names, stays)
        self._by_leg |= dict.fromkeys(goes.channels, stays)
        stays.channels |= goes.channels
        stays.targets |= goes.targets
        stays.visits |= goes.visits
        stays.answered |= goes.answered
        return stays

    # --- The end -----------------------------------------------------------------------------------------------

    def _close(self, session: Session) -> None:
        """All legs are gone."""
        for target in session.targets.values():
            self._end_answered(session, target)
        self._answer_by_dialplan(session)
        self._end(session, *verdict_on_call(session))

    def _answer_by_dialplan(self, session: Session) -> None:
        """A call that nobody but the dialplan took (voice mail, an announcement) was answered by that number."""
        caller = session.caller
        if caller.up_since is None or session.targets or session.visits:
            return
        if session.last_failure or session.unknown_number:  # a launched call's caller is there before the number is
            return
        session.callee = session.callee or Party(caller.dialled or "anonymous", PartyKind.SERVICE)
        ended_at, self._now = self._now, caller.up_since
        self._add_service(session, caller, "dialplan", session.callee.number)
        self._now = ended_at
        self._leave_service(session, caller, EndReason.CALLEE_DISCONNECT)

    def _end(self, session: Session, reason: EndReason | None, status: int | None, *, incomplete: bool = False) -> None:
        session.callee = session.callee or Party(session.caller.dialled or "anonymous", PartyKind.EXTENSION)
        if not session.is_started:
            self._start(session)
        fact = self._fact(session, "lost" if incomplete else "ended")
        self._say(session, CallEnded(**fact, ended_reason=reason, status_code=status, incomplete=incomplete))
        self._touch(session)
        self._sessions.pop(session.caller.uuid, None)
        for name in session.names:
            self._named.pop(name, None)
        for uuid in session.channels:
            self._by_leg.pop(uuid, None)

    # --- After a gap -------------------------------------------------------------------------------------------

    def _lose(self, session: Session, channel: Channel) -> None:
        """A leg that went unseen, while its call goes on."""
        channel.service = None
        if (target := session.targets.get(channel.uuid)) and not target.is_ended:
            self._end_target(session, target, None, None)
        self._forget(session, channel)

    def _adopt(self, message: Message, now: datetime) -> None:
        """A leg found in the middle of its call: as much as can still be seen of it."""
        self._now = _moment(text(message, "Caller-Channel-Created-Time"), now - self.clock_offset) + self.clock_offset
        self._create(message)
        answered = text(message, "Caller-Channel-Answered-Time")
        if answered.strip("0"):
            self._now = _moment(answered, now - self.clock_offset) + self.clock_offset
            self._answer(message | {"Event-Name": "CHANNEL_ANSWER"})
        self._now = now
        if is_number(queue := user_of(variable(message, "cc_queue"))) and variable(message, "cc_side") == "member":
            self._queue_event(message | {"CC-Action": "member-queue-start", "CC-Queue": queue})
        one, other = text(message, "Unique-ID"), variable(message, "bridge_uuid")
        if one in self._by_leg and other in self._by_leg:
            self._bridge(message | {"Bridge-A-Unique-ID": one, "Bridge-B-Unique-ID": other})

    def _instant(self) -> str:
        return str(int(self._now.timestamp() * 1_000_000))


_NO_FLOW = frozenset({"disabled", "inactive"})


def _moment(microseconds: str, otherwise: datetime) -> datetime:
    if not (microseconds.isascii() and microseconds.isdigit() and len(microseconds) <= 17):
        return otherwise
    return datetime.fromtimestamp(int(microseconds) / 1_000_000, UTC)


def _event_id(*parts: str) -> str:
    """The same fact has the same id, also when it is seen again after a gap."""
    joined = ":".join(parts)
    return joined if len(joined) <= ID_MAX else hashlib.sha256(joined.encode()).hexdigest()


def _session_id(caller: Channel) -> str:
    """What the dialplan (or an edge before it) calls the session, else FreeSWITCH's own id of its first leg."""
    named = caller.variables.get("x_session_id", "")
    return named if _SESSION_ID.fullmatch(named) else caller.uuid


def _parents(channel: Channel, message: Message) -> tuple[str, ...]:
    told = channel.variables
    by_variable = (told.get(name, "") for name in ("originating_leg_uuid", "originator", "cc_member_session_uuid"))
    return text(message, "Other-Leg-Unique-ID"), *by_variable


def _call_id(message: Message) -> str:
    return variable(message, "sip_call_id")[:CALL_ID_MAX]


def _oldest_first(message: Message) -> tuple[bool, str, str]:
    """A call's caller before those it had dialled."""
    created = text(message, "Caller-Channel-Created-Time").zfill(20)
    return text(message, "Call-Direction") != "inbound", created, text(message, "Unique-ID")


_HANDLERS: dict[str, Callable[[Interpreter, Message], None]] = {
    "CHANNEL_CREATE": Interpreter._create,
    "CHANNEL_PROGRESS": Interpreter._progress,
    "CHANNEL_PROGRESS_MEDIA": Interpreter._progress,
    "CHANNEL_ANSWER": Interpreter._answer,
    "CHANNEL_BRIDGE": Interpreter._bridge,
    "CHANNEL_HOLD": Interpreter._hold,
    "CHANNEL_UNHOLD": Interpreter._unhold,
    "CALL_UPDATE": Interpreter._update,
    "CHANNEL_HANGUP_COMPLETE": Interpreter._hangup,
    "CHANNEL_DESTROY": Interpreter._hangup,  # of one that had hung up when we came, and has not told it to us
    "CUSTOM callcenter::info": Interpreter._queue_event,
    "CUSTOM portal::target": Interpreter._target_event,
    "CUSTOM portal::control": Interpreter._control_event,
}
SUBSCRIPTIONS = tuple(name for name in _HANDLERS if not name.startswith("CUSTOM "))
SUBCLASSES = tuple(name.removeprefix("CUSTOM ") for name in _HANDLERS if name.startswith("CUSTOM "))
