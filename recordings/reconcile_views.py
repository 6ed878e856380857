"""Call Statistics > Reconciliation: what is missing among the recordings, and what is left over."""

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires
from accounts.rest import ApiError, encode_cursor
from accounts.roles import Permission
from recordings import reconcile, trash, vault
from recordings.errors import VaultError
from recordings.models import Recording, RecordingFile
from recordings.playback import Sendable, send
from recordings.ranges import Span
from recordings.selectors import moment_and_id
from tenants.errors import RefusedError
from tenants.models import Switch, Tenant
from tenants.schemas import current_schema

PAGE = 50


@requires(Permission.RECORDINGS_FULL)
@require_safe
def recordings_without_file(request: HttpRequest) -> HttpResponse:
    rows = list(reconcile.without_file(timezone.now(), _before(request))[: PAGE + 1])
    context = {
        "tab": "recordings",
        "rows": [(row, reconcile.reason_of(row), row.state == Recording.State.FAILED) for row in rows[:PAGE]],
        **_pages(request, _last(rows, "created_at")),
    }
    return render(request, "recordings/reconcile_recordings.html", context)


@requires(Permission.RECORDINGS_FULL)
@require_POST
def put_away(request: HttpRequest, recording_id: int) -> HttpResponse:
    """A recording that will not come goes to the trash."""
    recording = Recording.objects.filter(pk=recording_id).first() if recording_id < 2**63 else None
    if recording is None:
        raise Http404
    _tell(request, lambda: trash.trash(actor_of(request), recording), "It is in the trash.")
    return redirect("reconciliation")


@requires(Permission.RECORDINGS_FULL)
@require_safe
def calls_without_recording(request: HttpRequest) -> HttpResponse:
    tenant = Tenant.objects.get(schema_name=current_schema())
    looked = reconcile.without_recording(tenant, PAGE, _before(request))
    context = {
        "tab": "calls",
        "rows": looked.found,
        "looked_at": looked.looked_at,
        "looked_back_to": looked.last.start_time if looked.last else None,
        **_pages(request, (looked.last.start_time, looked.last.pk) if looked.last else None),
    }
    return render(request, "recordings/reconcile_calls.html", context)


@requires(Permission.RECORDINGS_FULL)
@require_safe
def files_without_call(request: HttpRequest) -> HttpResponse:
    rows = list(reconcile.quarantined(_before(request))[: PAGE + 1])
    switches = _switches(rows)
    context = {
        "tab": "files",
        "rows": [(row, switches.get(row.switch_id, "a deleted switch")) for row in rows[:PAGE]],
        **_pages(request, _last(rows, "received_at")),
    }
    return render(request, "recordings/reconcile_files.html", context)


class PlaceForm(forms.Form):
    session_id = forms.CharField(label="Session id of the call", max_length=128, required=False)


@requires(Permission.RECORDINGS_FULL)
@require_http_methods(["GET", "HEAD", "POST"])
def quarantined_file(request: HttpRequest, file_id: int) -> HttpResponse:
    """One file: what is known of it, and the segments it could belong to."""
    file = _file(file_id)
    if request.method == "POST":
        chosen = request.POST.get("segment", "")
        segment_id = int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 19 else 0
        done = "It has been given to that segment, and is being examined."
        if _tell(request, lambda: reconcile.assign(actor_of(request), file, segment_id), done):
            return redirect("reconciliation-files")
        return redirect("reconciliation-file", file_id)
    form = PlaceForm(request.GET or None)
    session_id = form.cleaned_data["session_id"] if form.is_valid() else ""
    context = {
        "file": file,
        "held": _held_by(file),
        "switch": _switches([file]).get(file.switch_id, "a deleted switch"),
        "form": form,
        "session_id": session_id,
        "places": reconcile.places_for(file, session_id),
    }
    return render(request, "recordings/reconcile_file.html", context)


@requires(Permission.RECORDINGS_FULL)
@require_POST
def quarantined_file_delete(request: HttpRequest, file_id: int) -> HttpResponse:
    file = _file(file_id)
    _tell(request, lambda: reconcile.delete_file(actor_of(request), file), "The file has been deleted for good.")
    return redirect("reconciliation-files")


@requires(Permission.RECORDINGS_FULL)
@require_safe
def quarantined_file_bytes(request: HttpRequest, file_id: int) -> HttpResponseBase:
    """As a file to save: nothing that is in quarantine is ever shown or played by a page."""
    file = _file(file_id)

    def note(_: Span) -> Callable[[int], None]:
        reconcile.note_download(actor_of(request), file)
        return lambda _: None

    thing = Sendable(
        size=file.size,
        etag=f'"{file.sha256}"',
        content_type="application/octet-stream",
        file_name=f"quarantined-{file.pk}.bin",
        read=lambda start, end: vault.read(file, start, end),
    )
    try:
        return send(request, thing, note, is_download=True)
    except VaultError as error:
        messages.error(request, error.message)
        return redirect("reconciliation-file", file_id)


def _file(file_id: int) -> RecordingFile:
    rows = reconcile.quarantined().filter(pk=file_id) if file_id < 2**63 else None
    found = rows.first() if rows is not None else None
    if found is None:
        raise Http404
    return found


def _held_by(file: RecordingFile) -> Recording | None:
    """The recording whose legal hold keeps this file."""
    owner = reconcile.owner_of(file)
    return owner if owner is not None and owner.legal_hold else None


def _switches(files: list[RecordingFile]) -> dict[int, str]:
    return dict(Switch.objects.filter(pk__in={file.switch_id for file in files}).values_list("pk", "name"))


def _before(request: HttpRequest) -> reconcile.Key | None:
    """A cursor that no list gave starts from the newest: a page has no better answer."""
    cursor = request.GET.get("cursor", "")
    try:
        return moment_and_id(cursor) if cursor else None
    except ApiError:
        return None


def _last(rows: Sequence[Model], field: str) -> reconcile.Key | None:
    """Of a full page that another one follows."""
    last = rows[PAGE - 1] if len(rows) > PAGE else None
    return (getattr(last, field), last.pk) if last else None


def _pages(request: HttpRequest, last: reconcile.Key | None) -> dict[str, str]:
    following = "?" + urlencode({"cursor": encode_cursor(last[0].isoformat(), last[1])}) if last else ""
    return {"following": following, "first": "?" if "cursor" in request.GET else ""}


def _tell(request: HttpRequest, verb: Callable[[], object], done: str) -> bool:
    try:
        verb()
    except RefusedError as refused:
        messages.error(request, refused.message)
        return False
    messages.success(request, done)
    return True
