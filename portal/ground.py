"""What must hold before `manage.py up` starts anything: a folder, nobody else in it, a free port, room on the disk."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

MEGABYTE = 1024 * 1024
NEEDED_MEGABYTES = 300
_PORT_PATIENCE_SECONDS = 10.0


class StartError(Exception):
    """The portal cannot start; the text is the one sentence that says why and what to do."""


def explain(error: OSError, *, folder: Path) -> str:
    """The world's refusals as a sentence; `folder` stands for a file the error does not name."""
    where = error.filename or folder
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk is full: free some space for {where}, or set VAR_DIR to a folder on another disk."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"No permission to write {where}: make it yours, or set VAR_DIR to a folder that is."
    if error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return f"{where} is in the way: a folder is needed there, so move it or set VAR_DIR."
    return f"{where}: {error.strerror or error}."


def prepare_folder(folder: Path) -> None:
    """Ours alone; as root others may pass through, because PostgreSQL runs as another user."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run").mkdir(exist_ok=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        probe = folder / "run" / ".probe"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise StartError(explain(error, folder=folder)) from error
    free = shutil.disk_usage(folder).free // MEGABYTE
    if free < NEEDED_MEGABYTES:
        raise StartError(
            f"The disk is nearly full: {folder} has {free} MB left and {NEEDED_MEGABYTES} MB are needed;"
            " free some space, or set VAR_DIR to a folder on another disk."
        )


class Ground:
    """The lock that one running portal holds on its folder. `was_killed`: the one before could not say good-bye."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.was_killed = False

    @contextlib.contextmanager
    def held(self, *, address: str) -> Iterator[None]:
        with self._file.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartError(self._who()) from None
            self.was_killed = self._file.stat().st_size > 0
            self._write(json.dumps({"pid": os.getpid(), "address": address}))
            try:
                yield
            finally:
                self._write("")

    def _write(self, text: str) -> None:
        self._file.write_text(text)

    def _who(self) -> str:
        try:
            holder = json.loads(self._file.read_text())
            return (
                f"Voxledger is already running at {holder['address']} (process {holder['pid']});"
                " stop it with Ctrl-C there."
            )
        except (OSError, ValueError, KeyError, TypeError):
            return "Voxledger is already running in this folder; stop it with Ctrl-C there."


def check_port(address: str, port: int, *, patient: bool) -> None:
    """`patient` after a kill: the web server of the former life may take a moment to leave."""
    deadline = time.monotonic() + (_PORT_PATIENCE_SECONDS if patient else 0)
    while (refusal := _try_port(address, port)) is not None:
        if time.monotonic() >= deadline:
            raise StartError(refusal)
        time.sleep(0.2)


def is_datagram_port_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _try_port(address: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"Port {port} on {address} is taken: stop what uses it, or choose another: make run PORT=8001"
            if error.errno == errno.EACCES:
                return f"Port {port} needs more rights than this user has: choose one above 1023 by PORT."
            return f"BIND={address} with PORT={port} cannot be used: {error.strerror or error}."
    return None
