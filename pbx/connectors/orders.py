"""What the portal orders of a connector: to record, pause, resume or stop; and what follows from all it has ordered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tenants.models import SwitchCommand

Command = SwitchCommand.Command
State = SwitchCommand.State
Key = tuple[str, int]  # recording id, segment


@dataclass(frozen=True, slots=True)
class Launch:
    """A call to be launched under the order's session id: ring the extension `caller`, then `callee`."""

    domain: str
    caller: str
    callee: str
    user_data: str


@dataclass(frozen=True, slots=True)
class Order:
    """A command of the switch's outbox."""

    id: int
    command: SwitchCommand.Command
    tenant_id: int
    session_id: str
    recording_id: str
    segment: int
    medium: str
    dual_tracks: bool
    keeps_pauses: bool
    launch: Launch | None = None  # of a command to launch a call, which is about no recording
    was_handed_out: bool = False  # before: it may have been carried out by a connector that died of it

    @property
    def key(self) -> Key:
        return self.recording_id, self.segment

    @property
    def subject(self) -> Key | str:
        """What it is about; orders about the same are carried out in the order they were given."""
        return self.session_id if self.launch else self.key


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order: done when there is nothing to say."""

    reason: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class Running:
    """A segment that is to be recorded, as far as orders tell."""

    recording_id: str
    segment: int
    tenant_id: int
    session_id: str
    dual_tracks: bool
    keeps_pauses: bool
    is_paused: bool = False
    stretch: int = 1
    is_adopted: bool = False  # begun by an earlier connector: only Asterisk knows all its tracks

    @property
    def key(self) -> Key:
        return self.recording_id, self.segment


def order_of(row: SwitchCommand) -> Order:
    return Order(
        id=row.pk,
        command=Command(row.command),
        tenant_id=row.tenant_id,
        session_id=row.session_id,
        recording_id=row.recording_id,
        segment=row.segment,
        medium=row.medium,
        dual_tracks=row.options.get("dual_tracks") is True,
        keeps_pauses=row.options.get("pause_style") == "silence",
        launch=_launch_of(row.options) if row.command == Command.LAUNCH else None,
        was_handed_out=row.handed_out_at is not None,
    )


def _launch_of(options: Mapping[str, Any]) -> Launch:
    return Launch(*(str(options.get(name, "")) for name in ("domain", "caller", "callee", "user_data")))


def begun_by(order: Order) -> Running:
    """What an order to start begins."""
    return Running(
        recording_id=order.recording_id,
        segment=order.segment,
        tenant_id=order.tenant_id,
        session_id=order.session_id,
        dual_tracks=order.dual_tracks,
        keeps_pauses=order.keeps_pauses,
    )


def still_running(rows: Iterable[SwitchCommand]) -> list[Running]:
    """The segments that were begun and not stopped, by the commands that were carried out, oldest first."""
    running: dict[Key, Running] = {}
    for row in rows:
        order = order_of(row)
        if row.state != State.DONE or order.medium != "audio":
            continue
        if order.command == Command.START:
            running[order.key] = begun_by(order)
            running[order.key].is_adopted = True
        elif order.command == Command.STOP:
            running.pop(order.key, None)
        elif found := running.get(order.key):
            found.stretch += order.command == Command.PAUSE and not found.is_paused
            found.is_paused = order.command == Command.PAUSE
    return list(running.values())
