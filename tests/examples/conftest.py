"""The examples as programs: started as a person starts them, spoken to over real sockets."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from accounts.models import ApiToken, User
from accounts.roles import Role
from tenants.crypto import token_hash

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def environment(**more: str) -> dict[str, str]:
    """Nothing of ours leaks into an example but where programs are."""
    return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


def run(*command: str, cwd: Path | None = None, **env: str) -> "subprocess.CompletedProcess[str]":
    """An example from start to end; the first word is its file."""
    return subprocess.run(
        _started(*command), env=environment(**env), cwd=cwd, capture_output=True, text=True, timeout=30, check=False
    )


def _started(name: str, *arguments: str) -> list[str]:
    interpreter = "bash" if name.endswith(".sh") else sys.executable
    return [interpreter, str(EXAMPLES / name), *arguments]


def eventually(what: Callable[[], object], *, is_now: object, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while (found := what()) != is_now:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


class Lines:
    """What a program says on one of its pipes, line by line."""

    def __init__(self, pipe: "IO[str]") -> None:
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=[pipe], daemon=True).start()

    def _read(self, pipe: "IO[str]") -> None:
        with pipe:
            for line in pipe:
                self._said.put(line.rstrip("\n"))

    def next(self, seconds: float = 15) -> str:
        return self._said.get(timeout=seconds)

    def until(self, part: str, seconds: float = 15) -> str:
        """The next line that holds this text."""
        deadline = time.monotonic() + seconds
        while part not in (line := self.next(max(0.1, deadline - time.monotonic()))):
            pass
        return line

    @property
    def are_none(self) -> bool:
        return self._said.empty()


class Program:
    """A running example: its lines on standard output and on standard error."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.out, self.errors = Lines(process.stdout), Lines(process.stderr)


@contextmanager
def running(*command: str, cwd: Path, **env: str) -> Iterator[Program]:
    process = subprocess.Popen(
        _started(*command), env=environment(**env), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def make_token(make_user: Callable[..., User]) -> Callable[..., str]:
    """Makes a user with an API token in the schema the connection is in, and gives the token."""

    def make(secret: str = "vxt_admin", role: Role = Role.ADMIN) -> str:
        user = make_user(f"of-{secret}", role)
        ApiToken.objects.create(user=user, name=secret, token_hash=token_hash(secret), hint="")
        return secret

    return make
