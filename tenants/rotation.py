"""After a new first key in ENCRYPTION_KEYS: every secret that the tables hold is encrypted anew by it.

Each room says which of its columns hold secrets. A secret is written on its own, and only where it still is what was
read: the rotation may be broken off and begun again, run beside the portal, and overtakes nobody's change.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from tenants import crypto
from tenants.crypto import SecretUnreadableError
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema

AT_ONCE = 500
PUBLIC = "public"
_WITHOUT_SCHEMA = (Tenant.State.CREATING, Tenant.State.FAILED)


def renewed(stored: str) -> str:
    """The same secret under the newest key; what is under it already stays as it is."""
    return stored if not stored or crypto.is_newest(stored) else crypto.rotate(stored)


@dataclass(frozen=True, slots=True)
class Kept:
    """A column that holds secrets, and what they are, in words. `renew` gives its new value."""

    model: type[Model]
    column: str
    what: str
    in_public: bool = False
    in_tenants: bool = True
    renew: Callable[[Any], Any] = renewed


# Filled by the rooms above with the columns that are theirs.
kept: list[Kept] = [Kept(Switch, "credentials", "credentials of a switch", in_public=True, in_tenants=False)]


@dataclass(slots=True)
class Rotated:
    """How many were encrypted anew, how many were so already, and where one lies that no key opens."""

    renewed: int = 0
    standing: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate_all() -> Rotated:
    """Of the installation and every tenant. What cannot be read is passed by and named."""
    found = Rotated()
    for schema in _schemas():
        with in_schema(schema):
            for each in kept:
                if each.in_public if schema == PUBLIC else each.in_tenants:
                    _rotate(each, schema, found)
    return found


def _schemas() -> list[str]:
    with in_schema(PUBLIC):
        there = Tenant.objects.exclude(state__in=_WITHOUT_SCHEMA).order_by("pk")
        return list(there.values_list("schema_name", flat=True))


def _rotate(each: Kept, schema: str, found: Rotated) -> None:
    for pk, stored in _rows(each):
        if not stored:
            continue
        try:
            value = each.renew(stored)
        except SecretUnreadableError:
            found.unreadable.append(f"{schema}: {each.what} ({pk})")
            continue
        if value == stored:
            found.standing += 1
            continue
        # Whoever changed it meanwhile has encrypted it by the newest key.
        found.renewed += each.model._default_manager.filter(pk=pk, **{each.column: stored}).update(
            **{each.column: value}
        )


def _rows(each: Kept) -> Iterator[tuple[Any, Any]]:
    last: Any = None
    while True:
        rows = each.model._default_manager.order_by("pk")
        if last is not None:
            rows = rows.filter(pk__gt=last)
        batch = list(rows.values_list("pk", each.column)[:AT_ONCE])
        yield from batch
        if len(batch) < AT_ONCE:
            return
        last = batch[-1][0]
