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
from portal.phone import FORMS, REGIONS
from tenants.models import Tenant

THEMES = ("light", "dark")
DENSITIES = ("compact", "roomy")
KEYS = ("off",)


@dataclass(frozen=True)
class Entry:
    label: str
    url_name: str
    icon: str
    key: str = ""  # after "g"
    holds: tuple[str, ...] = ()  # pages elsewhere in the addresses that belong to this one


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
    key: str = ""


TENANT_MENU = (
    Section("", (Entry("Home", "home", "home", "h"),)),
    Section(
        "Call Statistics",
        (
            Entry("CDR", "cdr-list", "ledger", "c"),
            Entry("Call Recordings", "recordings", "reel", "r", holds=("reconciliation",)),
            Entry("Live Calls", "live-calls", "live", "l"),
            Entry("Reports", "reports", "report", "p"),
        ),
    ),
    Section("Call Manager", (Entry("Users", "users", "users", "u"),)),
    Section(
        "Company",
        (
            Entry("General", "company-general", "building", "o"),
            Entry("Event URL", "event-url", "hook", "e"),
            Entry("API tokens", "api-tokens", "key", "t"),
            Entry("Feature codes", "feature-codes", "hash"),
            Entry("Rates", "rates", "coin"),
            Entry("Retention", "retention", "archive"),
        ),
    ),
    Section("Logs", (Entry("Audit", "audit", "audit", "a"),)),
)
SYSTEM_MENU = (
    Section(
        "",
        (
            Entry("Home", "home", "home", "h"),
            Entry("Tenants", "tenants", "building", "t"),
            Entry("Trunks", "trunks", "trunk", "k"),
            Entry("Inbound Rules", "inbound-rules", "in", "i"),
            Entry("Switches", "switches", "server", "s"),
            Entry("Quarantine", "quarantine", "quarantine", "q"),
        ),
    ),
    Section("Advanced", (Entry("Settings", "settings-general", "gear", "g"),)),
    Section(
        "Logs",
        (
            Entry("Administrators", "administrators", "users", holds=("api-tokens",)),
            Entry("Audit", "audit", "audit", "a"),
        ),
    ),
)
# Pages that the menu does not name: other pages link to them, and the search finds them.
TENANT_PAGES = (
    Section("Call Statistics", (Entry("Reconciliation", "reconciliation", "quarantine"),)),
    Section(
        "Company",
        (
            Entry("Trash", "trash", "trash"),
            Entry("Legal holds", "holds", "lock"),
            Entry("What would happen?", "recording-check", "help"),
        ),
    ),
    Section("You", (Entry("Profile", "profile", "edit"), Entry("Keys and display", "display", "theme"))),
)
SYSTEM_PAGES = (
    Section("Administrators", (Entry("API tokens", "api-tokens", "key"),)),
    Section("Advanced", (Entry("What would happen?", "recording-check", "help"),)),
    Section("You", (Entry("Profile", "profile", "edit"), Entry("Keys and display", "display", "theme"))),
)


@lru_cache(maxsize=256)
def _door(urlconf: str | None, url_name: str) -> tuple[str, Permission | None] | None:
    """The address of a page and the right that its view requires; None when no such page exists on this host."""
    try:
        address = reverse(url_name, urlconf=urlconf)
    except NoReverseMatch:
        return None
    return address, getattr(resolve(address, urlconf=urlconf).func, "permission", None)


def _allowed(person: Person, sections: tuple[Section, ...]) -> list[tuple[str, Entry, str]]:
    """Section, entry and address of each page that exists on this host and that this person may open."""
    found = []
    for section in sections:
        for entry in section.entries:
            door = _door(get_urlconf(), entry.url_name)
            if door and door[1] is not None and person.may(door[1]):
                found.append((section.label, entry, door[0]))
    return found


def pages_of(person: Person, *, system: bool) -> list[tuple[str, Entry, str]]:
    """All that a search for a page may find."""
    return _allowed(person, SYSTEM_MENU + SYSTEM_PAGES if system else TENANT_MENU + TENANT_PAGES)


def menu_of(person: Person, path: str, *, system: bool) -> list[tuple[str, list[Link]]]:
    """Only pages that exist and that this person may open; the current one is the longest that the path lies under."""
    allowed = _allowed(person, SYSTEM_MENU if system else TENANT_MENU)
    under: dict[str, str] = {}  # an address that the path lies under, and the entry it belongs to
    for _, entry, href in allowed:
        held = [door[0] for name in entry.holds if (door := _door(get_urlconf(), name))]
        under |= {address: href for address in (href, *held) if _lies_under(path, address)}
    current = under[max(under, key=len)] if under else ""
    menu: dict[str, list[Link]] = {}
    for label, entry, href in allowed:
        menu.setdefault(label, []).append(Link(entry.label, href, entry.icon, href == current, entry.key))
    return list(menu.items())


def _lies_under(path: str, address: str) -> bool:
    return path == address or (address != "/" and path.startswith(address.rstrip("/") + "/"))


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
            "numbers": _choice(request, "numbers", FORMS),
            "region": _choice(request, "region", REGIONS),
            "keys": _choice(request, "keys", KEYS),
            "request_id": getattr(request, "request_id", ""),
        },
    }
