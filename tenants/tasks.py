"""How a task enters a tenant: the schema name is its explicit first argument."""

import functools
from collections.abc import Callable
from typing import Any, cast

import structlog
from celery import Task, shared_task

from tenants import export, lifecycle
from tenants.models import Tenant, TenantExport
from tenants.schemas import enter_public, in_schema

log = structlog.get_logger(__name__)


def tenant_task(**options: Any) -> Callable[[Callable[..., Any]], "Task[Any, Any]"]:
    """Like `shared_task`; the body runs inside the schema named first. A tenant that is gone is skipped."""

    def decorate(function: Callable[..., Any]) -> "Task[Any, Any]":
        @functools.wraps(function)
        def enter(schema: str, *args: Any, **kwargs: Any) -> Any:
            with in_schema("public"):
                if not Tenant.objects.filter(schema_name=schema).exists():
                    log.info("task skipped, its tenant is gone", task=function.__name__, tenant=schema)
                    return None
            with in_schema(schema), structlog.contextvars.bound_contextvars(tenant=schema):
                return function(*args, **kwargs)

        return cast("Task[Any, Any]", shared_task(**options)(enter))

    return decorate


@shared_task(name="tenants.drop_tenant")
def drop_tenant(tenant_id: int) -> None:
    enter_public()
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is not None:
        lifecycle.drop(tenant)


@shared_task(name="tenants.export_tenant")
def export_tenant(export_id: int) -> None:
    enter_public()
    found = TenantExport.objects.select_related("tenant").filter(pk=export_id).first()
    if found is not None:
        export.run_export(found)
