"""A tenant that is exported takes its recordings along; one that is deleted leaves none behind."""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.founding import build_tenant, found_tenant
from recordings import holds
from recordings.models import RecordingFile
from tenants import export, lifecycle
from tenants.changes import Actor
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import enter_public, in_schema
from tests.recordings.kept import files_in_store, make_file, make_recording

ROOT = Actor(kind="user", name="root")


@pytest.fixture
def initech(tenants: None, settings: Any, tmp_path: Path) -> Iterator[Tenant]:
    settings.VAR_DIR, settings.RECORDING_ENCRYPTION = tmp_path, True
    tenant, _ = found_tenant(ROOT, {"name": "Initech", "host": "initech", "sip_domain": "initech.test"})
    build_tenant(tenant, "root", "!")
    tenant.refresh_from_db()
    yield tenant
    enter_public()


def exported(tenant: Tenant, *, with_recordings: bool) -> Path:
    made = export.request_export(ROOT, tenant, with_recordings=with_recordings)
    export.run_export(made)
    made.refresh_from_db()
    assert (made.state, made.progress) == ("done", "")
    return export.path_of(made)


def test_an_export_holds_the_files_in_the_clear_when_asked_for(initech: Tenant, media_root: Path) -> None:
    with in_schema(initech.schema_name):
        whole = make_recording(files=2)
        broken = make_recording()
        lost = make_file(b"nobody knows it", state="quarantined", content_type="text/plain")
        file = RecordingFile.objects.get(segment__recording=broken)
        (media_root / file.storage_key).unlink()
    with zipfile.ZipFile(exported(initech, with_recordings=False)) as archive:
        assert not [name for name in archive.namelist() if name.startswith("recordings/")]
        (row,) = [
            json.loads(line)
            for line in archive.read("recordings_recordingfile.ndjson").splitlines()
            if json.loads(line)["id"] == str(lost.pk)
        ]
        assert "wrapped_key" not in row
        assert "recordings_tenantkey.ndjson" not in archive.namelist()
    with zipfile.ZipFile(exported(initech, with_recordings=True)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name.startswith("recordings/")}
    assert files == {
        f"recordings/{whole.pk}/001.wav": b"\1" * 500,
        f"recordings/{whole.pk}/002.wav": b"\1" * 500,
        f"recordings/quarantined/{lost.pk}.bin": b"nobody knows it",
        "recordings/unreadable.txt": (
            f"recordings/{broken.pk}/001.wav: The file of this recording is no longer in the store.\n"
        ).encode(),
    }
    assert row["sha256"] == hashlib.sha256(b"nobody knows it").hexdigest()


def test_a_deleted_tenant_leaves_no_file(initech: Tenant) -> None:
    with in_schema("acme"):
        make_recording()
    with in_schema(initech.schema_name):
        make_recording(files=3)
        make_file(b"quarantined", state="quarantined")
        assert files_in_store() == 4
    with connection.cursor() as cursor:  # what a commit would do before the tables go
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    lifecycle.request_deletion(ROOT, initech, typed_host="initech", without_export=True)
    lifecycle.drop(initech)
    assert not Tenant.objects.filter(host="initech").exists()
    with in_schema("t_initech"):
        assert files_in_store() == 0
    with in_schema("acme"):
        assert files_in_store() == 1


def test_a_legal_hold_beats_the_deletion_of_its_tenant(initech: Tenant) -> None:
    with in_schema(initech.schema_name):
        row = make_recording()
        holds.place_hold(ROOT, row, "Case 12")
    with pytest.raises(RefusedError) as refused:
        lifecycle.request_deletion(ROOT, initech, typed_host="initech", without_export=True)
    assert (refused.value.code, refused.value.message[:47]) == (
        "legal_hold", "1 of its recordings is under a legal hold. Its ",
    )  # fmt: skip
    initech.refresh_from_db()
    assert initech.state == "active"
    with in_schema(initech.schema_name):
        holds.release_hold(ROOT, row, "Closed")
    lifecycle.request_deletion(ROOT, initech, typed_host="initech", without_export=True)
    initech.refresh_from_db()
    assert initech.state == "deleting"
