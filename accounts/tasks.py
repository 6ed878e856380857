"""The Celery doors of this room."""

from celery import shared_task

from accounts import founding
from tenants.models import Tenant
from tenants.schemas import enter_public


@shared_task(name="accounts.build_tenant")
def build_tenant(tenant_id: int, founder: str, hashed_password: str) -> None:
    enter_public()
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is not None:
        founding.build_tenant(tenant, founder, hashed_password)
