"""Recordings that can be played, with real sound in the store, and who listens to them."""

from array import array
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from recordings import vault
from recordings.models import Gap, Recording, RecordingFile, Segment
from recordings.peaks import Collector
from tests.recordings.media import tone, wav

NOON = datetime(2023, 3, 22, 12, 0, 0, tzinfo=UTC)
_numbers = count(1)


def make_ready(*lengths: float, channels: int = 1, at: datetime = NOON, **more: Any) -> Recording:
    """A segment of so many seconds each, one right after the other; 1888722 calls 101."""
    lengths = lengths or (2.0,)
    session_id = more.pop("session_id", f"69085241841759{next(_numbers):04}")
    values: dict[str, Any] = {
        "session_id": session_id, "switch_session_id": session_id, "switch_id": 1, "medium": "audio",
        "state": Recording.State.READY, "caller": "1888722", "callee": "101", "extensions": ["101"],
        "dual_tracks": channels == 2, "created_at": at, "started_at": at, "ready_at": at,
        "ended_at": at + timedelta(seconds=sum(lengths)),
    }  # fmt: skip
    recording = Recording.objects.create(**values | more)
    began = at
    for number, seconds in enumerate(lengths, start=1):
        until = began + timedelta(seconds=seconds)
        segment = Segment.objects.create(
            recording=recording, number=number, state=Segment.State.ENDED, started_at=began, ended_at=until,
            end_reason="call_ended",
        )  # fmt: skip
        add_file(segment, [tone(seconds, 440 * number)] * channels)
        began = until
    files = RecordingFile.objects.filter(segment__recording=recording)
    recording.size = sum(file.size for file in files)
    recording.duration_ms = sum(file.duration_ms for file in files)
    recording.save(update_fields=["size", "duration_ms"])
    return recording


def add_file(segment: Segment, channels: "list[array[int]]", content: bytes | None = None) -> RecordingFile:
    import numpy

    content = content or wav(*channels)
    collector = Collector(len(channels), 8000)
    collector.add(numpy.array([list(samples) for samples in channels], dtype="int16"))
    with vault.writer() as writer:
        writer.write(content)
        stored = writer.close()
    return RecordingFile.objects.create(
        segment=segment, switch_id=1, state=RecordingFile.State.READY, storage_key=stored.storage_key,
        wrapped_key=stored.wrapped_key, size=stored.size, sha256=stored.sha256, content_type="audio/wav",
        duration_ms=1000 * len(channels[0]) // 8000, audio_codec="pcm_s16le", channels=len(channels),
        sample_rate=8000, peaks=collector.finish(), data_offset=44, data_size=len(content) - 44,
    )  # fmt: skip


def pause(recording: Recording, since: float, until: float, **more: Any) -> Gap:
    """Seconds from its beginning, by extension 101 with *48 and *49."""
    begin = recording.started_at or recording.created_at
    values: dict[str, Any] = {
        "recording": recording, "medium": recording.medium, "since": begin + timedelta(seconds=since),
        "until": begin + timedelta(seconds=until), "reason": Gap.Reason.PAUSED, "begun_by": "phone 101",
        "begun_via": "feature_code", "ended_by": "phone 101", "ended_via": "feature_code",
    }  # fmt: skip
    return Gap.objects.create(**values | more)


def content_of(recording: Recording) -> bytes:
    """As one file."""
    from recordings.joined import Joined

    return b"".join(Joined(recording).read())
