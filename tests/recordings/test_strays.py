"""The store held against the books, by the command that an operator runs."""

import os
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from recordings import trash, vault
from recordings.models import RecordingFile
from tenants.changes import SYSTEM
from tenants.models import Tenant
from tenants.schemas import in_schema
from tests.recordings.kept import files_in_store, make_file, make_recording

OLD = timedelta(days=2)


def make_stray(media_root: Path, *, age: timedelta = OLD) -> str:
    """A file that the store has and the books have not."""
    file = make_file(b"stray")
    RecordingFile.objects.filter(pk=file.pk).delete()
    at = (timezone.now() - age).timestamp()
    os.utime(media_root / file.storage_key, (at, at))
    return file.storage_key


def run(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("reconcile_store", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_all_is_in_order(acme: Tenant) -> None:
    make_recording(at=timezone.now() - OLD)
    put_away = make_recording(at=timezone.now() - OLD)
    trash.trash(SYSTEM, put_away)
    trash.delete_now(SYSTEM, put_away)
    assert run() == ["0 unknown to the books found, 0 gone from the store."]


def test_files_that_no_row_knows_are_listed_and_removed(acme: Tenant, media_root: Path) -> None:
    kept = make_recording(at=timezone.now() - OLD)
    stray = make_stray(media_root)
    make_stray(media_root, age=timedelta(hours=23))  # its row may be on its way
    with in_schema("globex"):
        other = make_stray(media_root)
    told = run()
    assert [line.split(",")[0] for line in told[:-1]] == [f"acme: unknown {stray}", f"globex: unknown {other}"]
    assert told[-1] == "2 unknown to the books found, 0 gone from the store."
    assert run("--delete")[-1] == "2 unknown to the books removed, 0 gone from the store."
    with in_schema("acme"):
        assert (files_in_store(), b"".join(vault.read(RecordingFile.objects.get(segment__recording=kept)))) == (
            2, b"\1" * 1000,
        )  # fmt: skip
    assert run() == ["0 unknown to the books found, 0 gone from the store."]


def test_a_row_whose_file_is_gone_is_an_error(acme: Tenant, media_root: Path, capsys: Any) -> None:
    make_recording(at=timezone.now() - OLD)
    file = RecordingFile.objects.get()
    (media_root / file.storage_key).unlink()
    with pytest.raises(CommandError, match="have lost their file"):
        call_command("reconcile_store")
    assert capsys.readouterr().out.splitlines() == [
        f"acme: gone {file.storage_key}, file {file.pk}, 1000 bytes",
        "0 unknown to the books found, 1 gone from the store.",
    ]
