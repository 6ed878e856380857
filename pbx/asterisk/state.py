"""The calls in progress of one Asterisk, as the interpreter keeps them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from cdr.callevents import CallEvent, EndReason, Party

ServiceKind = Literal["ivr", "queue", "dialplan"]


@dataclass(frozen=True, slots=True)
class Member:
    """A party that is connected in a session: somebody whose voice can be recorded."""

    uniqueid: str
    channel: str
    is_held: bool


@dataclass(frozen=True, slots=True)
class Launched:
    """A call that the portal has launched."""

    session_id: str
    caller_name: str
    callee: Party
    user_data: str
    domain: str


@dataclass(slots=True)
class Service:
    """An IVR or a queue that a channel is in: a target without a channel."""

    target_id: str
    kind: ServiceKind
    is_answered: bool = False


@dataclass(slots=True)
class Channel:
    uniqueid: str
    name: str
    linkedid: str
    exten: str
    caller_id: str
    caller_name: str
    created_at: datetime
    variables: dict[str, str] = field(default_factory=dict)
    call_id: str = ""
    up_since: datetime | None = None
    hung_up: bool = False  # its own party did, not the switch
    has_left: bool = False  # its party transferred the call away
    bridge: str = ""
    is_held: bool = False
    service: Service | None = None
    rings_group: bool = False  # it dials on behalf of a ring group
    is_launched: bool = False  # a phone that rings for a call that the portal launched: its caller, if it is answered


@dataclass(slots=True)
class Target:
    """A channel that was dialled."""

    channel: Channel
    party: Party
    dialler: str  # Uniqueid of the channel that had it dialled
    by_queue: bool
    answered_at: datetime | None = None
    dial_status: str = ""  # of a dial that ended without an answer
    forwarded: bool = False  # Dial followed its 302
    dial_ended_at: datetime | None = None
    is_ended: bool = False


@dataclass(slots=True)
class Talk:
    """The two parties that were connected last: who called, and who was called (a service by its target id)."""

    caller: str
    callee: str
    hung_up: EndReason | None = None


@dataclass(slots=True)
class Session:
    linkedid: str
    session_id: str
    started_at: datetime
    seen_since: datetime  # by our clock
    caller: Channel
    caller_number: str  # as it called; the dialplan may put an outbound caller id in its place
    dialled: str
    callee: Party | None = None
    user_data: str = ""
    is_started: bool = False
    names: list[str] = field(default_factory=list)  # its id, once it was said, and those of the sessions merged into it
    waiting: list[CallEvent] = field(default_factory=list)  # for the call.started
    channels: dict[str, Channel] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)  # of each IVR and queue
    talk: Talk | None = None
    answered: bool = False
    cancelled: bool = False
    unknown_number: bool = False
    last_failure: tuple[EndReason, int] | None = None
    over_since: datetime | None = None  # by our clock: CEL has declared the call over

    def place_of(self, channel: Channel) -> int:
        """Where a party stands in the order of the call: its caller first, then the targets as they were tried."""
        if channel is self.caller:
            return -2
        return list(self.targets).index(channel.uniqueid) if channel.uniqueid in self.targets else -1
