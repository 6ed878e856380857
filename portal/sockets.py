"""WebSockets find their tenant by the Host header, as requests do; unknown hosts are closed at once."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from tenants.models import Domain, Tenant
from tenants.schemas import enter_public

UNKNOWN_HOST = 4404
Scope = dict[str, Any]
Application = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def _tenant_of(host: str) -> Tenant | None:
    enter_public()
    domain = Domain.objects.select_related("tenant").filter(domain=host).first()
    return domain.tenant if domain else None


class TenantSocketMiddleware:
    """Puts `tenant` into the scope. The system host is the public schema's tenant."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host, _port = split_domain_port(hosts[0].decode("latin1")) if len(hosts) == 1 else ("", "")
        tenant = None
        if host and validate_host(host, settings.ALLOWED_HOSTS):
            tenant = await database_sync_to_async(_tenant_of)(host)
        if tenant is None or not (tenant.is_active or tenant.schema_name == "public"):
            await receive()
            await send({"type": "websocket.close", "code": UNKNOWN_HOST})
            return
        await self.inner({**scope, "tenant": tenant}, receive, send)
