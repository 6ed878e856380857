"""A recorded call for the browser: its sound with a pause, both sides apart, and its picture."""

import math
import random
from array import array
from datetime import timedelta

from cdr.models import CDR
from recordings import vault
from recordings.models import Recording, RecordingFile, Segment
from tests.recordings.media import MP4, mp4
from tests.recordings.played import add_file, make_ready, pause

SECONDS, PAUSED = 60.0, (20.0, 32.0)


def speech(seconds: float, turn: int) -> "array[int]":
    """Sounds like somebody who speaks every other five seconds."""
    chance, samples = random.Random(turn), array("h")
    while len(samples) < seconds * 8000:
        length, pitch = chance.randrange(1200, 7200), chance.uniform(120, 300)
        loud = chance.uniform(0.2, 0.8) if int(len(samples) / 40_000) % 2 == turn else 0.01
        samples.extend(
            int(32_000 * loud * math.sin(math.pi * at / length) * math.sin(2 * math.pi * pitch * at / 8000))
            for at in range(length)
        )
    return samples[: int(seconds * 8000)]


def record_latest_call() -> None:
    """In the tenant's schema: the latest call of more than two minutes, recorded as WAV and MP4."""
    call = CDR.objects.filter(talk_duration__gt=120, direction="inbound").order_by("-start_time")[0]
    CDR.objects.filter(pk=call.pk).update(recorded=True)
    began = call.answered_time or call.start_time
    common = {"session_id": call.session_id, "caller": call.caller, "callee": call.callee, "at": began,
              "extensions": call.extensions}  # fmt: skip
    sound = make_ready(1.0, channels=2, **common)  # type: ignore[arg-type]
    segment = sound.segments.get()
    segment.file.delete()
    skipped = PAUSED[1] - PAUSED[0]
    segment.ended_at = began + timedelta(seconds=SECONDS + skipped)
    segment.save(update_fields=["ended_at"])
    pause(sound, *PAUSED)
    file = add_file(segment, [speech(SECONDS, 0), speech(SECONDS, 1)])
    Recording.objects.filter(pk=sound.pk).update(
        size=file.size, duration_ms=file.duration_ms, ended_at=segment.ended_at, dual_tracks=True
    )
    _add_picture(call, common)


def _add_picture(call: CDR, common: dict[str, object]) -> None:
    picture = make_ready(1.0, medium="video", switch_session_id=f"{call.session_id}v", **common)  # type: ignore[arg-type]
    segment = Segment.objects.get(recording=picture)
    segment.file.delete()
    content = mp4(8.0, size=(320, 240))
    with vault.writer() as writer:
        writer.write(content)
        stored = writer.close()
    RecordingFile.objects.create(
        segment=segment, switch_id=1, state=RecordingFile.State.READY, storage_key=stored.storage_key,
        wrapped_key=stored.wrapped_key, size=stored.size, sha256=stored.sha256, content_type=MP4, duration_ms=8000,
        audio_codec="aac", video_codec="h264", channels=1, sample_rate=8000, width=320, height=240,
    )  # fmt: skip
    Recording.objects.filter(pk=picture.pk).update(size=stored.size, duration_ms=8000)
