import stat
from pathlib import Path

import pytest

from portal.demo import kept

KEPT: kept.Kept = {
    "system": {"url": "http://localhost:8000", "username": "admin", "password": "p", "api_token": "t"},
    "tenants": [],
}


def test_what_was_written_is_read_and_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.touch(mode=0o644)
    kept.write(file, KEPT)
    assert kept.read(file) == KEPT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("damaged", ["", "{", "[]", '"text"'])
def test_a_damaged_file_counts_as_lost(tmp_path: Path, damaged: str) -> None:
    file = tmp_path / "run.json"
    file.write_text(damaged)
    assert kept.read(file) == {}


def test_a_missing_file_counts_as_lost(tmp_path: Path) -> None:
    assert kept.read(tmp_path / "run.json") == {}
