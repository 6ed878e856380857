"""What the page shell shows on every page: who is signed in, the menu of what they may open, the zone of its times."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest
from django.urls import NoReverseMatch, get_urlconf, resolve, reverse
from django.utils import timezone

from accounts.access import Person, person_of
from accounts.managing import ActingAdministrator
from accounts.roles import Permission, Role
from tenants.models import Tenant

THEMES = ("light", "dark")
DENSITIES = ("compact", "roomy")


@dataclass(frozen=True)
class Entry:
    label: str
    url_name: str
    icon: str


@dataclass(frozen=True)
class Section:
    label: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Link:
    label: str
    href: str
    icon: str
    current: bool


TENANT_MENU = (
    Section("", (Entry("Home", "home", "home"),)),
    Section(
        "Call Statistics",
        (
            Entry("CDR", "cdr-list", "ledger"),
            Entry("Call Recordings", "recordings", "reel"),
            Entry("Reconciliation", "reconciliation", "quarantine"),
            Entry("Live Calls", "live-calls", "live"),
            Entry("Reports", "reports", "report"),
        ),
    ),
    Section("Call Manager", (Entry("Users", "users", "users"),)),
    Section(
        "Company",
        (
            Entry("General", "company-general", "building"),
            Entry("Event URL", "event-url", "hook"),
            Entry("API tokens", "api-tokens", "key"),
            Entry("Feature codes", "feature-codes", "hash"),
            Entry("Retention", "retention", "archive"),
        ),
    ),
    Section("Logs", (Entry("Audit", "audit", "audit"),)),
)
SYSTEM_MENU = (
    Section(
        "",
        (
            Entry("Home", "home", "home"),
            Entry("Tenants", "tenants", "building"),
            Entry("Trunks", "trunks", "trunk"),
            Entry("Inbound Rules", "inbound-rules", "in"),
            Entry("Switches", "switches", "server"),
            Entry("Quarantine", "quarantine", "quarantine"),
        ),
    ),
    Section("Advanced", (Entry("Settings", "settings-general", "gear"),)),
    Section(
        "Logs",
        (
            Entry("Administrators", "administrators", "users"),
            Entry("API tokens", "api-tokens", "key"),
            Entry("Audit", "audit", "audit"),
        ),
    ),
)


@lru_cache(maxsize=256)
def _door(urlconf: str | None, url_name: str) -> tuple[str, Permission | None] | None:
    """The address of a page and the right that its view requires; None when no such page exists on this host."""
    try:
        address = reverse(url_name, urlconf=urlconf)
    except NoReverseMatch:
        return None
    return address, getattr(resolve(address, urlconf=urlconf).func, "permission", None)


def menu_of(person: Person, path: str, *, system: bool) -> list[tuple[str, list[Link]]]:
    """Only pages that exist and that this person may open; the current one is the longest that the path lies under."""
    allowed: list[tuple[str, Entry, str]] = []
    for section in SYSTEM_MENU if system else TENANT_MENU:
        for entry in section.entries:
            door = _door(get_urlconf(), entry.url_name)
            if door and door[1] is not None and person.may(door[1]):
                allowed.append((section.label, entry, door[0]))
    under = [
        href for _, _, href in allowed if path == href or (href != "/" and path.startswith(href.rstrip("/") + "/"))
    ]
    current = max(under, key=len, default="")
    menu: dict[str, list[Link]] = {}
    for label, entry, href in allowed:
        menu.setdefault(label, []).append(Link(entry.label, href, entry.icon, href == current))
    return list(menu.items())


def zone_of(person: Person | None, tenant: Tenant | None) -> ZoneInfo:
    """The person's own zone, else the tenant's."""
    for name in (person.time_zone if person else "", tenant.time_zone if tenant else ""):
        if name:
            try:
                return ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError):
                continue
    return ZoneInfo("UTC")


def zone_words() -> str:
    """The zone that this page's times are in, said once: Europe/Berlin, UTC+01:00."""
    now = timezone.localtime()
    offset = now.strftime("%z")
    name = timezone.get_current_timezone_name()
    return "UTC" if str(now.tzinfo) == "UTC" else f"{getattr(now.tzinfo, 'key', name)}, UTC{offset[:3]}:{offset[3:]}"


def _choice(request: HttpRequest, cookie: str, allowed: tuple[str, ...]) -> str:
    value = request.COOKIES.get(cookie, "")
    return value if value in allowed else ""


def shell(request: HttpRequest) -> dict[str, Any]:
    """Everything under `shell`, so that no view's own names get in the way."""
    tenant: Tenant | None = getattr(request, "tenant", None)
    system = tenant is None or tenant.schema_name == "public"
    person = person_of(request)
    return {
        "tenant": tenant,
        "user": getattr(request, "user", None),
        "shell": {
            "tenant": None if system else tenant,
            "person": person,
            "role": Role(person.role).label if person else "",
            "managed_by": person.administrator if isinstance(person, ActingAdministrator) else "",
            "menu": menu_of(person, request.path, system=system) if person else [],
            "zone": zone_words(),
            "theme": _choice(request, "theme", THEMES),
            "density": _choice(request, "density", DENSITIES),
            "request_id": getattr(request, "request_id", ""),
        },
    }
