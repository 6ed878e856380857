"""A new tenant with its first administrator: rows now, tables and user by a task."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction

from accounts.models import User
from accounts.passwords import new_password
from accounts.roles import Role
from tenants import lifecycle
from tenants.changes import Actor, announce
from tenants.models import Tenant

FIRST_ADMINISTRATOR = "admin"


@transaction.atomic
def found_tenant(actor: Actor, given: Mapping[str, Any]) -> tuple[Tenant, str]:
    """Returns the tenant and the password of its `admin`, to be shown once. Only a hash of it travels to the task."""
    tenant = lifecycle.create_tenant(actor, given)
    return tenant, _schedule(actor, tenant)


@transaction.atomic
def found_again(actor: Actor, tenant: Tenant) -> str:
    """After a creation that failed: with a new password."""
    lifecycle.begin_again(actor, tenant)
    return _schedule(actor, tenant)


def _schedule(actor: Actor, tenant: Tenant) -> str:
    from accounts.tasks import build_tenant  # tasks are doors on this module

    password = new_password()
    hashed = make_password(password)
    transaction.on_commit(lambda: build_tenant.delay(tenant.pk, actor.name, hashed), robust=True)
    return password


def build_tenant(tenant: Tenant, founder: str, hashed_password: str) -> None:
    """Makes the schema and, in it, the first administrator."""

    def furnish() -> None:
        user = User.objects.create(
            username=FIRST_ADMINISTRATOR, display_name="Administrator", role=Role.ADMIN, password=hashed_password
        )
        actor = Actor("user", "System administrator", on_behalf=founder)
        announce(actor, "user.created", subject=user.username, subject_id=user.pk, after={"role": Role.ADMIN})

    lifecycle.build(tenant, furnish)
