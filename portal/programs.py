"""The programs that make up a running portal, each as the supervisor starts it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from portal.embedded.postgres import Postgres
from portal.embedded.process import spawn
from portal.embedded.valkey import Valkey
from portal.supervisor import Process, Program
from tenants.models import Switch

DATABASE_STAGE, REDIS_STAGE, WORKER_STAGE, WEB_STAGE, SOURCE_STAGE = range(5)
_MANAGE = str(settings.BASE_DIR / "manage.py")


def postgres(server: Postgres) -> Program:
    return Program("postgres", server.spawn, DATABASE_STAGE, stop_signal=signal.SIGINT, stop_seconds=60)


def valkey(server: Valkey) -> Program:
    return Program("valkey", server.spawn, REDIS_STAGE)


def web() -> Program:
    return _python("web", _MANAGE, "serve", stage=WEB_STAGE)


def worker() -> Program:
    command = ["worker", "--loglevel", settings.LOG_LEVEL, "--without-gossip", "--without-mingle"]
    return _celery("worker", *command, stage=WORKER_STAGE)


def beat(folder: Path) -> Program:
    return _celery("beat", "beat", "--loglevel", "WARNING", "--schedule", str(folder / "timetable"), stage=SOURCE_STAGE)


def simulator() -> Program:
    return _python("simulator", _MANAGE, "simulate", "--url", _local_url(), stage=SOURCE_STAGE)


def sip_control() -> Program:
    return _python("sip", _MANAGE, "sip_control", stage=SOURCE_STAGE)


def connector(switch: Switch) -> Program:
    return _python(connector_name(switch), _MANAGE, "connect", "--", switch.name, stage=SOURCE_STAGE)


def connector_name(switch: Switch) -> str:
    return f"switch-{switch.pk}"


def local_host() -> str:
    """Where the programs on this machine find the web server."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.BIND, settings.BIND)  # noqa: S104 - looked up, not bound


def _local_url() -> str:
    host = local_host()
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.PORT}"


def _celery(name: str, *arguments: str, stage: int) -> Program:
    # As root Celery warns at length; the embedded set-up is for trying out, and a container has one user anyway.
    quiet = ("-W", "ignore:You're running the worker with superuser privileges")
    return _python(name, *quiet, "-m", "celery", "--app", "portal", "--quiet", *arguments, stage=stage)


def _python(name: str, *arguments: str, stage: int) -> Program:
    def start() -> Process:
        return spawn(
            [sys.executable, *arguments],
            environment=_environment(os.environ),
            output=subprocess.PIPE,
            tethered=signal.SIGTERM,
        )

    return Program(name, start, stage)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Ours, so that a program finds the same settings wherever it is started."""
    path = os.pathsep.join(filter(None, [str(settings.BASE_DIR), given.get("PYTHONPATH", "")]))
    return {**given, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "VAR_DIR": str(settings.VAR_DIR)}
