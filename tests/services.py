"""The tests' own PostgreSQL and Valkey, started before Django reads its settings; a pytest plugin, and a command.

They live in .cache/test-services and are reused by the next run; `python -m tests.services stop` ends them.
"""

import os
import sys
from pathlib import Path

from portal.embedded.postgres import Postgres
from portal.embedded.valkey import Valkey

STATE = Path(__file__).resolve().parent.parent / ".cache" / "test-services"
SOCKETS = STATE / "run"


def postgres() -> Postgres:
    return Postgres(state=STATE / "postgres", sockets=SOCKETS / "pg", durable=False)


def valkey() -> Valkey:
    return Valkey(state=STATE / "valkey", socket=SOCKETS / "valkey.sock")


def use() -> None:
    """Starts what does not run yet and points the settings at it, unless the caller chose servers of their own."""
    os.environ.setdefault("VAR_DIR", str(STATE / "var"))
    (STATE / "var" / "static").mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a missing folder
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    if "DATABASE_URL" not in os.environ:
        postgres().start()
        os.environ["DATABASE_URL"] = f"postgres://voxledger@{str(SOCKETS / 'pg').replace('/', '%2F')}/postgres"
    if "REDIS_URL" not in os.environ:
        valkey().start()
        os.environ["REDIS_URL"] = f"unix://{SOCKETS / 'valkey.sock'}"


if __name__ == "__main__":
    if sys.argv[1:] == ["stop"]:
        postgres().stop()
        valkey().stop()
    else:
        use()
elif "pytest" in sys.modules:
    use()
