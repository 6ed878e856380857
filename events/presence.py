"""The sockets of this process: how many there may be, and whether those let in still may stay.

Who has not said yet who he is waits in the lobby and takes no place of a tenant, so strangers lock nobody out.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog
from django.db import Error as DatabaseError

from accounts.roles import Permission
from events.closing import CloseCode
from events.feed import in_thread
from events.principals import Principal, still_allowed
from tenants.models import Tenant

# Of one process, as `docs/websocket.md` states them.
CONNECTIONS_PER_TENANT = 2000  # let in
WAITING_PER_ADDRESS = 100  # not yet let in, on all hosts together
WAITING = 2000
RECHECK_SECONDS = 5.0
_IPV6_NETWORK_BITS = 64  # what one customer of a provider has at least

log = structlog.get_logger(__name__)


class Member(Protocol):
    """What this module needs of a socket."""

    tenant: Tenant
    principal: Principal | None
    permission: Permission

    @property
    def is_system(self) -> bool: ...
    @property
    def is_subscribed(self) -> bool: ...
    def close(self, code: int, reason: str = "") -> None: ...
    async def follow_active(self, active: Mapping[str, Tenant]) -> None: ...


class Lobby:
    """Sockets that have not authenticated, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[Member, str] = {}
        self._by_address: Counter[str] = Counter()

    def enter(self, socket: Member, address: str) -> bool:
        """Full, it lets go of who has waited longest: an honest client authenticates at once and is never that one."""
        neighbourhood = neighbourhood_of(address)
        if self._by_address[neighbourhood] >= WAITING_PER_ADDRESS:
            return False
        if len(self._waiting) >= WAITING:
            oldest = next(iter(self._waiting))
            oldest.close(CloseCode.TOO_MANY_CONNECTIONS, "too many connections wait for authentication")
            self.leave(oldest)
        self._waiting[socket] = neighbourhood
        self._by_address[neighbourhood] += 1
        return True

    def leave(self, socket: Member) -> None:
        neighbourhood = self._waiting.pop(socket, None)
        if neighbourhood is None:
            return
        self._by_address[neighbourhood] -= 1
        if not self._by_address[neighbourhood]:
            del self._by_address[neighbourhood]


def neighbourhood_of(address: str) -> str:
    """Whom an address is counted with: an IPv6 host has as many addresses as it likes in its network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> _IPV6_NETWORK_BITS << _IPV6_NETWORK_BITS))


class Presence:
    """The authenticated sockets of one schema: counted, and asked every few seconds whether they still may."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._sockets: set[Member] = set()
        self._recheck: asyncio.Task[None] | None = None

    def add(self, socket: Member) -> bool:
        if socket not in self._sockets and len(self._sockets) >= CONNECTIONS_PER_TENANT:
            return False
        self._sockets.add(socket)
        if self._recheck is None:
            self._recheck = asyncio.create_task(self._keep_rechecking())
        return True

    async def remove(self, socket: Member) -> None:
        self._sockets.discard(socket)
        if not self._sockets and self._recheck is not None:
            task, self._recheck = self._recheck, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_rechecking(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self._recheck_all(list(self._sockets))
            except DatabaseError as error:
                log.warning("sockets not rechecked", tenant=self._schema, error=type(error).__name__)

    async def _recheck_all(self, sockets: Collection[Member]) -> None:
        if not sockets:
            return
        one = next(iter(sockets))
        active = await in_thread("public", active_tenants)
        if not one.is_system and str(one.tenant.pk) not in active:
            for socket in sockets:
                socket.close(CloseCode.TENANT_NOT_ACTIVE, "this tenant is not active")
            return
        asked = {socket.principal for socket in sockets if socket.principal is not None}
        allowed = await in_thread(self._schema, still_allowed, asked, one.permission)
        for socket in sockets:
            may = allowed.get(socket.principal) if socket.principal is not None else None
            if may is None or (socket.is_subscribed and not may):
                socket.close(CloseCode.REVOKED, "no longer allowed")
            elif socket.is_system:
                await socket.follow_active(active)


def active_tenants() -> dict[str, Tenant]:
    found = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public").order_by("id")
    return {str(tenant.pk): tenant for tenant in found}


_lobbies: WeakKeyDictionary[asyncio.AbstractEventLoop, Lobby] = WeakKeyDictionary()
_presences: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Presence]] = WeakKeyDictionary()


def lobby() -> Lobby:
    return _lobbies.setdefault(asyncio.get_running_loop(), Lobby())


def presence_of(schema: str) -> Presence:
    presences = _presences.setdefault(asyncio.get_running_loop(), {})
    return presences.setdefault(schema, Presence(schema))
