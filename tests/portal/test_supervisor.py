"""The supervisor with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from portal.embedded.process import command_of, spawn
from portal.supervisor import Program, StopRequestedError, Supervisor

Said = list[tuple[str, str]]


@pytest.fixture
def said() -> Said:
    return []


@pytest.fixture
def supervisor(said: Said) -> Iterator[Supervisor]:
    made = Supervisor(lambda label, line: said.append((label, line)))
    yield made
    made.stop()


def _program(name: str, code: str, **options: object) -> Program:
    def start() -> "subprocess.Popen[bytes]":
        return spawn([sys.executable, "-u", "-c", code], output=subprocess.PIPE, tethered=signal.SIGTERM)

    return Program(name, start, **{"stage": 1} | options)  # type: ignore[arg-type]


def _look_until(supervisor: Supervisor, what: object, said: Said, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while what not in said:
        assert time.monotonic() < deadline, said
        supervisor.look(0.1)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while command_of(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_lines_are_labelled_and_an_unfinished_one_waits_for_its_end(supervisor: Supervisor, said: Said) -> None:
    code = "import sys, time; sys.stdout.write('on'); time.sleep(.2); print('e'); print('two'); time.sleep(60)"
    supervisor.start(_program("one", code))
    _look_until(supervisor, ("one", "two"), said)
    assert said == [("one", "one"), ("one", "two")]


def test_the_dead_are_started_again_with_growing_waits(supervisor: Supervisor, said: Said) -> None:
    supervisor.start(_program("brief", "print('hello'); raise SystemExit(3)"))
    _look_until(supervisor, ("up", "brief ended with status 3; it starts again in 1 s"), said)
    assert said == [
        ("brief", "hello"),
        ("up", "brief ended with status 3; it starts again in 0.5 s"),
        ("brief", "hello"),
        ("up", "brief ended with status 3; it starts again in 1 s"),
    ]


def test_who_cannot_start_is_tried_again(supervisor: Supervisor, said: Said) -> None:
    outcomes: list[Exception | None] = [None, OSError("no room"), None]
    program = _program("shy", "raise SystemExit(1)")
    begin = program.spawn

    def start() -> "subprocess.Popen[bytes]":
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        return begin()

    supervisor.start(Program("shy", start, stage=1))
    _look_until(supervisor, ("up", "shy did not start: no room"), said)
    while outcomes:
        supervisor.look(0.1)


def test_the_highest_stage_stops_first(supervisor: Supervisor, said: Said) -> None:
    code = (
        "import signal, sys, time\n"
        "def leave(*_):\n    time.sleep(.3)\n    print('gone')\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\nprint('here')\ntime.sleep(60)"
    )
    for name, stage in (("database", 0), ("web", 2), ("worker", 1)):
        supervisor.start(_program(name, code, stage=stage))
        _look_until(supervisor, (name, "here"), said)
    supervisor.stop()
    assert said[3:] == [("web", "gone"), ("worker", "gone"), ("database", "gone")]


def test_who_ignores_the_signal_is_killed(supervisor: Supervisor, said: Said) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here'); time.sleep(60)"
    process = supervisor.start(_program("deaf", code, stop_seconds=0.3))
    _look_until(supervisor, ("deaf", "here"), said)
    supervisor.stop()
    assert process.returncode == -signal.SIGKILL
    assert said[-1] == ("up", "deaf did not stop in time and was killed")


def test_what_a_program_started_goes_with_it(supervisor: Supervisor, said: Said) -> None:
    code = (
        "import subprocess, time\n"
        "print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)\ntime.sleep(60)"
    )
    supervisor.start(_program("parent", code))
    while not said:
        supervisor.look(0.1)
    child = int(said[0][1])
    supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_signal_ends_the_watch(supervisor: Supervisor) -> None:
    with supervisor.signals():
        supervisor.run(lambda: os.kill(os.getpid(), signal.SIGTERM), every=60)


def _interrupt_work() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def test_a_signal_interrupts_what_is_interruptible(supervisor: Supervisor) -> None:
    with supervisor.signals(), pytest.raises(StopRequestedError), supervisor.interruptible():
        _interrupt_work()


def test_a_signal_before_the_interruptible_part_is_not_forgotten(supervisor: Supervisor) -> None:
    with supervisor.signals():
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(StopRequestedError), supervisor.interruptible():
            pass


def test_a_tethered_child_dies_with_its_parent() -> None:
    code = (
        "import signal, os\nfrom portal.embedded.process import spawn\n"
        "print(spawn(['sleep', '60'], tethered=signal.SIGTERM).pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = int(done.stdout)
    _wait_until_gone(child)
