"""Recordings whose calls are over, told to a switch, with the files that it delivers."""

import json
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from events.models import Event
from recordings import completion, files
from recordings.models import Recording, RecordingFile, Segment
from tenants import outbox
from tenants.models import Switch, SwitchCommand, Tenant
from tests.recordings.media import WAV


def recording_of(
    tenant: Tenant, switch: Switch, *, medium: str = "audio", segments: int = 1, ended: datetime | None = None,
    session_id: str = "s1", **more: Any,
) -> Recording:  # fmt: skip
    """Inside the tenant's schema. Each segment lasted ten seconds."""
    over = ended or timezone.now()
    row = Recording.objects.create(
        session_id=session_id, switch_session_id=session_id, switch_id=switch.pk, medium=medium, caller="1888722",
        callee="101", state=Recording.State.PROCESSING, ended_at=over,
        started_at=over - timedelta(seconds=10 * segments), created_at=over - timedelta(seconds=10 * segments),
    )  # fmt: skip
    Recording.objects.filter(pk=row.pk).update(**more)
    for number in range(1, segments + 1):
        began = row.started_at + timedelta(seconds=10 * (number - 1))
        Segment.objects.create(
            recording=row, number=number, state=Segment.State.ENDED, started_at=began,
            ended_at=began + timedelta(seconds=10),
        )  # fmt: skip
        outbox.enqueue(
            switch, tenant_id=tenant.pk, command=SwitchCommand.Command.START, session_id=session_id,
            recording_id=str(row.pk), segment=number, medium="video" if medium == "video" else "audio",
        )  # fmt: skip
    row.refresh_from_db()
    return row


def deliver(
    switch: Switch, recording: Recording | str, file: bytes, segment: int = 1, *, content_type: str = WAV,
    size: int | None = None, **digests: bytes,
) -> RecordingFile:  # fmt: skip
    """As the door does, in pieces."""
    recording_id = recording if isinstance(recording, str) else str(recording.pk)
    pieces = (file[place : place + 1000] for place in range(0, len(file), 1000))
    return files.receive(
        switch, recording_id, segment, pieces, content_type=content_type, digests=digests, expected_size=size
    )


def examine() -> int:
    """What the worker does with all that waits."""
    return completion.probe_waiting()


def told() -> list[dict[str, Any]]:
    """What the event log says of recordings, without what differs each time."""
    rows = Event.objects.filter(type__startswith="recording_").order_by("id")
    unsteady = ("time", "recording_id", "event_id", "tenant_id")
    messages = [json.loads(row.body) for row in rows]
    return [{name: value for name, value in each.items() if name not in unsteady} for each in messages]
