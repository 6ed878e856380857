"""A recording is ready when all of its segments are there, failed with a reason otherwise, and always told."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from cdr.models import CDR
from recordings import completion, joined, probe, tasks, vault
from recordings.completion import Delivered, Judgement, Outcome, judge
from recordings.errors import StoreUnavailableError
from recordings.files import FileRefusedError
from recordings.models import Recording, RecordingFile
from tenants.models import Switch, Tenant
from tests.recordings.delivered import deliver, examine, recording_of, told
from tests.recordings.media import MP4, mp4, spoken, tone, wav
from tests.recordings.stage import Stage, inbound, over

READY, FAILED, PROCESSING = "ready", "failed", "processing"
FILE = spoken(1)


def state(recording: Recording) -> tuple[str, str]:
    recording.refresh_from_db()
    return recording.state, recording.problem


def call_of(recording: Recording) -> CDR:
    now = timezone.now()
    return CDR.objects.create(
        session_id=recording.session_id, direction="inbound", caller="1", callee="2", start_time=now, ended_time=now,
        status="answered",
    )  # fmt: skip


def message(what: str, **more: str) -> dict[str, str]:
    common = {"event_type": what, "session_id": "s1", "medium": "audio", "segment": "", "reason": ""}
    return common | {"actor": "Voxledger", "actor_kind": "system"} | more


# --- The rule ----------------------------------------------------------------------------------------------

RAN, NEVER = True, False
WAITS = Judgement(Outcome.WAITS)
MISSING = "The file of segment 1 is missing: the switch did not deliver it in time."
MANY_MISSING = "The files of segments 1, 3 are missing: the switch did not deliver them in time."
TABLE = [
    ([(RAN, "ready")], Judgement(Outcome.READY), None),
    ([(RAN, "ready"), (RAN, "ready")], Judgement(Outcome.READY), None),
    ([(RAN, "ready"), (NEVER, "")], Judgement(Outcome.READY), None),
    ([(NEVER, "ready")], Judgement(Outcome.READY), None),
    ([(RAN, "stored")], WAITS, WAITS),
    ([(RAN, "ready"), (RAN, "stored")], WAITS, WAITS),
    ([(RAN, "")], WAITS, Judgement(Outcome.FAILED, MISSING)),
    ([(RAN, ""), (RAN, "ready"), (RAN, "")], WAITS, Judgement(Outcome.READY, MANY_MISSING)),
    ([(RAN, ""), (RAN, "deleted"), (RAN, "")], WAITS, Judgement(Outcome.FAILED, MANY_MISSING)),
    ([(RAN, ""), (RAN, "ready"), (RAN, "stored")], WAITS, WAITS),
    ([(RAN, ""), (RAN, "ready"), (RAN, "quarantined")],
     Judgement(Outcome.FAILED, "The file of segment 3 is quarantined. Bad."), None),
    ([(RAN, "quarantined")], Judgement(Outcome.FAILED, "The file of segment 1 is quarantined. Bad."), None),
    ([(RAN, "stored"), (RAN, "quarantined")],
     Judgement(Outcome.FAILED, "The file of segment 2 is quarantined. Bad."), None),
    ([(RAN, "deleted")], Judgement(Outcome.FAILED, "Nothing was recorded: no file holds any sound or picture."), None),
    ([(RAN, "deleted"), (RAN, "ready")], Judgement(Outcome.READY), None),
    ([], WAITS, Judgement(Outcome.FAILED, "Nothing was recorded: no segment ever ran.")),
    ([(NEVER, "")], WAITS, Judgement(Outcome.FAILED, "Nothing was recorded: no segment ever ran.")),
]  # fmt: skip


@pytest.mark.parametrize(("given", "early", "late"), TABLE)
def test_what_its_files_make_of_a_recording(
    given: list[tuple[bool, str]], early: Judgement, late: Judgement | None
) -> None:
    segments = [Delivered(number, ran, file, "Bad.") for number, (ran, file) in enumerate(given, 1)]
    assert judge(segments, files_are_due=False) == early
    assert judge(segments, files_are_due=True) == (late or early)


# --- Ready -------------------------------------------------------------------------------------------------


def test_one_good_file_makes_it_ready(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    call = call_of(recording)
    deliver(http_switch, recording, FILE)
    assert state(recording) == (PROCESSING, "")
    assert examine() == 1
    assert state(recording) == (READY, "")
    digest = hashlib.sha256(FILE).hexdigest()
    assert (recording.duration_ms, recording.size, recording.sha256) == (1000, len(FILE), digest)
    file = RecordingFile.objects.get()
    assert (file.state, file.audio_codec, file.channels, file.sample_rate) == ("ready", "pcm_s16le", 1, 8000)
    assert (file.data_offset, file.data_size, len(file.peaks), file.probe_tries) == (44, 16_000, 20, 1)
    call.refresh_from_db()
    assert call.recorded
    assert told() == [
        message(
            "recording_ready", cdr_id=str(call.pk), duration_ms="1000", size=str(len(FILE)), sha256=digest,
            content_type="audio/wav", file_name=joined.Joined(recording).file_name,
            url=f"/api/v1/recordings/{recording.pk}/file",
        )
    ]  # fmt: skip
    completion.settle(recording.pk)
    assert len(told()) == 1


def test_it_waits_for_every_segment(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch, segments=2)
    deliver(http_switch, recording, spoken(1), 2)
    examine()
    assert (state(recording), told()) == ((PROCESSING, ""), [])
    deliver(http_switch, recording, spoken(2), 1)
    examine()
    assert state(recording) == (READY, "")
    media = joined.Joined(recording)
    assert (recording.duration_ms, recording.size) == (3000, 44 + 48_000)
    assert recording.sha256 == joined.digest_of(media.read())
    assert not RecordingFile.objects.exclude(joined_of=None).exists()


def test_an_empty_file_is_discarded_with_a_note(acme: Tenant, http_switch: Switch, media_root: Path) -> None:
    """Asterisk writes 44 bytes where nothing was said."""
    recording = recording_of(acme, http_switch, segments=2)
    deliver(http_switch, recording, wav(), 1)
    deliver(http_switch, recording, FILE, 2)
    assert examine() == 2
    assert state(recording) == (READY, "")
    empty = RecordingFile.objects.get(segment__number=1)
    note = "It holds no moment of sound: the switch had nothing to record. It was discarded."
    assert (empty.state, empty.problem) == ("deleted", note)
    assert sum(path.is_file() for path in media_root.rglob("*")) == 1


def test_nothing_but_empty_files_is_a_failure(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, wav())
    examine()
    said = "Nothing was recorded: no file holds any sound or picture."
    assert state(recording) == (FAILED, said)
    assert told() == [message("recording_failed", cdr_id="0", reason=said)]


def test_videos_are_joined_once_into_a_file_of_their_own(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch, medium="video", segments=2)
    for number in (1, 2):
        deliver(http_switch, recording, mp4(1, shade=number), number, content_type=MP4)
    examine()
    assert state(recording) == (READY, "")
    made = RecordingFile.objects.get(joined_of=recording)
    assert (recording.size, recording.sha256) == (made.size, made.sha256)
    assert b"".join(joined.Joined(recording).read()) == b"".join(vault.read(made))
    completion.settle(recording.pk)
    assert RecordingFile.objects.exclude(joined_of=None).count() == 1


def test_sounds_of_different_forms_are_joined_into_a_file(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch, segments=2)
    deliver(http_switch, recording, FILE, 1)
    deliver(http_switch, recording, wav(tone(1, 440, rate=16_000), rate=16_000), 2)
    examine()
    assert state(recording) == (READY, "")
    assert RecordingFile.objects.filter(joined_of=recording, content_type="audio/wav").count() == 1


def test_what_cannot_be_joined_is_a_failure_that_keeps_the_files(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch, medium="video", segments=2)
    deliver(http_switch, recording, mp4(1, sound=False), 1, content_type=MP4)
    deliver(http_switch, recording, mp4(1), 2, content_type=MP4)
    examine()
    said = (
        "The files of its segments cannot be joined: One segment has audio, the first has none."
        " Each is kept as it came."
    )
    assert state(recording) == (FAILED, said)
    assert RecordingFile.objects.filter(state="ready").count() == 2


# --- Failed ------------------------------------------------------------------------------------------------


def test_a_broken_file_is_quarantined_and_told(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE[:8044])
    examine()
    reason = "It is cut off: its header promises 1.0 s of sound, 0.5 s are there."
    said = f"The file of segment 1 is quarantined. {reason}"
    assert state(recording) == (FAILED, said)
    assert [(row.state, row.problem) for row in RecordingFile.objects.all()] == [("quarantined", reason)]
    assert told() == [message("recording_failed", cdr_id="0", reason=said)]


def test_a_good_file_later_mends_it(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE[:8044])
    examine()
    deliver(http_switch, recording, FILE)
    examine()
    assert state(recording) == (READY, "")
    assert [each["event_type"] for each in told()] == ["recording_failed", "recording_ready"]


def test_a_mislabelled_file_fails_it_at_once(
    acme: Tenant, http_switch: Switch, django_capture_on_commit_callbacks: Any
) -> None:
    recording = recording_of(acme, http_switch)
    with django_capture_on_commit_callbacks() as later, pytest.raises(FileRefusedError):
        deliver(http_switch, recording, b"PK\x03\x04" + bytes(50))
    assert len(later) == 1
    completion.settle_calls(["s1"])
    said = "The file of segment 1 is quarantined. It was announced as a WAV file, but it is a ZIP archive."
    assert state(recording) == (FAILED, said)


def test_a_file_that_does_not_come_is_missing(acme: Tenant, http_switch: Switch) -> None:
    now = timezone.now()
    late = recording_of(acme, http_switch, ended=now - timedelta(minutes=61), session_id="late")
    in_time = recording_of(acme, http_switch, ended=now - timedelta(minutes=59), session_id="in time")
    assert tasks.sweep_files_of("acme") == 1
    assert state(late) == (FAILED, "The file of segment 1 is missing: the switch did not deliver it in time.")
    assert state(in_time) == (PROCESSING, "")
    assert [each["event_type"] for each in told()] == ["recording_failed"]
    deliver(http_switch, late, FILE)
    examine()
    assert state(late) == (READY, "")


def test_one_file_that_never_comes_does_not_take_the_others_with_it(acme: Tenant, http_switch: Switch) -> None:
    said = "The switch could not pause: no such channel."
    recording = recording_of(acme, http_switch, segments=3, ended=timezone.now() - timedelta(minutes=59), problem=said)
    call = call_of(recording)
    for number in (2, 3):
        deliver(http_switch, recording, spoken(number), number)
    examine()
    assert (state(recording), told()) == ((PROCESSING, said), [])
    Recording.objects.update(ended_at=timezone.now() - timedelta(minutes=61))
    assert completion.sweep(timezone.now()) == 1
    assert state(recording) == (READY, f"{said} {MISSING}")
    assert (recording.duration_ms, recording.size) == (5000, 44 + 80_000)
    call.refresh_from_db()
    assert call.recorded
    assert [(each["event_type"], each["reason"]) for each in told()] == [("recording_ready", MISSING)]
    assert completion.sweep(timezone.now()) == 0
    deliver(http_switch, recording, spoken(1), 1)
    examine()
    assert (state(recording), recording.duration_ms) == ((READY, said), 6000)
    assert [(each["event_type"], each["reason"]) for each in told()] == [
        ("recording_ready", MISSING),
        ("recording_ready", ""),
    ]


def test_what_had_failed_for_want_of_files_is_ready_with_the_first_that_comes(
    acme: Tenant, http_switch: Switch
) -> None:
    recording = recording_of(acme, http_switch, segments=2, ended=timezone.now() - timedelta(minutes=61))
    completion.sweep(timezone.now())
    both = "The files of segments 1, 2 are missing: the switch did not deliver them in time."
    assert state(recording) == (FAILED, both)
    deliver(http_switch, recording, FILE, 2)
    examine()
    assert state(recording) == (READY, MISSING)


def test_how_long_files_have_is_a_setting(acme: Tenant, http_switch: Switch, settings: Any) -> None:
    settings.RECORDING_FILE_MINUTES = 1
    recording = recording_of(acme, http_switch, ended=timezone.now() - timedelta(minutes=2))
    assert completion.sweep(timezone.now()) == 1
    assert state(recording)[0] == FAILED


# --- When things die ---------------------------------------------------------------------------------------


def test_an_examination_lost_with_its_worker_is_taken_up_again(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE)
    RecordingFile.objects.update(probe_until=timezone.now() + timedelta(seconds=1), probe_tries=1)
    assert completion.sweep(timezone.now()) == 0
    RecordingFile.objects.update(probe_until=timezone.now() - timedelta(seconds=1))
    assert completion.sweep(timezone.now()) == 1
    assert state(recording) == (READY, "")


def test_a_file_that_kills_every_worker_is_given_up(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE)
    RecordingFile.objects.update(probe_tries=5)
    examine()
    said = "The file of segment 1 is quarantined. It could not be examined in 5 attempts."
    assert state(recording) == (FAILED, said)


def test_a_store_that_is_away_is_not_the_file_s_fault(
    acme: Tenant, http_switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE)

    def away(_: object) -> None:
        raise StoreUnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(vault, "open_file", away)
        examine()
    assert state(recording) == (PROCESSING, "")
    RecordingFile.objects.update(probe_until=timezone.now())
    completion.sweep(timezone.now())
    assert state(recording) == (READY, "")


def test_a_file_that_has_left_the_store_is_told(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    file = deliver(http_switch, recording, FILE)
    vault.remove(file.storage_key)
    examine()
    said = "The file of segment 1 is quarantined. The file of this recording is no longer in the store."
    assert state(recording) == (FAILED, said)


def test_while_all_processors_are_busy_a_file_waits(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    file = deliver(http_switch, recording, FILE)
    taken = [completion._slots.acquire(blocking=False) for _ in range(probe.processors())]
    assert tasks.probe_file("acme", file.pk) == 0
    for _ in taken:
        completion._slots.release()
    assert (all(taken), completion.sweep(timezone.now())) == (True, 1)
    assert state(recording) == (READY, "")


def test_a_file_deleted_while_it_is_examined_stays_deleted(
    acme: Tenant, http_switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE)

    def examined_meanwhile(*_: object) -> probe.Probed:
        RecordingFile.objects.update(state="deleted")
        return probe.Probed(1000)

    monkeypatch.setattr(probe, "probe", examined_meanwhile)
    examine()
    assert [row.state for row in RecordingFile.objects.all()] == ["deleted"]


@pytest.mark.parametrize("left_alone", ["trashed", "deleted", "recording"])
def test_a_recording_that_is_not_waiting_is_left_alone(acme: Tenant, http_switch: Switch, left_alone: str) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE)
    Recording.objects.update(state=left_alone)
    examine()
    assert (state(recording), told()) == ((left_alone, ""), [])


# --- With its call -----------------------------------------------------------------------------------------


def test_a_file_that_came_during_the_call_makes_it_ready_at_its_end(
    acme: Tenant, http_switch: Switch, django_capture_on_commit_callbacks: Any
) -> None:
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.play(*inbound())
    recording = Recording.objects.get()
    deliver(http_switch, recording, FILE)
    examine()
    assert state(recording) == ("recording", "")
    with django_capture_on_commit_callbacks() as later:
        stage.play(over(20))
    assert state(recording) == (PROCESSING, "")
    assert later
    tasks.settle_calls("acme", [recording.session_id])
    assert state(recording) == (READY, "")
    assert CDR.objects.get().recorded


def test_a_record_written_after_its_recording_is_ready_is_marked(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE)
    examine()
    call = call_of(recording)
    completion.settle_calls(["s1"])
    call.refresh_from_db()
    assert call.recorded


def test_of_two_that_settle_at_once_one_tells(acme: Tenant, http_switch: Switch) -> None:
    recording = recording_of(acme, http_switch)
    deliver(http_switch, recording, FILE)
    examine()
    with transaction.atomic():
        completion.settle(recording.pk)
        completion.settle_calls(["s1"])
    assert [each["event_type"] for each in told()] == ["recording_ready"]
