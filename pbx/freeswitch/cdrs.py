"""FreeSWITCH's own JSON CDRs, one file a leg, told as the messages that a connector missed while it was away.

The files tell the leg's life with its times, and what the dialplan said of IVRs and queues; not who put whom on hold. A
message has the same meaning, and so the same event id, as the one that was sent, so telling what was heard is harmless.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import structlog

from pbx.freeswitch.esl import Message

FILES_MAX = 20_000  # that are looked at after a gap
BYTES_MAX = 1024 * 1024  # of one; usual are 10 to 20 KB
_TIME = re.compile(r"[1-9][0-9]{14,16}")

log = structlog.get_logger(__name__)


def missed_since(folder: Path, since: datetime) -> list[Message]:
    """What the legs that ended since then would have told, in order."""
    messages: list[Message] = []
    try:
        for path in islice(folder.iterdir(), FILES_MAX):
            if not path.name.endswith(".json") or not path.is_file():
                continue
            status = path.stat()
            if status.st_mtime >= since.timestamp() and status.st_size <= BYTES_MAX:
                messages += messages_of(_document(path))
    except OSError as error:
        log.warning("JSON CDRs cannot be read", folder=str(folder), reason=str(error))
    return in_order(messages)


def in_order(messages: Iterable[Message]) -> list[Message]:
    """By time; of one instant what opens comes before what closes, and a call's first leg before the others."""
    return sorted(
        messages,
        key=lambda message: (
            str(message["Event-Date-Timestamp"]),
            _RANK.get(f"{message['Event-Name']} {message['Call-Direction']}", 3),
        ),
    )


_RANK = {
    "CHANNEL_CREATE inbound": 0,
    "CUSTOM inbound": 1,
    "CHANNEL_CREATE outbound": 2,
    "CHANNEL_HANGUP_COMPLETE outbound": 4,
    "CHANNEL_HANGUP_COMPLETE inbound": 5,
}


def messages_of(document: Any) -> list[Message]:
    """The life of one leg; nothing when this is no CDR of one."""
    variables = _texts(_at(document, "variables"))
    uuid, direction = variables.get("uuid", ""), variables.get("direction", "")
    profiles = [_at(each, "caller_profile") for each in _list(_at(document, "callflow"))]
    if not uuid or direction not in {"inbound", "outbound"} or not profiles:
        return []
    first = _texts(profiles[-1])  # they stand with the latest on top
    common: Message = {
        "Unique-ID": uuid,
        "Call-Direction": direction,
        "Caller-Caller-ID-Number": first.get("caller_id_number", ""),
        "Caller-Caller-ID-Name": first.get("caller_id_name", ""),
        "Caller-Destination-Number": first.get("destination_number", ""),
        "Hangup-Cause": variables.get("hangup_cause", ""),
        **{f"variable_{name}": value for name, value in variables.items()},
    }
    told = [("CHANNEL_CREATE", "start"), ("CHANNEL_PROGRESS", "progress"), ("CHANNEL_ANSWER", "answer")]
    messages: list[Message] = [
        {**common, **(_dialler(profiles) if name == "CHANNEL_CREATE" else {}), "Event-Name": name,
         "Event-Date-Timestamp": variables[f"{when}_uepoch"]}
        for name, when in [*told, ("CHANNEL_HANGUP_COMPLETE", "end")]
        if _TIME.fullmatch(variables.get(f"{when}_uepoch", ""))
    ]  # fmt: skip
    if not messages or messages[0]["Event-Name"] != "CHANNEL_CREATE":
        return []
    return in_order([*messages, *_announced(document, common)])


def _dialler(profiles: list[Any]) -> Message:
    """The leg that had this one dialled, as it was then."""
    for profile in reversed(profiles):
        for each in _list(_at(_at(profile, "originator"), "originator_caller_profiles")):
            told = _texts(each)
            return {
                "Other-Leg-Unique-ID": told.get("uuid", ""),
                "Other-Leg-Destination-Number": told.get("destination_number", ""),
            }
    return {}


def _announced(document: Any, common: Message) -> list[Message]:
    """The IVRs and queues that the dialplan named by the application `event`."""
    found: list[Message] = []
    ticks = [_texts(_at(each, "times")).get("profile_created_time", "") for each in _list(_at(document, "callflow"))]
    for each in _list(_at(_at(document, "app_log"), "applications")):
        told = _texts(each)
        pairs = dict(pair.partition("=")[::2] for pair in told.get("app_data", "").split(","))
        is_target = told.get("app_name") == "event" and pairs.get("Event-Subclass") == "portal::target"
        if is_target and _TIME.fullmatch(stamp := told.get("app_stamp", "")):
            # The clock of events ticks every 20 ms, that of applications does not: they would seem to come after.
            stamp = max((tick for tick in ticks if _TIME.fullmatch(tick) and tick <= stamp), default=stamp)
            names = {"Event-Name": "CUSTOM", "Event-Subclass": "portal::target", "Event-Date-Timestamp": stamp}
            kinds = {name: pairs.get(name, "") for name in ("target", "target_type")}
            found.append({**common, **kinds, **names})
    return found


def _document(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        log.warning("JSON CDR cannot be read", file=path.name)
        return None


def _at(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, str]:
    return {key: each for key, each in value.items() if isinstance(each, str)} if isinstance(value, Mapping) else {}
