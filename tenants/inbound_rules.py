"""Inbound rules: which number leads to which tenant. A number on a trunk, or on all, leads to one tenant only."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenants.changes import Actor, announce
from tenants.models import InboundRule, Tenant, Trunk
from tenants.values import choice, clean_fields, did, row_of, text

_tenant = row_of(lambda: Tenant.objects.exclude(schema_name="public"), "tenant")


def _required_tenant(value: Any) -> Tenant:
    tenant = _tenant(value)
    if tenant is None:
        raise ValidationError("Choose a tenant.")
    return tenant  # type: ignore[no-any-return]


_CLEANERS = {
    "kind": choice(*InboundRule.Kind.values),
    "number": did,
    "trunk": row_of(Trunk.objects.all, "trunk"),
    "tenant": _required_tenant,
    "note": text(200, blank=True),
}


@transaction.atomic
def create_inbound_rule(actor: Actor, given: Mapping[str, Any]) -> InboundRule:
    cleaned = clean_fields({"number": "", "tenant": None, **given}, _CLEANERS)
    rule = InboundRule(**cleaned)
    _save(rule)
    announce(actor, "inbound_rule.created", subject=str(rule), subject_id=rule.pk, after=_told(cleaned))
    return rule


@transaction.atomic
def change_inbound_rule(actor: Actor, rule: InboundRule, given: Mapping[str, Any]) -> InboundRule:
    cleaned = clean_fields(given, _CLEANERS)
    before = {name: getattr(rule, name) for name, value in cleaned.items() if getattr(rule, name) != value}
    after = {name: cleaned[name] for name in before}
    for name, value in after.items():
        setattr(rule, name, value)
    _save(rule)
    if after:
        announce(
            actor, "inbound_rule.changed", subject=str(rule), subject_id=rule.pk,
            before=_told(before), after=_told(after),
        )  # fmt: skip
    return rule


@transaction.atomic
def delete_inbound_rule(actor: Actor, rule: InboundRule) -> None:
    rule_id, tenant = rule.pk, rule.tenant
    rule.delete()
    announce(actor, "inbound_rule.deleted", subject=str(rule), subject_id=rule_id, before={"tenant": tenant.name})


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Trunk | Tenant) else value for name, value in values.items()}


def _save(rule: InboundRule) -> None:
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError as error:
        raise ValidationError({"number": [_whose(rule)]}) from error


def _whose(rule: InboundRule) -> str:
    taken = InboundRule.objects.select_related("tenant").filter(kind=rule.kind, number=rule.number, trunk=rule.trunk)
    other = taken.exclude(pk=rule.pk).first()
    where = f"on the trunk {rule.trunk}" if rule.trunk else "on any trunk"
    leads = f" leads to {other.tenant.name} already" if other else " has just got a rule"
    return f"The {rule.get_kind_display()} {rule.number} {where}{leads}. A number leads to one tenant."
