"""Which event types a tenant's log keeps beside those it always does: whatever somebody once asked for."""

from collections.abc import Iterable

from django.db import transaction

from tenants.models import Tenant


def keep_event_types(schema: str, types: Iterable[str]) -> None:
    """From now on the tenant's log keeps these too. Nothing is taken away: a reader may come back for them."""
    asked = set(types)
    if asked <= set(Tenant.objects.values_list("event_types", flat=True).get(schema_name=schema)):
        return
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().only("event_types").get(schema_name=schema)
        tenant.event_types = sorted({*tenant.event_types, *asked})
        tenant.save(update_fields=["event_types"])
