"""Switches: which PBX is connected, by what address and secrets, and the token by which it speaks to this portal."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenants.changes import Actor, announce
from tenants.crypto import decrypt, encrypt, new_token, token_hash
from tenants.models import Switch
from tenants.values import choice, clean_fields, flag, text

TOKEN_PREFIX = "vls"  # noqa: S105 - the visible start of every switch token
_MAX_JSON = 10_000


def switch_of_token(token: str) -> Switch | None:
    """The enabled switch this token belongs to."""
    return Switch.objects.filter(token_hash=token_hash(token), enabled=True).first() if token else None


def credentials_of(switch: Switch) -> dict[str, Any]:
    stored = decrypt(switch.credentials)
    return dict(json.loads(stored)) if stored else {}


@transaction.atomic
def create_switch(actor: Actor, given: Mapping[str, Any]) -> tuple[Switch, str]:
    """Returns the switch and its token, which cannot be read again."""
    cleaned = clean_fields({"name": "", "kind": "", **given}, {**_CLEANERS, "kind": choice(*Switch.Kind.values)})
    token = new_token(TOKEN_PREFIX)
    switch = Switch(**_stored(cleaned), token_hash=token_hash(token), token_hint=_hint(token))
    _save(switch)
    announce(actor, "switch.created", subject=switch.name, subject_id=switch.pk, after=_told(cleaned))
    return switch, token


@transaction.atomic
def change_switch(actor: Actor, switch: Switch, given: Mapping[str, Any]) -> Switch:
    """A kind stays what it is. Credentials are replaced as a whole, and only when given."""
    cleaned = clean_fields(given, _CLEANERS)
    before = {name: getattr(switch, name) for name in cleaned if name != "credentials"}
    for name, value in _stored(cleaned).items():
        setattr(switch, name, value)
    _save(switch)
    after = {name: value for name, value in _told(cleaned).items() if before.get(name) != value}
    if after:
        before = {name: value for name, value in before.items() if name in after}
        announce(actor, "switch.changed", subject=switch.name, subject_id=switch.pk, before=before, after=after)
    return switch


@transaction.atomic
def rotate_token(actor: Actor, switch: Switch) -> str:
    """The former token stops working at once."""
    token = new_token(TOKEN_PREFIX)
    before = switch.token_hint
    switch.token_hash, switch.token_hint = token_hash(token), _hint(token)
    switch.save(update_fields=["token_hash", "token_hint"])
    announce(
        actor, "switch.token_rotated", subject=switch.name, subject_id=switch.pk,
        before={"token": before}, after={"token": switch.token_hint},
    )  # fmt: skip
    return token


@transaction.atomic
def delete_switch(actor: Actor, switch: Switch) -> None:
    """Its trunks stay, without a switch; commands still waiting for it are gone."""
    switch_id = switch.pk
    switch.delete()
    announce(actor, "switch.deleted", subject=switch.name, subject_id=switch_id, before={"kind": switch.kind})


def _json_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValidationError("This must be a JSON object.")
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (UnicodeEncodeError, ValueError) as error:
        raise ValidationError("This holds half a character, or something that is no number.") from error
    if len(written) > _MAX_JSON or b"\\u0000" in written:
        raise ValidationError(f"Use at most {_MAX_JSON} bytes, and no NUL.")
    return value


_CLEANERS = {
    "name": text(100),
    "enabled": flag,
    "address": _json_object,
    "credentials": _json_object,
}


def _stored(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    stored = dict(cleaned)
    if "credentials" in stored:
        stored["credentials"] = encrypt(json.dumps(stored["credentials"])) if stored["credentials"] else ""
    return stored


def _told(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """For the audit trail: that the credentials changed, never what they are."""
    return {name: "replaced" if name == "credentials" else value for name, value in cleaned.items()}


def _hint(token: str) -> str:
    return f"…{token[-4:]}"


def _save(switch: Switch) -> None:
    try:
        with transaction.atomic():
            switch.save()
    except IntegrityError as error:
        raise ValidationError({"name": ["Another switch has this name."]}) from error
