"""Keeps one switch connected until it is told to stop: `manage.py connect <name or id>`."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pbx.asterisk import connection as asterisk
from pbx.connectors.base import SwitchGoneError
from pbx.freeswitch import connection as freeswitch
from tenants.models import Switch

_CONNECTORS: dict[str, type[asterisk.Connector] | type[freeswitch.Connector]] = {
    Switch.Kind.ASTERISK: asterisk.Connector,
    Switch.Kind.FREESWITCH: freeswitch.Connector,
}


class Command(BaseCommand):
    help = "Connects to a switch that the portal calls (Asterisk, FreeSWITCH), and follows its calls until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("switch", help="name or id of the switch")

    def handle(self, *args: Any, switch: str, **options: Any) -> None:
        found = _switch(switch)
        if found.kind not in _CONNECTORS:
            raise CommandError(f"{found.name} is of the kind {found.get_kind_display()}: nothing has to be connected.")
        if not found.enabled:
            raise CommandError(f"The switch {found.name} is switched off.")
        try:
            asyncio.run(_run(found))
        except SwitchGoneError as gone:
            self.stderr.write(str(gone))


def _switch(name: str) -> Switch:
    found = Switch.objects.filter(name=name).first()
    if found is None and name.isascii() and name.isdigit() and len(name) < 19:
        found = Switch.objects.filter(pk=int(name)).first()
    if found is None:
        raise CommandError(f"There is no switch {name!r}. There are: {', '.join(_names()) or 'none'}.")
    return found


def _names() -> list[str]:
    return [f"{name} ({pk})" for pk, name in Switch.objects.values_list("pk", "name")[:50]]


async def _run(switch: Switch) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await _CONNECTORS[switch.kind](switch).run(stop)
