"""API tokens: a program's keys, each with a name, scopes and an end."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import ApiToken, User
from accounts.roles import GRANTS, Permission, Role
from tenants.changes import Actor, announce
from tenants.crypto import new_token, token_hash
from tenants.errors import RefusedError
from tenants.values import clean_fields, text

TOKEN_PREFIX = "vla"  # noqa: S105 - the visible start of every API token
_NOT_FOR_PROGRAMS = frozenset({Permission.PROFILE})


def scopes_for(user: User) -> list[Permission]:
    """What this user may hand to a token, in the order of `Permission`."""
    granted = GRANTS[Role(user.role)]
    return [permission for permission in Permission if permission in granted and permission not in _NOT_FOR_PROGRAMS]


def tokens() -> "QuerySet[ApiToken]":
    """Every token of this schema, the newest first; revoked ones stay as a record."""
    return ApiToken.objects.select_related("user").order_by("-id")


@transaction.atomic
def create_token(actor: Actor, user: User, given: Mapping[str, Any]) -> tuple[ApiToken, str]:
    """Returns the row and the token, which cannot be read again. No scopes means all that the owner may."""
    cleaned = clean_fields(
        {"name": "", **given}, {"name": text(100), "scopes": _scopes_of(user), "expires_at": _future}
    )
    secret = new_token(TOKEN_PREFIX)
    token = ApiToken.objects.create(**cleaned, user=user, token_hash=token_hash(secret), hint=f"…{secret[-4:]}")
    expires = token.expires_at.isoformat() if token.expires_at else ""
    announce(
        actor, "api_token.created", subject=token.name, subject_id=token.pk,
        after={"owner": user.username, "scopes": token.scopes, "expires_at": expires},
    )  # fmt: skip
    return token, secret


@transaction.atomic
def revoke_token(actor: Actor, token: ApiToken) -> ApiToken:
    """Takes effect with the next request."""
    now = timezone.now()
    if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
        raise RefusedError("already_revoked", "This token has been revoked already.")
    token.revoked_at = now
    announce(actor, "api_token.revoked", subject=token.name, subject_id=token.pk)
    return token


def _scopes_of(user: User) -> Any:
    allowed = scopes_for(user)

    def clean(value: Any) -> list[str]:
        if not isinstance(value, list) or any(not isinstance(scope, str) or scope not in allowed for scope in value):
            raise ValidationError("Choose from what this user may do.")
        return [scope for scope in allowed if scope in value]

    return clean


def _future(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None or value <= timezone.now():
        raise ValidationError("Choose a time in the future.")
    if value > timezone.now() + timedelta(days=3660):
        raise ValidationError("Choose a time within ten years.")
    return value
