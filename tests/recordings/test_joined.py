"""A recording is one file, whatever it was delivered as, and any part of it can be read alone."""

import io
import random
import wave
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from recordings import joined, vault
from recordings.errors import GoneError
from recordings.examiner import wav_form
from recordings.joined import Joined, wav_header
from recordings.models import Recording, RecordingFile
from recordings.peaks import Peaks
from tenants.models import Switch, Tenant
from tests.recordings.delivered import deliver, examine, recording_of
from tests.recordings.media import MP4, mp4, spoken, tone, wav

PARTS = [spoken(1, 440), wav(tone(0.5, 300)), spoken(2, 600)]


def ready(tenant: Tenant, switch: Switch, *files: bytes, medium: str = "audio") -> Recording:
    recording = recording_of(tenant, switch, medium=medium, segments=len(files))
    for number, file in enumerate(files, 1):
        deliver(switch, recording, file, number, content_type=MP4 if medium == "video" else "audio/wav")
    examine()
    recording.refresh_from_db()
    assert recording.state == "ready"
    return recording


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def encrypted(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.RECORDING_ENCRYPTION = request.param


def samples_of(file: bytes) -> bytes:
    with wave.open(io.BytesIO(file)) as opened:
        return opened.readframes(opened.getnframes())


def test_one_segment_is_its_file_as_it_came(acme: Tenant, http_switch: Switch) -> None:
    media = Joined(ready(acme, http_switch, PARTS[0]))
    assert b"".join(media.read()) == PARTS[0]
    assert (media.size, media.duration_ms, media.content_type) == (len(PARTS[0]), 1000, "audio/wav")
    assert media.etag == f'"{RecordingFile.objects.get().sha256}"'
    assert media.peaks().points == 20


@pytest.mark.usefixtures("encrypted")
def test_segments_stand_behind_one_header(acme: Tenant, http_switch: Switch) -> None:
    media = Joined(ready(acme, http_switch, *PARTS))
    whole = b"".join(media.read())
    assert (len(whole), media.duration_ms) == (media.size, 3500)
    with wave.open(io.BytesIO(whole)) as opened:
        assert (opened.getframerate(), opened.getnchannels(), opened.getnframes()) == (8000, 1, 28_000)
    assert samples_of(whole) == b"".join(samples_of(part) for part in PARTS)


@pytest.mark.usefixtures("encrypted")
def test_any_part_of_it_can_be_read_alone(acme: Tenant, http_switch: Switch) -> None:
    media = Joined(ready(acme, http_switch, *PARTS))
    whole = b"".join(media.read())
    edges = [0, 1, 43, 44, 45, 16_043, 16_044, 16_045, 24_044, len(whole) - 1, len(whole), len(whole) + 1]
    chance = random.Random(4)
    spans = [(start, end) for start in edges for end in edges]
    spans += [(chance.randrange(len(whole)), chance.randrange(len(whole))) for _ in range(50)]
    assert [b"".join(media.read(start, end)) for start, end in spans] == [whole[start:end] for start, end in spans]


def test_its_tag_changes_with_any_of_its_files(acme: Tenant, http_switch: Switch) -> None:
    recording = ready(acme, http_switch, *PARTS)
    before = Joined(recording).etag
    assert Joined(recording).etag == before
    RecordingFile.objects.filter(segment__number=2).update(sha256="0" * 64)
    assert Joined(recording).etag != before


def test_the_waveform_is_that_of_all_segments(acme: Tenant, http_switch: Switch) -> None:
    loud, quiet = wav(tone(1, 440, loudness=1.0)), wav(tone(1, 440, loudness=0.25))
    peaks = Joined(ready(acme, http_switch, loud, quiet)).peaks()
    assert peaks == Peaks(2000, (bytes([127] * 20 + [32] * 20),))


def test_videos_are_one_stored_file(acme: Tenant, http_switch: Switch) -> None:
    recording = ready(acme, http_switch, mp4(0.5), mp4(0.5), medium="video")
    media, made = Joined(recording), RecordingFile.objects.get(joined_of=recording)
    assert b"".join(media.read(3, 90)) == b"".join(vault.read(made))[3:90]
    assert (media.size, media.etag, media.content_type) == (made.size, f'"{made.sha256}"', "video/mp4")


def test_reading_needs_no_database(acme: Tenant, http_switch: Switch) -> None:
    media = Joined(ready(acme, http_switch, *PARTS))
    reading = media.read()
    connection.set_schema_to_public()
    assert len(b"".join(reading)) == media.size


def test_what_is_missing_shows_at_once(acme: Tenant, http_switch: Switch) -> None:
    recording = ready(acme, http_switch, *PARTS)
    vault.remove(RecordingFile.objects.get(segment__number=3).storage_key)
    with pytest.raises(GoneError):
        Joined(recording).read()


def test_a_recording_without_files_is_none(acme: Tenant, http_switch: Switch) -> None:
    with pytest.raises(GoneError):
        Joined(recording_of(acme, http_switch))


def test_who_stops_early_leaves_nothing_open(acme: Tenant, http_switch: Switch) -> None:
    reading = Joined(ready(acme, http_switch, *PARTS)).read()
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert list(reading) == []


@pytest.mark.parametrize(
    ("session_id", "caller", "said"),
    [
        ("690852418417594368", "1888722", "690852418417594368_1888722"),
        ("../../etc/passwd", "+49 151", "etc-passwd_+49-151"),
        ('a"b\r\nX: y', "", "a-b-X-y_unknown"),
        ("…", "anonymous@x", "unknown_anonymous-x"),
        ("s" * 128, "1" * 64, f"{'s' * 64}_{'1' * 64}"),
    ],
)
def test_its_name_is_safe_and_in_the_tenant_s_time(
    acme: Tenant, http_switch: Switch, session_id: str, caller: str, said: str
) -> None:
    Tenant.objects.filter(pk=acme.pk).update(time_zone="Asia/Tokyo")
    recording = ready(acme, http_switch, PARTS[0])
    recording.session_id, recording.caller = session_id, caller
    began = recording.started_at
    assert began is not None
    recording.started_at = began.replace(year=2026, month=3, day=22, hour=20, minute=5, second=9)
    assert Joined(recording).file_name == f"{acme.pk}_{said}_1_20260323-050509.wav"


@pytest.mark.parametrize(("codec", "channels"), [("pcm_s16le", 2), ("pcm_alaw", 1), ("pcm_f32le", 1)])
def test_a_header_beyond_four_gibibytes_says_what_it_can(codec: str, channels: int) -> None:
    file = RecordingFile(audio_codec=codec, channels=channels, sample_rate=8000)
    header = wav_header(file, 5 * 1024**3)
    assert (len(header), header[4:8], header[40:44]) == (joined.HEADER_BYTES, b"\xff" * 4, b"\xff" * 4)
    assert wav_form(io.BytesIO(header), 44 + 5 * 1024**3).data_offset == 44


def test_joining_leaves_nothing_behind(acme: Tenant, http_switch: Switch, media_root: Path) -> None:
    ready(acme, http_switch, mp4(0.5), mp4(0.5), medium="video")
    assert sum(path.is_file() for path in media_root.rglob("*")) == 3
