"""A whole portal, started by `manage.py up` on a free port with a folder of its own, as a person would."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"DATABASE_URL", "REDIS_URL", "TEST_DATABASE_NAME", "SECRET_KEY", "LOG_LEVEL", "PYTEST_CURRENT_TEST"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def processes_of(folder: Path) -> list[str]:
    """Every process that works for this folder, whoever its parent is now."""
    found = []
    for home in Path("/proc").iterdir():
        if not home.name.isdigit() or int(home.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (home / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (home / "environ").read_bytes()
            if str(folder) in command or f"VAR_DIR={folder}\0".encode() in environment:
                found.append(command)
    return found


@dataclass
class Stack:
    """`folder` is its VAR_DIR; `output` what it printed so far."""

    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def output(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def opened(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "run.json").read_text()))

    @property
    def _log(self) -> Path:
        return self.folder.with_suffix(".log")

    def command(self) -> list[str]:
        return [sys.executable, str(PROJECT / "manage.py"), "up"]

    def settings(self, **changes: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        own = {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "VAR_DIR": str(self.folder),
            "PORT": str(self.port),
            "SIP_PORT": str(free_port()),
            "SIMULATOR_RATE": "0",
        }
        return kept | own | self.environment | changes

    def start(self) -> float:
        """Returns how long it took until it said that it is up."""
        began = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.settings(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        eventually(lambda: "Ctrl-C stops it" in self.output or self.process.poll() is not None, seconds=300)
        assert self.process.poll() is None, self.output
        return time.monotonic() - began

    def try_start(self, **changes: str) -> tuple[int, str]:
        """For a start that is refused: its exit status and what it said."""
        done = subprocess.run(
            self.command(), env=self.settings(**changes), capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def get(self, path: str, *, host: str = "localhost", token: str = "", **options: Any) -> httpx.Response:
        headers = {"Host": f"{host}:{self.port}"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=15, **options)

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.get("/readyz").status_code == 200
        return False


@contextlib.contextmanager
def stack(**environment: str) -> Iterator[Stack]:
    """Not below pytest's own folder: that is closed to the user PostgreSQL runs as when root runs the tests."""
    home = Path(tempfile.mkdtemp(prefix="voxledger-run-"))
    home.chmod(0o711)
    made = Stack(home / "var", free_port(), environment)
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            try:
                made.stop()
            except subprocess.TimeoutExpired:
                made.process.kill()  # what it started goes with it
                made.process.wait()
        shutil.rmtree(home, ignore_errors=True)
