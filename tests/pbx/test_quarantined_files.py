"""A file of no known recording waits on the Quarantine page, beside what else a switch sent in vain."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User
from accounts.roles import Role
from pbx import quarantine
from pbx.models import Quarantined
from pbx.tasks import prune_quarantine
from recordings import vault
from recordings.errors import StoreUnavailableError
from recordings.files import FileRefusedError
from recordings.models import Recording, RecordingFile
from tenants.models import Switch, Tenant
from tests.recordings.delivered import deliver, recording_of
from tests.recordings.media import spoken

FILE = spoken(0.5)
SAID = "This switch was told of no recording 4711. The file is kept in quarantine."


@pytest.fixture(autouse=True)
def media_root(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "recordings"
    return tmp_path / "recordings"


@pytest.fixture
def desk(tenants: None) -> Client:
    client = Client(headers={"host": "portal.test"})
    client.force_login(User.objects.create_user("root", "correct horse", role=Role.SYSTEM))
    return client


@pytest.fixture
def stray(tenants: None, http_switch: Switch) -> RecordingFile:
    for _ in range(2):
        with pytest.raises(FileRefusedError):
            deliver(http_switch, "4711", FILE)
    connection.set_schema_to_public()
    return RecordingFile.objects.get()


def waiting() -> list[tuple[str, str, str]]:
    connection.set_schema_to_public()
    return [(row.kind, row.code, row.message) for row in quarantine.waiting()]


def lying_in(media_root: Path) -> int:
    return sum(path.is_file() for path in media_root.rglob("*"))


def test_it_waits_once_and_is_told_in_words(desk: Client, stray: RecordingFile) -> None:
    assert waiting() == [("file", "unknown_recording", SAID)]
    row = Quarantined.objects.get()
    assert json.loads(bytes(row.raw)) == {
        "file_id": str(stray.pk), "recording_id": "4711", "segment": 1, "content_type": "audio/wav",
        "size": len(FILE), "sha256": stray.sha256,
    }  # fmt: skip
    assert SAID in desk.get("/quarantine").content.decode()
    page = desk.get(f"/quarantine/{row.pk}").content.decode()
    assert "Recording file from Test switch" in page
    assert "Its switch was never told to make this recording" in page


def test_it_is_run_again_in_vain_while_nobody_knows_it(desk: Client, stray: RecordingFile) -> None:
    desk.post("/quarantine/rerun", {"code": "unknown_recording"})
    assert waiting() == [("file", "unknown_recording", SAID.replace(" The file is kept in quarantine.", ""))]


def test_it_is_run_again_once_its_recording_is_known(
    desk: Client, stray: RecordingFile, acme: Tenant, http_switch: Switch, media_root: Path
) -> None:
    recording = recording_of(acme, http_switch)
    connection.set_schema_to_public()
    RecordingFile.objects.update(said_recording_id=str(recording.pk))
    desk.post("/quarantine/rerun", {"code": "unknown_recording"})
    assert (waiting(), Quarantined.objects.get().state) == ([], "applied")
    connection.set_tenant(acme)
    assert [(row.state, row.size) for row in RecordingFile.objects.all()] == [("stored", len(FILE))]
    assert (lying_in(media_root), Recording.objects.get().state) == (1, "processing")


def test_discarded_its_bytes_stay_a_month(desk: Client, stray: RecordingFile, media_root: Path) -> None:
    desk.post("/quarantine/discard", {"code": "unknown_recording"})
    quarantine.prune()
    assert (waiting(), lying_in(media_root)) == ([], 1)
    Quarantined.objects.update(settled_at=timezone.now() - timedelta(days=31))
    quarantine.prune()
    assert (Quarantined.objects.count(), lying_in(media_root)) == (0, 0)
    assert [row.state for row in RecordingFile.objects.all()] == ["deleted"]


def test_what_nobody_claims_is_deleted_after_its_days(
    desk: Client, stray: RecordingFile, media_root: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RECORDING_QUARANTINE_DAYS = 10
    Quarantined.objects.update(received_at=timezone.now() - timedelta(days=9))
    prune_quarantine()
    assert (len(waiting()), lying_in(media_root)) == (1, 1)
    Quarantined.objects.update(received_at=timezone.now() - timedelta(days=10))
    with monkeypatch.context() as patched:
        patched.setattr(vault, "remove", _away)
        prune_quarantine()
    assert (len(waiting()), lying_in(media_root)) == (1, 1)
    prune_quarantine()
    assert (waiting(), lying_in(media_root)) == ([], 0)
    assert (Quarantined.objects.get().state, RecordingFile.objects.get().state) == ("discarded", "deleted")
    (entry,) = AuditEntry.objects.filter(action="quarantine.discarded")
    assert (entry.subject, entry.after) == ("1 file of no recording", {"why": "They waited for 10 days."})


def _away(storage_key: str) -> None:
    raise StoreUnavailableError


def test_a_file_that_is_gone_is_said(desk: Client, stray: RecordingFile) -> None:
    RecordingFile.objects.update(state=RecordingFile.State.DELETED)
    desk.post("/quarantine/rerun", {"code": "unknown_recording"})
    assert waiting() == [("file", "file_gone", "The file is no longer in the store.")]


def test_a_tenant_s_own_people_do_not_see_it(acme_client: Client, acme: Tenant, stray: RecordingFile) -> None:
    connection.set_tenant(acme)
    acme_client.force_login(User.objects.create_user("admin", "correct horse", role=Role.ADMIN))
    assert acme_client.get("/quarantine").status_code == 404
