"""What a switch delivers is taken whole, or refused with a reason; what may be somebody's is kept."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from recordings import files, trash, vault
from recordings.files import FileRefusedError
from recordings.models import Recording, RecordingFile
from tenants.changes import SYSTEM
from tenants.models import Switch, Tenant
from tests.recordings.delivered import deliver, recording_of
from tests.recordings.media import MP4, WAV, mp4, spoken

FILE = spoken(1)
OTHER = spoken(2)
KEPT = "The file is kept in quarantine."


@pytest.fixture
def recording(acme: Tenant, http_switch: Switch) -> Recording:
    return recording_of(acme, http_switch)


def refused(*arguments: Any, **more: Any) -> tuple[str, str]:
    with pytest.raises(FileRefusedError) as caught:
        deliver(*arguments, **more)
    return caught.value.code, caught.value.message


def rows() -> list[tuple[str, int | None, int, str]]:
    """Of the schema the connection is in."""
    found = RecordingFile.objects.select_related("segment").order_by("received_at")
    return [(row.state, row.segment and row.segment.number, row.size, row.problem) for row in found]


def in_store(media_root: Path) -> int:
    return sum(1 for path in media_root.rglob("*") if path.is_file())


# --- Taken -------------------------------------------------------------------------------------------------


def test_a_file_is_stored_and_examined_later(
    http_switch: Switch, recording: Recording, media_root: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as later:
        file = deliver(http_switch, recording, FILE, size=len(FILE), sha256=hashlib.sha256(FILE).digest())
    assert rows() == [("stored", 1, len(FILE), "")]
    assert b"".join(vault.read(file)) == FILE
    assert (file.sha256, file.content_type) == (hashlib.sha256(FILE).hexdigest(), WAV)
    assert (len(later), in_store(media_root)) == (1, 1)
    assert connection.schema_name == "acme"


def test_the_same_file_twice_is_one_file(http_switch: Switch, recording: Recording, media_root: Path) -> None:
    first, second = deliver(http_switch, recording, FILE), deliver(http_switch, recording, FILE)
    assert first.pk == second.pk
    assert (rows(), in_store(media_root)) == ([("stored", 1, len(FILE), "")], 1)


def test_it_is_delivered_from_any_schema(globex: Tenant, http_switch: Switch, recording: Recording) -> None:
    connection.set_tenant(globex)
    deliver(http_switch, recording, FILE)
    assert (connection.schema_name, rows()) == ("globex", [])
    connection.set_schema("acme")
    assert rows() == [("stored", 1, len(FILE), "")]


@pytest.mark.parametrize("content_type", ["audio/x-wav", "Audio/WAV; codecs=1", "audio/wave"])
def test_other_names_of_wav_are_known(http_switch: Switch, recording: Recording, content_type: str) -> None:
    assert deliver(http_switch, recording, FILE, content_type=content_type).content_type == WAV


def test_a_better_file_takes_the_place_of_a_bad_one(http_switch: Switch, recording: Recording) -> None:
    refused(http_switch, recording, b"PK\x03\x04" + bytes(100))
    deliver(http_switch, recording, FILE)
    bad = "It was announced as a WAV file, but it is a ZIP archive."
    assert rows() == [("quarantined", None, 104, bad), ("stored", 1, len(FILE), "")]


# --- Refused, and kept -------------------------------------------------------------------------------------


def test_another_file_of_a_segment_is_a_conflict_and_kept(
    http_switch: Switch, recording: Recording, media_root: Path
) -> None:
    deliver(http_switch, recording, FILE)
    said = ("conflict", f"Segment 1 has another file, which came before. {KEPT}")
    assert refused(http_switch, recording, OTHER) == said
    assert refused(http_switch, recording, OTHER) == said
    assert rows() == [("stored", 1, len(FILE), ""), ("quarantined", None, len(OTHER), said[1])]
    assert in_store(media_root) == 2


def test_a_mislabelled_file_is_kept_at_its_segment(http_switch: Switch, recording: Recording) -> None:
    said = "It was announced as a WAV file, but it is an MP4 file."
    answer = refused(http_switch, recording, mp4(0.2))
    assert answer == ("mislabelled", f"{said} It is kept in quarantine.")
    assert [(state, segment, problem) for state, segment, _, problem in rows()] == [("quarantined", 1, said)]


def test_a_picture_of_a_recorded_sound_is_kept_beside(http_switch: Switch, recording: Recording) -> None:
    said = f"This is a recording of audio, not video/mp4. {KEPT}"
    assert refused(http_switch, recording, mp4(0.2), content_type=MP4) == ("wrong_medium", said)
    assert [(state, segment) for state, segment, _, _ in rows()] == [("quarantined", None)]


def test_a_segment_that_never_was_is_kept_beside(http_switch: Switch, recording: Recording) -> None:
    said = f"This recording has no segment 7. {KEPT}"
    assert refused(http_switch, recording, FILE, 7) == ("unknown_segment", said)
    assert rows() == [("quarantined", None, len(FILE), said)]


def test_a_file_of_no_recording_is_kept_in_the_public_schema(
    http_switch: Switch, recording: Recording, media_root: Path
) -> None:
    said = f"This switch was told of no recording 4711. {KEPT}"
    assert refused(http_switch, "4711", FILE) == ("unknown_recording", said)
    assert refused(http_switch, "4711", FILE) == ("unknown_recording", said)
    assert rows() == []
    connection.set_schema_to_public()
    assert rows() == [("quarantined", None, len(FILE), said)]
    assert in_store(media_root) == 1


def test_another_switch_s_recording_is_no_recording(http_switch: Switch, recording: Recording) -> None:
    stranger = Switch.objects.create(name="Stranger", kind=Switch.Kind.HTTP)
    said = f"This switch was told of no recording {recording.pk}. {KEPT}"
    assert refused(stranger, recording, FILE) == ("unknown_recording", said)
    assert rows() == []


@pytest.mark.parametrize("recording_id", ["", "²", "-1", "0", "9" * 60, "x\x00y", "../../etc", "7 OR 1=1"])
def test_no_id_is_too_odd_to_be_refused(http_switch: Switch, recording: Recording, recording_id: str) -> None:
    assert refused(http_switch, recording_id, FILE)[0] == "unknown_recording"


def test_the_quarantine_has_an_end(http_switch: Switch, recording: Recording, settings: Any, media_root: Path) -> None:
    settings.RECORDING_QUARANTINE_MAX = len(FILE)
    refused(http_switch, "4711", FILE)
    said = "It belongs to no segment, and the quarantine of such files is full. Nothing was kept."
    assert refused(http_switch, "4711", OTHER) == ("quarantine_full", said)
    assert in_store(media_root) == 1
    deliver(http_switch, recording, FILE)


def test_bad_files_that_replace_each_other_do_not_fill_the_disk(
    http_switch: Switch, recording: Recording, settings: Any, media_root: Path
) -> None:
    settings.RECORDING_QUARANTINE_MAX = 250
    answers = [refused(http_switch, recording, b"PK\x03\x04" + bytes([number]) * 100) for number in range(5)]
    assert [code for code, _ in answers] == ["mislabelled"] * 4 + ["quarantine_full"]
    assert in_store(media_root) == 4


# --- Refused, and nothing left -----------------------------------------------------------------------------


def test_what_is_broken_on_its_way_leaves_nothing(
    http_switch: Switch, recording: Recording, settings: Any, media_root: Path
) -> None:
    settings.RECORDING_FILE_MAX = 20_000
    again = "Nothing was kept: send it again."
    size = len(FILE)
    given = {
        "cut off": {"size": size + 1},
        "digest": {"sha256": bytes(32)},
        "one digest of two": {"sha256": hashlib.sha256(FILE).digest(), "md5": bytes(16)},
        "announced too large": {"size": 20_001},
        "announced empty": {"size": 0},
        "type": {"content_type": "text/html"},
        "no type": {"content_type": ""},
    }
    assert {name: refused(http_switch, recording, FILE, **more) for name, more in given.items()} == {
        "cut off": ("cut_off", f"{size + 1} bytes were announced, {size} came. {again}"),
        "digest": ("digest_mismatch", f"What came does not have the announced sha256. {again}"),
        "one digest of two": ("digest_mismatch", f"What came does not have the announced md5. {again}"),
        "announced too large": ("too_large", "A file may have at most 20000 bytes."),
        "announced empty": ("empty_file", "The file is empty."),
        "type": ("wrong_type", "The Content-Type must be audio/wav or video/mp4."),
        "no type": ("wrong_type", "The Content-Type must be audio/wav or video/mp4."),
    }
    assert refused(http_switch, recording, OTHER) == ("too_large", "A file may have at most 20000 bytes.")
    assert refused(http_switch, recording, b"") == ("empty_file", "The file is empty.")
    assert (rows(), in_store(media_root)) == ([], 0)


def test_a_full_disk_is_said_and_nothing_half_stays(
    http_switch: Switch, recording: Recording, monkeypatch: pytest.MonkeyPatch, media_root: Path
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = "The store of the recordings is full. Nothing was kept: send it again."
    assert refused(http_switch, recording, FILE) == ("store_full", said)
    assert (rows(), in_store(media_root)) == ([], 0)


def test_a_database_that_fails_at_the_end_leaves_no_bytes(
    http_switch: Switch, recording: Recording, monkeypatch: pytest.MonkeyPatch, media_root: Path
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the worker is being killed")

    monkeypatch.setattr(files, "_attach", broken)
    with pytest.raises(RuntimeError), transaction.atomic():
        deliver(http_switch, recording, FILE)
    assert (rows(), in_store(media_root)) == ([], 0)


def test_a_deleted_recording_wants_no_files(http_switch: Switch, recording: Recording, media_root: Path) -> None:
    Recording.objects.update(state=Recording.State.DELETED)
    said = "This recording was deleted. Its files are not wanted any more."
    assert refused(http_switch, recording, FILE) == ("recording_deleted", said)
    assert (rows(), in_store(media_root)) == ([], 0)


def test_a_tenant_that_goes_wants_no_files(acme: Tenant, http_switch: Switch, recording: Recording) -> None:
    Tenant.objects.filter(pk=acme.pk).update(state=Tenant.State.DELETING)
    said = "The tenant of this recording is being deleted."
    assert refused(http_switch, recording, FILE) == ("recording_deleted", said)


# --- Later -------------------------------------------------------------------------------------------------


def test_a_file_finds_its_place_when_its_recording_is_known_again(
    acme: Tenant, http_switch: Switch, recording: Recording, media_root: Path
) -> None:
    refused(http_switch, "4711", FILE)
    connection.set_schema_to_public()
    stray = RecordingFile.objects.get()
    with pytest.raises(FileRefusedError, match="This switch was told of no recording 4711"):
        files.place(http_switch, stray)
    RecordingFile.objects.update(said_recording_id=str(recording.pk))
    stray.refresh_from_db()
    files.place(http_switch, stray)
    assert [state for state, *_ in rows()] == ["deleted"]
    connection.set_tenant(acme)
    assert (rows(), in_store(media_root)) == ([("stored", 1, len(FILE), "")], 1)


def test_a_file_that_finds_its_place_taken_goes_to_its_tenant_s_quarantine(
    acme: Tenant, http_switch: Switch, recording: Recording, media_root: Path
) -> None:
    deliver(http_switch, recording, FILE)
    refused(http_switch, "4711", OTHER)
    connection.set_schema_to_public()
    RecordingFile.objects.update(said_recording_id=str(recording.pk))
    files.place(http_switch, RecordingFile.objects.get())
    assert [state for state, *_ in rows()] == ["deleted"]
    connection.set_tenant(acme)
    said = f"Segment 1 has another file, which came before. {KEPT}"
    assert rows() == [("stored", 1, len(FILE), ""), ("quarantined", None, len(OTHER), said)]
    assert in_store(media_root) == 2


def test_what_lies_beside_a_recording_goes_with_it(http_switch: Switch, recording: Recording, media_root: Path) -> None:
    deliver(http_switch, recording, FILE)
    refused(http_switch, recording, OTHER)
    Recording.objects.update(state=Recording.State.TRASHED)
    trash.delete_now(SYSTEM, recording)
    assert [state for state, *_ in rows()] == ["deleted", "deleted"]
    assert in_store(media_root) == 0
