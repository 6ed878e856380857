"""What Ctrl K finds: pages, people, numbers and calls of a tenant; pages, tenants and switches of the system."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import Person, requires, signed_in
from accounts.lists import bounded
from accounts.roles import Permission
from accounts.selectors import matching_users, users_by_extension
from cdr.forms import number_in
from cdr.models import CDR
from cdr.selectors import number_like, page_of, visible_calls
from portal.shell import pages_of
from tenants.models import Switch, Tenant, Trunk

EACH = 5
LATEST = 30  # calls whose numbers are offered
_LEAST_DIGITS = 2
_LEAST_OF_ID = 6


@dataclass(frozen=True)
class Found:
    label: str
    detail: str
    href: str
    icon: str
    is_id: bool = False


Groups = list[tuple[str, list[Found]]]


@requires(Permission.OWN_CALLS)
@require_safe
@bounded
def tenant_jump(request: HttpRequest) -> HttpResponseBase:
    person, words = signed_in(request), _words(request)
    groups = [
        ("Calls", _calls(person, words)),
        ("Numbers", _numbers(person, words)),
        ("People", _people(person, words)),
        ("Pages", _pages(person, words, system=False)),
    ]
    return _answer(request, words, groups)


@requires(Permission.PROFILE)
@require_safe
@bounded
def system_jump(request: HttpRequest) -> HttpResponseBase:
    person, words = signed_in(request), _words(request)
    groups = [
        ("Tenants", _tenants(person, words)),
        ("Trunks", _trunks(person, words)),
        ("Switches", _switches(person, words)),
        ("Pages", _pages(person, words, system=True)),
    ]
    return _answer(request, words, groups)


def _answer(request: HttpRequest, words: str, groups: Groups) -> HttpResponseBase:
    page = "portal/found.html" if request.headers.get("HX-Request") == "true" else "portal/jump.html"
    return render(request, page, {"words": words, "groups": [(label, found) for label, found in groups if found]})


def _words(request: HttpRequest) -> str:
    return request.GET.get("q", "").strip().replace("\0", "")[:100]


def _pages(person: Person, words: str, *, system: bool) -> list[Found]:
    """A page is found by a part of its name or of its section's; without words the whole menu is offered."""
    wanted = words.casefold().split()
    return [
        Found(entry.label, section, href, entry.icon)
        for section, entry, href in pages_of(person, system=system)
        if all(word in f"{section} {entry.label}".casefold() for word in wanted)
    ]


def _calls(person: Person, words: str) -> list[Found]:
    """By the beginning of a session id."""
    if len(words) < _LEAST_OF_ID:
        return []
    calls = visible_calls(person, person.may).filter(session_id__startswith=words).order_by("session_id")
    return [
        Found(call.session_id, _told(call), reverse("cdr-detail", args=[call.session_id]), "ledger", is_id=True)
        for call in calls[:EACH]
    ]


def _told(call: CDR) -> str:
    return f"{timezone.localtime(call.start_time):%d %b %Y, %H:%M:%S}, {call.caller or '–'} to {call.callee or '–'}"


def _numbers(person: Person, words: str) -> list[Found]:
    number = number_in(words).rstrip("*")
    if sum(character.isdigit() for character in number) < _LEAST_DIGITS or " " in number:
        return []
    calls = visible_calls(person, person.may).filter(
        number_like("caller", f"{number}*") | number_like("callee", f"{number}*")
    )
    latest = page_of(calls, limit=LATEST).rows
    if not latest:
        return []
    found = [
        Found(each, "Calls with this number", _with_number(each), "phone")
        for each in islice(_beginning(latest, number), EACH)
    ]
    return [*found, Found(f"{number}*", "All calls with a number that begins so", _with_number(f"{number}*"), "filter")]


def _beginning(calls: list[CDR], number: str) -> Iterator[str]:
    """The numbers of these calls that begin so, each once, the latest first."""
    both = (each for call in calls for each in (call.caller, call.callee))
    return iter(dict.fromkeys(each for each in both if each.startswith(number)))


def _with_number(number: str) -> str:
    return f"{reverse('cdr-list')}?{urlencode({'number': number})}"


def _people(person: Person, words: str) -> list[Found]:
    if not words or not person.may(Permission.USERS):
        return []
    found = []
    for user in matching_users(users_by_extension(), words)[:EACH]:
        extension: Any = getattr(user, "extension", None)
        label = f"{extension.number} {user.get_full_name()}" if extension else user.get_full_name()
        found.append(Found(label, "Call Manager, Users", reverse("user-edit", args=[user.pk]), "users"))
    return found


def _tenants(person: Person, words: str) -> list[Found]:
    if not words or not person.may(Permission.SYSTEM_TENANTS):
        return []
    wanted = Q(name__icontains=words) | Q(host__icontains=words) | Q(sip_domains__domain__icontains=words)
    rows = Tenant.objects.exclude(schema_name="public").filter(wanted).distinct().order_by("name", "pk")
    return [
        Found(row.name, str(row.get_state_display()), reverse("tenant", args=[row.pk]), "building")
        for row in rows[:EACH]
    ]


def _trunks(person: Person, words: str) -> list[Found]:
    if not words or not person.may(Permission.SYSTEM_TENANTS):
        return []
    rows = Trunk.objects.filter(Q(name__icontains=words) | Q(host__icontains=words)).order_by("name")
    return [Found(row.name, row.host, reverse("trunk-edit", args=[row.pk]), "trunk") for row in rows[:EACH]]


def _switches(person: Person, words: str) -> list[Found]:
    if not words or not person.may(Permission.SYSTEM_SWITCHES):
        return []
    rows = Switch.objects.filter(name__icontains=words).order_by("name")
    return [
        Found(row.name, str(row.get_kind_display()), reverse("switch-edit", args=[row.pk]), "server")
        for row in rows[:EACH]
    ]
