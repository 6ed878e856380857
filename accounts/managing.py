"""A system administrator inside a tenant: an administrator who stands in no table that the tenant can see.

The way in is a ticket, made on the system host, good once and for a minute; the way on is the session it opens.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone

from accounts.models import ManagedEntry, User
from accounts.roles import GRANTS, Permission, Role
from tenants.changes import Actor, announce
from tenants.crypto import new_token, token_hash
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import in_schema

TICKET_LIFETIME = timedelta(seconds=60)
STAY = timedelta(hours=2)
_TICKET_PREFIX = "vlm"
_SESSION_KEY = "acting_administrator"


@dataclass(frozen=True)
class ActingAdministrator:
    """Signed in to a tenant by a one-time ticket from the system host, with an Admin's rights and no row of its own."""

    administrator: str
    administrator_id: int

    pk: ClassVar[None] = None
    role: ClassVar[Role] = Role.ADMIN
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True
    display_name: ClassVar[str] = ""
    email: ClassVar[str] = ""
    time_zone: ClassVar[str] = ""

    def __str__(self) -> str:
        return self.administrator

    @property
    def username(self) -> str:
        return self.administrator

    def get_username(self) -> str:
        return self.administrator

    def get_full_name(self) -> str:
        return self.administrator

    def may(self, permission: Permission) -> bool:
        return permission in GRANTS[Role.ADMIN] and permission is not Permission.PROFILE


def acting_actor(administrator: str, address: str) -> Actor:
    """How the tenant's audit trail names them."""
    return Actor("user", "System administrator", "", address, on_behalf=administrator)


@transaction.atomic
def issue_ticket(actor: Actor, administrator: User, tenant: Tenant) -> str:
    """Noted on the system's side now, on the tenant's when the ticket is used."""
    if not tenant.is_active or tenant.schema_name == "public":
        raise RefusedError("wrong_state", f"This tenant is {tenant.get_state_display().lower()}.")
    ticket = new_token(_TICKET_PREFIX)
    announce(actor, "tenant.managed", subject=tenant.name, subject_id=tenant.pk)
    with in_schema(tenant.schema_name):
        now = timezone.now()
        ManagedEntry.objects.filter(created_at__lt=now - TICKET_LIFETIME, used_at=None).delete()
        ManagedEntry.objects.create(
            ticket_hash=token_hash(ticket), administrator=administrator.username, administrator_id=administrator.pk
        )
    return ticket


@transaction.atomic
def use_ticket(ticket: str, address: str) -> ActingAdministrator | None:
    """In the tenant's schema. None for a ticket that is unknown, used, too old, or of someone no longer allowed."""
    now = timezone.now()
    hashed = token_hash(ticket)
    taken = ManagedEntry.objects.filter(ticket_hash=hashed, used_at=None, created_at__gt=now - TICKET_LIFETIME).update(
        used_at=now
    )
    if not taken:
        return None
    entry = ManagedEntry.objects.get(ticket_hash=hashed)
    if not _is_still_allowed(entry.administrator_id):
        return None
    announce(acting_actor(entry.administrator, address), "tenant.entered", subject=entry.administrator)
    return ActingAdministrator(entry.administrator, entry.administrator_id)


def leave(acting: ActingAdministrator, address: str) -> None:
    announce(acting_actor(acting.administrator, address), "tenant.left", subject=acting.administrator)


def remember(session: SessionBase, acting: ActingAdministrator) -> None:
    """Opens a session of its own: nothing of a former one goes on."""
    session.flush()
    session[_SESSION_KEY] = [acting.administrator, acting.administrator_id, timezone.now().timestamp()]


def acting_in(session: SessionBase) -> ActingAdministrator | None:
    """Who acts in this session. Asks at every request whether they still may: a deactivated administrator is out."""
    found = session.get(_SESSION_KEY)
    if not found:
        return None
    administrator, administrator_id, since = found
    if timezone.now().timestamp() - since > STAY.total_seconds() or not _is_still_allowed(administrator_id):
        return None
    return ActingAdministrator(administrator, administrator_id)


def _is_still_allowed(administrator_id: int) -> bool:
    with in_schema("public"):
        return User.objects.filter(pk=administrator_id, is_active=True, role=Role.SYSTEM).exists()
