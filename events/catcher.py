"""The built-in receiver for trying webhooks: switched on and off, its address, and how deliveries get there."""

from django.conf import settings
from django.db import transaction

from events.models import Catcher
from events.outgoing import Inside
from tenants.addresses import tenant_address
from tenants.changes import Actor, announce
from tenants.crypto import decrypt, encrypt, new_token, token_hash
from tenants.models import Tenant
from tenants.schemas import current_schema

PATH = "/catch/"
_THE_ONE = 1


def current_catcher() -> Catcher | None:
    return Catcher.objects.filter(pk=_THE_ONE).first()


def catcher_with(token: str) -> Catcher | None:
    return Catcher.objects.filter(pk=_THE_ONE, token_hash=token_hash(token)).first()


def switch_on(*, actor: Actor) -> Catcher:
    """The catcher that there is, else a new one under a new address."""
    token = new_token("vxc")
    with transaction.atomic():
        catcher, made = Catcher.objects.get_or_create(
            pk=_THE_ONE, defaults={"token": encrypt(token), "token_hash": token_hash(token)}
        )
        if made:
            announce(actor, "catcher.switched_on", subject="Request catcher")
    return catcher


def switch_off(*, actor: Actor) -> None:
    """Its address is never answered again, and what it caught goes with it."""
    with transaction.atomic():
        _, gone = Catcher.objects.filter(pk=_THE_ONE).delete()
        if gone:
            announce(actor, "catcher.switched_off", subject="Request catcher")


def address_of(catcher: Catcher) -> str:
    """On the host of the tenant whose schema this is."""
    tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant_address(tenant, PATH + decrypt(catcher.token))


def inside_of(url: str) -> Inside | None:
    """How to get to this tenant's own catcher, which the guard of outgoing requests would take for an inner address.

    The URL must be, letter by letter, the address that the portal made; where the connection goes is the operator's
    setting, and nothing that a tenant wrote.
    """
    if PATH not in url:
        return None
    catcher = current_catcher()
    if catcher is None or url != address_of(catcher):
        return None
    return Inside(settings.WEB_ADDRESS, settings.PUBLIC_SCHEME)
