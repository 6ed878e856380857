"""Where a subscription begins in each tenant's log: who comes back with the cursors he was given misses nothing.

Pure: what the door found out comes in, a `Beginning` or a refusal comes out.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from events.log import Span
from events.protocol import ProtocolError, Subscribe


@dataclass(frozen=True)
class Choice:
    """Which tenants a subscription to the system's topic is about, and which of those it names are there no more."""

    tenants: tuple[str, ...]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Beginning:
    """By tenant the place that is told; `gaps` holds, for those whose next events were already pruned, the place after
    which the oldest that is kept follows."""

    starts: Mapping[str, int]
    gaps: Mapping[str, int]

    def places(self) -> dict[str, int]:
        """After which the events follow, without a hole."""
        return {**self.starts, **self.gaps}


def choice_of(wanted: Subscribe, there: Collection[str]) -> Choice:
    """`there` are the tenants that could be followed, suspended ones too.

    A tenant with a cursor was there once: that it is gone is told, and holds up none of the others. One that is only
    named was perhaps never there, and is refused as a slip.
    """
    since = wanted.since_by_tenant or {}
    for tenant_id in wanted.tenants:
        if tenant_id not in there and tenant_id not in since:
            raise ProtocolError("subscribe", f"there is no tenant {tenant_id[:40]}")
    chosen = tuple(each for each in wanted.tenants or there if each in there)
    for tenant_id in since:
        if tenant_id in there and tenant_id not in chosen:
            raise ProtocolError("subscribe", f"since names tenant {tenant_id[:40]}, which is not subscribed to")
    return Choice(chosen, tuple(each for each in since if each not in there))


def beginning_of(wanted: Subscribe, spans: Mapping[str, Span]) -> Beginning:
    """Of the system's topic. Without `since` it begins now; with it, a tenant that it leaves out is new to the reader,
    who was given a cursor of every tenant there was: it is told from its first event on."""
    since = wanted.since_by_tenant
    starts = {tenant_id: there.last if since is None else since.get(tenant_id, 0) for tenant_id, there in spans.items()}
    for tenant_id, start in starts.items():
        if start > spans[tenant_id].last:
            last = spans[tenant_id].last
            raise ProtocolError("subscribe", f"since of tenant {tenant_id} is beyond its last event, {last}")
    return Beginning(starts, _gaps(starts.items(), spans))


def beginning_of_one(wanted: Subscribe, tenant_id: str, there: Span) -> Beginning:
    """Of a tenant's own topic."""
    start = there.last if wanted.since is None else wanted.since
    if start > there.last:
        raise ProtocolError("subscribe", f"since is beyond the last event, {there.last}")
    return Beginning({tenant_id: start}, _gaps([(tenant_id, start)], {tenant_id: there}))


def _gaps(starts: Iterable[tuple[str, int]], spans: Mapping[str, Span]) -> dict[str, int]:
    return {
        tenant_id: spans[tenant_id].first - 1 for tenant_id, start in starts if spans[tenant_id].misses_after(start)
    }
