"""The SIP domains of a tenant: the primary one names its calls and is the realm of its digests."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenants.changes import Actor, announce
from tenants.errors import RefusedError
from tenants.models import SipDomain, Tenant
from tenants.values import clean_fields, sip_domain


def primary_domain(tenant: Tenant) -> str:
    return SipDomain.objects.filter(tenant=tenant, is_primary=True).values_list("domain", flat=True).first() or ""


def domains_of(tenant: Tenant) -> list[str]:
    """The primary one first."""
    return list(SipDomain.objects.filter(tenant=tenant).values_list("domain", flat=True))


@transaction.atomic
def add_sip_domain(actor: Actor, tenant: Tenant, domain: str) -> SipDomain:
    """Devices cannot register under it until their extension's SIP password is set anew: the password is kept only
    as a digest of each realm."""
    cleaned = clean_fields({"domain": domain}, {"domain": sip_domain})["domain"]
    try:
        with transaction.atomic():
            added = SipDomain.objects.create(tenant=tenant, domain=cleaned)
    except IntegrityError as error:
        raise ValidationError({"domain": ["A tenant already has this SIP domain."]}) from error
    announce(actor, "sip_domain.added", subject=tenant.name, subject_id=tenant.pk, after={"domain": cleaned})
    return added


@transaction.atomic
def make_primary(actor: Actor, domain: SipDomain) -> None:
    tenant = Tenant.objects.select_for_update().get(pk=domain.tenant_id)
    before = primary_domain(tenant)
    if before == domain.domain:
        return
    SipDomain.objects.filter(tenant=tenant).update(is_primary=False)
    SipDomain.objects.filter(pk=domain.pk).update(is_primary=True)
    announce(
        actor, "sip_domain.made_primary", subject=tenant.name, subject_id=tenant.pk,
        before={"primary": before}, after={"primary": domain.domain},
    )  # fmt: skip


@transaction.atomic
def remove_sip_domain(actor: Actor, domain: SipDomain) -> None:
    tenant = Tenant.objects.select_for_update().get(pk=domain.tenant_id)
    domain.refresh_from_db()
    if domain.is_primary:
        raise RefusedError("primary_domain", "Make another SIP domain the primary one first.")
    domain.delete()
    announce(actor, "sip_domain.removed", subject=tenant.name, subject_id=tenant.pk, before={"domain": domain.domain})
