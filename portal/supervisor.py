"""Keeps a handful of programs running: starts them, labels what they say, restarts what dies, stops all in order.

It runs in one thread. Nothing here knows what the programs are.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TextIO

from portal.embedded.process import adopt_orphans

_BACKOFF_FIRST = 0.5
_BACKOFF_MOST = 30.0
_STEADY_SECONDS = 60.0  # who ran this long starts over with the shortest wait
_LINE_MOST = 64 * 1024
_GROUP_SECONDS = 2.0  # so long the kernel may take to end what was killed
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
Process = subprocess.Popen[bytes]


class StopRequestedError(Exception):
    """A signal asked to stop while something else was under way."""


class Printer:
    """Writes `label | line`, the label in a colour of its own when a person is watching."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours: dict[str, int] = {}
        self._is_terminal = stream.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, label: str, line: str) -> None:
        shown = f"{label:<10}|"
        if self._is_terminal:
            colour = self._colours.setdefault(label, _COLOURS[len(self._colours) % len(_COLOURS)])
            shown = f"\x1b[{colour}m{shown}\x1b[0m"
        self.plain(f"{shown} {line}")

    def plain(self, text: str) -> None:
        with contextlib.suppress(OSError):  # who was reading has gone; the programs have not
            self._stream.write(f"{text}\n")
            self._stream.flush()


@dataclass
class Program:
    """What to keep running. `stage` orders the stop: the highest stage stops first, each waits for the one before."""

    name: str
    spawn: Callable[[], Process]
    stage: int
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    on_death: Callable[[], None] = lambda: None


@dataclass
class _Running:
    program: Program
    process: Process | None = None
    started_at: float = 0.0
    backoff: float = _BACKOFF_FIRST
    start_at: float | None = None  # when it is due to start again
    rest: bytes = b""  # of a line that has not ended


@dataclass
class Supervisor:
    say: Callable[[str, str], None]
    _all: dict[str, _Running] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _stop_asked: int = 0
    _interruptible: bool = False

    def __post_init__(self) -> None:
        adopt_orphans()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP ask to stop, SIGCHLD wakes; what held before is restored after."""
        caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in caught}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        waker = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, a signal to stop raises StopRequestedError wherever the work is."""
        if self._stop_asked:
            raise StopRequestedError
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def start(self, program: Program) -> Process:
        running = self._all[program.name] = _Running(program)
        return self._launch(running)

    def remove(self, name: str) -> None:
        """Stops one program for good."""
        self._end([self._all[name]])
        del self._all[name]

    def names(self) -> set[str]:
        return set(self._all)

    def run(self, chore: Callable[[], None], *, every: float) -> None:
        """Looks after the programs until a signal asks to stop; calls `chore` every so many seconds."""
        due = time.monotonic()
        while not self._stop_asked:
            if time.monotonic() >= due:
                chore()
                due = time.monotonic() + every
            self.look(due - time.monotonic())

    def look(self, seconds: float) -> None:
        """Listens for so long at most, then buries the dead and starts what is due."""
        starts = [running.start_at for running in self._all.values() if running.start_at is not None]
        until = min([time.monotonic() + seconds, *starts])
        self._listen(max(0.0, until - time.monotonic()))
        self._look_after()

    def stop(self) -> None:
        """Highest stage first. A second signal meanwhile shortens the wait, never the order."""
        asked = self._stop_asked
        for stage in sorted({running.program.stage for running in self._all.values()}, reverse=True):
            self._end([running for running in self._all.values() if running.program.stage == stage], asked=asked)
        self._all.clear()

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stop_asked += 1
        if self._interruptible:
            self._interruptible = False
            raise StopRequestedError(signal.Signals(number).name)

    def _launch(self, running: _Running) -> Process:
        process = running.process = running.program.spawn()
        running.started_at, running.start_at, running.rest = time.monotonic(), None, b""
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, running)
        return process

    def _look_after(self) -> None:
        for running in self._all.values():
            if running.process is not None and running.process.poll() is not None:
                self._bury(running)
            if running.start_at is not None and running.start_at <= time.monotonic():
                self._relaunch(running)

    def _bury(self, running: _Running) -> None:
        """Notes a death and when to start again: at once when it had run steadily, later and later when it had not."""
        process = self._collect(running)
        if time.monotonic() - running.started_at > _STEADY_SECONDS:
            running.backoff = _BACKOFF_FIRST
        self.say("up", f"{running.program.name} {_how_it_ended(process)}; it starts again in {running.backoff:g} s")
        running.start_at = time.monotonic() + running.backoff
        running.backoff = min(running.backoff * 2, _BACKOFF_MOST)
        running.program.on_death()

    def _relaunch(self, running: _Running) -> None:
        try:
            self._launch(running)
        except Exception as error:  # a program that cannot start now is tried again, whatever the reason
            self.say("up", f"{running.program.name} did not start: {error}")
            running.start_at = time.monotonic() + running.backoff
            running.backoff = min(running.backoff * 2, _BACKOFF_MOST)

    def _collect(self, running: _Running) -> Process:
        """What is left after a process: its last words, its pipe, the rest of its group."""
        process = running.process
        assert process is not None  # noqa: S101 - only called for one that ran
        _kill_group(process)
        if process.stdout is not None:
            self._read(running, process.stdout)
            if running.rest:
                self.say(running.program.name, _text(running.rest))
            with contextlib.suppress(KeyError):
                self._selector.unregister(process.stdout)
            process.stdout.close()
        running.process = None
        return process

    def _end(self, ending: list[_Running], *, asked: int = 0) -> None:
        for running in ending:
            running.start_at = None
            if running.process is not None and running.process.poll() is None:
                running.process.send_signal(running.program.stop_signal)
        deadline = time.monotonic() + max(running.program.stop_seconds for running in ending)
        while True:
            alive = [running for running in ending if running.process is not None and running.process.poll() is None]
            if not alive or time.monotonic() > deadline or (asked and self._stop_asked > asked + 1):
                break
            self._listen(0.1)
        for running in alive:
            if running.process is not None:
                self.say("up", f"{running.program.name} did not stop in time and was killed")
                running.process.kill()
                running.process.wait()
        for running in ending:
            if running.process is not None:
                self._collect(running)

    def _listen(self, timeout: float) -> None:
        for key, _events in self._selector.select(timeout):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            else:
                self._read(key.data, key.fileobj)  # type: ignore[arg-type]

    def _read(self, running: _Running, pipe: IO[bytes]) -> None:
        while True:
            try:
                chunk = os.read(pipe.fileno(), _LINE_MOST)
            except BlockingIOError:
                return
            if not chunk:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(pipe)
                return
            *lines, running.rest = (running.rest + chunk).split(b"\n")
            for line in lines:
                self.say(running.program.name, _text(line))
            if len(running.rest) > _LINE_MOST:
                self.say(running.program.name, _text(running.rest))
                running.rest = b""


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")


def _kill_group(process: Process) -> None:
    """What a program started itself and left behind: killed, and waited for."""
    deadline = time.monotonic() + _GROUP_SECONDS
    with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
        os.killpg(process.pid, signal.SIGKILL)
        while time.monotonic() < deadline:
            if os.waitpid(-process.pid, os.WNOHANG)[0] == 0:
                time.sleep(0.01)


def _how_it_ended(process: Process) -> str:
    code = process.returncode
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"
