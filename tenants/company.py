"""What a tenant's page Company > General keeps, and what only the system's administrator changes besides."""

from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenants.addresses import domain_of
from tenants.changes import Actor, announce
from tenants.models import Domain, Tenant
from tenants.values import (
    Cleaner,
    choice,
    clean_fields,
    currency,
    feature_code,
    flag,
    host_label,
    text,
    time_zone,
    whole,
)
from tenants.versions import save_changes

FEATURE_CODES = ("start_recording_code", "stop_recording_code", "pause_recording_code", "resume_recording_code")
COMPANY_FIELDS: Mapping[str, Cleaner] = {
    "time_zone": time_zone,
    "currency": currency,
    "enable_extension_audio_recording": flag,
    "enable_extension_video_recording": flag,
    "event_log_days": whole(1, 365),
    "record_dual_tracks": flag,
    "pause_style": choice(*Tenant.PauseStyle.values),
    "longest_pause_seconds": whole(0, 86_400),
    "announce_recording": flag,
    "recording_days": whole(1, 3_650),
    "when_quota_full": choice(*Tenant.QuotaFull.values),
    "ask_play_reason": flag,
    **dict.fromkeys(FEATURE_CODES, feature_code),
}
TENANT_FIELDS: Mapping[str, Cleaner] = {
    **COMPANY_FIELDS,
    "name": text(200),
    "host": host_label,
    "recording_quota_mb": whole(0, 10**9),
}


def change_company(actor: Actor, tenant: Tenant, given: Mapping[str, Any], *, version: int | None = None) -> Tenant:
    """By the tenant's own administrator, inside its schema: its audit trail gets the note."""
    return _change(actor, "company.changed", tenant, clean_fields(given, COMPANY_FIELDS), version)


def change_tenant(actor: Actor, tenant: Tenant, given: Mapping[str, Any], *, version: int | None = None) -> Tenant:
    """By a system administrator, in the public schema. A new host is another address: the old one stops answering."""
    return _change(actor, "tenant.changed", tenant, clean_fields(given, TENANT_FIELDS), version)


@transaction.atomic
def _change(actor: Actor, action: str, tenant: Tenant, cleaned: dict[str, Any], version: int | None) -> Tenant:
    former_domain = domain_of(tenant.host)
    _check_codes({name: cleaned.get(name, getattr(tenant, name)) for name in FEATURE_CODES}, cleaned.keys())
    try:
        with transaction.atomic():
            before, after = save_changes(tenant, cleaned, version)
            if "host" in after:
                Domain.objects.filter(tenant=tenant, domain=former_domain).update(domain=domain_of(tenant.host))
    except IntegrityError as error:
        raise ValidationError({"host": ["Another tenant has this host."]}) from error
    if after:
        announce(actor, action, subject=tenant.name, subject_id=tenant.pk, before=before, after=after)
    return tenant


def _check_codes(codes: Mapping[str, str], changed: Collection[str]) -> None:
    """A device sends digits one by one: a code that another one begins with would never be heard whole."""
    for name, code in codes.items():
        for other, longer in codes.items():
            if other != name and longer.startswith(code):
                wrong, kept = (other, code) if other in changed else (name, longer)
                raise ValidationError(
                    {wrong: [f"It clashes with {kept}: no code may be the same as another, or begin with it."]}
                )
