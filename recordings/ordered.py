"""A person's command as the doors give it: in the person's own right, and waited for until the switch has answered."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connection

from accounts.roles import Permission
from cdr.callevents import Medium
from recordings import control
from recordings.books import Via
from recordings.control import NoSuchCallError, NotAPartyError, Operation, Ordered
from recordings.policy import MEDIA
from recordings.reports import is_final
from recordings.selectors import May, own_number
from tenants.changes import Actor
from tenants.models import SwitchCommand, Tenant

PATIENCE_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 10
MOST_WAITING = 32  # of one process; whoever comes beyond gets what is known at once
_FIRST_LOOK_SECONDS = 0.01  # mostly it is done at once; each further look comes later, up to
_LOOK_SECONDS = 0.1
_places = threading.BoundedSemaphore(MOST_WAITING)

# The specification's words, the same at every door: pause-audio-recording; pause-recording acts on both media.
WORDS: Mapping[str, tuple[Operation, tuple[Medium, ...]]] = {
    **{f"{each}-{medium}-recording": (each, (medium,)) for each in Operation for medium in MEDIA},
    **{f"{each}-recording": (each, MEDIA) for each in Operation},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the switch made of it. `failed` comes with its reason; `is_taken`: it has at least fetched the command."""

    status: Literal["done", "failed", "not_confirmed"]
    reason: str = ""
    is_taken: bool = True

    @property
    def is_unsupported(self) -> bool:
        """The switch will never be able to."""
        return self.status == "failed" and is_final(self.reason)


DONE = Answer("done")


def order(
    tenant: Tenant,
    session_id: str,
    word: str,
    *,
    person: Any,
    may: May,
    actor: Actor,
    via: Via,
) -> Ordered:
    """An administrator commands every call; whoever else, the one in which the own extension is connected."""
    operation, media = WORDS[word]
    if "\0" in session_id:
        raise NoSuchCallError
    if may(Permission.RECORDINGS_FULL):
        return control.command(tenant, session_id, operation, media, actor=actor, via=via)
    number = own_number(person) if may(Permission.OWN_CALLS) else ""
    if not number:
        raise NotAPartyError
    return control.command(tenant, session_id, operation, media, actor=actor, via=via, as_extension=number)


def wait_for(ordered: Ordered, seconds: float = PATIENCE_SECONDS) -> Answer:
    """Looks until the switch has confirmed or refused all of it, at most so long. Not inside a transaction."""
    if not ordered.commands:
        return DONE
    has_place = _places.acquire(blocking=False)
    try:
        deadline, pause = time.monotonic() + (seconds if has_place else 0), _FIRST_LOOK_SECONDS
        while (answer := _look(ordered.commands)).status == "not_confirmed" and time.monotonic() < deadline:
            if not connection.in_atomic_block:
                connection.close()  # back to the pool: whoever waits keeps nobody else from the database
            time.sleep(min(pause, _LOOK_SECONDS))
            pause *= 2
        return answer
    finally:
        if has_place:
            _places.release()


def _look(commands: Sequence[int]) -> Answer:
    rows = list(SwitchCommand.objects.filter(pk__in=commands).order_by("pk"))
    if len(rows) < len(commands):
        return Answer("failed", "The switch is no longer configured.")
    for row in rows:
        if row.state == SwitchCommand.State.FAILED:
            return Answer("failed", row.reason or "The switch did not say why.")
    if all(row.state == SwitchCommand.State.DONE for row in rows):
        return DONE
    return Answer("not_confirmed", is_taken=all(row.handed_out_at is not None for row in rows))
