"""Trunks: lines to the outside, a tenant's own or shared by all."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenants.changes import Actor, announce
from tenants.models import Switch, Tenant, Trunk
from tenants.values import clean_fields, row_of, text

_CLEANERS = {
    "name": text(100),
    "switch_name": text(100, blank=True),
    "host": text(253, blank=True),
    "switch": row_of(Switch.objects.all, "switch"),
    "tenant": row_of(lambda: Tenant.objects.exclude(schema_name="public"), "tenant"),
}


@transaction.atomic
def create_trunk(actor: Actor, given: Mapping[str, Any]) -> Trunk:
    cleaned = clean_fields({"name": "", **given}, _CLEANERS)
    trunk = Trunk(**cleaned)
    _save(trunk)
    announce(actor, "trunk.created", subject=trunk.name, subject_id=trunk.pk, after=_told(cleaned))
    return trunk


@transaction.atomic
def change_trunk(actor: Actor, trunk: Trunk, given: Mapping[str, Any]) -> Trunk:
    cleaned = clean_fields(given, _CLEANERS)
    before = {name: getattr(trunk, name) for name, value in cleaned.items() if getattr(trunk, name) != value}
    after = {name: cleaned[name] for name in before}
    for name, value in after.items():
        setattr(trunk, name, value)
    _save(trunk)
    if after:
        announce(
            actor, "trunk.changed", subject=trunk.name, subject_id=trunk.pk, before=_told(before), after=_told(after)
        )
    return trunk


@transaction.atomic
def delete_trunk(actor: Actor, trunk: Trunk) -> None:
    """Inbound rules bound to it go with it."""
    trunk_id, rules = trunk.pk, [str(rule) for rule in trunk.inbound_rules.all()]
    trunk.delete()
    announce(actor, "trunk.deleted", subject=trunk.name, subject_id=trunk_id, before={"inbound_rules": rules})


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Switch | Tenant) else value for name, value in values.items()}


def _save(trunk: Trunk) -> None:
    try:
        with transaction.atomic():
            trunk.save()
    except IntegrityError as error:
        raise ValidationError({"name": ["Another trunk has this name."]}) from error
