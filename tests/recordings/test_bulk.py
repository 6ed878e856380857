"""Several recordings in one ZIP: ordered, made, taken away, checked without the portal, and gone again."""

import csv
import hashlib
import io
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.roles import Role
from recordings import bulk, trash, vault
from recordings.models import Bulk, Play, Recording, RecordingFile
from recordings.tasks import make_bulk, tend_bulks_of
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.recordings.people import browser
from tests.recordings.played import content_of, make_ready, pause

pytestmark = pytest.mark.django_db
LIST = "/call-statistics/recordings"


@pytest.fixture(autouse=True)
def sent_off(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What would go to the worker."""
    sent: list[int] = []
    monkeypatch.setattr(bulk, "_send_off", sent.append)
    return sent


@pytest.fixture
def admin(acme: Tenant) -> Client:
    return browser()


def order(asker: Client, *recordings: Recording, **more: Any) -> Any:
    return asker.post(f"{LIST}/download", {"recording": [each.pk for each in recordings], **more})


def made(asker: Client, *recordings: Recording) -> Bulk:
    order(asker, *recordings)
    found = Bulk.objects.get()
    make_bulk("acme", found.pk)
    found.refresh_from_db()
    return found


def taken(asker: Client, found: Bulk, **headers: str) -> Any:
    return asker.get(f"{LIST}/zip/{found.pk}/file", headers=headers)


def unpacked(content: bytes) -> tuple[zipfile.ZipFile, list[dict[str, str]]]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    return archive, list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode(), newline="")))


def test_zip_from_the_list_to_the_disk(
    admin: Client, acme: Tenant, sent_off: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    first, second = make_ready(2.0, session_id="s-1"), make_ready(1.0, 0.5, session_id="s-2", caller="+491")
    pause(first, 0.5, 1)
    with django_capture_on_commit_callbacks(execute=True):
        answer = order(admin, first, second)
    found = Bulk.objects.get()
    assert answer["Location"] == f"{LIST}/zip/{found.pk}"
    assert sent_off == [found.pk]
    waiting = admin.get(answer["Location"]).content.decode()
    assert "0 of 2 packed" in waiting
    assert 'hx-trigger="every 1s"' in waiting

    make_bulk("acme", found.pk)
    found.refresh_from_db()
    page = admin.get(answer["Location"]).content.decode()
    assert (found.state, found.done, found.sha256 in page) == ("ready", 2, True)
    got = taken(admin, found)
    content = b"".join(got.streaming_content)
    assert got.headers["Content-Type"] == "application/zip"
    assert got.headers["Content-Disposition"].startswith('attachment; filename="recordings_')
    assert hashlib.sha256(content).hexdigest() == found.sha256

    archive, rows = unpacked(content)
    assert archive.testzip() is None
    names = [
        f"{acme.pk}_s-2_-491_1_20230322-120000.wav".replace("_-491_", "_+491_"),
        f"{acme.pk}_s-1_1888722_1_20230322-120000.wav",
    ]
    assert sorted(archive.namelist()) == sorted([*names, "manifest.csv"])
    by_session = {row["session_id"]: row for row in rows}
    for recording in (first, second):
        row = by_session[recording.session_id]
        inside = archive.read(row["file"])
        assert inside == content_of(recording)
        assert (row["size"], row["sha256"]) == (str(len(inside)), hashlib.sha256(inside).hexdigest())
        assert (row["recording_id"], row["medium"], row["callee"], row["problem"]) == (
            str(recording.pk), "audio", "101", "",
        )  # fmt: skip
    assert by_session["s-1"]["gaps"].endswith(": Paused by 101 by feature code")
    assert by_session["s-2"]["caller"] == "+491"


def test_every_recording_in_it_is_written_down(admin: Client) -> None:
    first, second = make_ready(1.0), make_ready(2.0)
    found = made(admin, first, second)
    rows = {row.recording_id: row for row in Play.objects.all()}
    assert {key: (row.kind, row.actor, row.address, row.sent, row.bulk_id) for key, row in rows.items()} == {
        each.pk: ("bulk", "u-admin", "127.0.0.1", each.size, found.pk) for each in (first, second)
    }
    noted = AuditEntry.objects.get(action="recordings.zip_ordered")
    assert set(noted.after["recordings"]) == {str(first.pk), str(second.pk)}
    b"".join(taken(admin, found).streaming_content)
    b"".join(taken(admin, found, range="bytes=100-").streaming_content)
    assert AuditEntry.objects.filter(action="recordings.zip_downloaded").count() == 1
    assert Play.objects.count() == 2


def test_reason_is_asked_once_for_all(admin: Client, acme: Tenant) -> None:
    Tenant.objects.filter(pk=acme.pk).update(ask_play_reason=True)
    first, second = make_ready(), make_ready()
    asked = order(admin, first, second)
    assert (asked.status_code, Bulk.objects.count()) == (200, 0)
    assert b"Why do you listen" in asked.content
    assert str(first.pk).encode() in asked.content
    order(admin, first, second, reason="Complaint 17")
    make_bulk("acme", Bulk.objects.get().pk)
    assert {row.reason for row in Play.objects.all()} == {"Complaint 17"}


def test_what_cannot_be_ordered(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, failed = make_ready(), make_ready(state="failed", session_id="s-bad")
    monkeypatch.setattr(bulk, "MOST", 2)

    def said(*recordings: Recording) -> str:
        order(admin, *recordings)
        return admin.get(LIST).content.decode()

    assert "Select recordings first." in said()
    assert "There is no file of the call s-bad. Leave it out." in said(ready, failed)
    assert "A ZIP holds at most 2 recordings." in said(ready, make_ready(), make_ready())
    monkeypatch.setattr(bulk, "MOST_BYTES", 10)
    assert "A ZIP holds at most 0 GiB." in said(ready, make_ready())
    assert Bulk.objects.count() == 0
    monkeypatch.undo()
    for _ in range(bulk.MOST_AT_ONCE):
        order(admin, ready, make_ready())
    assert "Some ZIPs of yours are still being made." in said(ready, make_ready())


def test_user_takes_own_recordings_only(acme: Tenant) -> None:
    own, also_own, other = make_ready(extensions=["102"]), make_ready(extensions=["102"]), make_ready()
    order(browser(Role.USER, "102"), own, also_own, other)
    assert set(Bulk.objects.get().recording_ids) == {own.pk, also_own.pk}


def test_zip_is_its_askers_alone(admin: Client, globex: Tenant) -> None:
    found = made(admin, make_ready(), make_ready())
    other = browser(Role.QUEUE_MANAGER)
    for address in (f"{LIST}/zip/{found.pk}", f"{LIST}/zip/{found.pk}/file"):
        assert other.get(address).status_code == 404
    with in_schema("globex"):
        stranger = browser(host="globex")
    assert stranger.get(f"{LIST}/zip/{found.pk}/file").status_code == 404


def test_zip_is_encrypted_like_the_recordings(admin: Client, settings: Any) -> None:
    settings.RECORDING_ENCRYPTION = True
    recording = make_ready()
    found = made(admin, recording, make_ready())
    assert found.wrapped_key
    (lies,) = [each for each in vault.found() if each.storage_key == found.storage_key]
    assert content_of(recording)[44:200] not in (Path(settings.MEDIA_ROOT) / lies.storage_key).read_bytes()
    archive, _ = unpacked(b"".join(taken(admin, found).streaming_content))
    assert archive.testzip() is None


def test_zip_goes_with_a_recording_in_it(admin: Client) -> None:
    kept, gone = make_ready(), make_ready()
    found = made(admin, kept, gone)
    trash.trash(SYSTEM, gone)
    assert taken(admin, found).status_code == 410
    found.refresh_from_db()
    assert (found.state, [each for each in vault.found() if each.storage_key == found.storage_key]) == ("gone", [])
    assert b"This ZIP is gone" in admin.get(f"{LIST}/zip/{found.pk}").content


def test_deletion_for_good_takes_its_copies_along(admin: Client) -> None:
    gone = make_ready()
    found = made(admin, make_ready(), gone)
    lay_there = found.storage_key
    trash.delete_now(SYSTEM, trash.trash(SYSTEM, gone))
    found.refresh_from_db()
    assert (found.state, found.storage_key) == ("gone", "")
    assert lay_there not in {each.storage_key for each in vault.found()}


def test_recording_deleted_while_it_waited_is_told_in_the_manifest(admin: Client) -> None:
    kept, gone = make_ready(), make_ready()
    order(admin, kept, gone)
    trash.trash(SYSTEM, gone)
    found = Bulk.objects.get()
    make_bulk("acme", found.pk)
    found.refresh_from_db()
    _, rows = unpacked(b"".join(vault.read(found)))
    assert {row["recording_id"]: (bool(row["file"]), row["problem"]) for row in rows} == {
        str(kept.pk): (True, ""), str(gone.pk): (False, "It was deleted before it was packed."),
    }  # fmt: skip


def test_file_missing_from_the_store_is_told_in_the_manifest(admin: Client) -> None:
    lost, kept = make_ready(), make_ready()
    order(admin, lost, kept)
    vault.remove(RecordingFile.objects.get(segment__recording=lost).storage_key)
    found = Bulk.objects.get()
    make_bulk("acme", found.pk)
    found.refresh_from_db()
    _, rows = unpacked(b"".join(vault.read(found)))
    assert {row["recording_id"]: row["problem"] for row in rows}[str(lost.pk)] == (
        "The file of this recording is no longer in the store."
    )


def test_file_damaged_in_the_store_spoils_the_zip(admin: Client, settings: Any) -> None:
    settings.RECORDING_ENCRYPTION = True
    damaged = make_ready()
    order(admin, damaged, make_ready())
    path = Path(settings.MEDIA_ROOT) / RecordingFile.objects.get(segment__recording=damaged).storage_key
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    found = Bulk.objects.get()
    before = len(list(vault.found()))
    make_bulk("acme", found.pk)
    found.refresh_from_db()
    assert (found.state, found.storage_key, len(list(vault.found()))) == ("failed", "", before)
    assert "was changed or cut off" in admin.get(f"{LIST}/zip/{found.pk}").content.decode()
    assert taken(admin, found).status_code == 409


def test_two_recordings_of_one_name(admin: Client) -> None:
    first, second = make_ready(session_id="s-1"), make_ready(session_id="s-1", switch_session_id="other")
    archive, _ = unpacked(b"".join(vault.read(made(admin, first, second))))
    assert sorted(name[-6:] for name in archive.namelist() if name.endswith(".wav")) == ["-2.wav", "00.wav"]


def test_made_once_and_again_when_its_maker_died(admin: Client, sent_off: list[int]) -> None:
    found = made(admin, make_ready(), make_ready())
    make_bulk("acme", found.pk)
    assert Bulk.objects.get().storage_key == found.storage_key, "a repeat does nothing"

    Bulk.objects.update(state="running", progress_at=timezone.now() - bulk.SILENT - timedelta(seconds=1))
    sent_off.clear()
    tend_bulks_of("acme")
    assert sent_off == [found.pk]
    make_bulk("acme", found.pk)
    assert Bulk.objects.get().state == "ready"


def test_zip_that_is_made_again_is_written_down_once(admin: Client) -> None:
    first, second = make_ready(1.0), make_ready(2.0)
    found = made(admin, first, second)
    said = list(Play.objects.order_by("pk").values("pk", "recording_id", "at", "sent"))
    Bulk.objects.update(state="running", progress_at=timezone.now() - bulk.SILENT - timedelta(seconds=1))
    make_bulk("acme", found.pk)
    assert list(Play.objects.order_by("pk").values("pk", "recording_id", "at", "sent")) == said
    assert {each["recording_id"]: each["sent"] for each in said} == {first.pk: first.size, second.pk: second.size}
    page = admin.get(f"{LIST}/{first.pk}").content.decode()
    assert page.count("Downloaded with others") == 1


def test_zip_at_work_on_a_long_recording_is_not_made_a_second_time(
    admin: Client, sent_off: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    order(admin, make_ready(1.0), make_ready(1.0))
    monkeypatch.setattr(bulk, "_ALIVE_EVERY", 0.0)
    long_ago = timezone.now() - bulk.SILENT - timedelta(seconds=1)
    seen: list[list[int]] = []
    begin = vault.Writer.write

    def write(self: vault.Writer, data: bytes) -> None:
        tend_bulks_of("acme")
        seen.append(list(sent_off))
        begin(self, data)
        Bulk.objects.update(progress_at=long_ago)  # so long it took

    monkeypatch.setattr(vault.Writer, "write", write)
    make_bulk("acme", Bulk.objects.get().pk)
    assert (Bulk.objects.get().state, any(seen)) == ("ready", False)


def test_zip_is_kept_for_a_day(admin: Client) -> None:
    found = made(admin, make_ready(), make_ready())
    tend_bulks_of("acme")
    assert Bulk.objects.get().state == "ready"
    Bulk.objects.update(created_at=timezone.now() - bulk.LIFETIME - timedelta(minutes=1))
    tend_bulks_of("acme")
    assert (Bulk.objects.get().state, taken(admin, found).status_code) == ("gone", 410)
    assert found.storage_key not in {each.storage_key for each in vault.found()}


@pytest.mark.parametrize(
    ("value", "written"),
    [("+4930", "+4930"), ("101", "101"), ("=1+1", "'=1+1"), ("@x", "'@x"), ("-x", "'-x"), ("+1-2", "'+1-2"), ("", "")],
)
def test_manifest_holds_no_formula(value: str, written: str) -> None:
    assert bulk.harmless(value) == written


# --- Checked without the portal ----------------------------------------------------------------------------


def verify(path: Path, **options: Any) -> str:
    said = io.StringIO()
    call_command("verify_recordings_zip", path, stdout=said, **options)
    return said.getvalue()


@pytest.fixture
def on_disk(admin: Client, tmp_path: Path) -> tuple[Path, Bulk]:
    found = made(admin, make_ready(1.0), make_ready(0.5))
    path = tmp_path / "recordings.zip"
    path.write_bytes(b"".join(vault.read(found)))
    return path, found


def rewrite(path: Path, change: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_verify_a_whole_zip(on_disk: tuple[Path, Bulk]) -> None:
    path, found = on_disk
    assert verify(path, sha256=found.sha256) == f"SHA-256 of the ZIP: {found.sha256}\n2 right, 0 wrong.\n"


def first_wav(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.endswith(".wav"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda files: files.update({first_wav(files): files[first_wav(files)][:-1] + b"x"}), "its SHA-256 is not"),
        (lambda files: files.update({first_wav(files): files[first_wav(files)][:-1]}), "bytes, and"),
        (lambda files: files.pop(first_wav(files)), ": missing"),
        (lambda files: files.update({"more.wav": b"x"}), "more.wav: not in the manifest"),
    ],
)
def test_verify_finds_what_was_changed(on_disk: tuple[Path, Bulk], change: Any, says: str) -> None:
    path, _ = on_disk
    rewrite(path, change)
    said = io.StringIO()
    with pytest.raises(CommandError, match="not as the portal made it"):
        call_command("verify_recordings_zip", path, stdout=said)
    assert says in said.getvalue()


def test_verify_finds_another_zip_by_its_hash(on_disk: tuple[Path, Bulk]) -> None:
    path, _ = on_disk
    with pytest.raises(CommandError):
        verify(path, sha256="0" * 64)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no zip"),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.unlink(),
        lambda path: rewrite(path, lambda files: files.pop("manifest.csv")),
        lambda path: rewrite(path, lambda files: files.update({"manifest.csv": b"a,b\r\n"})),
        lambda path: rewrite(path, lambda files: files.update({"manifest.csv": b"\xff\xfe"})),
    ],
)
def test_verify_refuses_what_is_no_such_zip(on_disk: tuple[Path, Bulk], spoil: Any) -> None:
    path, _ = on_disk
    spoil(path)
    with pytest.raises(CommandError, match=r"damaged, or no ZIP|cannot be read"):
        verify(path)
