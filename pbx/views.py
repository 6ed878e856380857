"""The quarantine on the system host: what a switch sent and could not be used, why, and what to do about it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import actor_of, requires
from accounts.lists import Column, bounded, context_of, register
from accounts.rest import ApiError, decode_cursor, encode_cursor
from accounts.roles import Permission
from pbx import quarantine
from pbx.models import Quarantined
from pbx.rerun import rerun
from tenants.models import Switch

PAGE_SIZE = 50
QUARANTINE = register(
    "quarantine",
    "All of the quarantine",
    (Column("code", "Reason"), Column("session_id", "Session"), Column("switch", "Switch")),
    {"code", "session_id"},
)
_SHOWN_BYTES = 65_536

# What a system administrator can do about each reason.
ADVICE = {
    "unknown_tenant": "Add an inbound rule for its DID, or the SIP domain to its tenant. Then run it again.",
    "tenant_suspended": "Reactivate the tenant, then run it again.",
    "tenant_not_ready": "Wait until the tenant is ready, then run it again.",
    "call_not_started": "The switch never told that this call began. If it tells it later, run this again.",
    "time_in_future": "Set the clock of the switch. Once the time has come, this can be run again.",
    "session_conflict": "Two switches use the same session_id, or one used it for two tenants.",
    "session_closed": "It came more than a day after the end of its call.",
    "unknown_recording": "Its switch was never told to make this recording: is the switch meant for another portal?"
    " After a restored backup, what the portal forgot can be delivered again, and then this can be run again.",
    "not_applicable": "The log tells what went wrong. After a correction of the portal it can be run again.",
}
_OTHERWISE = "The switch sent what cannot be read. Correct the switch; it can send the call again under the same ids."


@dataclass(frozen=True)
class Shown:
    """A row of the list with the name of its switch."""

    row: Quarantined
    switch: str


@requires(Permission.SYSTEM_QUARANTINE)
@require_safe
@bounded
def quarantine_list(request: HttpRequest) -> HttpResponse:
    wanted = {name: _plain(request.GET.get(name, "")) for name in ("code", "session_id")}
    kept = {name: value for name, value in wanted.items() if value}
    rows = quarantine.waiting().filter(**kept).defer("raw").order_by("-id")
    last = _last(request.GET.get("cursor", ""))
    found = list((rows.filter(pk__lt=last) if last else rows)[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    names = dict(Switch.objects.filter(pk__in={row.switch_id for row in page}).values_list("pk", "name"))
    following = "?" + urlencode({**kept, "cursor": encode_cursor(page[-1].pk)}) if len(found) > PAGE_SIZE else ""
    context = {
        "page": [Shown(row, names.get(row.switch_id, "a deleted switch")) for row in page],
        "groups": quarantine.groups(),
        "full": sorted(Switch.objects.filter(pk__in=quarantine.full_switches()).values_list("name", flat=True)),
        "most": settings.QUARANTINE_MAX,
        "wanted": wanted,
        "filtered": bool(kept),
        "advice": ADVICE.get(wanted["code"], _OTHERWISE) if wanted["code"] else "",
        "following": following,
        "first": "?" + urlencode(kept) if last else "",
    }
    return render(request, "pbx/quarantine.html", context | context_of(request, QUARANTINE))


@requires(Permission.SYSTEM_QUARANTINE)
@require_safe
def quarantine_one(request: HttpRequest, row_id: int) -> HttpResponse:
    row = _row(row_id)
    raw = bytes(row.raw)
    switch = Switch.objects.filter(pk=row.switch_id).values_list("name", flat=True).first()
    context = {
        "row": row,
        "switch": switch or "a deleted switch",
        "waiting": row.state == Quarantined.State.WAITING,
        "raw": shown(raw[:_SHOWN_BYTES]),
        "size": len(raw),
        "cut": len(raw) > _SHOWN_BYTES,
        "advice": ADVICE.get(row.code, _OTHERWISE),
        "did_query": quote(_did(raw)) if row.code == "unknown_tenant" else "",
        "siblings": quarantine.waiting().filter(switch_id=row.switch_id, session_id=row.session_id)[:100].count()
        if row.session_id
        else 0,
    }
    return render(request, "pbx/quarantine_one.html", context)


@requires(Permission.SYSTEM_QUARANTINE)
@require_safe
def quarantine_raw(request: HttpRequest, row_id: int) -> HttpResponse:
    """The very bytes, as a file: nothing that a switch sent is ever shown as a page."""
    return HttpResponse(
        bytes(_row(row_id).raw),
        content_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="quarantined-{row_id}.txt"'},
    )


@requires(Permission.SYSTEM_QUARANTINE)
@require_POST
def quarantine_rerun(request: HttpRequest) -> HttpResponse:
    """One, all of a session, or all of a reason, as the form says."""
    outcome = rerun(actor_of(request), _chosen(request))
    if outcome.applied:
        messages.success(request, f"{outcome.applied} applied.")
    if outcome.waiting:
        messages.warning(request, f"{outcome.waiting} still cannot be used and stay here.")
    if not outcome.applied and not outcome.waiting:
        messages.info(request, "Nothing waits there any more.")
    return redirect("quarantine")


@requires(Permission.SYSTEM_QUARANTINE)
@require_POST
def quarantine_discard(request: HttpRequest) -> HttpResponse:
    count = quarantine.discard(actor_of(request), _chosen(request))
    messages.success(request, f"{count} discarded.")
    return redirect("quarantine")


def shown(raw: bytes) -> str:
    """Bytes as text that can do nothing: what is no UTF-8 and what is no visible character is written as its code."""
    text = raw.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\u{ord(char):04x}" for char in text)


def _chosen(request: HttpRequest) -> QuerySet[Quarantined]:
    rows = quarantine.waiting()
    if given := request.POST.get("id", ""):
        return rows.filter(pk=_row(int(given) if given.isascii() and given.isdigit() else 0).pk)
    if code := _plain(request.POST.get("code", "")):
        return rows.filter(code=code)
    raise Http404


def _row(row_id: int) -> Quarantined:
    found = Quarantined.objects.filter(pk=row_id).first() if row_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def _plain(text: str) -> str:
    return text.strip().replace("\x00", "")[:128]


def _last(cursor: str) -> int | None:
    """A cursor that no list gave starts from the newest: a page has no better answer."""
    try:
        (last,) = decode_cursor(cursor, 1) if cursor else (None,)
    except ApiError:
        return None
    return last if isinstance(last, int) and 0 < last < 2**63 else None


def _did(raw: bytes) -> str:
    """The number that an inbound rule would need."""
    try:
        document: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ""
    did = (document.get("did") or document.get("did_cid")) if isinstance(document, dict) else ""
    return did[:64] if isinstance(did, str) else ""
