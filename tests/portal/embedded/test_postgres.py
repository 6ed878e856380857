"""The embedded PostgreSQL, for real: what is killed comes back with all it had."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from portal.embedded.errors import EmbeddedServiceError
from portal.embedded.postgres import Postgres


@pytest.fixture
def server(folder: Path) -> Iterator[Postgres]:
    made = Postgres(state=folder / "postgres", sockets=folder / "pg")
    yield made
    made.stop()


def _execute(server: Postgres, statement: str) -> list[tuple[object, ...]]:
    address = f"host={server.sockets} user={server.user} dbname=postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_it_survives_a_kill_and_a_pid_file_that_names_another_process(server: Postgres) -> None:
    process = server.spawn()
    server.wait(process)
    _execute(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    process.kill()
    process.wait()
    pid_file = server.data / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n" + pid_file.read_text().partition("\n")[2])
    again = server.spawn()
    server.wait(again)
    assert _execute(server, "SELECT answer FROM kept") == [(42,)]
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700
    server.ensure_database("voxledger")
    server.ensure_database("voxledger")
    assert _execute(server, "SELECT count(*) FROM pg_database WHERE datname = 'voxledger'") == [(1,)]
    again.send_signal(signal.SIGINT)
    assert again.wait(timeout=60) == 0


def test_a_left_over_one_is_stopped_before_a_child_is_spawned(server: Postgres) -> None:
    server.start()
    before = server.pid()
    server.start()  # a second start leaves it alone
    assert server.pid() == before
    child = server.spawn()
    server.wait(child)
    assert server.pid() == child.pid != before
    child.send_signal(signal.SIGINT)
    child.wait(timeout=60)


def test_an_interrupted_first_start_is_begun_anew(server: Postgres) -> None:
    half = server.state / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server.start()
    assert server.ready()
    assert not half.exists()


def test_data_of_another_version_is_one_sentence(server: Postgres) -> None:
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedServiceError, match="was made by PostgreSQL 12, and 18 is installed"):
        server.start()


def test_a_path_too_long_for_a_socket_is_one_sentence(folder: Path) -> None:
    server = Postgres(state=folder / "postgres", sockets=folder / ("x" * 100))
    with pytest.raises(EmbeddedServiceError, match="is too long for a socket"):
        server.start()


def test_the_reason_in_its_log_is_the_reason_told(server: Postgres) -> None:
    server.start()
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = on\n")
    with pytest.raises(EmbeddedServiceError) as refused:
        server.start()
    assert str(refused.value) == (
        f'PostgreSQL did not start: configuration file "{server.data}/postgresql.conf" contains errors'
    )
