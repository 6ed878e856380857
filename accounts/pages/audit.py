"""Logs > Audit, on a tenant's host and on the system's."""

from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import requires
from accounts.forms import AuditFilterForm
from accounts.lists import Column, bounded, context_of, register
from accounts.models import AuditEntry
from accounts.rest import ApiError, decode_cursor, encode_cursor
from accounts.roles import Permission
from accounts.selectors import audit_entries

PAGE_SIZE = 50
AUDIT = register(
    "audit",
    "All entries",
    (
        Column("who", "Who"),
        Column("what", "What"),
        Column("before", "Before"),
        Column("after", "After"),
        Column("address", "Address"),
    ),
    AuditFilterForm.base_fields,
)
_YEARS = range(1970, 9000)  # in which a day may be moved into any zone


@requires(Permission.AUDIT)
@require_safe
@bounded
def audit(request: HttpRequest) -> HttpResponse:
    form = AuditFilterForm(request.GET)
    rows = audit_entries(_before(request.GET.get("cursor", "")))
    if form.is_valid():
        rows = filtered(rows, form.cleaned_data)
    found = list(rows[: PAGE_SIZE + 1])
    kept = {name: value for name, value in request.GET.items() if value and name in form.fields}
    following = ""
    if len(found) > PAGE_SIZE:
        last = found[PAGE_SIZE - 1]
        following = "?" + urlencode({**kept, "cursor": encode_cursor(last.at.isoformat(), last.pk)})
    context = {
        "form": form,
        "entries": found[:PAGE_SIZE],
        "following": following,
        "first": "?" + urlencode(kept) if "cursor" in request.GET else "",
        "filtered": bool(kept),
    }
    return render(request, "accounts/audit.html", context | context_of(request, AUDIT))


def filtered(rows: "QuerySet[AuditEntry]", wanted: dict[str, Any]) -> "QuerySet[AuditEntry]":
    """Also what an export of the list holds."""
    if who := wanted["who"]:
        rows = rows.filter(Q(actor__icontains=who) | Q(on_behalf__icontains=who))
    if action := wanted["action"]:
        rows = rows.filter(action__istartswith=action)
    if subject := wanted["subject"]:
        rows = rows.filter(subject__icontains=subject)
    if (since := wanted["since"]) and since.year in _YEARS:
        rows = rows.filter(at__gte=_midnight(since))
    if (until := wanted["until"]) and until.year in _YEARS:
        rows = rows.filter(at__lt=_midnight(until + timedelta(days=1)))
    return rows


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _before(cursor: str) -> tuple[datetime, int] | None:
    """A cursor that no list gave starts from the newest: a page has no better answer."""
    if not cursor:
        return None
    try:
        at, entry_id = decode_cursor(cursor, 2)
        moment = datetime.fromisoformat(at)
    except (ApiError, TypeError, ValueError):
        return None
    return (moment, entry_id) if moment.tzinfo and isinstance(entry_id, int) else None
