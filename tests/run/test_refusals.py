"""A start that cannot succeed says why in one sentence, and leaves nothing behind."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.stack import Stack, processes_of, stack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def portal() -> Iterator[Stack]:
    with stack() as made:
        yield made


def test_taken_port_is_one_sentence(portal: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", portal.port))
        other.listen(1)
        assert portal.try_start() == (
            1,
            f"Port {portal.port} on 127.0.0.1 is taken: stop what uses it, or choose another: make run PORT=8001",
        )
    assert processes_of(portal.folder) == []


def test_port_that_is_no_number_is_one_sentence(portal: Stack) -> None:
    assert portal.try_start(PORT="http") == (1, "PORT must be a whole number from 1 to 65535, not 'http'.")


def test_file_in_place_of_the_folder_is_one_sentence(portal: Stack) -> None:
    file = portal.folder.parent / "file"
    file.touch()
    assert portal.try_start(VAR_DIR=str(file)) == (
        1,
        f"{file} is in the way: a folder is needed there, so move it or set VAR_DIR.",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_missing_permission_is_one_sentence(portal: Stack, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert portal.try_start(VAR_DIR=str(tmp_path / "var")) == (
        1,
        f"No permission to write {tmp_path / 'var'}: make it yours, or set VAR_DIR to a folder that is.",
    )


def test_unsafe_production_lists_every_reason(portal: Stack) -> None:
    status, said = portal.try_start(VOXLEDGER_ENV="production", DEBUG="1", ALLOWED_HOSTS="*")
    assert (status, said.splitlines()) == (
        1,
        [
            "SECRET_KEY is not set: give this installation a long random secret of its own.",
            "DEBUG is on: it shows settings and code to strangers, so turn it off.",
            "ALLOWED_HOSTS holds '*': name the hosts this portal answers for.",
            "DATABASE_URL is not set: the embedded PostgreSQL is for trying out only.",
            "REDIS_URL is not set: the embedded Valkey is for trying out only.",
        ],
    )
