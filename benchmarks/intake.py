"""How fast calls come in, beside what PostgreSQL itself can do with the same rows, in one run on one machine.

It starts a PostgreSQL of its own, durable as in production, a Valkey, and the portal's real web server; the two
yardsticks work on a second tenant's tables, with the same indexes and keys. `make bench` prints the table.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg

from portal.embedded.postgres import Postgres
from portal.embedded.valkey import Valkey

PROJECT = Path(__file__).resolve().parent.parent
TOKEN = "benchmark-token"  # noqa: S105 - of an installation that lives a minute
CALLS_A_BATCH = 500
EVENTS_A_BATCH = 500
EVENTS_A_CALL = 16
ROUNDS = 3
IN_PROGRESS = 100  # calls at a time, of each lane
START = datetime.now(UTC) - timedelta(hours=2)
LEDGER = ("cdr_cdr", "cdr_target", "events_event")
TOLD = ("cdr_livesession", "cdr_calleventrow", *LEDGER)
AGENTS = ("101", "102", "103", "104")


# --- Calls -------------------------------------------------------------------------------------------------


def unix(seconds: float) -> str:
    return str(int(START.timestamp() + seconds))


def finished_call(number: int, domain: str) -> dict[str, Any]:
    """The specification's call: trunk, IVR, queue, two agents."""
    session_id = str(690852418417594368 + number)
    common = {"caller": f"188{number % 100_000:05}", "call_type": "normal_call", "outbound_caller_id": ""}

    def target(callee: str, reason: str, start: float, answered: float | None, ended: float) -> dict[str, Any]:
        return common | {
            "id": "690833127458734080", "callee": callee, "destination": f"sip:{callee}@192.0.2.7:8922",
            "end_reason": reason, "start_time": unix(start), "ring_time": unix(start),
            "answered_time": "0" if answered is None else unix(answered), "ended_time": unix(ended),
            "status_code": 0, "trunk_name": "AudioCodes",
        }  # fmt: skip

    return {
        "answered_time": unix(0), "call_id": f"b6PEEYEcn5speSovMAybCw..{number}", "callee": "5000",
        "callee_domain": domain, "caller": common["caller"], "caller_display_name": f"Caller {number}",
        "caller_domain": "192.0.2.16", "did_cid": "18800606", "direction": "in",
        "ended_reason": "callee_disconnect", "ended_time": unix(19), "event_type": "call_cdr",
        "outbound_caller_id": "", "ring_time": unix(0), "session_id": session_id, "start_time": unix(0),
        "status_code": "0", "tenant_id": "690833127458734080", "tenant_name": "PortSIP Inc.",
        "trunk_name": "AudioCodes", "user_data": "",
        "call_targets": [
            target("5000", "referred", 0, 0, 6), target("8000", "referred", 6, 6, 11),
            target("102", "None", 7, None, 11), target("103", "None", 7, 11, 19),
        ],
    }  # fmt: skip


def told_call(number: int, domain: str, prefix: str = "") -> list[dict[str, Any]]:
    """The same call as a switch tells it: 16 events."""
    session_id = f"{prefix}{790852418417594368 + number}"
    events: list[dict[str, Any]] = []

    def tell(kind: str, seconds: float, **more: Any) -> None:
        at = (START + timedelta(seconds=seconds)).isoformat()
        events.append({"id": f"{session_id}-{len(events)}", "type": kind, "session_id": session_id, "at": at, **more})

    def target(name: str, number: str, kind: str, seconds: float) -> None:
        callee = {"number": number, "display_name": f"Name of {number}", "kind": kind}
        target_id = f"{session_id}.{name}"
        tell("target.added", seconds, target_id=target_id, callee=callee, destination=f"sip:{number}@192.0.2.7:8922")
        tell("target.ringing", seconds, target_id=target_id)

    caller = {"number": f"188{number % 100_000:05}", "display_name": f"Caller {number}", "kind": "external"}
    tell(
        "call.started", 0, call_id=f"b6PEEYEcn5speSovMAybCw..{number}", domain=domain, did="18800606", caller=caller,
        callee={"number": "5000", "kind": "service"}, trunk="AudioCodes",
    )  # fmt: skip
    target("ivr", "5000", "service", 0)
    tell("target.answered", 0, target_id=f"{session_id}.ivr")
    tell("target.ended", 6, target_id=f"{session_id}.ivr", end_reason="referred", status_code=0)
    target("queue", "8000", "service", 6)
    tell("target.answered", 6, target_id=f"{session_id}.queue")
    target("a", "102", "extension", 7)
    target("b", "103", "extension", 7)
    tell("target.answered", 11, target_id=f"{session_id}.b")
    tell("target.ended", 11, target_id=f"{session_id}.queue", end_reason="referred", status_code=0)
    tell("target.ended", 11, target_id=f"{session_id}.a", end_reason="None", status_code=0)
    tell("target.ended", 19, target_id=f"{session_id}.b", end_reason="None", status_code=0)
    tell("call.ended", 19, ended_reason="callee_disconnect", status_code=0)
    return events


def interleaved(calls: Sequence[list[dict[str, Any]]], at_once: int) -> list[dict[str, Any]]:
    """The events of many calls as a switch with so many in progress tells them."""
    told: list[dict[str, Any]] = []
    for start in range(0, len(calls), at_once):
        group = calls[start : start + at_once]
        told += [event for step in zip(*group, strict=True) for event in step]
    return told


def event_bodies(numbers: Sequence[int]) -> list[bytes]:
    events = interleaved([told_call(number, "busy.test") for number in numbers], IN_PROGRESS)
    batches = (events[start : start + EVENTS_A_BATCH] for start in range(0, len(events), EVENTS_A_BATCH))
    return [orjson.dumps({"events": batch}) for batch in batches]


# --- The installation --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Installation:
    url: str
    dsn: str
    schemas: tuple[str, str]


@contextlib.contextmanager
def installation(processes: int) -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="vl-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    postgres = Postgres(state=folder / "postgres", sockets=folder / "pg", durable=True)
    valkey = Valkey(state=folder / "valkey", socket=folder / "valkey.sock")
    server: subprocess.Popen[bytes] | None = None
    try:
        postgres.start()
        valkey.start()
        dsn = f"host={folder / 'pg'} user=voxledger dbname=voxledger"
        with psycopg.connect(f"host={folder / 'pg'} user=voxledger dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE voxledger TEMPLATE template0")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        socket_folder = str(folder / "pg").replace("/", "%2F")
        os.environ |= {
            "DATABASE_URL": f"postgres://voxledger@{socket_folder}/voxledger",
            "REDIS_URL": f"unix://{folder / 'valkey.sock'}",
            "VAR_DIR": str(folder / "var"), "PORT": str(port), "BIND": "127.0.0.1", "LOG_LEVEL": "WARNING",
            "WEB_PROCESSES": str(processes), "DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        (folder / "var" / "static").mkdir(parents=True)
        schemas = furnish()
        server = subprocess.Popen(
            [sys.executable, "manage.py", "serve"], cwd=PROJECT, start_new_session=True, stdout=subprocess.DEVNULL
        )
        wait_for(port)
        yield Installation(f"http://127.0.0.1:{port}", dsn, schemas)
    finally:
        if server:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)
        postgres.stop()
        valkey.stop()
        shutil.rmtree(folder, ignore_errors=True)


def furnish() -> tuple[str, str]:
    """Two tenants, four extensions each, and a switch."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from accounts.models import Extension
    from tenants.crypto import token_hash
    from tenants.models import Domain, SipDomain, Switch, Tenant
    from tenants.schemas import in_schema

    call_command("migrate_schemas", schema_name="public", interactive=False, verbosity=0)
    public = Tenant.objects.create(schema_name="public", name="System", host="public", state=Tenant.State.ACTIVE)
    Domain.objects.create(domain="localhost", tenant=public, is_primary=True)
    Switch.objects.create(name="Benchmark", kind=Switch.Kind.HTTP, token_hash=token_hash(TOKEN))
    for name in ("busy", "quiet"):
        tenant = Tenant.objects.create(schema_name=name, name=name.title(), host=name, state=Tenant.State.ACTIVE)
        SipDomain.objects.create(domain=f"{name}.test", tenant=tenant, is_primary=True)
        tenant.create_schema(check_if_exists=True, verbosity=0)
        with in_schema(name):
            Extension.objects.bulk_create(Extension(number=number) for number in AGENTS)
    connection.close()
    return "busy", "quiet"


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit("The web server did not start.")


# --- Measuring ---------------------------------------------------------------------------------------------


async def post_all(url: str, path: str, lanes: Sequence[Sequence[bytes]]) -> float:
    """Posts each lane in order, the lanes beside each other; returns the seconds it took."""

    async def follow(session: aiohttp.ClientSession, lane: Sequence[bytes]) -> None:
        for body in lane:
            await post(session, url, path, body)

    async with aiohttp.ClientSession() as session:
        began = time.perf_counter()
        await asyncio.gather(*(follow(session, lane) for lane in lanes))
        return time.perf_counter() - began


async def post(session: aiohttp.ClientSession, url: str, path: str, body: bytes) -> None:
    """Anything but `applied` ends the benchmark."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "localhost", "Content-Type": "application/json"}
    async with session.post(f"{url}/api/switch/v1/{path}", data=body, headers=headers) as response:
        raw = await response.read()
        if response.status != 200 or any(result["status"] != "applied" for result in orjson.loads(raw)["results"]):
            raise SystemExit(f"{response.status}: {raw[:500]!r}")


def columns_of(connection: psycopg.Connection[Any], schema: str, table: str) -> str:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        " ORDER BY ordinal_position",
        [schema, table],
    ).fetchall()
    return ", ".join(f'"{row[0]}"' for row in rows)


def truncate(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> None:
    tables = [f"{schema}.{table}" for schema in schemas for table in TOLD]
    connection.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
    connection.execute("TRUNCATE public.tenants_sessionroute")


def copied(connection: psycopg.Connection[Any], source: str, into: str, tables: Sequence[str]) -> float:
    """Seconds for COPY of the rows that `source` holds, rendered beforehand, into the other tenant's tables."""
    rendered: dict[str, bytes] = {}
    for table in tables:
        columns = columns_of(connection, source, table)
        with connection.cursor().copy(f"COPY {source}.{table} ({columns}) TO STDOUT") as copy:
            rendered[table] = b"".join(bytes(block) for block in copy)
    connection.execute("CHECKPOINT")
    began = time.perf_counter()
    with connection.transaction():
        for table, rows in rendered.items():
            columns = columns_of(connection, source, table)
            with connection.cursor().copy(f"COPY {into}.{table} ({columns}) FROM STDIN") as copy:
                copy.write(rows)
    return time.perf_counter() - began


def inserted(connection: psycopg.Connection[Any], source: str, into: str, tables: Sequence[str], calls: int) -> float:
    """Seconds for the rows of so many calls by INSERT, one transaction a call."""
    by_session: dict[str, list[tuple[str, list[Any]]]] = {}
    for table in tables:
        columns = columns_of(connection, source, table)
        key = "session_id"
        joined = f"{source}.{table} AS t"
        if table == "cdr_target":
            joined += f" JOIN {source}.cdr_cdr AS c ON c.id = t.cdr_id"
            key = "c.session_id"
        names = ", ".join(f"t.{name}" for name in columns.split(", "))
        marks = ", ".join(["%s"] * len(columns.split(", ")))
        statement = f"INSERT INTO {into}.{table} ({columns}) VALUES ({marks})"
        for session_id, *values in connection.execute(f"SELECT {key}, {names} FROM {joined} ORDER BY t.ctid"):
            if session_id in by_session or len(by_session) < calls:
                by_session.setdefault(session_id, []).append((statement, [adapt(value) for value in values]))
    connection.execute("CHECKPOINT")
    began = time.perf_counter()
    for statements in by_session.values():
        with connection.transaction():
            for statement, values in statements:
                connection.execute(statement, values)
    return (time.perf_counter() - began) / len(by_session)


def adapt(value: Any) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(value) if isinstance(value, list | dict) else value


async def latencies(url: str, domain: str, seconds: float, prefix: str) -> list[float]:
    """Milliseconds a quiet tenant waits for each call it tells, ten calls a second."""
    found: list[float] = []
    async with aiohttp.ClientSession() as session:
        ends = time.perf_counter() + seconds
        number = 0
        while time.perf_counter() < ends:
            body = orjson.dumps({"events": told_call(number, domain, prefix)})
            began = time.perf_counter()
            await post(session, url, "events", body)
            found.append((time.perf_counter() - began) * 1000)
            number += 1
            await asyncio.sleep(max(0.0, 0.1 - (time.perf_counter() - began)))
    return found


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


@dataclass(frozen=True)
class Row:
    what: str
    portal: float
    copy: float
    insert: float
    unit: str


def measure(place: Installation, calls: int, told: int, concurrency: int) -> tuple[list[Row], dict[str, float]]:
    busy, quiet = place.schemas
    rows: list[Row] = []
    with psycopg.connect(place.dsn, autocommit=True) as connection:

        def compare(
            what: str, path: str, lanes: list[list[bytes]], tables: Sequence[str], units: int, calls: int, unit: str
        ) -> None:
            warm_up(path)
            portal, copy, insert = [], [], []
            for _ in range(ROUNDS):  # beside each other, so that a busy moment of the machine hits all three
                truncate(connection, place.schemas)
                connection.execute("CHECKPOINT")
                portal.append(asyncio.run(post_all(place.url, path, lanes)))
                copy.append(copied(connection, busy, quiet, tables))
                truncate_one(connection, quiet)
                insert.append(inserted(connection, busy, quiet, tables, min(calls, 300)))
            rows.append(Row(what, units / min(portal), units / min(copy), units / calls / min(insert), unit))

        def warm_up(path: str) -> None:
            documents = [finished_call(10_000_000 + number, "busy.test") for number in range(CALLS_A_BATCH)]
            events = {"events": interleaved([told_call(20_000_000 + n, "busy.test") for n in range(30)], 30)}
            body = orjson.dumps(documents if path == "cdrs" else events)
            asyncio.run(post_all(place.url, path, [[body]]))

        finished = [finished_call(number, "busy.test") for number in range(calls)]
        bodies = [orjson.dumps(finished[start : start + CALLS_A_BATCH]) for start in range(0, calls, CALLS_A_BATCH)]
        lanes = [bodies[lane::concurrency] for lane in range(concurrency)]
        compare("finished calls, four targets and their event", "cdrs", lanes, LEDGER, calls, calls, "calls/s")
        lanes = [event_bodies(range(lane, told, concurrency)) for lane in range(concurrency)]
        compare("call events, 16 a call", "events", lanes, TOLD, told * EVENTS_A_CALL, told, "events/s")
        truncate(connection, place.schemas)
    return rows, asyncio.run(fairness(place, concurrency))


def truncate_one(connection: psycopg.Connection[Any], schema: str) -> None:
    connection.execute(f"TRUNCATE {', '.join(f'{schema}.{table}' for table in TOLD)} CASCADE")


async def fairness(place: Installation, concurrency: int) -> dict[str, float]:
    """What a quiet tenant waits, alone and while another tenant's finished calls come in bursts of 500."""
    alone = await latencies(place.url, "quiet.test", 4, "alone")
    numbers = iter(range(30_000_000, 40_000_000))
    stop = asyncio.Event()

    async def burst(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            documents = [finished_call(next(numbers), "busy.test") for _ in range(CALLS_A_BATCH)]
            await post(session, place.url, "cdrs", orjson.dumps(documents))

    async with aiohttp.ClientSession() as session:
        bursts = [asyncio.create_task(burst(session)) for _ in range(concurrency)]
        beside = await latencies(place.url, "quiet.test", 8, "beside")
        stop.set()
        await asyncio.gather(*bursts)
    return {
        "alone p50": statistics.median(alone), "alone p95": p95(alone),
        "beside a burst p50": statistics.median(beside), "beside a burst p95": p95(beside),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5_000, help="finished calls, in each round")
    parser.add_argument("--told", type=int, default=500, help="calls told by events, in each round")
    parser.add_argument("--concurrency", type=int, default=2, help="requests at a time")
    parser.add_argument("--processes", type=int, default=2, help="processes of the web server")
    options = parser.parse_args()
    with installation(options.processes) as place:
        rows, waits = measure(place, options.calls, options.told, options.concurrency)
    print(f"\n{'':46}{'portal':>10}{'COPY':>10}{'of COPY':>9}{'INSERT':>10}{'of INSERT':>11}")
    for row in rows:
        print(
            f"{row.what:46}{row.portal:>10,.0f}{row.copy:>10,.0f}{row.portal / row.copy:>9.2f}{row.insert:>10,.0f}"
            f"{row.portal / row.insert:>11.1f}  {row.unit}"
        )
    print(f"\nA quiet tenant's call of 16 events, in milliseconds ({options.processes} web processes):")
    print("  " + ", ".join(f"{name} {value:.0f}" for name, value in waits.items()))
    print(f"\nThe best of {ROUNDS} rounds each. INSERT is one transaction a call, COPY one for all.")


if __name__ == "__main__":
    main()
