"""What the catcher caught: taken within bounds, verified, kept for a while, forgotten."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from events import catcher as catchers
from events import endpoints, signing
from events.models import Catcher, CaughtRequest
from tenants.changes import Actor, announce

KEPT = 50
KEPT_FOR = timedelta(hours=24)
BODY_BYTES = 256 * 1024
BURST = timedelta(seconds=5)  # within it no more than are kept
_TOLERANCE = timedelta(minutes=5)  # of the timestamp, as the documentation asks of every receiver
_HEADERS = 60
_HEADER_LENGTH = 2000
_HIDDEN = "••••"


def take(catcher: Catcher, headers: Mapping[str, str], body: bytes, now: datetime) -> CaughtRequest | None:
    """Keeps a request and forgets the oldest beyond those kept; None when they come too fast."""
    with transaction.atomic():
        Catcher.objects.select_for_update().filter(pk=catcher.pk).first()
        oldest = catcher.caught.order_by("-id")[KEPT - 1 : KEPT].first()
        if oldest is not None and oldest.at > now - BURST:
            return None
        taken = CaughtRequest.objects.create(
            catcher=catcher,
            at=now,
            headers=_kept(headers),
            body=body,
            signature=_signature(catcher, headers, body, now),
        )
        if oldest is not None:
            catcher.caught.filter(pk__lte=oldest.pk).delete()
    return taken


def caught_by(catcher: Catcher, now: datetime) -> QuerySet[CaughtRequest]:
    """Newest first."""
    return catcher.caught.filter(at__gte=now - KEPT_FOR).order_by("-id")


def clear(catcher: Catcher, *, actor: Actor) -> None:
    with transaction.atomic():
        catcher.caught.all().delete()
        announce(actor, "catcher.cleared", subject="Request catcher")


def forget(now: datetime) -> None:
    CaughtRequest.objects.filter(at__lt=now - KEPT_FOR).delete()


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Without what opens a door: of credentials the method alone, of cookies nothing."""
    shown = {}
    for name, value in list(headers.items())[:_HEADERS]:
        if name.lower() == "cookie":
            continue
        secret = name.lower() in {"authorization", "proxy-authorization"}
        shown[name] = f"{value.split(' ', 1)[0][:20]} {_HIDDEN}" if secret else value[:_HEADER_LENGTH]
    return shown


def _signature(catcher: Catcher, headers: Mapping[str, str], body: bytes, now: datetime) -> CaughtRequest.Signature:
    """By the secrets of the endpoints that lead here."""
    given = {name.lower(): value for name, value in headers.items()}
    message_id, at, signed = (given.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
    if not signed:
        return CaughtRequest.Signature.NONE
    if not (at.isascii() and at.isdigit() and abs(int(at[:18]) - now.timestamp()) <= _TOLERANCE.total_seconds()):
        return CaughtRequest.Signature.WRONG
    leading_here = endpoints.live_endpoints().filter(url=catchers.address_of(catcher))
    keys = [key for endpoint in leading_here for key in endpoints.signing_keys(endpoint, now)]
    fits = signing.verifies(signed, keys, message_id, int(at), body)
    return CaughtRequest.Signature.VERIFIED if fits else CaughtRequest.Signature.WRONG
