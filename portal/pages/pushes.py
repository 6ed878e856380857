"""How the webhook endpoints of a tenant do, at a glance: a state, a sentence, and the last day in half hours."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.db.models import Count, DurationField, ExpressionWrapper, F, IntegerField, Q, Value
from django.db.models.functions import Extract, Floor

from cdr.ladder import percent
from events.models import Delivery, Endpoint
from events.selectors import HEALTH_OF

SHOWN = 5
LOOKED_AT = 5000  # deliveries of an endpoint, the newest; beyond them it says so
_BINS = 48
_IN_VAIN = (Delivery.State.EXHAUSTED, Delivery.State.STOPPED)


@dataclass(frozen=True)
class Tick:
    x: str
    state: str  # empty is fine, "none" when nothing was sent


@dataclass(frozen=True)
class Push:
    """One endpoint. `waiting` counts what was tried in vain and will be tried again."""

    endpoint_id: int
    name: str
    state: str
    words: str
    ticks: list[Tick]

    @property
    def width(self) -> str:
        return percent(100 / _BINS * 0.7)


def pushes(now: datetime) -> list[Push]:
    """Of the first endpoints of this schema."""
    return [_push(endpoint, now) for endpoint in Endpoint.objects.filter(deleted_at=None).order_by("pk")[:SHOWN]]


def _push(endpoint: Endpoint, now: datetime) -> Push:
    since = now - HEALTH_OF
    newest = Delivery.objects.filter(endpoint=endpoint, event__isnull=False).order_by("-id")[:LOOKED_AT]
    seconds = HEALTH_OF.total_seconds() / _BINS
    age = ExpressionWrapper(Value(now) - F("created_at"), output_field=DurationField())
    rows = (
        Delivery.objects.filter(pk__in=newest.values("pk"), created_at__gt=since, created_at__lte=now)
        .annotate(bin=Floor(Extract(age, "epoch") / seconds, output_field=IntegerField()))
        .values_list("bin")
        .annotate(
            sent=Count("pk"),
            lost=Count("pk", filter=Q(state__in=_IN_VAIN)),
            late=Count("pk", filter=Q(state=Delivery.State.PENDING, step__gt=0)),
        )
        .order_by()
    )
    bins = {_BINS - 1 - int(age): (sent, lost, late) for age, sent, lost, late in rows}
    sent, lost, late = (sum(each[kind] for each in bins.values()) for kind in range(3))
    ticks = [Tick(percent(index * 100 / _BINS), _tick(*bins.get(index, (0, 0, 0)))) for index in range(_BINS)]
    return Push(endpoint.pk, _name(endpoint), _state(endpoint, late), _words(endpoint, sent, lost, late), ticks)


def _tick(sent: int, lost: int, late: int) -> str:
    return "none" if not sent else "bad" if lost else "warn" if late else ""


def _name(endpoint: Endpoint) -> str:
    """The host and the path; a user, a password or a query may be a secret."""
    address = urlsplit(endpoint.url)
    return f"{address.hostname or ''}{address.path if address.path != '/' else ''}"


def _state(endpoint: Endpoint, late: int) -> str:
    if not endpoint.enabled:
        return "bad" if endpoint.disabled_reason else "off"
    return "bad" if endpoint.failing_since else "warn" if late else "good"


def _words(endpoint: Endpoint, sent: int, lost: int, late: int) -> str:
    if not endpoint.enabled:
        return endpoint.disabled_reason or "Switched off."
    if not sent:
        return "Nothing was sent in the last 24 hours."
    parts = [f"{sent:,} in the last 24 hours" if sent < LOOKED_AT else f"The latest {sent:,}"]
    if late:
        parts.append(f"{late:,} tried in vain so far")
    if lost:
        parts.append(f"{lost:,} given up")
    return ", ".join(parts) + "."


def failing(limit: int) -> list[Endpoint]:
    """Endpoints of this schema that do nothing but fail, or that the portal switched off."""
    found = Endpoint.objects.filter(deleted_at=None).filter(
        Q(enabled=True, failing_since__isnull=False) | (Q(enabled=False) & ~Q(disabled_reason=""))
    )
    return list(found.order_by("failing_since", "pk")[:limit])


def since_words(moment: datetime | None, now: datetime) -> str:
    """For how long: 3 min, 5 h, 2 days."""
    if moment is None:
        return ""
    age = max(now - moment, timedelta())
    if age < timedelta(hours=1):
        return f"{int(age.total_seconds() // 60)} min"
    return f"{int(age.total_seconds() // 3600)} h" if age < timedelta(days=2) else f"{age.days} days"
