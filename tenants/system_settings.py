"""What holds for the whole installation."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from tenants.changes import Actor, announce
from tenants.models import SystemSettings
from tenants.values import clean_fields, flag
from tenants.versions import save_changes


@transaction.atomic
def change_system_settings(actor: Actor, given: Mapping[str, Any], *, version: int | None = None) -> SystemSettings:
    cleaned = clean_fields(given, {"record_external_calls": flag})
    current = SystemSettings.current()
    before, after = save_changes(current, cleaned, version)
    if after:
        announce(actor, "settings.changed", subject="System settings", before=before, after=after)
    return current
