"""The hosts this installation answers to: the system's own, and the tenants' under the suffix of today's settings."""

from django.conf import settings

from tenants.addresses import domain_of
from tenants.models import Domain, SystemSettings, Tenant
from tenants.schemas import enter_public

PUBLIC = "public"
LOOPBACK = "127.0.0.1"  # what a person types who does not trust the name localhost


def align_hosts() -> None:
    enter_public()
    public, _ = Tenant.objects.get_or_create(
        schema_name=PUBLIC, defaults={"name": "Voxledger", "host": PUBLIC, "state": Tenant.State.ACTIVE}
    )
    SystemSettings.current()
    wanted = [settings.SYSTEM_HOST, LOOPBACK] if settings.SYSTEM_HOST == "localhost" else [settings.SYSTEM_HOST]
    Domain.objects.filter(tenant=public).exclude(domain__in=wanted).delete()
    for domain in wanted:
        Domain.objects.get_or_create(domain=domain, defaults={"tenant": public, "is_primary": domain == wanted[0]})
    for row in Domain.objects.filter(is_primary=True).exclude(tenant=public).select_related("tenant"):
        if row.domain != domain_of(row.tenant.host):
            Domain.objects.filter(pk=row.pk).update(domain=domain_of(row.tenant.host))
