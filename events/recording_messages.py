"""What is told of recordings: `recording_started`, `_paused`, `_resumed`, `_stopped`, `_ready`, `_failed`, `_deleted`.

All values are strings, the same in both payload profiles. What becomes of a file stays true after the call and is
always kept in the log; the steps of a recording while it runs are kept once somebody asked for their type.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from events.log import Draft, append
from events.models import Event
from tenants.changes import Actor
from tenants.models import Tenant

RecordingType = Literal[
    "recording_started",
    "recording_paused",
    "recording_resumed",
    "recording_stopped",
    "recording_ready",
    "recording_failed",
    "recording_deleted",
]
ALWAYS_KEPT: frozenset[RecordingType] = frozenset({"recording_ready", "recording_failed", "recording_deleted"})


@dataclass(frozen=True, kw_only=True)
class RecordingFile:
    """A recording as it can be fetched: what `recording_ready` says beside the rest."""

    duration_ms: int
    size: int
    sha256: str
    content_type: Literal["audio/wav", "video/mp4"]
    file_name: str


@dataclass(frozen=True, kw_only=True)
class RecordingFact:
    """Something that became of a recording; `segment` is None when it is about the recording as a whole."""

    type: RecordingType
    at: datetime
    session_id: str
    cdr_id: int
    recording_id: str
    medium: Literal["audio", "video"]
    actor: Actor
    segment: int | None = None
    reason: str = ""
    file: RecordingFile | None = None


def tell(tenant: Tenant, facts: Sequence[RecordingFact]) -> list[Event]:
    """Writes the facts to the log, less those that nobody asked for; call it last in their transaction."""
    wanted = ALWAYS_KEPT.union(tenant.event_types)
    return append(
        [
            Draft(fact.type, fact.session_id, fact.at, recording_message(fact, tenant))
            for fact in facts
            if fact.type in wanted
        ]
    )


def recording_message(fact: RecordingFact, tenant: Tenant) -> dict[str, Any]:
    """The message without the `event_id` that the event log adds."""
    if (fact.type == "recording_ready") != (fact.file is not None):
        raise ValueError("recording_ready tells of a file, and no other message does")
    if fact.type == "recording_failed" and not fact.reason:
        raise ValueError("recording_failed says why")
    message = {
        "event_type": fact.type,
        "time": str(int(fact.at.timestamp())),
        "session_id": fact.session_id,
        "cdr_id": str(fact.cdr_id),
        "tenant_id": str(tenant.pk),
        "recording_id": fact.recording_id,
        "medium": fact.medium,
        "segment": "" if fact.segment is None else str(fact.segment),
        "reason": fact.reason,
        "actor": fact.actor.name,
        "actor_kind": fact.actor.kind,
    }
    return message if fact.file is None else message | _of_file(fact.file, fact.recording_id)


def _of_file(file: RecordingFile, recording_id: str) -> dict[str, str]:
    return {
        "duration_ms": str(file.duration_ms),
        "size": str(file.size),
        "sha256": file.sha256,
        "content_type": file.content_type,
        "file_name": file.file_name,
        "url": f"/api/v1/recordings/{recording_id}/file",
    }
