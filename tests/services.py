"""The tests' own PostgreSQL and Valkey, started before Django reads its settings; a pytest plugin, and a command.

They live in .cache/test-services and stay for the next run, unless `--stop-services` says otherwise, as `make test`
does. The plugin also knows what a real switch and a browser need, and skips their tests with a sentence where it is
missing. `python -m tests.services stop` ends them.
"""

import fcntl
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from portal.embedded.postgres import Postgres
from portal.embedded.valkey import Valkey

PROJECT = Path(__file__).resolve().parent.parent
STATE = PROJECT / ".cache" / "test-services"
SOCKETS = STATE / "run"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
KINDS = ("asterisk", "browser", "edge", "freeswitch")
_in_use: list[int] = []  # descriptors of the lock that says so


def postgres() -> Postgres:
    return Postgres(state=STATE / "postgres", sockets=SOCKETS / "pg", durable=False)


def valkey() -> Valkey:
    return Valkey(state=STATE / "valkey", socket=SOCKETS / "valkey.sock")


def use() -> None:
    """Starts what does not run yet and points the settings at it, unless the caller chose servers of their own.

    Only the process that started pytest comes here with them unset: xdist's workers inherit what it chose.
    """
    os.environ.setdefault("VAR_DIR", str(STATE / "var"))
    (STATE / "var" / "static").mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a missing folder
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ.setdefault("TEST_DATABASE_NAME", f"test_{os.getpid()}")
    if "DATABASE_URL" in os.environ and "REDIS_URL" in os.environ:
        return
    lock = os.open(STATE / "users", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    _in_use.append(lock)
    if "DATABASE_URL" not in os.environ:
        postgres().start()
        os.environ["DATABASE_URL"] = f"postgres://voxledger@{str(SOCKETS / 'pg').replace('/', '%2F')}/postgres"
    if "REDIS_URL" not in os.environ:
        valkey().start()
        os.environ["REDIS_URL"] = f"unix://{SOCKETS / 'valkey.sock'}"


def stop() -> None:
    """Ends the services and forgets their data, unless another run uses them."""
    while _in_use:
        os.close(_in_use.pop())
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "users").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        postgres().stop()
        valkey().stop()
        for folder in (STATE / "postgres", STATE / "valkey"):
            shutil.rmtree(folder.resolve(), ignore_errors=True)
            folder.unlink(missing_ok=True)


def chromium() -> str | None:
    return next((found for name in CHROMIUM if (found := shutil.which(name))), None)


def missing_asterisk() -> str | None:
    root = Path(os.environ.get("ASTERISK_ROOT", PROJECT / ".cache" / "asterisk"))
    if not (root / ".complete").exists():
        return f"there is no Asterisk in {root}: make one with 'sudo tests/asterisk/prepare', then 'make test-asterisk'"
    if os.geteuid() != 0:
        return "starting an Asterisk of its own takes root, for its namespaces: run 'sudo make test-asterisk'"
    return None


def missing_edge() -> str | None:
    """Calls through a Kamailio; behind it is an Asterisk."""
    root = Path(os.environ.get("KAMAILIO_ROOT", PROJECT / ".cache" / "kamailio"))
    if not (root / ".complete").exists():
        return f"there is no Kamailio in {root}: fetch one with 'tests/edge/prepare', then 'make test-edge'"
    return missing_asterisk()


def missing_browser() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: 'make test-browser' installs it"
    if chromium() is None:
        return "there is no Chromium: install it (on Debian: apt install chromium), then 'make test-browser'"
    return None


def missing_freeswitch() -> str | None:
    """It is packaged nowhere: somebody has one, with the configuration that tests.freeswitch.configure makes."""
    lacking = [
        f"FREESWITCH_{name}" for name in ("ADDRESS", "PASSWORD", "FOLDER") if not os.environ.get(f"FREESWITCH_{name}")
    ]
    if lacking:
        return f"no FreeSWITCH was named: set {', '.join(lacking)}, see docs/switches/freeswitch.md"
    return None


MISSING = {
    "asterisk": missing_asterisk,
    "browser": missing_browser,
    "edge": missing_edge,
    "freeswitch": missing_freeswitch,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("voxledger")
    group.addoption("--stop-services", action="store_true", help="stop PostgreSQL and Valkey when the tests are done")
    group.addoption("--require", action="append", default=[], choices=KINDS, help="fail where it would be skipped")
    group.addoption("--leave-out", action="append", default=[], choices=KINDS, help="skip even where it could run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)  # the longest files first, beside the others
    for kind in KINDS:
        reason = MISSING[kind]()
        if reason is not None and kind in config.getoption("--require"):
            raise pytest.UsageError(f"The {kind} tests cannot run: {reason}.")
        if kind in config.getoption("--leave-out"):
            reason = reason or f"left out here: run 'make test-{kind}'"
        if reason is not None:
            for item in items:
                if item.get_closest_marker(kind):
                    item.add_marker(pytest.mark.skip(reason=reason))


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.getoption("--stop-services") and not hasattr(config, "workerinput"):
        stop()


def _main(arguments: list[str]) -> int:
    if arguments == ["stop"]:
        stop()
        return 0
    sys.stderr.write("python -m tests.services stop\n")
    return 2


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
elif "pytest" in sys.modules:
    use()
