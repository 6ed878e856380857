"""A ZIP of recordings: how far it is, and the ZIP itself, both only for whoever asked for it."""

from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import actor_of, requires
from accounts.roles import Permission
from recordings import bulk, playback, vault
from recordings.errors import VaultError
from recordings.models import Bulk
from recordings.ranges import Span
from recordings.views import visible


@requires(Permission.OWN_CALLS)
@require_safe
def zip_page(request: HttpRequest, bulk_id: int) -> HttpResponse:
    found = _bulk(request, bulk_id)
    context = {"bulk": found, "total": len(found.recording_ids), "until": found.created_at + bulk.LIFETIME}
    return render(request, "recordings/zip.html", context)


@requires(Permission.OWN_CALLS)
@require_safe
def zip_file(request: HttpRequest, bulk_id: int) -> HttpResponseBase:
    found = _bulk(request, bulk_id)
    if found.state == Bulk.State.READY and not bulk.is_whole(found, visible(request)):
        bulk.drop(found)
    if found.state != Bulk.State.READY:
        return _gone(request, found)
    thing = playback.Sendable(
        size=found.size,
        etag=f'"{found.sha256}"',
        content_type="application/zip",
        file_name=f"recordings_{timezone.localtime(found.created_at):%Y%m%d-%H%M%S}.zip",
        read=lambda start, end: vault.read(found, start, end),
    )

    def note(span: Span) -> Callable[[int], None]:
        if span.start == 0:
            bulk.note_taken(actor_of(request), found)
        return lambda sent: None  # each recording in it was written down when it was packed

    try:
        return playback.send(request, thing, note, is_download=True)
    except VaultError:
        return _gone(request, found)


def _bulk(request: HttpRequest, bulk_id: int) -> Bulk:
    found = bulk.bulks_of(actor_of(request)).filter(pk=bulk_id).first()
    if found is None:
        raise Http404
    return found


def _gone(request: HttpRequest, found: Bulk) -> HttpResponse:
    context = {"bulk": found, "total": len(found.recording_ids), "until": None}
    return render(request, "recordings/zip.html", context, status=410 if found.state == Bulk.State.GONE else 409)
