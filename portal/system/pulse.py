"""How the installation does: calls as they begin, switches that fell silent, what waits, what fails, and the disk."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Min
from django.db.models.functions import TruncMinute
from django.urls import reverse
from django.utils import timezone

from cdr import charts
from pbx.models import HeldEvent, Quarantined
from portal.health import CONNECTOR_KINDS, CONNECTOR_SILENCE
from portal.pages.pushes import failing, since_words
from tenants.models import SessionRoute, Switch, SwitchCommand, Tenant
from tenants.schemas import enter_public, in_schema

MINUTES = 60
COUNTED = 1000  # beyond it a count says "more than"
TENANTS = 200  # whose endpoints are looked at
FAILING = 10
_FRESH = 60  # seconds


@dataclass(frozen=True)
class Minute:
    start: datetime
    calls: int


def calls_by_minute(now: datetime) -> list[Minute]:
    """Calls that began in each of the last whole minutes, and in the one under way."""
    last = now.astimezone(UTC).replace(second=0, microsecond=0)
    since = last - timedelta(minutes=MINUTES - 1)
    rows = (
        SessionRoute.objects.filter(created_at__gte=since, created_at__lt=last + timedelta(minutes=1))
        .annotate(minute=TruncMinute("created_at", tzinfo=UTC))
        .values_list("minute")
        .annotate(calls=Count("pk"))
        .order_by()
    )
    found = dict(rows)
    starts = [since + timedelta(minutes=number) for number in range(MINUTES)]
    return [Minute(start, found.get(start, 0)) for start in starts]


def chart_of(minutes: Sequence[Minute]) -> charts.BarChart:
    columns = []
    for minute in minutes:
        clock = timezone.localtime(minute.start)
        words = f"{clock:%H:%M}, {minute.calls:,} call{'' if minute.calls == 1 else 's'}"
        columns.append(charts.Column(f"{clock:%H:%M}", words, minute.calls, under_way=minute is minutes[-1]))
    return charts.bar_chart(columns, every=10)


@dataclass(frozen=True)
class SwitchState:
    """A switch and what is wrong with it, in words; `state` is good, warn, bad or off."""

    switch: Switch
    state: str
    words: str


def switch_states(switches: Sequence[Switch], now: datetime) -> list[SwitchState]:
    return [SwitchState(switch, *_judged(switch, now)) for switch in switches]


def _judged(switch: Switch, now: datetime) -> tuple[str, str]:
    if not switch.enabled:
        return "off", "Disabled"
    if switch.kind in CONNECTOR_KINDS:
        if switch.connector_seen_at is None or now - switch.connector_seen_at > CONNECTOR_SILENCE:
            return "bad", "No connector is running"
        if switch.connector_state != "connected":
            return "bad", "Not connected"
    if switch.last_event_at is None:
        return "off", "Nothing has come yet"
    silence = now - switch.last_event_at
    if silence > timedelta(minutes=settings.SWITCH_SILENT_MINUTES):
        return "warn", f"Silent for {since_words(switch.last_event_at, now)}"
    return "good", "Hears calls"


@dataclass(frozen=True)
class Queue:
    """What waits: how many, at most COUNTED, and since when the oldest does."""

    name: str
    count: int
    oldest: datetime | None
    href: str = ""

    @property
    def is_more(self) -> bool:
        return self.count > COUNTED

    @property
    def shown(self) -> int:
        return min(self.count, COUNTED)


def queues() -> list[Queue]:
    commands = SwitchCommand.objects.filter(state=SwitchCommand.State.PENDING).order_by("pk")[: COUNTED + 1]
    held = HeldEvent.objects.order_by("pk")[: COUNTED + 1]
    waiting = Quarantined.objects.filter(state=Quarantined.State.WAITING).order_by("pk")[: COUNTED + 1]
    told = SwitchCommand.objects.filter(pk__in=commands.values("pk")).aggregate(count=Count("pk"), oldest=Min("at"))
    return [
        Queue("Commands to switches", told["count"], told["oldest"]),
        Queue("Events that wait for their call", len(held.values_list("pk")), None),
        Queue("Quarantined messages", len(waiting.values_list("pk")), None, reverse("quarantine")),
    ]


@dataclass(frozen=True)
class FailedCommands:
    """Recording commands of the last hour that came to nothing, and what became of the last one."""

    count: int
    command: str
    switch: Switch
    reason: str

    @property
    def is_more(self) -> bool:
        return self.count > COUNTED

    @property
    def shown(self) -> int:
        return min(self.count, COUNTED)


def failed_commands(now: datetime) -> FailedCommands | None:
    """Calls that should have been recorded, or paused, and were not; those of all tenants."""
    ended = (SwitchCommand.State.FAILED, SwitchCommand.State.EXPIRED)
    failed = SwitchCommand.objects.filter(state__in=ended, confirmed_at__gte=now - timedelta(hours=1))
    recording = failed.exclude(command=SwitchCommand.Command.LAUNCH).order_by("-confirmed_at")
    last = recording.select_related("switch").first()
    if last is None:
        return None
    count = len(recording.values_list("pk")[: COUNTED + 1])
    return FailedCommands(count, last.get_command_display(), last.switch, last.reason)


@dataclass(frozen=True)
class FailingEndpoint:
    tenant_id: int
    tenant: str
    name: str
    words: str


def failing_endpoints(now: datetime) -> list[FailingEndpoint]:
    """Of the first tenants, one after the other, so once a minute is enough."""
    key = f"{connection.settings_dict['NAME']}:failing-endpoints"
    found: list[FailingEndpoint] | None = cache.get(key)
    if found is None:
        found = list(_failing_endpoints(now))
        cache.set(key, found, _FRESH)
    return found


def _failing_endpoints(now: datetime) -> list[FailingEndpoint]:
    found: list[FailingEndpoint] = []
    active = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public").order_by("name", "pk")
    for tenant in list(active[:TENANTS]):
        with in_schema(tenant.schema_name):
            endpoints = failing(FAILING)
        for endpoint in endpoints:
            words = endpoint.disabled_reason or f"Nothing arrived for {since_words(endpoint.failing_since, now)}"
            found.append(FailingEndpoint(tenant.pk, tenant.name, host_of(endpoint.url), words))
        if len(found) >= FAILING:
            break
    enter_public()
    return found[:FAILING]


def host_of(url: str) -> str:
    """Whose server it is; path and query are the tenant's own affair."""
    return urlsplit(url).hostname or ""


@dataclass(frozen=True)
class Disk:
    name: str
    used: int
    size: int

    @property
    def percent(self) -> int:
        return round(self.used * 100 / self.size) if self.size else 0

    @property
    def free(self) -> int:
        return self.size - self.used

    @property
    def is_short(self) -> bool:
        return self.percent >= 90


def disks() -> list[Disk]:
    """The file systems under the portal's own folders, each once."""
    found: dict[int, Disk] = {}
    for name, folder in (("Data", Path(settings.VAR_DIR)), ("Recordings", Path(settings.MEDIA_ROOT))):
        place = next((each for each in (folder, *folder.parents) if each.exists()), None)
        if place is None or place.stat().st_dev in found:
            continue
        usage = shutil.disk_usage(place)
        found[place.stat().st_dev] = Disk(name, usage.total - usage.free, usage.total)
    return list(found.values())


def database_size() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])
