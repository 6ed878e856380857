"""A portal of its own for a browser: a database beside the tests' others, its static files, one ASGI server."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests import services
from tests.run.stack import free_port

PROJECT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SEED = "from tests.browser.seed import main; main()"
_OURS = {"DJANGO_SETTINGS_MODULE", "TEST_DATABASE_NAME"}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@dataclass(frozen=True)
class Portal:
    port: int

    def url(self, host: str, path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"


def _database(name: str, *, create: bool) -> None:
    """Drops it, and makes it anew."""
    folder = str(services.SOCKETS / "pg")
    with psycopg.connect(host=folder, user="voxledger", dbname="postgres", autocommit=True) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        if create:
            server.execute(f'CREATE DATABASE "{name}"')


def _environment(name: str, folder: Path, port: int) -> dict[str, str]:
    services.postgres().start()
    services.valkey().start()
    socket = str(services.SOCKETS / "pg").replace("/", "%2F")
    kept = {key: value for key, value in os.environ.items() if key not in _OURS}
    return kept | {
        "DATABASE_URL": f"postgres://voxledger@{socket}/{name}",
        "REDIS_URL": f"unix://{services.SOCKETS / 'valkey.sock'}",
        "VAR_DIR": str(folder),
        "PORT": str(port),
        "SIP_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }


@contextmanager
def running() -> Iterator[Portal]:
    """A portal with the calls of `tests.browser.seed`; gone afterwards."""
    name, port = f"browser_{os.getpid()}", free_port()
    with tempfile.TemporaryDirectory(prefix="voxledger-browser-") as folder:
        environment = _environment(name, Path(folder), port)
        _database(name, create=True)
        try:
            for command in (
                ["manage.py", "collectstatic", "--noinput", "-v0"],
                ["manage.py", "shell", "-v0", "-c", SEED],
            ):
                subprocess.run([sys.executable, *command], check=True, env=environment, cwd=PROJECT)
            with serving(environment, port):
                yield Portal(port)
        finally:
            _database(name, create=False)


@contextmanager
def serving(environment: dict[str, str], port: int) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "portal.asgi:application",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    process = subprocess.Popen(command, env=environment, cwd=PROJECT)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None, "the portal did not start"
            assert time.monotonic() < deadline, "the portal did not answer in time"
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
