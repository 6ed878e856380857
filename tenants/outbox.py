"""The command outbox of a switch: what it was told to do, handed out until it says what became of it."""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Exists, OuterRef, Q, When
from django.utils import timezone

from tenants.models import Switch, SwitchCommand

HANDED_OUT_AT_ONCE = 100
EXPIRED_AT_ONCE = 100  # then it is asked again what is the most urgent
EXPIRE_SECONDS = 2.5
_REASON_MAX = 300
_PATIENCE_SECONDS = 1.0
_BY_CONNECTOR = (Switch.Kind.ASTERISK, Switch.Kind.FREESWITCH)

# The recordings room listens here: called with a command that was confirmed or has expired, in the same transaction.
listeners: list[Callable[[SwitchCommand], None]] = []

log = structlog.get_logger(__name__)


class ContradictionError(Exception):
    """A command was confirmed before, with another end."""


def enqueue(
    switch: Switch,
    *,
    tenant_id: int,
    command: SwitchCommand.Command,
    session_id: str,
    recording_id: str = "",
    medium: Literal["audio", "video", ""] = "",
    segment: int = 1,
    options: Mapping[str, Any] | None = None,
) -> SwitchCommand:
    """Writes a command in the transaction of the decision behind it, and wakes the switch after."""
    row = SwitchCommand.objects.create(
        switch=switch,
        tenant_id=tenant_id,
        command=command,
        session_id=session_id,
        recording_id=recording_id,
        segment=segment,
        medium=medium,
        options=dict(options or {}),
    )
    transaction.on_commit(lambda: _wake(switch))
    return row


def pending_for(switch: Switch) -> list[SwitchCommand]:
    """What waits for the switch, oldest first and bounded; each comes again until it is confirmed.

    When more wait than are handed out at once, a thousand starts hold up no pause: whatever is not a start comes
    first, unless something older waits for the same segment.
    """
    waiting = SwitchCommand.objects.filter(switch=switch, state=SwitchCommand.State.PENDING)
    older = waiting.filter(recording_id=OuterRef("recording_id"), segment=OuterRef("segment"), id__lt=OuterRef("id"))
    is_late = Q(command=SwitchCommand.Command.START) | (~Q(recording_id="") & Exists(older))
    ordered = waiting.annotate(is_late=Case(When(is_late, then=True), default=False)).order_by("is_late", "id")
    rows: list[SwitchCommand] = sorted(ordered[:HANDED_OUT_AT_ONCE], key=lambda row: row.pk)
    fresh = [row.pk for row in rows if row.handed_out_at is None]
    if fresh:
        SwitchCommand.objects.filter(pk__in=fresh, handed_out_at=None).update(handed_out_at=timezone.now())
    return rows


@transaction.atomic
def confirm(
    switch: Switch, command_id: int, state: SwitchCommand.State, reason: str = "", at: datetime | None = None
) -> SwitchCommand | None:
    """Notes what became of a command and when; saying the same twice is harmless.

    None when the switch has no such command. A confirmation of one that has expired is noted by nobody: what it did
    was undone by then.
    """
    changed = SwitchCommand.objects.filter(pk=command_id, switch=switch, state=SwitchCommand.State.PENDING).update(
        state=state, reason=reason[:_REASON_MAX], confirmed_at=at or timezone.now()
    )
    row = SwitchCommand.objects.filter(pk=command_id, switch=switch).first()
    if row is not None and row.state not in (state, SwitchCommand.State.EXPIRED):
        raise ContradictionError
    if row is not None and changed:
        _tell(row)
    return row


def withdraw(command_id: int) -> bool:
    """Takes back what no switch has fetched yet: then nothing will come of it, and nobody is told."""
    unfetched = SwitchCommand.objects.filter(pk=command_id, state=SwitchCommand.State.PENDING, handed_out_at=None)
    reason = "Withdrawn: the switch had not fetched it."
    return bool(unfetched.update(state=SwitchCommand.State.EXPIRED, confirmed_at=timezone.now(), reason=reason))


def expire(before: datetime, *, seconds: float = EXPIRE_SECONDS) -> int:
    """Gives up commands that no switch has confirmed since then, as many as the time allows; each by itself, for each
    locks rows of its own tenant, and one that fails must hold up no other.

    Pauses and stops come first, unless something older waits for the same segment: a switch that is dead leaves
    thousands of starts, and a pause that failed must become a stop now. What follows from one of these has a time of
    its own.
    """
    until = time.monotonic() + seconds
    before = min(before, timezone.now())
    expired, in_vain = 0, set[int]()
    while ids := _expiring(before, in_vain):
        for command_id in ids:
            if time.monotonic() >= until:
                return expired
            if _has_expired(command_id):
                expired += 1
            else:
                in_vain.add(command_id)
    return expired


def _expiring(before: datetime, in_vain: Collection[int]) -> list[int]:
    pending = SwitchCommand.objects.filter(state=SwitchCommand.State.PENDING)
    older = pending.filter(recording_id=OuterRef("recording_id"), segment=OuterRef("segment"), id__lt=OuterRef("id"))
    ends = Q(command__in=(SwitchCommand.Command.PAUSE, SwitchCommand.Command.STOP))
    waiting = pending.filter(at__lt=before).exclude(pk__in=in_vain)
    ordered = waiting.annotate(is_late=Case(When(ends & ~Exists(older), then=False), default=True))
    return list(ordered.order_by("is_late", "id").values_list("pk", flat=True)[:EXPIRED_AT_ONCE])


def _has_expired(command_id: int) -> bool:
    try:
        return _expire(command_id)
    except Exception:  # whatever one command's end meets, the pauses behind it must still become stops
        log.exception("command not given up", command_id=command_id)
        return False


@transaction.atomic
def _expire(command_id: int) -> bool:
    waiting = SwitchCommand.objects.filter(pk=command_id, state=SwitchCommand.State.PENDING)
    row = waiting.select_for_update(skip_locked=True).first()
    if row is None:
        return False
    row.state, row.confirmed_at = SwitchCommand.State.EXPIRED, timezone.now()
    row.reason = "The switch did not confirm it in time."
    row.save(update_fields=["state", "confirmed_at", "reason"])
    _tell(row)
    return True


def _tell(row: SwitchCommand) -> None:
    for listener in listeners:
        listener(row)


def bell_of(token_hash: str) -> str:
    """The Redis channel that rings when a command waits, found by whoever holds the switch's token.

    The database's name keeps installations that share a Redis apart.
    """
    return f"voxledger:{connection.settings_dict['NAME']}:commands:{token_hash[:32]}"


def bell_of_connector(switch_id: int) -> str:
    """The one that a connector of ours listens to, which has no token."""
    return f"voxledger:{connection.settings_dict['NAME']}:orders:{switch_id}"


def _wake(switch: Switch) -> None:
    """Only shortens the wait: a switch asks again by itself, so a lost ring costs seconds."""
    if switch.kind in _BY_CONNECTOR:
        bell = bell_of_connector(switch.pk)
    elif switch.token_hash:
        bell = bell_of(switch.token_hash)
    else:
        return
    try:
        _redis(settings.REDIS_LOCATION).publish(bell, b"1")
    except redis.RedisError as error:
        log.warning("switch not woken", switch=switch.name, error=type(error).__name__)


@lru_cache(maxsize=1)
def _redis(location: str) -> redis.Redis:
    return redis.Redis.from_url(location, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS)
