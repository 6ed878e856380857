"""What a tenant's administrators are told by mail: an endpoint that does nothing but fail, and one that was disabled.

The database keeps what was told, so each failing period is told once, and a mail that could not go is tried again.
"""

import smtplib
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.urls import reverse

from accounts.models import User
from accounts.roles import Role
from events.deliveries import GIVE_UP_ON_ENDPOINT
from events.endpoints import live_endpoints
from events.models import Attempt, Endpoint
from tenants.addresses import tenant_address
from tenants.models import Tenant

TELL_AFTER = timedelta(days=1)
_MAIL_SECONDS = 15

log = structlog.get_logger(__name__)


def untold_failures(now: datetime) -> "QuerySet[Endpoint]":
    """Endpoints that have done nothing but fail for a day, and nobody was told in this period."""
    return live_endpoints().filter(
        Q(failure_told_at=None) | Q(failure_told_at__lt=F("failing_since")),
        enabled=True, failing_since__lte=now - TELL_AFTER,
    )  # fmt: skip


def untold_disablings() -> "QuerySet[Endpoint]":
    return live_endpoints().filter(enabled=False, disabling_untold=True)


def is_something_untold(now: datetime) -> bool:
    return untold_failures(now).exists() or untold_disablings().exists()


def tell_administrators(tenant: Tenant, now: datetime) -> None:
    """Each by a mail of their own, in their own time zone. Without anybody to write to, the page alone tells."""
    for endpoint_id in untold_failures(now).values_list("id", flat=True):
        _tell(tenant, untold_failures(now), endpoint_id, failing_mail, {"failure_told_at": now})
    for endpoint_id in untold_disablings().values_list("id", flat=True):
        _tell(tenant, untold_disablings(), endpoint_id, disabled_mail, {"disabling_untold": False})


Mail = Callable[[Endpoint, str, ZoneInfo], tuple[str, str]]


def _tell(
    tenant: Tenant, untold: "QuerySet[Endpoint]", endpoint_id: int, mail: Mail, told: dict[str, datetime | bool]
) -> None:
    """Holds the row while it sends, so that nobody is told twice."""
    with transaction.atomic():
        endpoint = untold.select_for_update(skip_locked=True).filter(pk=endpoint_id).first()
        if endpoint is None:
            return
        messages = [
            _addressed(tenant, endpoint, mail(endpoint, last_reason(endpoint), _zone(tenant, person)), person)
            for person in administrators()
        ]
        if _sent(messages) or not messages:
            Endpoint.objects.filter(pk=endpoint_id).update(**told)


def administrators() -> list[User]:
    return list(User.objects.filter(role=Role.ADMIN, is_active=True).exclude(email="").order_by("id"))


def last_reason(endpoint: Endpoint) -> str:
    attempts = Attempt.objects.filter(delivery__endpoint=endpoint, delivery__event__isnull=False)
    return attempts.order_by("-id").values_list("reason", flat=True).first() or ""


def failing_mail(endpoint: Endpoint, reason: str, zone: ZoneInfo) -> tuple[str, str]:
    since = endpoint.failing_since
    assert since is not None  # noqa: S101 - the query asked for it
    return (
        f"Deliveries to {_host(endpoint)} fail",
        f"Every attempt to deliver events to {_address(endpoint)} has failed since {_moment(since, zone)}.\n"
        f"The last one: {reason}\n\n"
        "Nothing is lost: each event is tried again for three days and can be sent again after that. If all attempts"
        f" go on failing, the endpoint is switched off on {_moment(since + GIVE_UP_ON_ENDPOINT, zone)}.\n",
    )


def disabled_mail(endpoint: Endpoint, reason: str, zone: ZoneInfo) -> tuple[str, str]:
    since = endpoint.failing_since
    silent = f"It has acknowledged nothing since {_moment(since, zone)}.\n" if since else ""
    return (
        f"Deliveries to {_host(endpoint)} are switched off",
        f"The endpoint {_address(endpoint)} was switched off.\n"
        f"{endpoint.disabled_reason}\n{silent}\n"
        "Nothing more is sent to it. What waits is kept; when you enable it again, it can be sent what it missed.\n",
    )


def _addressed(tenant: Tenant, endpoint: Endpoint, mail: tuple[str, str], person: User) -> EmailMessage:
    subject, text = mail
    page = tenant_address(tenant, reverse("event-url-endpoint", urlconf=settings.ROOT_URLCONF, args=[endpoint.pk]))
    return EmailMessage(f"{tenant.name}: {subject}", f"{text}\nThe delivery log: {page}\n", to=[person.email])


def _sent(messages: list[EmailMessage]) -> bool:
    """Whether anybody was reached; one bad address keeps nobody else from knowing."""
    reached = False
    for message in messages:
        try:
            get_connection(timeout=_MAIL_SECONDS).send_messages([message])
            reached = True
        except (smtplib.SMTPException, OSError) as error:
            log.warning("administrator not told of an endpoint", error=type(error).__name__)
    return reached


def _zone(tenant: Tenant, person: User) -> ZoneInfo:
    return ZoneInfo(person.time_zone or tenant.time_zone)


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} ({zone.key})"


def _host(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.url).hostname or ""


def _address(endpoint: Endpoint) -> str:
    """Without the query, where some keep a key."""
    return urlsplit(endpoint.url)._replace(query="", fragment="").geturl()
