"""The inner vocabulary of a call, the same for every switch (`docs/switch-api.md` shows it on the wire).

An adapter turns what its switch says into these; `cdr.calls` folds them into a session. Times are aware UTC datetimes.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

Medium = Literal["audio", "video"]
CALLER_LEG = "caller"


class PartyKind(StrEnum):
    EXTENSION = "extension"
    EXTERNAL = "external"
    SERVICE = "service"  # an IVR, a queue, a ring group: neither internal nor external


class CallType(StrEnum):
    NORMAL = "normal_call"
    QUEUE = "queue_call"
    RING_GROUP = "ring_group_call"
    CALLBACK = "callback"
    QUEUE_CALLBACK = "queue_callback"


class EndReason(StrEnum):
    """Why a leg or a call ended, in the specification's words."""

    CALLER_DISCONNECT = "caller_disconnect"
    CALLEE_DISCONNECT = "callee_disconnect"
    REPLACED = "replaced"
    REFERRED = "referred"
    REDIRECTED = "redirected"
    BLIND_TRANSFER_COMPLETE = "blind_transfer_complete"
    ATTENDED_TRANSFER_COMPLETE = "attended_transfer_complete"
    CANCELLED = "cancelled"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Party:
    number: str
    kind: PartyKind
    display_name: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent:
    """A fact of one session. `id` is unique per switch and makes a repeat harmless."""

    id: str
    session_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(CallEvent):
    caller: Party
    callee: Party
    call_id: str = ""
    domain: str = ""  # the tenant's SIP domain
    did: str = ""
    trunk: str = ""
    outbound_caller_id: str = ""
    user_data: str = ""
    media: frozenset[Medium] = field(default_factory=lambda: frozenset[Medium]({"audio"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAdded(CallEvent):
    target_id: str
    callee: Party
    caller: Party | None = None  # when it is not the call's
    destination: str = ""
    call_type: CallType = CallType.NORMAL
    trunk: str = ""
    outbound_caller_id: str = ""
    call_id: str = ""  # of its own leg, when that is known already


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRinging(CallEvent):
    target_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAnswered(CallEvent):
    target_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEnded(CallEvent):
    target_id: str
    end_reason: EndReason | None = None  # None: the switch did not say; EndReason.NONE: it said "None"
    status_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLeft(CallEvent):
    """The caller transferred the call away; it goes on between the others."""

    end_reason: EndReason = EndReason.BLIND_TRANSFER_COMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyUpdated(CallEvent):
    leg: str  # CALLER_LEG or a target_id
    number: str | None = None
    display_name: str | None = None
    call_id: str | None = None  # of the leg's SIP dialog, known once it is set up


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyHeld(CallEvent):
    leg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyUnheld(CallEvent):
    leg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMerged(CallEvent):
    into: str  # the session this one goes on as


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaChanged(CallEvent):
    media: frozenset[Medium]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDialled(CallEvent):
    code: str
    leg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStarted(CallEvent):
    recording_id: str
    segment: int = 0  # 0: the switch does not say which


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStopped(CallEvent):
    recording_id: str
    segment: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFailed(CallEvent):
    recording_id: str
    segment: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(CallEvent):
    ended_reason: EndReason | None = None  # None: the switch did not say, it is derived from the targets
    status_code: int | None = None
    incomplete: bool = False  # nobody saw the end: the session was closed because its switch no longer knows it
