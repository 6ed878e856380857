"""Saving a row that two people may have open: the one who saw an older version is told, nothing is lost."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, cast

from django.db import models, transaction

from tenants.errors import StaleError


class Versioned(Protocol):
    pk: Any
    version: int


R = TypeVar("R", bound=models.Model)


@transaction.atomic
def save_changes(row: R, changes: Mapping[str, Any], version: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Brings `row` up to date, sets what differs and returns it, before and after. Without `version` the last wins."""
    row.refresh_from_db(from_queryset=type(row)._default_manager.select_for_update(of=("self",)))
    versioned = cast(Versioned, row)
    if version is not None and versioned.version != version:
        raise StaleError
    before = {name: getattr(row, name) for name, value in changes.items() if getattr(row, name) != value}
    after = {name: changes[name] for name in before}
    if after:
        for name, value in after.items():
            setattr(row, name, value)
        versioned.version += 1
        row.save(update_fields=[*after, "version"])
    return before, after
