"""How long recordings are kept: what is older than the tenant says goes to the trash, and from there for good."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from recordings import keys, quota, trash
from recordings.models import Recording
from tenants.models import Tenant

AT_ONCE = 200
_COUNTED = 10_000


def keep_house(tenant: Tenant, now: datetime) -> int:
    """One round, bounded: returns how much was done, so that the caller knows whether to come again."""
    moved = expire(tenant, now, AT_ONCE) + trash.purge_older(now, AT_ONCE) + quota.make_room(tenant, AT_ONCE)
    moved += keys.rewrap(AT_ONCE)
    keys.drop_former(now)
    quota.note_level(tenant)
    return moved


@transaction.atomic
def expire(tenant: Tenant, now: datetime, limit: int) -> int:
    """Puts recordings past their days into the trash, where a person has a week to see a mistake."""
    due = past(now - timedelta(days=tenant.recording_days)).order_by("created_at", "pk")
    rows = list(due.select_for_update(skip_locked=True)[:limit])
    if rows:
        why = f"Older than the {tenant.recording_days} days that recordings are kept."
        trash.put_in_trash(rows, now, why)
        trash.note_trashed(rows, why)
    return len(rows)


def past(moment: datetime) -> "QuerySet[Recording]":
    """Begun before that moment, finished, and not held."""
    return Recording.objects.filter(
        state__in=trash.FINISHED, created_at__lt=moment, ended_at__isnull=False, legal_hold=False
    )


def would_expire(days: int, now: datetime) -> int:
    """How many recordings would go if they were kept that long, at most one more than it counts."""
    return len(past(now - timedelta(days=days)).order_by().values_list("pk")[: _COUNTED + 1])
