"""Tells the pages that show calls in progress that something in them changed."""

from collections.abc import Sequence

from django.db import transaction

from cdr.callevents import CallEvent
from cdr.session import Session
from events import wake
from tenants.models import Tenant


def tell_watchers(tenant: Tenant) -> None:
    """After the commit; a page that misses it finds out by itself."""
    schema = tenant.schema_name
    transaction.on_commit(lambda: wake.watchers(schema))


def on_calls(tenant: Tenant, switch_id: int, sessions: Sequence[Session], told: Sequence[CallEvent]) -> None:
    """Listens to `cdr.calls`."""
    tell_watchers(tenant)
