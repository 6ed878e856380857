"""The address of each host, as a browser types it."""

from django.conf import settings

from tenants.models import Tenant

_DEFAULT_PORTS = {"http": 80, "https": 443}


def domain_of(host: str) -> str:
    """The full host name of a tenant with this label."""
    return f"{host}.{settings.TENANT_HOST_SUFFIX}"


def tenant_address(tenant: Tenant, path: str = "/") -> str:
    return _address(domain_of(tenant.host), path)


def system_address(path: str = "/") -> str:
    return _address(settings.SYSTEM_HOST, path)


def _address(domain: str, path: str) -> str:
    usual = _DEFAULT_PORTS.get(settings.PUBLIC_SCHEME) == settings.PUBLIC_PORT
    return f"{settings.PUBLIC_SCHEME}://{domain}{'' if usual else f':{settings.PUBLIC_PORT}'}{path}"
