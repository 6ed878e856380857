"""`manage.py simulate`: runs the simulated switch beside the portal, until it is stopped."""

import asyncio
import contextlib
import signal
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections, transaction

from cdr import calls
from pbx.simulator.switch import Portal, Simulator
from pbx.simulator.world import World, worlds
from tenants.changes import SYSTEM
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema
from tenants.switches import create_switch, rotate_token

SWITCH_NAME = "Simulator"
_AT_ONCE = 500


class Command(BaseCommand):
    help = "Places simulated calls in the simulated tenants and tells them by the Switch API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rate", type=int, default=settings.SIMULATOR_RATE, help="calls a minute, 0 for none")
        parser.add_argument("--url", default=f"http://127.0.0.1:{settings.PORT}", help="where the portal listens")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["rate"] < 0:
            raise CommandError("--rate must be 0 or more calls a minute.")
        hang_up_lost_calls()
        portal = Portal(url=options["url"].rstrip("/"), host=settings.SYSTEM_HOST, new_token=_in_thread(new_token))
        asyncio.run(_run(Simulator(portal, options["rate"], _in_thread(worlds))))


async def _run(simulator: Simulator) -> None:
    running = asyncio.create_task(simulator.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def new_token() -> str:
    """The simulator needs no secret kept for it: it takes a fresh token whenever it has none that works."""
    switch = Switch.objects.filter(kind=Switch.Kind.SIMULATOR).order_by("pk").first()
    if switch is None:
        return create_switch(SYSTEM, {"name": SWITCH_NAME, "kind": Switch.Kind.SIMULATOR})[1]
    return rotate_token(SYSTEM, switch)


def hang_up_lost_calls() -> None:
    """Calls of a simulator that was killed have no end: nobody knows them any more."""
    switch_ids = list(Switch.objects.filter(kind=Switch.Kind.SIMULATOR).values_list("pk", flat=True))
    for tenant in Tenant.objects.filter(simulated=True, state=Tenant.State.ACTIVE):
        with in_schema(tenant.schema_name):
            for switch_id in switch_ids:
                _hang_up(tenant, switch_id)


def _hang_up(tenant: Tenant, switch_id: int) -> None:
    lost = calls.sessions_in_progress().filter(switch_id=switch_id).values_list("session_id", flat=True)[:_AT_ONCE]
    with transaction.atomic():
        calls.close_lost_sessions(tenant, switch_id, list(lost))


def _in_thread(function: Any) -> Any:
    """The database from the event loop: in a thread, on a connection that is given back."""

    def call() -> "str | Sequence[World]":
        try:
            close_old_connections()
            return function()  # type: ignore[no-any-return]
        finally:
            close_old_connections()

    return sync_to_async(call, thread_sensitive=True)
