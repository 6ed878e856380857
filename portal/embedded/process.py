"""What the embedded servers need to know of processes: to die with their parent, and to tell a pid for what it is."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """To be called in a new child before it executes: the kernel sends it `with_signal` once its parent is gone.

    Only Linux knows this. The parent is the thread that forked, so children are started from the main thread.
    """
    parent = os.getpid()

    def before_exec() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
            if os.getppid() != parent:  # it died between the fork and the line above
                os._exit(1)

    return before_exec


def adopt_orphans() -> None:
    """From now on whoever loses its parent below this process becomes its child, so that it can be waited for."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def command_of(pid: int) -> str | None:
    """The command line of a live process; None when there is none, "" when this system does not tell.

    A zombie counts as gone: it holds nothing any more, and where nobody reaps it, it stays for ever.
    """
    home = Path("/proc") / str(pid)
    if not Path("/proc/self/stat").exists():
        return ""
    try:
        if (home / "stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}:
            return None
        return (home / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None


@dataclass(frozen=True)
class Account:
    """Whom a server runs as, when not as ourselves."""

    uid: int
    gid: int


def spawn(
    command: Sequence[str],
    *,
    account: Account | None = None,
    environment: dict[str, str] | None = None,
    output: int | IO[Any] = subprocess.DEVNULL,
    tethered: signal.Signals | None = None,
) -> "subprocess.Popen[bytes]":
    """Starts a program in a session of its own, so that a Ctrl-C reaches only who started it."""
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output == subprocess.PIPE else output,
        env=environment,
        cwd="/",
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        preexec_fn=die_with_parent(tethered) if tethered else None,
    )


def detach(process: "subprocess.Popen[bytes]") -> None:
    """It stays when we go: nobody waits for it, and Python shall not warn of that."""
    process.returncode = 0
