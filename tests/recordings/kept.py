"""Recordings as they lie there once a call is over, with files that are really in the store."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from cdr.models import CDR, CallStatus, Direction
from recordings import vault
from recordings.models import Recording, RecordingFile, Segment

_numbers = count(1)


def make_cdr(session_id: str, **more: Any) -> CDR:
    start = more.pop("start_time", timezone.now() - timedelta(minutes=10))
    fields: dict[str, Any] = {
        "session_id": session_id, "direction": Direction.INBOUND, "caller": "1888722", "callee": "101",
        "start_time": start, "answered_time": start + timedelta(seconds=5), "ended_time": start + timedelta(seconds=65),
        "talk_duration": 60, "status": CallStatus.ANSWERED, "extensions": ["101"],
    }  # fmt: skip
    return CDR.objects.create(**fields | more)


def make_recording(*, size: int = 1000, at: datetime | None = None, files: int = 1, **more: Any) -> Recording:
    """Ready, of a minute, a minute old, unless told otherwise."""
    at = at or timezone.now() - timedelta(minutes=10)
    session_id = more.pop("session_id", f"session-{next(_numbers)}")
    fields: dict[str, Any] = {
        "session_id": session_id, "switch_session_id": session_id, "switch_id": 1, "medium": "audio",
        "state": Recording.State.READY, "caller": "1888722", "callee": "101", "extensions": ["101"],
        "created_at": at, "started_at": at, "ended_at": at + timedelta(minutes=1), "ready_at": at,
        "duration_ms": 60_000, "size": size,
    }  # fmt: skip
    row = Recording.objects.create(**fields | more)
    for number in range(1, files + 1):
        segment = Segment.objects.create(recording=row, number=number, state=Segment.State.ENDED)
        make_file(b"\1" * (size // files), segment=segment, received_at=at)
    return row


def make_file(content: bytes, **more: Any) -> RecordingFile:
    with vault.writer() as writer:
        writer.write(content)
        stored = writer.close()
    fields: dict[str, Any] = {
        "switch_id": 1, "state": RecordingFile.State.READY, "storage_key": stored.storage_key,
        "wrapped_key": stored.wrapped_key, "size": stored.size, "sha256": stored.sha256, "content_type": "audio/wav",
        "peaks": b"\1\2", "said_recording_id": "",
    }  # fmt: skip
    return RecordingFile.objects.create(**fields | more)


def files_in_store() -> int:
    return len(list(vault.found()))
