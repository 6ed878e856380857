"""CallEvents as JSON objects: the form of the Switch API, and the form in which a session's events are kept.

Reading is strict about what a call cannot do without (id, session, time, the parties' numbers and kinds) and lenient
about how a number or a time is spelt.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar, cast

from cdr.callevents import (
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
    RecordingFailed,
    RecordingStarted,
    RecordingStopped,
    SessionMerged,
    TargetAdded,
    TargetAnswered,
    TargetEnded,
    TargetRinging,
)

ID_MAX = 128
NUMBER_MAX = 64
NAME_MAX = 200
DOMAIN_MAX = 253
TRUNK_MAX = 100
CALL_ID_MAX = 256
REASON_MAX = 300
SEGMENT_MAX = 2**31 - 1
DESTINATION_MAX = 300
USER_DATA_MAX = 16_384
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_MEDIA: frozenset[Medium] = frozenset({"audio", "video"})
_AUDIO: frozenset[Medium] = frozenset({"audio"})

E = TypeVar("E", bound=StrEnum)


class CallEventError(Exception):
    """An event that cannot be read. `code` is stable, the text is a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# --- Fields --------------------------------------------------------------------------------------------------


def _missing(name: str) -> CallEventError:
    return CallEventError("missing_field", f"{name} is missing.")


def read_text(document: Mapping[str, Any], name: str, longest: int, *, required: bool = False) -> str:
    """An identifier-like text: no control characters, never cut. Numbers are taken as their digits."""
    value = document.get(name)
    if type(value) is str and value.isprintable() and 0 < len(value) <= longest:
        return value  # nearly all there is
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        if required:
            raise _missing(name)
        return ""
    if not isinstance(value, str):
        raise CallEventError("bad_value", f"{name} must be a string.")
    if len(value) > longest:
        raise CallEventError("too_long", f"{name} may have at most {longest} characters.")
    if not value.isprintable() and any(unicodedata.category(char) in {"Cc", "Cs"} for char in value):
        raise CallEventError("bad_value", f"{name} holds a control character.")
    return value


def clean_name(value: object, name: str = "display_name") -> str:
    """A name for people: control characters become spaces and what is too long is cut, for no call is lost to it."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CallEventError("bad_value", f"{name} must be a string.")
    if not value.isprintable():
        value = "".join(" " if unicodedata.category(char) in {"Cc", "Cs"} else char for char in value)
    value = value.strip()
    return value if len(value) <= NAME_MAX else value[: NAME_MAX - 1] + "…"


def read_user_data(document: Mapping[str, Any]) -> str:
    value = document.get("user_data") or ""
    if not isinstance(value, str):
        raise CallEventError("bad_value", "user_data must be a string.")
    if len(value) > USER_DATA_MAX:
        raise CallEventError("too_long", f"user_data may have at most {USER_DATA_MAX} characters.")
    return value.replace("\x00", "")


def read_time(value: object, name: str = "at") -> datetime:
    """RFC 3339, or Unix seconds as int, float or string, as an aware UTC time."""
    try:
        moment = _moment_of_text(value) if type(value) is str else _moment(value)
    except (ValueError, OverflowError, OSError) as error:
        raise CallEventError("bad_time", f"{name} must be RFC 3339 or Unix seconds.") from error
    if not _EARLIEST <= moment <= _LATEST:
        raise CallEventError("bad_time", f"{name} must lie between the years 2000 and 2200.")
    return moment


@lru_cache(maxsize=16_384)
def _moment_of_text(value: str) -> datetime:
    """The same second is told many times: by every leg, and by the calls beside it."""
    return _moment(value)


def _moment(value: object) -> datetime:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError
    if value[4:5] == "-":
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError
    return datetime.fromtimestamp(seconds, UTC)


def _one_of(kinds: type[E], value: object, name: str) -> E:
    try:
        return kinds(cast(str, value))
    except ValueError as error:
        words = ", ".join(kinds)
        raise CallEventError("bad_value", f"{name} must be one of: {words}.") from error


def _end_reason(document: Mapping[str, Any], *names: str) -> EndReason | None:
    for name in names:
        if document.get(name) not in (None, ""):
            return _one_of(EndReason, document[name], name)
    return None


def read_status_code(document: Mapping[str, Any]) -> int | None:
    value = document.get("status_code")
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not (value == 0 or 100 <= value <= 699):
        raise CallEventError("bad_value", "status_code must be 0 or a SIP status from 100 to 699.")
    return value


def _media(value: object) -> frozenset[Medium]:
    if value is None:
        return _AUDIO
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each in _MEDIA for each in value):
        raise CallEventError("bad_value", 'media must be ["audio"] or ["audio", "video"].')
    return frozenset(cast("list[Medium]", value))


def _party(value: object, name: str) -> Party:
    if value is None:
        raise _missing(name)
    if not isinstance(value, Mapping):
        raise CallEventError("bad_value", f"{name} must be an object with number and kind.")
    if "number" not in value:
        raise _missing(f"{name}.number")
    if "kind" not in value:
        raise _missing(f"{name}.kind")
    return Party(
        number=read_text(value, "number", NUMBER_MAX),
        kind=_one_of(PartyKind, value["kind"], f"{name}.kind"),
        display_name=clean_name(value.get("display_name")),
        domain=read_text(value, "domain", DOMAIN_MAX),
    )


# --- Types: how each is read, and how it is written -----------------------------------------------------------

Envelope = dict[str, Any]
Reader = Callable[[Mapping[str, Any], Envelope], CallEvent]


def _call_started(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
    return CallStarted(
        **envelope,
        caller=_party(document.get("caller"), "caller"),
        callee=_party(document.get("callee"), "callee"),
        call_id=read_text(document, "call_id", CALL_ID_MAX),
        domain=read_text(document, "domain", DOMAIN_MAX),
        did=read_text(document, "did", NUMBER_MAX),
        trunk=read_text(document, "trunk", TRUNK_MAX),
        outbound_caller_id=read_text(document, "outbound_caller_id", NUMBER_MAX),
        user_data=read_user_data(document),
        media=_media(document.get("media")),
    )


def _target_added(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
    call_type = document.get("call_type")
    return TargetAdded(
        **envelope,
        target_id=read_text(document, "target_id", ID_MAX, required=True),
        callee=_party(document.get("callee"), "callee"),
        caller=_party(document["caller"], "caller") if document.get("caller") else None,
        destination=read_text(document, "destination", DESTINATION_MAX),
        call_type=_one_of(CallType, call_type, "call_type") if call_type else CallType.NORMAL,
        trunk=read_text(document, "trunk", TRUNK_MAX),
        outbound_caller_id=read_text(document, "outbound_caller_id", NUMBER_MAX),
        call_id=read_text(document, "call_id", CALL_ID_MAX),
    )


def _target_ended(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
    return TargetEnded(
        **envelope,
        target_id=read_text(document, "target_id", ID_MAX, required=True),
        end_reason=_end_reason(document, "end_reason", "ended_reason"),
        status_code=read_status_code(document),
    )


def _caller_left(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
    reason = _end_reason(document, "end_reason", "ended_reason")
    return CallerLeft(**envelope, end_reason=reason or EndReason.BLIND_TRANSFER_COMPLETE)


def _party_updated(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
    return PartyUpdated(
        **envelope,
        leg=read_text(document, "leg", ID_MAX, required=True),
        number=read_text(document, "number", NUMBER_MAX) if document.get("number") is not None else None,
        display_name=clean_name(document["display_name"]) if document.get("display_name") is not None else None,
        call_id=read_text(document, "call_id", CALL_ID_MAX) or None,
    )


def _call_ended(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
    reason = _end_reason(document, "ended_reason", "end_reason")
    incomplete = document.get("incomplete", False)
    if not isinstance(incomplete, bool):
        raise CallEventError("bad_value", "incomplete must be true or false.")
    return CallEnded(**envelope, ended_reason=reason, status_code=read_status_code(document), incomplete=incomplete)


def _media_changed(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
    if "media" not in document:
        raise _missing("media")
    return MediaChanged(**envelope, media=_media(document["media"]))


def _texts(kind: Callable[..., CallEvent], *fields: tuple[str, int]) -> Reader:
    """The reader of a type that holds nothing but texts."""

    def read_texts(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
        values = {name: read_text(document, name, longest, required=True) for name, longest in fields}
        return kind(**envelope, **values)

    return read_texts


def _recording(kind: Callable[..., CallEvent], *, has_reason: bool) -> Reader:
    def read_recording(document: Mapping[str, Any], envelope: Envelope) -> CallEvent:
        segment = document.get("segment", 0)
        if type(segment) is not int or not 0 <= segment <= SEGMENT_MAX:
            raise CallEventError("bad_value", "segment must be the number of a segment.")
        values: dict[str, Any] = {
            "recording_id": read_text(document, "recording_id", ID_MAX, required=True),
            "segment": segment,
        }
        if has_reason:
            values["reason"] = read_text(document, "reason", REASON_MAX)
        return kind(**envelope, **values)

    return read_recording


_TARGET = ("target_id", ID_MAX)
_LEG = ("leg", ID_MAX)

READERS: dict[str, Reader] = {
    "call.started": _call_started,
    "target.added": _target_added,
    "target.ringing": _texts(TargetRinging, _TARGET),
    "target.answered": _texts(TargetAnswered, _TARGET),
    "target.ended": _target_ended,
    "caller.left": _caller_left,
    "party.updated": _party_updated,
    "party.held": _texts(PartyHeld, _LEG),
    "party.unheld": _texts(PartyUnheld, _LEG),
    "session.merged": _texts(SessionMerged, ("into", ID_MAX)),
    "media.changed": _media_changed,
    "feature.dialled": _texts(FeatureDialled, ("code", 16), _LEG),
    "recording.started": _recording(RecordingStarted, has_reason=False),
    "recording.stopped": _recording(RecordingStopped, has_reason=True),
    "recording.failed": _recording(RecordingFailed, has_reason=True),
    "call.ended": _call_ended,
}

TYPES: dict[type[CallEvent], str] = {
    CallStarted: "call.started",
    TargetAdded: "target.added",
    TargetRinging: "target.ringing",
    TargetAnswered: "target.answered",
    TargetEnded: "target.ended",
    CallerLeft: "caller.left",
    PartyUpdated: "party.updated",
    PartyHeld: "party.held",
    PartyUnheld: "party.unheld",
    SessionMerged: "session.merged",
    MediaChanged: "media.changed",
    FeatureDialled: "feature.dialled",
    RecordingStarted: "recording.started",
    RecordingStopped: "recording.stopped",
    RecordingFailed: "recording.failed",
    CallEnded: "call.ended",
}


def read(document: object) -> CallEvent:
    """The event that a JSON object tells, or a CallEventError that says what is wrong with it."""
    if not isinstance(document, Mapping):
        raise CallEventError("malformed_event", "An event must be a JSON object.")
    kind = document.get("type")
    if not kind:
        raise _missing("type")
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise CallEventError("unknown_type", f"There is no event type {str(kind)[:60]!r}.")
    if document.get("at") in (None, ""):
        raise _missing("at")
    envelope = {
        "id": read_text(document, "id", ID_MAX, required=True),
        "session_id": read_text(document, "session_id", ID_MAX, required=True),
        "at": read_time(document["at"]),
    }
    return reader(document, envelope)


def write(event: CallEvent) -> dict[str, Any]:
    """The JSON object of an event; `read` gives back an equal one. Empty fields are left out."""
    document: dict[str, Any] = {"type": TYPES[type(event)]}
    for name in event.__dataclass_fields__:
        value = _written(getattr(event, name))
        if not (value is None or value is False or value == ""):
            document[name] = value
    return document


def _written(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Party):
        party = {"number": value.number, "kind": str(value.kind)}
        if value.display_name:
            party["display_name"] = value.display_name
        if value.domain:
            party["domain"] = value.domain
        return party
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value) if isinstance(value, StrEnum) else value
