"""Extensions: numbers that ring devices, with their recording switches and their SIP password as digests."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import Extension, ExtensionCredential, User
from accounts.numbers import let_go, take_up
from accounts.passwords import new_password
from accounts.people import create_user
from tenants.changes import Actor, announce
from tenants.models import Tenant
from tenants.schemas import current_schema
from tenants.sip_domains import domains_of
from tenants.values import Cleaner, clean_fields, flag, row_of, text
from tenants.versions import save_changes

_NUMBER = re.compile(r"[0-9*#]{1,32}", re.ASCII)
_CALLER_ID = re.compile(r"\+?[0-9]{1,31}", re.ASCII)
_SIP_PASSWORD = re.compile(r"[\x21-\x7e]{8,64}", re.ASCII)  # what every device can be given


def number(value: Any) -> str:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise ValidationError("Use 1 to 32 digits, * and #.")
    return value


def caller_id(value: Any) -> str:
    if not isinstance(value, str) or (value and not _CALLER_ID.fullmatch(value)):
        raise ValidationError("Use up to 31 digits, with or without a leading +.")
    return value


def _user(value: Any) -> Any:
    user = row_of(User.objects.all, "user")(value)
    if user is None:
        raise ValidationError("An extension belongs to a user.")
    return user


_CHANGEABLE: Mapping[str, Cleaner] = {
    "display_name": text(120, blank=True),
    "record_audio": flag,
    "record_video": flag,
    "outbound_caller_id": caller_id,
    "enabled": flag,
    "user": _user,
}


@transaction.atomic
def create_extension(actor: Actor, given: Mapping[str, Any], *, sip_password: str = "") -> tuple[Extension, str]:
    """Returns the extension and its SIP password, a generated one unless given: it cannot be read again.

    An extension always has a user; unless one is named, that of its number's name, who may be new and not sign in.
    """
    cleaned = clean_fields({"number": "", **given}, {**_CHANGEABLE, "number": number})
    if "user" not in cleaned:
        cleaned["user"] = _user_named(actor, cleaned["number"], cleaned.get("display_name", ""))
    extension = Extension(**cleaned)
    try:
        with transaction.atomic():
            extension.save()
    except IntegrityError as error:
        raise ValidationError(_taken(extension)) from error
    take_up(extension.number, extension.user)
    announce(actor, "extension.created", subject=extension.number, subject_id=extension.pk, after=_told(cleaned))
    return extension, set_sip_password(actor, extension, sip_password)


@transaction.atomic
def change_extension(
    actor: Actor, extension: Extension, given: Mapping[str, Any], *, version: int | None = None
) -> Extension:
    cleaned = clean_fields(given, _CHANGEABLE)
    try:
        with transaction.atomic():
            before, after = save_changes(extension, cleaned, version)
    except IntegrityError as error:
        raise ValidationError({"user": ["This user has another extension."]}) from error
    if "user" in after:
        let_go(extension.number, before["user"].pk if before["user"] else None)
        take_up(extension.number, extension.user)
    if after:
        announce(
            actor, "extension.changed", subject=extension.number, subject_id=extension.pk,
            before=_told(before), after=_told(after),
        )  # fmt: skip
    return extension


@transaction.atomic
def set_sip_password(actor: Actor, extension: Extension, sip_password: str = "") -> str:
    """Makes the digest for every SIP domain the tenant has now, and only for those."""
    password = sip_password or new_password()
    if not _SIP_PASSWORD.fullmatch(password):
        raise ValidationError({"sip_password": ["Use 8 to 64 letters, digits and signs of ASCII, no spaces."]})
    ExtensionCredential.objects.filter(extension=extension).delete()
    ExtensionCredential.objects.bulk_create(
        ExtensionCredential(extension=extension, realm=realm, ha1=ha1(extension.number, realm, password))
        for realm in realms_here()
    )
    announce(actor, "extension.sip_password_set", subject=extension.number, subject_id=extension.pk)
    return password


@transaction.atomic
def delete_extension(actor: Actor, extension: Extension) -> None:
    """Frees the number. Calls keep it as they were, and stay those of whoever had it then."""
    extension_id = extension.pk
    let_go(extension.number, extension.user_id)
    extension.delete()
    announce(
        actor, "extension.deleted", subject=extension.number, subject_id=extension_id,
        before={"display_name": extension.display_name},
    )  # fmt: skip


def ha1(number: str, realm: str, password: str) -> str:
    """RFC 2617, section 3.2.2.2; the RFC fixes MD5."""
    return hashlib.md5(f"{number}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()


def realms_here() -> list[str]:
    """The SIP domains of the tenant whose schema this is."""
    tenant = Tenant.objects.filter(schema_name=current_schema()).first()
    return domains_of(tenant) if tenant else []


def realms_without_password(extension: Extension) -> list[str]:
    """SIP domains added after the password was set: devices cannot register there until it is set anew."""
    have = set(extension.credentials.values_list("realm", flat=True))
    return [realm for realm in realms_here() if realm not in have]


def _user_named(actor: Actor, number: str, display_name: str) -> User:
    if Extension.objects.filter(number=number).exists():
        raise ValidationError({"number": ["Another extension has this number."]})
    found = User.objects.filter(username__iexact=number).first()
    return found or create_user(actor, {"username": number, "display_name": display_name})


def _taken(extension: Extension) -> dict[str, list[str]]:
    if Extension.objects.filter(number=extension.number).exists():
        return {"number": ["Another extension has this number."]}
    return {"user": ["This user has another extension."]}


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.username if isinstance(value, User) else value for name, value in values.items()}
