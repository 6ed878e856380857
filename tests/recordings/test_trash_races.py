"""Restoring while it is deleted for good, and a store that goes away in the middle: whole, or gone, never half."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from recordings import trash, vault
from recordings.errors import StoreUnavailableError
from recordings.models import Recording, RecordingFile
from recordings.tasks import keep_house_of
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.recordings.kept import files_in_store, make_file
from tests.recordings.people import program
from tests.recordings.played import content_of, make_ready

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 60  # seconds, for a slow machine; what is waited for comes at once on any other


@pytest.fixture
def recording(acme: Tenant) -> Recording:
    """Two files, in the trash for more than its week."""
    row = make_ready(1.0, 1.0, at=timezone.now() - timedelta(days=9))
    trash.put_in_trash([row], timezone.now() - timedelta(days=trash.DAYS_IN_TRASH + 1), "Deleted by admin.")
    return row


@pytest.fixture
def admin(acme: Tenant) -> Client:
    return program()


@pytest.fixture
def aside() -> Iterator[Callable[..., "Future[Any]"]]:
    """Runs something in a thread of its own, in acme's schema."""
    with ThreadPoolExecutor(4) as pool:

        def run(work: Callable[[], Any]) -> Any:
            try:
                connection.set_tenant(Tenant.objects.get(schema_name="acme"))  # type: ignore[attr-defined]
                return work()
            finally:
                connection.close()

        yield lambda work: pool.submit(run, work)


def restore(client: Client, recording: Recording) -> tuple[int, str]:
    answer = client.post(f"/api/v1/trash/{recording.pk}/restore")
    body = answer.json()
    return answer.status_code, body["error"]["code"] if "error" in body else body["state"]


def wait_for_a_lock() -> None:
    """Until a session of this database waits for a row that another one holds."""
    for _ in range(PATIENCE * 50):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0]:
                return
        Event().wait(0.02)
    raise AssertionError("Nobody waits for anybody.")


def test_a_restore_during_the_deletion_comes_too_late(
    recording: Recording, admin: Client, aside: Callable[..., "Future[Any]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    deleting, may_go_on = Event(), Event()
    whole = vault.remove

    def slow(storage_key: str) -> None:
        deleting.set()
        assert may_go_on.wait(PATIENCE)
        whole(storage_key)

    monkeypatch.setattr(vault, "remove", slow)
    purging = aside(lambda: keep_house_of("acme"))
    assert deleting.wait(PATIENCE)
    restoring = aside(lambda: restore(admin, recording))
    wait_for_a_lock()
    may_go_on.set()
    purging.result(PATIENCE)
    assert restoring.result(PATIENCE) == (409, "not_in_trash")
    recording.refresh_from_db()
    assert (recording.state, files_in_store()) == ("deleted", 0)
    assert set(RecordingFile.objects.values_list("state", flat=True)) == {"deleted"}


def test_a_restore_that_is_first_keeps_everything(
    recording: Recording, admin: Client, aside: Callable[..., "Future[Any]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring, may_go_on = Event(), Event()
    whole = trash.take_out

    def slow(row: Recording) -> None:
        restoring.set()
        assert may_go_on.wait(PATIENCE)
        whole(row)

    monkeypatch.setattr(trash, "take_out", slow)
    coming_back = aside(lambda: restore(admin, recording))
    assert restoring.wait(PATIENCE)
    purging = aside(lambda: keep_house_of("acme"))
    wait_for_a_lock()
    may_go_on.set()
    assert coming_back.result(PATIENCE) == (200, "ready")
    purging.result(PATIENCE)
    recording.refresh_from_db()
    assert (recording.state, recording.deletion, files_in_store()) == ("ready", "", 2)
    played = admin.get(f"/api/v1/recordings/{recording.pk}/file")
    assert b"".join(played) == content_of(recording)


def test_a_deletion_that_was_cut_short_cannot_be_taken_back_and_is_ended_later(
    recording: Recording, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, gone = vault.remove, list[str]()

    def broken(storage_key: str) -> None:
        if gone:
            raise StoreUnavailableError
        gone.append(storage_key)
        whole(storage_key)

    monkeypatch.setattr(vault, "remove", broken)
    keep_house_of("acme")
    recording.refresh_from_db()
    assert (recording.state, files_in_store()) == ("trashed", 1)  # half of it is in the store
    assert restore(admin, recording) == (409, "being_deleted")
    held = admin.post(f"/api/v1/recordings/{recording.pk}/hold", {"reason": "Case 12"}, content_type="application/json")
    assert (held.status_code, held.json()["error"]["code"]) == (409, "being_deleted")
    monkeypatch.setattr(vault, "remove", whole)
    keep_house_of("acme")
    recording.refresh_from_db()
    assert (recording.state, recording.deletion, files_in_store()) == (
        "deleted", "Deleted by admin. Gone for good after 7 days in the trash.", 0,
    )  # fmt: skip


def test_what_a_person_deletes_for_good_is_ended_once_the_store_is_back(
    acme: Tenant, admin: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.RECORDING_ENCRYPTION = True
    row = make_ready(1.0, 1.0)
    make_file(b"beside it", state=RecordingFile.State.QUARANTINED, said_recording_id=str(row.pk))
    make_file(b"joined", joined_of=row)
    other = make_ready(1.0)
    trash.put_in_trash([row], timezone.now(), "Deleted by admin.")
    whole = vault.remove

    def away(storage_key: str) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(vault, "remove", away)
    refused = admin.delete(f"/api/v1/trash/{row.pk}")
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        {
            "code": "store_unavailable", "details": {},
            "message": "The store of the recordings does not answer."
            " It is being deleted for good as soon as the store allows it.",
        },
    )  # fmt: skip
    with in_schema("acme"):  # nobody can read them any more, though all of them are still there
        without_key = RecordingFile.objects.filter(wrapped_key=b"", peaks=b"", state="deleted")
        assert (without_key.count(), files_in_store()) == (4, 5)
        assert b"".join(vault.read(other.segments.get().file)) == content_of(other)
    monkeypatch.setattr(vault, "remove", whole)
    keep_house_of("acme")
    row.refresh_from_db()
    assert (row.state, row.deletion, files_in_store()) == ("deleted", "Deleted by admin. Deleted for good by t.", 1)
