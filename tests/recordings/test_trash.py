"""What is deleted waits a week, comes back whole, or goes for good and leaves its tombstone; a legal hold beats all."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import AuditEntry
from cdr.models import CDR
from events.models import Event
from recordings import completion, tasks, trash, vault
from recordings.errors import StoreUnavailableError
from recordings.holds import held, place_hold, release_hold
from recordings.models import Gap, Play, Recording, RecordingFile
from tenants.changes import Actor
from tenants.errors import RefusedError
from tenants.models import Tenant
from tests.recordings.kept import files_in_store, make_cdr, make_recording

ADMIN = Actor(kind="user", name="admin", id="1", address="10.0.0.1")


@pytest.fixture
def recording(acme: Tenant) -> Recording:
    make_cdr("a-call", recorded=True)
    return make_recording(session_id="a-call", files=2)


def code_of(verb: Any, *args: Any) -> str:
    with pytest.raises(RefusedError) as refused:
        verb(*args)
    return refused.value.code


def audit() -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    rows = AuditEntry.objects.order_by("id")
    return [(row.action, row.actor, row.before, row.after) for row in rows]


def recorded() -> bool:
    return CDR.objects.get(session_id="a-call").recorded


def test_the_trash_takes_a_recording_and_gives_it_back(recording: Recording) -> None:
    trashed = trash.trash(ADMIN, recording)
    assert (trashed.state, trashed.deletion) == ("trashed", "Deleted by admin.")
    assert (recorded(), files_in_store()) == (False, 2)
    assert trash.trash(ADMIN, recording).trashed_at == trashed.trashed_at  # once more changes nothing
    restored = trash.restore(ADMIN, recording)
    assert (restored.state, restored.trashed_at, restored.deletion) == ("ready", None, "")
    assert recorded() is True
    assert code_of(trash.restore, ADMIN, recording) == "not_in_trash"
    assert audit() == [("recording.trashed", "admin", {}, {}), ("recording.restored", "admin", {}, {})]
    assert Event.objects.count() == 0


def test_what_had_failed_comes_back_as_failed(acme: Tenant) -> None:
    failed = make_recording(state=Recording.State.FAILED, ready_at=None)
    trash.trash(ADMIN, failed)
    assert trash.restore(ADMIN, failed).state == "failed"


@pytest.mark.django_db(transaction=True)
def test_a_file_that_came_while_it_was_in_the_trash_counts_when_it_is_back(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(tasks.settle_calls, "delay", lambda schema, ids: asked.append((schema, ids)))
    failed = make_recording(session_id="a-call", state=Recording.State.FAILED, ready_at=None)
    trash.trash(ADMIN, failed)
    assert asked == []
    trash.restore(ADMIN, failed)
    assert asked == [("acme", ["a-call"])]
    completion.settle_calls(["a-call"])
    failed.refresh_from_db()
    assert failed.state == "ready"


def test_a_call_stays_recorded_while_its_other_medium_can_be_played(recording: Recording) -> None:
    make_recording(session_id="a-call", medium="video")
    trash.trash(ADMIN, recording)
    assert recorded() is True


def test_deleting_for_good_leaves_a_tombstone(recording: Recording) -> None:
    Gap.objects.create(recording=recording, medium="audio", since=timezone.now(), reason=Gap.Reason.PAUSED)
    Play.objects.create(recording_id=recording.pk, session_id="a-call", kind="play", actor_kind="user", actor="bob")
    file = RecordingFile.objects.filter(segment__recording=recording).first()
    assert file is not None
    assert code_of(trash.delete_now, ADMIN, recording) == "not_in_trash"
    trash.trash(ADMIN, recording)
    gone = trash.delete_now(ADMIN, recording)
    assert (gone.state, gone.deletion) == ("deleted", "Deleted by admin. Deleted for good by admin.")
    assert gone.deleted_at is not None
    assert (files_in_store(), recorded()) == (0, False)
    kept = [
        (row.state, bytes(row.wrapped_key), bytes(row.peaks), row.size, row.sha256)
        for row in RecordingFile.objects.all()
    ]
    assert kept == [("deleted", b"", b"", 500, file.sha256)] * 2
    assert (gone.segments.count(), gone.gaps.count(), Play.objects.count()) == (2, 1, 1)
    body = json.loads(Event.objects.get().body)
    assert {name: body[name] for name in ("event_type", "session_id", "recording_id", "medium", "actor", "reason")} == {
        "event_type": "recording_deleted", "session_id": "a-call", "recording_id": str(recording.pk),
        "medium": "audio", "actor": "admin", "reason": "Deleted by admin. Deleted for good by admin.",
    }  # fmt: skip
    assert body["cdr_id"] == str(CDR.objects.get().pk)
    assert audit()[1:] == [("recording.deleted", "admin", {"bytes": 1000}, {})]
    assert trash.delete_now(ADMIN, recording).deleted_at == gone.deleted_at
    assert code_of(trash.restore, ADMIN, recording) == "not_in_trash"
    assert code_of(trash.trash, ADMIN, recording) == "deleted"
    assert code_of(place_hold, ADMIN, recording, "court") == "deleted"


def test_a_copy_of_a_deleted_file_cannot_be_read(recording: Recording, settings: Any) -> None:
    settings.RECORDING_ENCRYPTION = True
    row = make_recording()
    file = RecordingFile.objects.get(segment__recording=row)
    path = Path(settings.MEDIA_ROOT, file.storage_key)
    copy = path.read_bytes()
    assert b"\1" * 100 not in copy
    trash.trash(ADMIN, row)
    trash.delete_now(ADMIN, row)
    path.write_bytes(copy)
    file.refresh_from_db()
    assert bytes(file.wrapped_key) == b""
    assert b"\1" * 100 not in b"".join(vault.read(file))


@pytest.mark.parametrize(
    ("state", "ended", "code"),
    [
        ("recording", False, "still_recording"), ("failed", False, "still_recording"),
        ("processing", True, "still_processing"),
    ],
)  # fmt: skip
def test_what_is_not_finished_is_not_deleted(acme: Tenant, state: str, ended: bool, code: str) -> None:
    row = make_recording(state=state)
    if not ended:
        Recording.objects.update(ended_at=None)
    assert code_of(trash.trash, ADMIN, row) == code
    row.refresh_from_db()
    assert row.state == state


def test_what_is_past_its_days_does_not_come_back(acme: Tenant) -> None:
    old = make_recording(at=timezone.now() - timedelta(days=181))
    trash.trash(ADMIN, old)
    assert code_of(trash.restore, ADMIN, old) == "past_retention"
    assert place_hold(ADMIN, old, "Case 12").state == "ready"  # a hold brings it back


def test_a_hold_beats_deletion(recording: Recording) -> None:
    place_hold(ADMIN, recording, "Case 12")
    with pytest.raises(trash.HeldError) as refused:
        trash.trash(ADMIN, recording)
    assert (refused.value.code, refused.value.message) == (
        "legal_hold", "A legal hold keeps this recording: Case 12",
    )  # fmt: skip
    assert code_of(place_hold, ADMIN, recording, "again") == "held_already"
    assert [row.pk for row in held()] == [recording.pk]
    release_hold(ADMIN, recording, "Case closed")
    assert code_of(release_hold, ADMIN, recording, "again") == "not_held"
    assert (trash.trash(ADMIN, recording).state, held().count()) == ("trashed", 0)
    assert audit() == [
        ("recording.hold_placed", "admin", {}, {"reason": "Case 12"}),
        ("recording.hold_released", "admin", {"reason": "Case 12"}, {"reason": "Case closed"}),
        ("recording.trashed", "admin", {}, {}),
    ]


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", 5, None, "x" * 301])
def test_a_hold_needs_a_reason(recording: Recording, reason: object) -> None:
    with pytest.raises(ValidationError):
        place_hold(ADMIN, recording, reason)
    recording.refresh_from_db()
    assert recording.legal_hold is False


def test_the_trash_is_emptied_after_a_week_but_not_of_what_is_held(acme: Tenant) -> None:
    now = timezone.now()
    due, fresh, held_one = (make_recording() for _ in range(3))
    for row, days in ((due, 8), (fresh, 6), (held_one, 8)):
        trash.put_in_trash([row], now - timedelta(days=days), "Older than the 180 days that recordings are kept.")
    Recording.objects.filter(pk=held_one.pk).update(legal_hold=True)  # as a race would leave it
    assert trash.purge_older(now, 100) == 1
    assert sorted(Recording.objects.values_list("pk", "state")) == sorted(
        [(due.pk, "deleted"), (fresh.pk, "trashed"), (held_one.pk, "trashed")]
    )
    due.refresh_from_db()
    assert due.deletion == (
        "Older than the 180 days that recordings are kept. Gone for good after 7 days in the trash."
    )
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.actor, entry.subject, entry.after["bytes"]) == (
        "recordings.deleted", "Voxledger", "1 recording", 1000,
    )  # fmt: skip
    assert trash.purge_older(now, 100) == 0


def test_a_store_that_is_away_keeps_the_recording_in_the_trash(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_recording()
    trash.put_in_trash([recording, other], timezone.now() - timedelta(days=8), "x")
    whole = vault.remove
    broken = RecordingFile.objects.filter(segment__recording=recording).values_list("storage_key", flat=True)[0]

    def remove(storage_key: str) -> None:
        if storage_key == broken:
            raise StoreUnavailableError
        whole(storage_key)

    monkeypatch.setattr(vault, "remove", remove)
    assert trash.purge_older(timezone.now(), 100) == 1
    assert code_of(trash.delete_now, ADMIN, recording) == "store_unavailable"
    recording.refresh_from_db()
    assert (recording.state, broken in [each.storage_key for each in vault.found()]) == ("trashed", True)
    monkeypatch.setattr(vault, "remove", whole)
    assert trash.purge_older(timezone.now(), 100) == 1
    assert files_in_store() == 0
