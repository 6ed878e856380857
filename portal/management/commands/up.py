"""Brings up everything and keeps it up: what `make run` runs. Ends when told to, and takes everything down with it."""

import contextlib
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error as DatabaseError
from django.db import connection

from portal import programs
from portal.assets import collect_if_changed
from portal.checks import problems
from portal.demo import kept
from portal.demo.furnish import furnish
from portal.embedded.errors import EmbeddedServiceError
from portal.embedded.postgres import Postgres
from portal.embedded.valkey import Valkey
from portal.ground import Ground, StartError, check_port, explain, is_datagram_port_free, prepare_folder
from portal.health import CONNECTOR_KINDS
from portal.hosts import align_hosts
from portal.migrating import migrate_all
from portal.supervisor import Printer, Program, StopRequestedError, Supervisor
from tenants.addresses import system_address
from tenants.models import Switch
from tenants.schemas import enter_public

WEB_START_SECONDS = 120.0
SWITCHES_EVERY = 5.0  # seconds between looks at which switches want a connector


class Command(BaseCommand):
    help = "Brings up the whole portal: databases, web server, worker, scheduler, connectors, simulator."
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        self.print = Printer(sys.stdout)
        self.supervisor = Supervisor(self.print)
        self.connectors: dict[str, tuple[object, ...]] = {}
        try:
            self._run()
        except (StartError, EmbeddedServiceError) as error:
            sys.exit(str(error))
        except StopRequestedError:
            self._say("Stopped before it was up")
        except OSError as error:
            sys.exit(explain(error, folder=settings.VAR_DIR))
        except DatabaseError as error:
            sys.exit(f"The database refused: {_first_line(error)}")

    def _run(self) -> None:
        if found := problems():
            raise StartError("\n".join(found))
        prepare_folder(settings.VAR_DIR)
        ground = Ground(settings.VAR_DIR / "run" / "up.lock")
        with ground.held(address=system_address("")), self.supervisor.signals():
            with self.supervisor.interruptible():
                check_port(settings.BIND, settings.PORT, patient=ground.was_killed)
            with self._everything_stopped_after():
                self._live()

    def _live(self) -> None:
        with self.supervisor.interruptible():
            self._start_services()
            opened = self._prepare()
            self._start(programs.web(), programs.worker())
            self._wait_for_web()
            self._start(*self._sources())
        self._show(opened)
        self.supervisor.run(self._follow_switches, every=SWITCHES_EVERY)
        self._say("Stopping")

    @contextlib.contextmanager
    def _everything_stopped_after(self) -> Iterator[None]:
        try:
            yield
        finally:
            connection.close()
            self.supervisor.stop()
            self._say("Stopped")

    def _start_services(self) -> None:
        run = settings.VAR_DIR / "run"
        if settings.EMBEDDED_DATABASE:
            server = Postgres(state=settings.VAR_DIR / "postgres", sockets=run / "pg")
            server.wait(self.supervisor.start(programs.postgres(server)))
            server.ensure_database(settings.DATABASES["default"]["NAME"])
            self._say("PostgreSQL is up")
        if settings.EMBEDDED_REDIS:
            self._start_valkey(Valkey(state=settings.VAR_DIR / "valkey", socket=run / "valkey.sock"))

    def _start_valkey(self, server: Valkey) -> None:
        try:
            server.wait(self.supervisor.start(programs.valkey(server)))
        except EmbeddedServiceError:
            if not server.has_data():
                raise
            self._say(f"Valkey could not read its data: it starts anew, the old is in {server.set_data_aside()}")
            self.supervisor.remove("valkey")
            server.wait(self.supervisor.start(programs.valkey(server)))
        self._say("Valkey is up")

    def _prepare(self) -> kept.Kept | None:
        """Everything that must stand in the database and on the disk before the first page."""
        _use_one_connection()
        _ensure_secret()
        migrate_all(self._say)
        align_hosts()
        if collect_if_changed():
            self._say("Static files collected")
        if settings.PRODUCTION:
            return None
        file = settings.VAR_DIR / "run.json"
        opened = furnish(kept.read(file), demo=settings.DEMO, say=self._say)
        kept.write(file, opened)
        return opened

    def _start(self, *wanted: Program) -> None:
        for program in wanted:
            self.supervisor.start(program)

    def _sources(self) -> Iterator[Program]:
        """What gives the others work, and so comes after them."""
        yield programs.beat(settings.VAR_DIR / "run")
        if settings.DEMO and settings.SIMULATOR_RATE:
            yield programs.simulator()
        if is_datagram_port_free(settings.BIND, settings.SIP_PORT):
            yield programs.sip_control()
        else:  # everything else works without it
            where = f"UDP port {settings.SIP_PORT} on {settings.BIND}"
            self._say(f"SIP control is off: {where} is taken. Choose another: make run SIP_PORT=5091")

    def _wait_for_web(self) -> None:
        host, deadline = programs.local_host(), time.monotonic() + WEB_START_SECONDS
        while time.monotonic() < deadline:
            self.supervisor.look(0.1)
            with contextlib.suppress(OSError), socket.create_connection((host, settings.PORT), timeout=2):
                return
        raise StartError(f"The web server did not answer on port {settings.PORT} within {WEB_START_SECONDS:g} seconds.")

    def _follow_switches(self) -> None:
        """A connector for every enabled switch that wants one, started anew when its address or secrets change."""
        try:
            enter_public()
            switches = list(Switch.objects.filter(enabled=True, kind__in=CONNECTOR_KINDS))
            connection.close()
        except DatabaseError:  # it is being restarted; the next look will tell
            with contextlib.suppress(DatabaseError):
                connection.close()
            return
        wanted = {
            programs.connector_name(switch): (switch.name, repr(switch.address), switch.credentials)
            for switch in switches
        }
        for name in [name for name, settled in self.connectors.items() if wanted.get(name) != settled]:
            self.supervisor.remove(name)
            del self.connectors[name]
        for switch in switches:
            name = programs.connector_name(switch)
            if name not in self.connectors:
                self._say(f"Connecting the switch {switch.name}")
                self.supervisor.start(programs.connector(switch))
                self.connectors[name] = wanted[name]

    def _show(self, opened: kept.Kept | None) -> None:
        self.print.plain("")
        if opened is None:
            self.print.plain(f"  Voxledger is up at {system_address('')}")
        else:
            self.print.plain("  Voxledger is up. Sign in at")
            self.print.plain(_row("System", opened["system"]))
            for tenant in opened["tenants"]:
                self.print.plain(_row(tenant["name"], tenant))
            self.print.plain(f"  All passwords and tokens: {settings.VAR_DIR / 'run.json'}")
            if settings.DEMO:
                self.print.plain("  To see webhooks without a receiver: Company > Event URL. They may reach")
                self.print.plain("  that catcher, an address of the portal's own, although it is an inner one.")
        self.print.plain("  Ctrl-C stops it.\n")

    def _say(self, line: str) -> None:
        self.print("up", line)


def _row(title: str, opened: Any) -> str:
    return f"    {title:<16}{opened['url']:<32}{opened['username']:<10}{opened['password']}"


def _use_one_connection() -> None:
    """The pool brings threads, and a process that forks is better off without."""
    connection.settings_dict["OPTIONS"]["pool"] = False


def _ensure_secret() -> None:
    """On its first run a demo installation gets a secret of its own, which every program then reads from the file."""
    if settings.SECRET_KEY != settings.DEMO_SECRET:
        return
    secret = secrets.token_urlsafe(48)
    with os.fdopen(os.open(settings.SECRET_KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secret)
    settings.SECRET_KEY = secret


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
