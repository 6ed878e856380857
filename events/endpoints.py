"""Webhook endpoints: what they may be set to, and the verbs that change them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from events import catcher, signing, wake
from events.models import Endpoint, Event, Profile
from events.outgoing import Credentials, RefusedUrlError, check_destination
from events.types import DEFAULT, unknown_types
from tenants.changes import SYSTEM, Actor, announce
from tenants.crypto import decrypt, encrypt
from tenants.errors import StaleError
from tenants.event_types import keep_event_types
from tenants.schemas import current_schema

ENDPOINTS_MAX = 50
PASSWORD_LENGTH = (6, 64)
TOKEN_LENGTH = 2000
ROTATION = timedelta(hours=24)
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
    _check(settings, has_password=False, has_token=False)
    if live_endpoints().count() >= ENDPOINTS_MAX:
        raise EndpointError("url", "too_many_endpoints", f"A tenant has at most {ENDPOINTS_MAX} endpoints.")
    secret = signing.new_secret()
    with transaction.atomic():
        endpoint = Endpoint(secret=encrypt(secret), missed_since=None if settings.enabled else timezone.now())
        _apply(endpoint, settings)
        endpoint.save()
        announce(actor, "endpoint.created", subject=endpoint.url, subject_id=endpoint.pk, after=_told(endpoint))
    return endpoint, secret


def change_endpoint(endpoint: Endpoint, settings: Settings, *, actor: Actor, version: int | None = None) -> Endpoint:
    """Refuses when `version` is given and no longer the endpoint's. Switching it on forgets why it was disabled."""
    _check(settings, has_password=bool(endpoint.password), has_token=bool(endpoint.token), known_url=endpoint.url)
    with transaction.atomic():
        locked = live_endpoints().select_for_update().filter(pk=endpoint.pk).first()
        if locked is None or (version is not None and locked.version != version):
            raise StaleError
        before = _told(locked)
        was_enabled = locked.enabled
        _apply(locked, settings)
        _switch(locked, was_enabled=was_enabled)
        locked.version += 1
        locked.save()
        after = _told(locked)
        changed = {name for name in after if before[name] != after[name]}
        if settings.password is not None or settings.token is not None:
            changed.add("credentials")
        announce(
            actor, "endpoint.changed", subject=locked.url, subject_id=locked.pk,
            before={name: before[name] for name in changed & before.keys()},
            after={name: after.get(name, "replaced") for name in changed},
        )  # fmt: skip
        if locked.enabled:
            schema = current_schema()
            transaction.on_commit(lambda: wake.readers(schema, deliveries=True))
    return locked


def _switch(endpoint: Endpoint, *, was_enabled: bool) -> None:
    """What it missed stays on offer over several times of being off, and is forgotten when there is nothing."""
    if was_enabled and not endpoint.enabled:
        endpoint.missed_since = endpoint.missed_since or timezone.now()
    elif endpoint.enabled and not was_enabled:
        endpoint.disabled_reason = ""
        endpoint.disabling_untold = False
        endpoint.failing_since = None
        passed_by = Event.objects.filter(type__in=endpoint.event_types)
        if endpoint.missed_since and not passed_by.filter(written_at__gte=endpoint.missed_since).exists():
            endpoint.missed_since = None


def delete_endpoint(endpoint: Endpoint, *, actor: Actor) -> None:
    """Gone at once for everyone; its deliveries and secrets follow in batches (`prune_deleted`)."""
    with transaction.atomic():
        gone = live_endpoints().filter(pk=endpoint.pk).update(
            deleted_at=timezone.now(), enabled=False, password="", token="", secret="", previous_secret=""
        )  # fmt: skip
        if gone:
            announce(actor, "endpoint.deleted", subject=endpoint.url, subject_id=endpoint.pk, before=_told(endpoint))


def rotate_secret(endpoint: Endpoint, *, actor: Actor) -> str:
    """A new signing secret, shown this once; the old one signs beside it for a day."""
    secret = signing.new_secret()
    with transaction.atomic():
        Endpoint.objects.filter(pk=endpoint.pk).update(
            previous_secret=F("secret"), previous_secret_until=timezone.now() + ROTATION, secret=encrypt(secret),
            version=F("version") + 1,
        )  # fmt: skip
        announce(actor, "endpoint.secret_rotated", subject=endpoint.url, subject_id=endpoint.pk)
    return secret


def disable_endpoint(endpoint_id: int, reason: str) -> None:
    """The portal's own decision: the configuration and what waits are kept, and the page says why."""
    with transaction.atomic():
        disabled = live_endpoints().filter(pk=endpoint_id, enabled=True).update(
            enabled=False, disabled_reason=reason[:300], disabling_untold=True, version=F("version") + 1,
            missed_since=Coalesce("missed_since", Now()),
        )  # fmt: skip
        if disabled:
            url = Endpoint.objects.values_list("url", flat=True).get(pk=endpoint_id)
            announce(
                SYSTEM, "endpoint.disabled", subject=url, subject_id=endpoint_id,
                before={"enabled": True}, after={"enabled": False, "reason": reason},
            )  # fmt: skip


def signing_keys(endpoint: Endpoint, now: datetime) -> list[str]:
    """The secrets that sign now, the newest first."""
    keys = [decrypt(endpoint.secret)]
    if endpoint.previous_secret and endpoint.previous_secret_until and endpoint.previous_secret_until > now:
        keys.append(decrypt(endpoint.previous_secret))
    return keys


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


def _told(endpoint: Endpoint) -> Mapping[str, Any]:
    """What the audit trail may know of an endpoint."""
    return {
        "url": endpoint.url, "enabled": endpoint.enabled, "auth": str(endpoint.auth), "username": endpoint.username,
        "event_types": list(endpoint.event_types), "profile": str(endpoint.profile),
    }  # fmt: skip


def _check(settings: Settings, *, has_password: bool, has_token: bool, known_url: str = "") -> None:
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
    _check_credentials(settings, has_password=has_password, has_token=has_token)


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
