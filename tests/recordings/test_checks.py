import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from recordings.checks import store


def told(settings: Any, folder: Path) -> list[str]:
    settings.MEDIA_ROOT = folder
    return [str(message.msg) for message in store()]


def test_a_folder_that_is_there_is_well(settings: Any, tmp_path: Path) -> None:
    assert told(settings, tmp_path) == []


def test_our_own_folder_is_made_when_it_is_needed(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path / "var"
    assert told(settings, tmp_path / "var" / "recordings") == []


def test_a_folder_that_was_named_must_be_there(settings: Any, tmp_path: Path) -> None:
    missing = tmp_path / "volume"
    assert told(settings, missing) == [
        f"MEDIA_ROOT, {missing}, does not exist: make the folder, or mount the volume that holds it."
    ]
    with pytest.raises(SystemCheckError, match="mount the volume"):
        call_command("check")


def test_a_file_is_no_folder(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert told(settings, tmp_path / "file") == [f"MEDIA_ROOT, {tmp_path / 'file'}, is no folder."]
    settings.VAR_DIR = tmp_path
    assert told(settings, tmp_path / "file" / "recordings") == [
        f"MEDIA_ROOT, {tmp_path / 'file' / 'recordings'}, is no folder."
    ]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/sys").is_dir(), reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(settings: Any, tmp_path: Path) -> None:
    closed = Path("/proc/sys") if os.geteuid() == 0 else tmp_path / "closed"
    if os.geteuid():
        closed.mkdir(mode=0o500)
    assert told(settings, closed) == [
        f"MEDIA_ROOT, {closed}, cannot be written by this user: change its owner or its permissions."
    ]


def test_production_is_warned_of_what_is_not_safe(settings: Any, tmp_path: Path) -> None:
    settings.PRODUCTION, settings.RECORDING_ENCRYPTION, settings.ENCRYPTION_KEYS = True, True, ["key"]
    assert told(settings, tmp_path) == []
    settings.ENCRYPTION_KEYS = []
    assert told(settings, tmp_path) == [
        "ENCRYPTION_KEYS is not set: a new SECRET_KEY would make every recording unreadable."
    ]
    settings.RECORDING_ENCRYPTION = False
    assert told(settings, tmp_path) == [
        "RECORDING_ENCRYPTION is off: whoever can read the store can listen to every recording."
    ]
