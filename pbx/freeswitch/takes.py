"""What is recorded on a FreeSWITCH for the portal: one file per segment, known by its name; and what orders begin."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pbx.connectors.orders import Command, Key, Order, State, order_of
from tenants.models import SwitchCommand

_NAME = re.compile(r"voxledger-([0-9]{1,20})-([0-9]{1,6})\.(wav|mp4)")
_BOX = 8


@dataclass(slots=True, eq=False)
class Take:
    """A segment that is being recorded."""

    recording_id: str
    segment: int
    session_id: str
    medium: str
    keeps_pauses: bool
    dual_tracks: bool
    leg: str = ""  # uuid of the one that it hangs on
    is_paused: bool = False
    is_muted: bool = False  # of a film: its sound
    is_stopping: bool = False  # by our own word
    ended_at: datetime | None = None  # FreeSWITCH told so

    @property
    def key(self) -> Key:
        return self.recording_id, self.segment

    @property
    def file_name(self) -> str:
        return file_name(self.recording_id, self.segment, self.medium)


def file_name(recording_id: str, segment: int, medium: str) -> str:
    return f"voxledger-{recording_id}-{segment}.{'mp4' if medium == 'video' else 'wav'}"


def key_of(name: str) -> Key | None:
    """Of a file's name; None when it is none of ours."""
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def begun_by(order: Order) -> Take:
    return Take(
        recording_id=order.recording_id,
        segment=order.segment,
        session_id=order.session_id,
        medium=order.medium,
        keeps_pauses=order.keeps_pauses,
        dual_tracks=order.dual_tracks,
    )


def still_running(rows: Iterable[SwitchCommand]) -> list[Take]:
    """The takes that were begun and not stopped, by the commands that were carried out, oldest first."""
    running: dict[Key, Take] = {}
    for row in rows:
        order = order_of(row)
        if row.state != State.DONE:
            continue
        if order.command == Command.START:
            running[order.key] = begun_by(order)
        elif order.command == Command.STOP:
            running.pop(order.key, None)
        elif take := running.get(order.key):
            note_pause(take, order)
    return list(running.values())


def note_pause(take: Take, order: Order) -> None:
    """An order to pause or resume was carried out."""
    if order.medium == take.medium:
        take.is_paused = order.command == Command.PAUSE
    else:
        take.is_muted = order.command == Command.PAUSE


def is_complete(path: Path) -> bool:
    """Whether FreeSWITCH has closed the file: only then its header, or its index, speaks of all that is in it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if path.suffix == ".wav":
            head = file.read(12)
            return head[:4] == b"RIFF" and int.from_bytes(head[4:8], "little") + 8 == size
        found, place = set(), 0
        while place + _BOX <= size:
            file.seek(place)
            head = file.read(2 * _BOX)
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:16], "big") if length == 1 else length
            if length < _BOX:
                return False
            found.add(head[4:8])
            place += length
        return place == size and b"moov" in found
