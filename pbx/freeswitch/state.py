"""The calls in progress of one FreeSWITCH, as the interpreter keeps them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from cdr.callevents import CallEvent, EndReason, Medium, Party

ServiceKind = Literal["ivr", "queue", "dialplan"]


@dataclass(frozen=True, slots=True)
class Member:
    """A party that is connected in a session: a leg that can be recorded."""

    uuid: str
    has_video: bool


@dataclass(slots=True)
class Service:
    """An IVR or a queue that a channel is in: a target without a channel."""

    target_id: str
    kind: ServiceKind
    is_answered: bool = False


@dataclass(slots=True)
class Channel:
    uuid: str
    direction: str  # as FreeSWITCH sees this leg: inbound, outbound
    dialled: str  # Caller-Destination-Number as it is now
    caller_id: str
    caller_name: str
    created_at: datetime
    is_user: bool  # an extension's, not a trunk's
    variables: dict[str, str] = field(default_factory=dict)  # those that are of use here
    parent: str = ""  # the channel on whose behalf it was made
    up_since: datetime | None = None
    hung_up: bool = False  # its own party did, not the switch
    has_left: bool = False  # its party transferred the call away
    is_held: bool = False
    has_video: bool = False
    call_id: str = ""
    is_new: bool = True  # nothing was learnt of it yet
    is_routed: bool = False  # the dialplan has run: its variables were told
    service: Service | None = None
    rings_group: bool = False  # it dials on behalf of a ring group


@dataclass(slots=True)
class Target:
    """A leg that FreeSWITCH made towards somebody."""

    channel: Channel
    party: Party
    dialler: str  # uuid
    by_queue: bool
    is_ringing: bool = False
    answered_at: datetime | None = None
    left_at: datetime | None = None  # it was hung up on; why, the other leg will tell
    left_seen: datetime | None = None  # the same by our clock
    is_ended: bool = False


@dataclass(slots=True)
class Talk:
    """The two parties that were connected last: who called, and who was called (a service by its target id)."""

    caller: str
    callee: str
    hung_up: EndReason | None = None


@dataclass(slots=True)
class Session:
    caller: Channel
    session_id: str
    started_at: datetime
    seen_since: datetime  # by our clock
    caller_number: str
    dialled: str
    callee: Party | None = None
    user_data: str = ""
    is_launched: bool = False  # by the portal: its caller was called first
    is_started: bool = False
    media: frozenset[Medium] = frozenset({"audio"})
    names: list[str] = field(default_factory=list)  # its id, once it was said, and those of the sessions merged into it
    waiting: list[CallEvent] = field(default_factory=list)  # for the call.started
    channels: dict[str, Channel] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    visits: dict[str, list[datetime]] = field(default_factory=dict)  # when, of each IVR and queue
    talk: Talk | None = None
    answered: bool = False
    cancelled: bool = False
    unknown_number: bool = False
    last_failure: tuple[EndReason, int] | None = None

    def place_of(self, uuid: str) -> int:
        """Where a party stands in the order of the call: its caller first, then the targets as they were tried."""
        if uuid == self.caller.uuid:
            return -1
        return list(self.targets).index(uuid) if uuid in self.targets else len(self.targets)
