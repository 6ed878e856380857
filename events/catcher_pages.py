"""The built-in catcher's two doors: the page of who tries webhooks, and the address that takes what is posted."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from accounts.access import actor_of, open_to_all, requires
from accounts.roles import Permission
from events import catcher as catchers
from events import caught, endpoints
from events.models import Catcher, CaughtRequest

SHOWN = 16 * 1024  # characters of one body


@dataclass(frozen=True)
class Shown:
    id: int
    at: datetime
    signature: str
    signature_words: str
    headers: dict[str, str]
    body: str
    size: int
    is_cut: bool
    event_type: str


@requires(Permission.EVENT_URL)
@require_safe
def catcher(request: HttpRequest) -> HttpResponse:
    """The page. Asked by the page itself, it answers with what was caught, or 204 while that is what it shows."""
    there = catchers.current_catcher()
    if "seen" not in request.GET:
        return render(request, "events/catcher.html", _context(there))
    if there is None:
        return HttpResponse(status=286)  # htmx's word for: stop asking
    newest = caught.caught_by(there, timezone.now()).values_list("pk", flat=True).first()
    if str(newest or "") == request.GET["seen"]:
        return HttpResponse(status=204)
    return render(request, "events/_caught.html", _context(there))


@requires(Permission.EVENT_URL)
@require_POST
def switch_on(request: HttpRequest) -> HttpResponse:
    catchers.switch_on(actor=actor_of(request))
    return redirect("event-url-catcher")


@requires(Permission.EVENT_URL)
@require_POST
def clear(request: HttpRequest) -> HttpResponse:
    there = catchers.current_catcher()
    if there is None:
        raise Http404
    caught.clear(there, actor=actor_of(request))
    return redirect("event-url-catcher")


@requires(Permission.EVENT_URL)
@require_POST
def switch_off(request: HttpRequest) -> HttpResponse:
    catchers.switch_off(actor=actor_of(request))
    messages.success(request, "The catcher is gone, with what it caught. An endpoint that leads to it now fails.")
    return redirect("event-url-catcher")


@open_to_all
@csrf_exempt  # programs post here; the token in the address is all that lets them in
@require_POST
def catch(request: HttpRequest, token: str) -> HttpResponse:
    """204 when it was kept; 404, 413 or 429 else, as any receiver might answer."""
    there = catchers.catcher_with(token)
    if there is None:
        raise Http404
    body = _bounded(request)
    if body is None:
        return HttpResponse(f"At most {caught.BODY_BYTES} bytes.", status=413, content_type="text/plain")
    if caught.take(there, request.headers, body, timezone.now()) is None:
        wait = {"Retry-After": str(int(caught.BURST.total_seconds()))}
        return HttpResponse("Too many requests.", status=429, content_type="text/plain", headers=wait)
    return HttpResponse(status=204)


def _bounded(request: HttpRequest) -> bytes | None:
    body: bytes = request.read(caught.BODY_BYTES + 1)
    return body if len(body) <= caught.BODY_BYTES else None


def _context(there: Catcher | None) -> dict[str, Any]:
    if there is None:
        return {"catcher": None}
    address = catchers.address_of(there)
    rows = [_shown(row) for row in caught.caught_by(there, timezone.now())[: caught.KEPT]]
    return {
        "catcher": there,
        "address": address,
        "rows": rows,
        "seen": rows[0].id if rows else "",
        "endpoint": endpoints.live_endpoints().filter(url=address).first(),
        "kept": caught.KEPT,
    }


def _shown(row: CaughtRequest) -> Shown:
    body = bytes(row.body)
    text, event_type = _read(body)
    return Shown(
        id=row.pk, at=row.at, signature=row.signature, signature_words=row.get_signature_display(),
        headers=row.headers, body=text[:SHOWN], size=len(body), is_cut=len(text) > SHOWN, event_type=event_type,
    )  # fmt: skip


def _read(body: bytes) -> tuple[str, str]:
    """The body as text, and the event type it names. JSON is spread over lines, unless that could blow it up."""
    text = body.decode("utf-8", "replace")
    if len(body) > SHOWN:
        return _printable(text), ""
    try:
        document = json.loads(text)
        spread = json.dumps(document, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return _printable(text), ""
    named = document.get("event_type", "") if isinstance(document, dict) else ""
    return _printable(spread), _printable(str(named)[:40])


def _printable(text: str) -> str:
    """Without what no page can hold: a zero, and the halves of characters that JSON can write."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
