"""How much of its disk quota a tenant's recordings take, when it will be full, and what happens then.

A new recording is never dropped: beyond the quota it is kept, or the oldest ones make room, as the tenant chose.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from django.db import transaction
from django.db.models import Count, Min, QuerySet, Sum

from accounts.selectors import last_change
from recordings import trash
from recordings.models import Recording, RecordingFile
from tenants.changes import SYSTEM, announce
from tenants.models import Tenant

log = structlog.get_logger(__name__)

MEGABYTE = 2**20
WARN_FROM = 0.8
LOOKS_BACK = timedelta(days=28)
LEAST_HISTORY = timedelta(days=1)
FAR_AWAY = 3_650  # days; what would be full after that is told as not in sight
_LEVEL_CHANGED = "quota.level_changed"


class Level(StrEnum):
    NONE = "none"  # there is no quota
    FINE = "fine"
    WARN = "warn"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes now and how they grew lately; `growth` is a day's, None while there is too little to judge by."""

    used: int
    files: int
    in_trash: int
    quota: int
    growth: float | None

    @property
    def percent(self) -> int:
        return int(self.used * 100 / self.quota) if self.quota else 0

    @property
    def level(self) -> Level:
        return level_of(self.used, self.quota)

    @property
    def days_until_full(self) -> int | None:
        """At the pace of the last weeks; None when it is full, not in sight, or cannot be told."""
        if not self.quota or self.used >= self.quota or self.growth is None or self.growth <= 0:
            return None
        days = (self.quota - self.used) / self.growth
        return int(days) if days <= FAR_AWAY else None

    @property
    def forecast(self) -> str:
        """In a sentence."""
        if not self.quota:
            return "No quota is set: recordings may take whatever the store has."
        if self.used >= self.quota:
            return "The quota is full."
        if self.growth is None:
            return "A forecast needs recordings of at least a day."
        if self.growth <= 0:
            return "At the pace of the last four weeks it will not fill up: as much goes as comes."
        if (days := self.days_until_full) is None:
            return "At the pace of the last four weeks it will not fill up within ten years."
        words = "today" if days == 0 else "in 1 day" if days == 1 else f"in {days} days"
        return f"At the pace of the last four weeks it will be full {words}."


def level_of(used: int, quota: int) -> Level:
    if not quota:
        return Level.NONE
    if used >= quota:
        return Level.FULL
    return Level.WARN if used >= quota * WARN_FROM else Level.FINE


def usage_of(tenant: Tenant, now: datetime) -> Usage:
    """Inside the tenant's schema. What lies in the trash or in quarantine takes its place too."""
    found = _present().aggregate(used=Sum("size", default=0), files=Count("pk"))
    return Usage(
        used=found["used"],
        files=found["files"],
        in_trash=trash.in_trash().aggregate(size=Sum("size", default=0))["size"],
        quota=tenant.recording_quota_mb * MEGABYTE,
        growth=_growth(now),
    )


def _growth(now: datetime) -> float | None:
    """Bytes a day over the last weeks: what came in them and is there still, less what went that was older."""
    first = RecordingFile.objects.aggregate(first=Min("received_at"))["first"]
    if first is None or now - first < LEAST_HISTORY:
        return None
    since = max(first, now - LOOKS_BACK)
    came = _present().filter(received_at__gte=since).aggregate(size=Sum("size", default=0))["size"]
    gone = RecordingFile.objects.filter(
        state=RecordingFile.State.DELETED, received_at__lt=since, segment__recording__deleted_at__gte=since
    )
    return float((came - gone.aggregate(size=Sum("size", default=0))["size"]) / ((now - since) / timedelta(days=1)))


def make_room(tenant: Tenant, limit: int) -> int:
    """When the tenant chose so: empties its trash, oldest first, then deletes its oldest recordings that no legal
    hold keeps, until it is within its quota. Returns how many went."""
    if tenant.when_quota_full != Tenant.QuotaFull.OLDEST or not tenant.recording_quota_mb:
        return 0
    too_much = _used() - tenant.recording_quota_mb * MEGABYTE
    if too_much <= 0:
        return 0
    chosen: list[int] = []
    for recording_id, size in _first_to_go(limit):
        if too_much <= 0:
            break
        chosen.append(recording_id)
        too_much -= size
    return trash.purge_each(chosen, cause="quota")


def _first_to_go(limit: int) -> list[tuple[int, int]]:
    free = Recording.objects.filter(legal_hold=False, size__gt=0)
    trashed = free.filter(state=Recording.State.TRASHED).order_by("trashed_at", "pk")
    ready = free.filter(state__in=trash.FINISHED, ended_at__isnull=False).order_by("created_at", "pk")
    return [*trashed.values_list("pk", "size")[:limit], *ready.values_list("pk", "size")[:limit]][:limit]


def level_noted(tenant: Tenant) -> Level:
    """As the housekeeping saw it last, for pages that shall not add anything up."""
    last = last_change(tenant.pk, _LEVEL_CHANGED, "level") if tenant.recording_quota_mb else None
    return Level(last.after["level"]) if last else Level.NONE


@transaction.atomic
def note_level(tenant: Tenant) -> Level:
    """Writes down in the audit trail when the warning begins, when it is full, and when that is over."""
    if not tenant.recording_quota_mb:
        return Level.NONE
    used, quota = _used(), tenant.recording_quota_mb * MEGABYTE
    level = level_of(used, quota)
    last = last_change(tenant.pk, _LEVEL_CHANGED, "level")
    before = last.after["level"] if last else Level.FINE
    if level == before:
        return level
    if level in (Level.WARN, Level.FULL):
        log.warning("recording quota", level=str(level), used=used, quota=quota)
    announce(
        SYSTEM, _LEVEL_CHANGED, subject="Disk quota of recordings", subject_id=tenant.pk, before={"level": before},
        after={"level": str(level), "used_mb": used // MEGABYTE, "quota_mb": tenant.recording_quota_mb},
    )  # fmt: skip
    return level


def _used() -> int:
    return int(_present().aggregate(used=Sum("size", default=0))["used"])


def _present() -> "QuerySet[RecordingFile]":
    return RecordingFile.objects.exclude(state=RecordingFile.State.DELETED)
