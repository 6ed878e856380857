"""A system administrator inside a tenant: an administrator who stands in no table that the tenant can see."""

from dataclasses import dataclass
from typing import ClassVar

from accounts.roles import GRANTS, Permission, Role


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
