"""Is this installation ready to work: database, Redis, a worker seen lately, connectors."""

from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from tenants.models import Switch, WorkerHeartbeat
from tenants.schemas import enter_public

# Those that the portal calls, each by a `manage.py connect`.
CONNECTOR_KINDS = (Switch.Kind.ASTERISK, Switch.Kind.FREESWITCH)
WORKER_SILENCE = timedelta(seconds=60)
CONNECTOR_SILENCE = timedelta(seconds=60)


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _redis() -> str:
    cache.set("readyz", 1, 10)
    return "ok"


def _worker() -> str:
    seen = WorkerHeartbeat.objects.filter(name="worker").values_list("seen_at", flat=True).first()
    if seen is None:
        return "no worker has been seen yet"
    age = timezone.now() - seen
    return "ok" if age < WORKER_SILENCE else f"no worker seen for {int(age.total_seconds())} s"


def _connectors() -> str:
    since = timezone.now() - CONNECTOR_SILENCE
    silent = [
        switch.name
        for switch in Switch.objects.filter(enabled=True, kind__in=CONNECTOR_KINDS)
        if switch.connector_state != "connected" or switch.connector_seen_at is None or switch.connector_seen_at < since
    ]
    return "ok" if not silent else "not connected: " + ", ".join(silent)


def readiness() -> dict[str, Any]:
    """`status` is ok, degraded or failed; each check says ok or what is wrong. Connectors only degrade."""
    enter_public()
    checks: dict[str, str] = {}
    for name, check in (("database", _database), ("redis", _redis), ("worker", _worker), ("connectors", _connectors)):
        try:
            checks[name] = check()
        except Exception as error:  # any failure here is the answer, not an accident
            checks[name] = f"{type(error).__name__}"
    failed = [name for name, said in checks.items() if said != "ok" and name != "connectors"]
    status = "failed" if failed else "ok" if checks["connectors"] == "ok" else "degraded"
    return {"status": status, "checks": checks}
