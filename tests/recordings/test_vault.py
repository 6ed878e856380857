"""What is put into the vault comes out again, from any place on, or not at all."""

import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry
from recordings import keys, vault
from recordings.errors import (
    DamagedError,
    GoneError,
    KeyGoneError,
    StoreForbiddenError,
    StoreFullError,
    StoreUnavailableError,
)
from recordings.models import RecordingFile, TenantKey
from recordings.sealing import CHUNK, sealed_size
from recordings.tasks import keep_house_of
from recordings.vault import BLOCK, Direct, Stored
from tenants.models import Tenant
from tests.recordings.people import program
from tests.recordings.played import content_of, make_ready

pytestmark = pytest.mark.usefixtures("acme")
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, BLOCK, BLOCK + 1, 3 * BLOCK + 12345]


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def keep(data: bytes, piece: int = 10_000) -> Stored:
    with vault.writer() as writer:
        for place in range(0, len(data), piece):
            writer.write(data[place : place + piece])
        return writer.close()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def encrypted(request: pytest.FixtureRequest, settings: Any) -> bool:
    settings.RECORDING_ENCRYPTION = request.param
    return bool(request.param)


# --- In and out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_out(encrypted: bool, size: int, media_root: Path) -> None:
    data = content(size)
    stored = keep(data)
    assert (stored.size, stored.sha256) == (size, sha256(data).hexdigest())
    assert b"".join(vault.read(stored)) == data
    lying = (media_root / stored.storage_key).read_bytes()
    assert len(lying) == (sealed_size(size) if encrypted else size)
    assert (lying == data) is not encrypted


def test_any_stretch_can_be_read(encrypted: bool) -> None:
    data = content(3 * BLOCK + 12345)
    stored = keep(data, piece=CHUNK + 7)
    dice = random.Random(7)
    edges = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, BLOCK, len(data) - 1, len(data), len(data) + 9]
    stretches = [(start, end) for start in edges for end in edges]
    stretches += [(dice.randrange(len(data)), dice.randrange(len(data))) for _ in range(50)]
    for start, end in stretches:
        assert b"".join(vault.read(stored, start, end)) == data[start : max(start, end)]
    assert b"".join(vault.read(stored, CHUNK + 5)) == data[CHUNK + 5 :]


def test_a_reading_holds_no_more_than_a_block(encrypted: bool) -> None:
    stored = keep(content(3 * BLOCK + 12345))
    assert [len(block) for block in vault.read(stored)] == [BLOCK, BLOCK, BLOCK, 12345]


def test_an_open_file_seeks(encrypted: bool) -> None:
    data = content(2 * BLOCK + 99)
    stored, dice = keep(data), random.Random(3)
    with vault.open_file(stored) as file:
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert file.read() == data
        for _ in range(50):
            place, amount = dice.randrange(len(data) + 10), dice.randrange(CHUNK * 2)
            assert file.seek(place) == place
            assert file.read(amount) == data[place : place + amount]
        assert file.seek(-10, io.SEEK_END) == len(data) - 10
        assert file.read() == data[-10:]
        with pytest.raises(ValueError):
            file.seek(-1)


def test_keys_tell_nothing_and_differ(encrypted: bool) -> None:
    first, second = keep(b"the same"), keep(b"the same")
    for stored in (first, second):
        schema, shelf, name = stored.storage_key.split("/")
        assert (schema, shelf, len(name)) == ("acme", name[:2], 32)
    assert first.storage_key != second.storage_key
    assert first.sha256 == second.sha256
    if encrypted:
        assert first.wrapped_key != second.wrapped_key
        assert TenantKey.objects.count() == 1


def test_other_programs_may_not_read_what_is_kept(encrypted: bool, media_root: Path) -> None:
    stored = keep(b"x")
    path = media_root / stored.storage_key
    assert [oct(each.stat().st_mode & 0o777) for each in (path, path.parent)] == ["0o640", "0o750"]


# --- What was tampered with does not open ------------------------------------------------------------------


def _flip(data: bytearray) -> bytes:
    data[CHUNK + 40] ^= 1
    return bytes(data)


def _swap(data: bytearray) -> bytes:
    size = CHUNK + 16
    return bytes(data[size : 2 * size] + data[:size] + data[2 * size :])


def _cut_at_a_chunk(data: bytearray) -> bytes:
    return bytes(data[: 2 * (CHUNK + 16)])


def _cut_anywhere(data: bytearray) -> bytes:
    return bytes(data[:-1])


@pytest.mark.parametrize("harm", [_flip, _swap, _cut_at_a_chunk, _cut_anywhere])
def test_a_harmed_file_is_found_out(settings: Any, media_root: Path, harm: Callable[[bytearray], bytes]) -> None:
    settings.RECORDING_ENCRYPTION = True
    stored = keep(content(3 * CHUNK + 5))
    path = media_root / stored.storage_key
    path.write_bytes(harm(bytearray(path.read_bytes())))
    with pytest.raises(DamagedError):
        b"".join(vault.read(stored))


def test_a_file_cut_to_whole_chunks_is_not_taken_for_whole(settings: Any, media_root: Path) -> None:
    """Even by somebody who can change the size in the database."""
    settings.RECORDING_ENCRYPTION = True
    stored = keep(content(3 * CHUNK))
    path = media_root / stored.storage_key
    path.write_bytes(_cut_at_a_chunk(bytearray(path.read_bytes())))
    stored.size = 2 * CHUNK
    with pytest.raises(DamagedError):
        b"".join(vault.read(stored))


def test_a_plain_file_that_was_cut_off_is_found_out(media_root: Path) -> None:
    stored = keep(content(1000))
    path = media_root / stored.storage_key
    path.write_bytes(path.read_bytes()[:999])
    with pytest.raises(DamagedError):
        b"".join(vault.read(stored))


def test_a_data_key_opens_only_its_own_file(settings: Any, media_root: Path) -> None:
    settings.RECORDING_ENCRYPTION = True
    first, second = keep(b"one"), keep(b"two")
    second.wrapped_key = first.wrapped_key
    with pytest.raises(KeyGoneError):
        vault.read(second)


def test_another_tenant_cannot_open_it(settings: Any, globex: Tenant) -> None:
    settings.RECORDING_ENCRYPTION = True
    stored = keep(b"of acme")
    connection.set_tenant(globex)
    with pytest.raises(KeyGoneError):
        vault.read(stored)


# --- Nothing is left behind --------------------------------------------------------------------------------


def test_an_exception_leaves_nothing(encrypted: bool, media_root: Path) -> None:
    with suppress(ZeroDivisionError), vault.writer() as writer:
        writer.write(content(BLOCK))
        raise ZeroDivisionError
    with suppress(ZeroDivisionError), vault.writer() as writer:
        writer.write(content(BLOCK))
        writer.close()
        raise ZeroDivisionError  # such as a row that could not be written
    with vault.writer() as writer:
        writer.write(b"never closed")
    assert files_below(media_root) == []


class _Full:
    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def keep_on(disk: Callable[[Any], Any]) -> None:
    with vault.writer() as writer, closing(writer._file) as file:
        writer._file = disk(file)
        for _ in range(5):
            writer.write(content(CHUNK))
        writer.close()


def test_a_full_disk_is_told_and_leaves_nothing(encrypted: bool, media_root: Path) -> None:
    with pytest.raises(StoreFullError) as told:
        keep_on(lambda file: _Full(file, room=BLOCK))
    assert (told.value.code, told.value.message) == ("store_full", "The store of the recordings is full.")
    assert files_below(media_root) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_fills_when_flushed_is_told(encrypted: bool, media_root: Path) -> None:
    with pytest.raises(StoreFullError):
        keep_on(lambda file: open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    assert files_below(media_root) == []


def test_a_folder_that_cannot_be_made_is_told(settings: Any, tmp_path: Path, encrypted: bool) -> None:
    (tmp_path / "file").write_bytes(b"")
    settings.MEDIA_ROOT = tmp_path / "file" / "recordings"
    with pytest.raises(StoreUnavailableError), vault.writer():
        pass


def test_a_folder_that_may_not_be_written_is_told(monkeypatch: pytest.MonkeyPatch, media_root: Path) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreForbiddenError) as told:
        keep(b"x")
    assert told.value.message == "The portal may not write to the store of the recordings."
    assert files_below(media_root) == []


def test_what_a_killed_process_left_is_swept(media_root: Path) -> None:
    incoming = media_root / ".incoming"
    incoming.mkdir(parents=True)
    old, young = incoming / "old", incoming / "young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    now = datetime.now(UTC)
    two_days_ago = (now - timedelta(days=2)).timestamp()
    os.utime(old, (two_days_ago, two_days_ago))
    for name, times in (("all-old", (0, 0)), ("still-used", (0, now.timestamp()))):
        within = incoming / name / "tmp1"
        within.mkdir(parents=True)
        for place, at in zip(("first.wav", "last.wav"), times, strict=True):
            (within / place).write_bytes(b"x")
            os.utime(within / place, (at, at))
        for folder in (within, within.parent):
            os.utime(folder, (0, 0))
    assert vault.sweep_incoming(now) == 2
    used = incoming / "still-used" / "tmp1"
    assert sorted(files_below(media_root)) == sorted([young, used / "first.wav", used / "last.wav"])
    assert sorted(path.name for path in incoming.iterdir()) == ["still-used", "young"]


def test_a_writer_sweeps_now_and_then(media_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "_sweeper", vault._Sweeper())
    incoming = media_root / ".incoming"
    incoming.mkdir(parents=True)
    for expected in ([], ["again"]):
        (incoming / "again").write_bytes(b"x")
        os.utime(incoming / "again", (0, 0))
        keep(b"x")
        assert [path.name for path in files_below(incoming)] == expected


# --- Away --------------------------------------------------------------------------------------------------


def row_of(stored: Stored) -> RecordingFile:
    return RecordingFile.objects.create(
        switch_id=1, storage_key=stored.storage_key, wrapped_key=stored.wrapped_key, size=stored.size,
        sha256=stored.sha256, content_type="audio/wav",
    )  # fmt: skip


def test_a_deleted_file_is_gone_with_its_key(encrypted: bool, media_root: Path) -> None:
    row = RecordingFile.objects.get(pk=row_of(keep(b"secret")).pk)
    assert b"".join(vault.read(row)) == b"secret"
    copy, wrapped = (media_root / row.storage_key).read_bytes(), bytes(row.wrapped_key)
    vault.delete(row)
    row.refresh_from_db()
    assert (row.state, bytes(row.wrapped_key), files_below(media_root)) == ("deleted", b"", [])
    with pytest.raises(GoneError):
        vault.read(row)
    vault.delete(row)  # again is harmless
    assert (wrapped != b"" and copy != b"secret") is encrypted  # what a backup still holds is noise without its key


def test_without_the_tenants_key_nothing_opens(settings: Any) -> None:
    settings.RECORDING_ENCRYPTION = True
    stored = keep(b"secret")
    TenantKey.objects.all().delete()
    with pytest.raises(KeyGoneError) as told:
        vault.read(stored)
    assert told.value.message == "The key of this recording was deleted, or is not known to this installation."
    assert b"".join(vault.read(keep(b"a new one"))) == b"a new one"


def test_all_of_a_tenant_can_be_listed_and_dropped(encrypted: bool, globex: Tenant, media_root: Path) -> None:
    own = {keep(bytes(size)).storage_key for size in (1, 2, 3)}
    connection.set_tenant(globex)
    other = keep(b"of globex")
    assert {each.storage_key for each in vault.found()} == {other.storage_key}
    assert vault.drop_all("acme") == 3
    assert not [key for key in own if (media_root / key).exists()]
    assert b"".join(vault.read(other)) == b"of globex"
    assert vault.drop_all("acme") == 0


# --- Served by somebody else -------------------------------------------------------------------------------


def test_a_web_server_may_serve_what_is_not_encrypted(settings: Any) -> None:
    plain = keep(b"x")
    assert vault.plain_url_or_path(plain) is None
    settings.X_ACCEL_PREFIX = "/kept/"
    assert vault.plain_url_or_path(plain) == Direct("X-Accel-Redirect", f"/kept/{plain.storage_key}")
    settings.RECORDING_ENCRYPTION = True
    assert vault.plain_url_or_path(keep(b"x")) is None


# --- The installation's key --------------------------------------------------------------------------------


@pytest.fixture
def keyed(settings: Any) -> Iterator[Any]:
    settings.RECORDING_ENCRYPTION, settings.ENCRYPTION_KEYS = True, ["first key"]
    return settings


def test_recordings_play_after_the_installations_key_was_rotated(keyed: Any, globex: Tenant) -> None:
    old = keep(b"old")
    keyed.ENCRYPTION_KEYS = ["second key", "first key"]
    between = keep(b"between")
    call_command("rotate_keys", stdout=io.StringIO())
    keyed.ENCRYPTION_KEYS = ["second key"]
    connection.set_schema("acme")
    assert [b"".join(vault.read(each)) for each in (old, between)] == [b"old", b"between"]
    keyed.ENCRYPTION_KEYS = ["first key"]
    with pytest.raises(KeyGoneError):
        vault.read(old)


# --- The tenant's key --------------------------------------------------------------------------------------


def renew(host: str = "acme") -> str:
    out = io.StringIO()
    call_command("renew_recording_key", host, stdout=out)
    connection.set_schema("acme")
    return out.getvalue()


def keys_in_use() -> set[int]:
    return {int.from_bytes(bytes(row.wrapped_key)[1:9], "big") for row in RecordingFile.objects.all()}


def test_a_tenant_gets_a_new_key_and_its_recordings_go_on_playing(acme: Tenant, keyed: Any, globex: Tenant) -> None:
    row = make_ready(1.0, at=timezone.now())
    content = content_of(row)
    connection.set_tenant(globex)
    theirs = make_ready(1.0, at=timezone.now())
    before = list(TenantKey.objects.values())
    connection.set_tenant(acme)
    (former,) = TenantKey.objects.all()
    assert renew() == (
        f"{acme.name} has a new key. New recordings are encrypted under it, and 1 file is wrapped by it now."
        " The former key is deleted in a day.\n"
    )
    newest = TenantKey.objects.latest("id")
    assert (keys_in_use(), TenantKey.objects.count()) == ({newest.pk}, 2)
    make_ready(1.0, at=timezone.now())
    assert keys_in_use() == {newest.pk}
    entry = AuditEntry.objects.get(action="recording_key.renewed")
    assert (entry.actor, entry.subject_id, entry.before, entry.after) == ("Voxledger", str(newest.pk), {}, {})

    keep_house_of("acme")
    assert TenantKey.objects.filter(pk=former.pk).exists(), "what began to come under it may still be on its way"
    TenantKey.objects.update(created_at=timezone.now() - keys.OVERLAP - timedelta(minutes=1))
    keep_house_of("acme")
    assert list(TenantKey.objects.all()) == [newest]
    assert b"".join(program().get(f"/api/v1/recordings/{row.pk}/file")) == content
    connection.set_tenant(globex)
    assert (list(TenantKey.objects.values()), content_of(theirs)[:4]) == (before, b"RIFF")


def test_a_file_that_was_on_its_way_follows_to_the_new_key(acme: Tenant, keyed: Any) -> None:
    with vault.writer() as writer:  # under the key of then
        renew()
        writer.write(b"slow")
        stored = writer.close()
    file = RecordingFile.objects.create(
        switch_id=1, state="ready", storage_key=stored.storage_key, wrapped_key=stored.wrapped_key, size=stored.size,
        sha256=stored.sha256, content_type="audio/wav",
    )  # fmt: skip
    TenantKey.objects.update(created_at=timezone.now() - keys.OVERLAP - timedelta(minutes=1))
    keep_house_of("acme")
    file.refresh_from_db()
    assert (TenantKey.objects.count(), b"".join(vault.read(file))) == (1, b"slow")


def test_a_key_that_still_opens_something_is_kept(acme: Tenant, keyed: Any) -> None:
    row = RecordingFile.objects.get(segment__recording=make_ready(1.0, at=timezone.now()))
    RecordingFile.objects.filter(pk=row.pk).update(storage_key="acme/00/elsewhere")  # so that nothing opens it
    renew()
    TenantKey.objects.update(created_at=timezone.now() - keys.OVERLAP - timedelta(minutes=1))
    keep_house_of("acme")
    row.refresh_from_db()
    assert (TenantKey.objects.count(), keys_in_use()) == (2, {TenantKey.objects.earliest("id").pk})


@pytest.mark.parametrize("host", ["nobody", "public", ""])
def test_a_new_key_needs_a_tenant(acme: Tenant, host: str) -> None:
    with pytest.raises(CommandError, match="There is no tenant with the host"):
        renew(host)
