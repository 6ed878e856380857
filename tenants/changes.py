"""The slot by which a change made here reaches the audit trail, which lives in a higher room."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ActorKind = Literal["user", "token", "switch", "system", "phone"]


@dataclass(frozen=True)
class Actor:
    """Who does something: named by every caller of a verb, never guessed."""

    kind: ActorKind
    name: str
    id: str = ""
    address: str = ""
    on_behalf: str = ""  # a system administrator who manages a tenant, by name


SYSTEM = Actor(kind="system", name="Voxledger")


@dataclass(frozen=True)
class Change:
    """One thing done: `action` is a dotted word (`tenant.suspended`), before and after hold what differs."""

    actor: Actor
    action: str
    subject: str
    subject_id: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


listeners: list[Callable[[Change], None]] = []


def announce(
    actor: Actor,
    action: str,
    *,
    subject: str,
    subject_id: object = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Tells every listener, inside the caller's transaction. No secret may stand in before or after."""
    change = Change(actor, action, subject, str(subject_id), before or {}, after or {})
    for listener in listeners:
        listener(change)
