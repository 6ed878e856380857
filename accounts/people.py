"""Users: made, changed, deactivated. One administrator always remains, so that nobody locks the door from outside."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts.models import User
from accounts.passwords import new_password
from accounts.roles import Role
from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.schemas import current_schema
from tenants.values import Cleaner, choice, clean_fields, flag, text, time_zone

_MAX_PASSWORD = 256


def username(value: Any) -> str:
    name = str(text(64)(value))
    if any(letter.isspace() for letter in name):
        raise ValidationError("Leave out spaces.")
    return name


def email(value: Any) -> str:
    address = str(text(254, blank=True)(value))
    if address:
        validate_email(address)
    return address


def own_time_zone(value: Any) -> str:
    return "" if value == "" else time_zone(value)


def roles_here() -> list[Role]:
    """A tenant's roles in a tenant, the system's on the system host."""
    return [Role.SYSTEM] if current_schema() == "public" else [Role.ADMIN, Role.QUEUE_MANAGER, Role.USER]


def _password(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        raise ValidationError("A password is a text.")
    if len(value) > _MAX_PASSWORD:
        raise ValidationError(f"Use at most {_MAX_PASSWORD} characters.")
    return value


PROFILE_FIELDS: Mapping[str, Cleaner] = {
    "display_name": text(120, blank=True),
    "email": email,
    "time_zone": own_time_zone,
}


def _fields() -> dict[str, Cleaner]:
    return {**PROFILE_FIELDS, "role": choice(*roles_here()), "is_active": flag, "username": username}


@transaction.atomic
def create_user(actor: Actor, given: Mapping[str, Any]) -> User:
    """Without a password the user cannot sign in until one is set."""
    cleaned = clean_fields({"username": "", "role": roles_here()[-1], **given}, {**_fields(), "password": _password})
    password = cleaned.pop("password", None)
    user = User(**cleaned)
    if password is not None:
        _validate(password, user)
    user.set_password(password)
    _save(user)
    announce(actor, "user.created", subject=user.username, subject_id=user.pk, after=cleaned)
    return user


@transaction.atomic
def change_user(actor: Actor, user: User, given: Mapping[str, Any]) -> User:
    """Deactivation acts at once: sessions and tokens of the user stop working."""
    cleaned = clean_fields(given, _fields())
    return _change(actor, user, cleaned)


@transaction.atomic
def change_profile(actor: Actor, user: User, given: Mapping[str, Any]) -> User:
    """What a person changes about themselves."""
    return _change(actor, user, clean_fields(given, PROFILE_FIELDS))


def _change(actor: Actor, user: User, cleaned: dict[str, Any]) -> User:
    if cleaned.keys() & {"role", "is_active"}:
        # In one order, before the user's own row: two who deactivate each other wait instead of meeting in a deadlock.
        list(_administrators().select_for_update().order_by("pk"))
    user.refresh_from_db(from_queryset=User.objects.select_for_update())
    before = {name: getattr(user, name) for name, value in cleaned.items() if getattr(user, name) != value}
    if not before:
        return user
    after = {name: cleaned[name] for name in before}
    was_administrator = _is_administrator(user)
    for name, value in after.items():
        setattr(user, name, value)
    if was_administrator and not _is_administrator(user):
        _refuse_last_administrator(user)
    _save(user, update_fields=list(after))
    announce(actor, "user.changed", subject=user.username, subject_id=user.pk, before=before, after=after)
    return user


@transaction.atomic
def set_password(actor: Actor, user: User, password: str) -> None:
    """Ends every session of the user; the door keeps the one it serves, if it is the user's own."""
    checked = _password(password)
    if checked is None:
        raise ValidationError("A password is a text.")
    _validate(checked, user)
    user.set_password(checked)
    user.save(update_fields=["password"])
    announce(actor, "user.password_set", subject=user.username, subject_id=user.pk)


def reset_password(actor: Actor, user: User) -> str:
    """A new password, to be shown once."""
    password = new_password()
    set_password(actor, user, password)
    return password


def _validate(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from error


def _is_administrator(user: User) -> bool:
    return user.is_active and user.role in {Role.ADMIN, Role.SYSTEM}


def _administrators() -> "QuerySet[User]":
    return User.objects.filter(is_active=True, role__in=[Role.ADMIN, Role.SYSTEM])


def _refuse_last_administrator(user: User) -> None:
    if not _administrators().exclude(pk=user.pk).exists():
        raise RefusedError("last_administrator", "This is the last active administrator. Make another one first.")


def _save(user: User, update_fields: list[str] | None = None) -> None:
    try:
        with transaction.atomic():
            user.save(update_fields=update_fields)
    except IntegrityError as error:
        raise ValidationError({"username": ["Another user has this name."]}) from error
