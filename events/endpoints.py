"""Webhook endpoints: what they may be set to, and the verbs that change them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef, QuerySet
from django.db.models.functions import Least
from django.utils import timezone

from events import catcher, log, signing, wake
from events.models import Delivery, Endpoint, Event, Profile
from events.outgoing import Credentials, RefusedUrlError, check_destination, origin_of
from events.types import DEFAULT, unknown_types
from tenants.changes import SYSTEM, Actor, announce
from tenants.crypto import decrypt, encrypt
from tenants.errors import RefusedError, StaleError
from tenants.event_types import keep_event_types
from tenants.rotation import renewed
from tenants.schemas import current_schema

ENDPOINTS_MAX = 50
PASSWORD_LENGTH = (6, 64)
TOKEN_LENGTH = 2000
ROTATION = timedelta(hours=24)
FORMER_SECRETS_MAX = 4  # that sign beside the newest: each one makes the header longer
ENDED_IN_VAIN = (Delivery.State.EXHAUSTED, Delivery.State.STOPPED)
_WITH_PASSWORD = {Endpoint.Auth.BASIC, Endpoint.Auth.DIGEST}


class EndpointError(Exception):
    """A setting that cannot be: `field` names it, `code` is stable, the message a sentence."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Settings:
    """What a person or a program sets. A secret that is None stays as it is."""

    url: str
    enabled: bool = True
    auth: str = Endpoint.Auth.DISABLE
    username: str = ""
    password: str | None = None
    token: str | None = None
    event_types: tuple[str, ...] = (DEFAULT,)
    profile: str = Profile.V16


def live_endpoints() -> QuerySet[Endpoint]:
    return Endpoint.objects.filter(deleted_at=None).order_by("id")


def create_endpoint(settings: Settings, *, actor: Actor) -> tuple[Endpoint, str]:
    """The endpoint and its signing secret, which is shown this once."""
    _check(settings)
    _check_credentials(settings, has_password=False, has_token=False)
    if live_endpoints().count() >= ENDPOINTS_MAX:
        raise EndpointError("url", "too_many_endpoints", f"A tenant has at most {ENDPOINTS_MAX} endpoints.")
    secret = signing.new_secret()
    with transaction.atomic():
        last = log.hold()
        endpoint = Endpoint(secret=encrypt(secret))
        _apply(endpoint, settings)
        if not endpoint.enabled:
            endpoint.missed_since, endpoint.missed_after = timezone.now(), last
        endpoint.save()
        announce(actor, "endpoint.created", subject=endpoint.url, subject_id=endpoint.pk, after=_told(endpoint))
    return endpoint, secret


def change_endpoint(endpoint: Endpoint, settings: Settings, *, actor: Actor, version: int | None = None) -> Endpoint:
    """Refuses when `version` is given and no longer the endpoint's. Switching it on forgets why it was disabled.

    No event is written meanwhile: each one finds the endpoint either on or off, and both sides agree which.
    """
    _check(settings, known_url=endpoint.url)
    with transaction.atomic():
        last = log.hold()  # before the row, as a writer takes them
        locked = live_endpoints().select_for_update(no_key=True).filter(pk=endpoint.pk).first()
        if locked is None or (version is not None and locked.version != version):
            raise StaleError
        _check_kept_credentials(locked, settings)
        before = _told(locked)
        was_enabled, had_credentials = locked.enabled, _has_credentials(locked)
        _apply(locked, settings)
        if was_enabled and not locked.enabled:
            _begin_missing(locked, last, since=locked.failing_since)
        elif locked.enabled and not was_enabled:
            _switched_on(locked)
        locked.version += 1
        locked.save()
        after = _told(locked)
        changed = {name for name in after if before[name] != after[name]}
        told = {name: after[name] for name in changed}
        if had_credentials and not _has_credentials(locked):
            told["credentials"] = "removed"
        elif settings.password is not None or settings.token is not None:
            told["credentials"] = "replaced"
        announce(
            actor, "endpoint.changed", subject=locked.url, subject_id=locked.pk,
            before={name: before[name] for name in changed}, after=told,
        )  # fmt: skip
        if locked.enabled:
            schema = current_schema()
            transaction.on_commit(lambda: wake.readers(schema, deliveries=True))
    return locked


def _begin_missing(endpoint: Endpoint, last: int, *, since: datetime | None) -> None:
    """It misses what comes after `last`, and what ended in vain since it has failed; earlier misses stay on offer."""
    first = None
    if since is not None:
        ended = Delivery.objects.filter(endpoint=endpoint, event__isnull=False, state__in=ENDED_IN_VAIN)
        first = ended.filter(finished_at__gte=since).aggregate(first=Min("event"))["first"]
    after = last if first is None else first - 1
    endpoint.missed_since = endpoint.missed_since or timezone.now()
    endpoint.missed_after = after if endpoint.missed_after is None else min(after, endpoint.missed_after)


def _switched_on(endpoint: Endpoint) -> None:
    endpoint.disabled_reason = ""
    endpoint.disabling_untold = False
    endpoint.failing_since = None
    if endpoint.missed_after is not None and not missed(endpoint, after=endpoint.missed_after).exists():
        endpoint.missed_since = endpoint.missed_after = None


def missed(endpoint: Endpoint, *, after: int) -> QuerySet[Event]:
    """Events of the types it wants that never got to it and are not on their way either."""
    in_hand = Delivery.objects.filter(endpoint=endpoint, event=OuterRef("pk")).exclude(state__in=ENDED_IN_VAIN)
    return Event.objects.filter(~Exists(in_hand), id__gt=after, type__in=endpoint.event_types).order_by("id")


def note_missed(endpoint_id: int, event_id: int) -> None:
    """A delivery ended in vain while there is an offer to send what was missed: it is a part of that."""
    Endpoint.objects.filter(pk=endpoint_id, missed_after__gte=event_id).update(
        missed_after=Least(F("missed_after"), event_id - 1)
    )


def delete_endpoint(endpoint: Endpoint, *, actor: Actor) -> None:
    """Gone at once for everyone; its deliveries and secrets follow in batches (`prune_deleted`)."""
    with transaction.atomic():
        gone = live_endpoints().filter(pk=endpoint.pk).update(
            deleted_at=timezone.now(), enabled=False, password="", token="", secret="", former_secrets=[]
        )  # fmt: skip
        if gone:
            announce(actor, "endpoint.deleted", subject=endpoint.url, subject_id=endpoint.pk, before=_told(endpoint))


def rotate_secret(endpoint: Endpoint, *, actor: Actor) -> str:
    """A new signing secret, shown this once; each former one signs beside it for a day from its own rotation."""
    secret = signing.new_secret()
    now = timezone.now()
    with transaction.atomic():
        locked = live_endpoints().select_for_update(no_key=True).filter(pk=endpoint.pk).first()
        if locked is None:
            raise StaleError
        former = [one for one in locked.former_secrets if _signs_until(one) > now]
        if len(former) >= FORMER_SECRETS_MAX:
            hours = math.ceil((_signs_until(former[-1]) - now) / timedelta(hours=1))
            raise RefusedError(
                "rotated_too_often",
                f"{len(former)} former secrets still sign for the 24 hours they were promised."
                f" Rotate again in {hours} hour{'' if hours == 1 else 's'}.",
            )
        locked.former_secrets = [{"secret": locked.secret, "until": (now + ROTATION).isoformat()}, *former]
        locked.secret = encrypt(secret)
        locked.version += 1
        locked.save(update_fields=["secret", "former_secrets", "version"])
        announce(actor, "endpoint.secret_rotated", subject=endpoint.url, subject_id=endpoint.pk)
    return secret


def disable_endpoint(endpoint_id: int, reason: str, *, if_failing_since_before: datetime | None = None) -> None:
    """The portal's own decision: the configuration and what waits are kept, and the page says why."""
    with transaction.atomic():
        last = log.hold()  # before the row, as a writer takes them
        on = live_endpoints().filter(pk=endpoint_id, enabled=True)
        if if_failing_since_before is not None:
            on = on.filter(failing_since__lt=if_failing_since_before)
        endpoint = on.select_for_update(no_key=True).first()
        if endpoint is None:
            return
        endpoint.enabled = False
        endpoint.disabled_reason = reason[:300]
        endpoint.disabling_untold = True
        endpoint.version += 1
        _begin_missing(endpoint, last, since=endpoint.failing_since)
        endpoint.save(
            update_fields=[
                "enabled", "disabled_reason", "disabling_untold", "version", "missed_since", "missed_after",
            ]
        )  # fmt: skip
        announce(
            SYSTEM, "endpoint.disabled", subject=endpoint.url, subject_id=endpoint_id,
            before={"enabled": True}, after={"enabled": False, "reason": reason},
        )  # fmt: skip


def signing_keys(endpoint: Endpoint, now: datetime) -> list[str]:
    """The secrets that sign now, the newest first."""
    former = [one["secret"] for one in endpoint.former_secrets if _signs_until(one) > now]
    return [decrypt(secret) for secret in (endpoint.secret, *former)]


def former_secrets_until(endpoint: Endpoint, now: datetime) -> list[datetime]:
    """Until when each former secret signs, of those that still do, the newest first."""
    return [until for until in map(_signs_until, endpoint.former_secrets) if until > now]


def renewed_former(former: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same by the newest key of the installation."""
    return [one | {"secret": renewed(one["secret"])} for one in former]


def _signs_until(former: Mapping[str, str]) -> datetime:
    return datetime.fromisoformat(former["until"])


def credentials_of(endpoint: Endpoint) -> Credentials:
    match endpoint.auth:
        case Endpoint.Auth.BASIC:
            return Credentials("basic", endpoint.username, decrypt(endpoint.password))
        case Endpoint.Auth.DIGEST:
            return Credentials("digest", endpoint.username, decrypt(endpoint.password))
        case Endpoint.Auth.BEARER:
            return Credentials("bearer", token=decrypt(endpoint.token))
        case _:
            return Credentials()


def _apply(endpoint: Endpoint, settings: Settings) -> None:
    keep_event_types(current_schema(), settings.event_types)
    endpoint.url = settings.url
    endpoint.enabled = settings.enabled
    endpoint.auth = settings.auth
    endpoint.username = settings.username
    endpoint.event_types = list(settings.event_types)
    endpoint.profile = settings.profile
    if settings.password is not None:
        endpoint.password = encrypt(settings.password)
    if settings.token is not None:
        endpoint.token = encrypt(settings.token)
    # What the method does not use is not kept: it could only go somewhere by mistake.
    if settings.auth not in _WITH_PASSWORD:
        endpoint.username = endpoint.password = ""
    if settings.auth != Endpoint.Auth.BEARER:
        endpoint.token = ""


def _has_credentials(endpoint: Endpoint) -> bool:
    return bool(endpoint.password or endpoint.token)


def _told(endpoint: Endpoint) -> Mapping[str, Any]:
    """What the audit trail may know of an endpoint."""
    return {
        "url": endpoint.url, "enabled": endpoint.enabled, "auth": str(endpoint.auth), "username": endpoint.username,
        "event_types": list(endpoint.event_types), "profile": str(endpoint.profile),
    }  # fmt: skip


def _check(settings: Settings, *, known_url: str = "") -> None:
    if settings.url != known_url and catcher.inside_of(settings.url) is None:
        try:
            check_destination(settings.url)
        except RefusedUrlError as error:
            raise EndpointError("url", error.code, error.message) from error
    if settings.auth not in Endpoint.Auth.values:
        raise EndpointError("auth", "auth_unknown", f"auth is one of {', '.join(Endpoint.Auth.values)}.")
    if settings.profile not in Profile.values:
        raise EndpointError("profile", "profile_unknown", f"profile is one of {', '.join(Profile.values)}.")
    if not settings.event_types:
        raise EndpointError("event_types", "event_types_empty", "Choose at least one event type.")
    if unknown := unknown_types(list(settings.event_types)):
        raise EndpointError("event_types", "event_type_unknown", f"There is no event type {unknown[0][:40]}.")


def _check_kept_credentials(endpoint: Endpoint, settings: Settings) -> None:
    """A secret that is kept goes on to the host it was given for, and to no other."""
    if origin_of(settings.url) != origin_of(endpoint.url):
        again = "The URL leads to another scheme, host or port now: enter the {} for it again."
        if settings.auth in _WITH_PASSWORD and settings.password is None and endpoint.password:
            raise EndpointError("password", "password_for_new_host", again.format("password"))
        if settings.auth == Endpoint.Auth.BEARER and settings.token is None and endpoint.token:
            raise EndpointError("token", "token_for_new_host", again.format("token"))
    _check_credentials(settings, has_password=bool(endpoint.password), has_token=bool(endpoint.token))


def _check_credentials(settings: Settings, *, has_password: bool, has_token: bool) -> None:
    low, high = PASSWORD_LENGTH
    if len(settings.username) > high or ":" in settings.username or not settings.username.isprintable():
        raise EndpointError("username", "username_malformed", f"A user name has up to {high} characters and no colon.")
    if settings.password is not None and not (
        low <= len(settings.password) <= high and settings.password.isprintable()
    ):
        raise EndpointError("password", "password_length", f"A password has {low} to {high} printable characters.")
    if settings.token is not None and not (
        1 <= len(settings.token) <= TOKEN_LENGTH and settings.token.isascii() and settings.token.isprintable()
        and " " not in settings.token
    ):  # fmt: skip
        raise EndpointError(
            "token", "token_malformed", f"A token has up to {TOKEN_LENGTH} plain characters without spaces."
        )
    if settings.auth in _WITH_PASSWORD and not settings.username:
        raise EndpointError("username", "username_missing", "This authentication method needs a user name.")
    if settings.auth in _WITH_PASSWORD and settings.password is None and not has_password:
        raise EndpointError("password", "password_missing", "This authentication method needs a password.")
    if settings.auth == Endpoint.Auth.BEARER and settings.token is None and not has_token:
        raise EndpointError("token", "token_missing", "This authentication method needs a token.")
