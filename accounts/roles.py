"""Who may do what: roles and the permissions each grants (`spec/facts.md`, section 8)."""

from enum import StrEnum

from django.db.models import TextChoices


class Role(TextChoices):
    SYSTEM = "system", "System Administrator"
    ADMIN = "admin", "Admin"
    QUEUE_MANAGER = "queue_manager", "Queue Manager"
    USER = "user", "Standard User"


class Permission(StrEnum):
    """Every right the portal asks for. CDR and recordings are apart, each to view or in full."""

    PROFILE = "profile"  # one's own name, address, time zone and password
    OWN_CALLS = "own_calls"  # own calls and recordings
    CALLS_LAUNCH = "calls.launch"  # from the own extension
    CALLS_LAUNCH_ALL = "calls.launch_all"  # from every extension
    CDR_VIEW = "cdr.view"
    CDR_FULL = "cdr.full"
    RECORDINGS_VIEW = "recordings.view"
    RECORDINGS_FULL = "recordings.full"
    USERS = "users"
    COMPANY = "company"
    EVENT_URL = "event_url"
    SUBSCRIBE = "subscribe"
    API_TOKENS = "api_tokens"
    AUDIT = "audit"
    SYSTEM_TENANTS = "system.tenants"
    SYSTEM_SWITCHES = "system.switches"
    SYSTEM_SETTINGS = "system.settings"
    SYSTEM_QUARANTINE = "system.quarantine"
    SYSTEM_EVENTS = "system.events"
    SYSTEM_ADMINISTRATORS = "system.administrators"


_OWN = frozenset({Permission.PROFILE, Permission.OWN_CALLS, Permission.CALLS_LAUNCH})
_READ_ALL = _OWN | {Permission.CDR_VIEW, Permission.RECORDINGS_VIEW}
_TENANT = frozenset(permission for permission in Permission if not permission.startswith("system."))
_SYSTEM = frozenset(permission for permission in Permission if permission.startswith("system.")) | {
    Permission.PROFILE,
    Permission.AUDIT,
    Permission.API_TOKENS,
}

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.SYSTEM: _SYSTEM,
    Role.ADMIN: _TENANT,
    Role.QUEUE_MANAGER: _READ_ALL,
    Role.USER: _OWN,
}
