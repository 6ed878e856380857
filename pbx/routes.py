"""Whose a session is: the public table of routes, and the search for a new call's tenant."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.db import connection

from tenants.models import SessionRoute, Tenant
from tenants.routing import tenant_for


@dataclass(frozen=True, slots=True)
class Route:
    switch_id: int
    tenant_id: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not applied: a stable code and a sentence."""

    code: str
    message: str


def routes_of(session_ids: Collection[str]) -> dict[str, Route]:
    rows = SessionRoute.objects.filter(session_id__in=session_ids).values_list("session_id", "switch_id", "tenant_id")
    return {session_id: Route(switch_id, tenant_id) for session_id, switch_id, tenant_id in rows}


def claim(switch_id: int, tenant_id: int, session_ids: Iterable[str]) -> dict[str, Route]:
    """Makes these sessions the switch's and the tenant's; returns those that already were somebody's.

    Two claims of one id wait for each other: the first to commit has it. Sorted, so that two batches cannot deadlock.
    """
    wanted = sorted(set(session_ids))
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tenants_sessionroute (session_id, switch_id, tenant_id, created_at)"
            " SELECT wanted, %s, %s, now() FROM unnest(%s::text[]) AS wanted"
            " ON CONFLICT DO NOTHING RETURNING session_id",
            [switch_id, tenant_id, wanted],
        )
        won = {row[0] for row in cursor.fetchall()}
    return routes_of(set(wanted) - won) if len(won) < len(wanted) else {}


class TenantFinder:
    """Finds tenants for one batch and asks the database once for each address."""

    def __init__(self) -> None:
        self._by_domain: dict[str, Tenant | None] = {}
        self._by_did: dict[tuple[str, str], Tenant | None] = {}
        self._by_id: dict[int, Tenant] = {}

    def at(self, domain: str = "", did: str = "", trunk: str = "") -> Tenant | None:
        """By the SIP domain, else by the number dialled."""
        if domain:
            if domain not in self._by_domain:
                self._by_domain[domain] = tenant_for(domain=domain)
            if (found := self._by_domain[domain]) is not None:
                return found
        if not did:
            return None
        if (did, trunk) not in self._by_did:
            self._by_did[did, trunk] = tenant_for(did=did, trunk=trunk)
        return self._by_did[did, trunk]

    def learn(self, tenant_ids: Iterable[int]) -> None:
        unknown = set(tenant_ids) - self._by_id.keys()
        if unknown:
            self._by_id |= Tenant.objects.in_bulk(unknown)

    def by_id(self, tenant_id: int) -> Tenant | None:
        return self._by_id.get(tenant_id)


UNKNOWN_TENANT = Refusal("unknown_tenant", "Neither the SIP domain nor the DID belongs to a tenant.")
CONFLICT = Refusal("session_conflict", "This session_id belongs to another switch or tenant.")


def open_tenant(tenant: Tenant | None) -> Tenant | Refusal:
    """The tenant if it takes calls, else why not."""
    if tenant is None or tenant.schema_name == "public":
        return UNKNOWN_TENANT
    if tenant.is_active:
        return tenant
    if tenant.state == Tenant.State.SUSPENDED:
        return Refusal("tenant_suspended", f"The tenant {tenant.name} is suspended.")
    return Refusal(
        "tenant_not_ready", f"The tenant {tenant.name} takes no calls: {tenant.get_state_display().lower()}."
    )
