"""Exports: a list with its filter as a file, ordered, watched, cancelled and taken away by the one who asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, forbidden, requires, signed_in
from accounts.roles import Permission
from accounts.sheets import FORMATS
from cdr import exports
from cdr.exports import Exportable
from cdr.models import ListExport
from recordings.playback import Sendable, send
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.schemas import current_schema

SHOWN = 30
_BLOCK = 256 * 1024
_FORMAT_WORDS = {
    "csv": "CSV, for any spreadsheet; times with their offset",
    "xlsx": "XLSX, for Excel and LibreOffice; times by the clock of the zone",
    "ndjson": "NDJSON, for programs; one object a line",
}


class ExportForm(forms.Form):
    """Which columns, in which form, by which clock."""

    form = forms.ChoiceField(label="Form", choices=list(_FORMAT_WORDS.items()), widget=forms.RadioSelect)
    time_zone = forms.ChoiceField(label="Times in")
    fields_chosen = forms.MultipleChoiceField(label="Columns", widget=forms.CheckboxSelectMultiple)

    def __init__(self, data: Any, *, exportable: Exportable, zones: list[str], initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial)
        self.fields["time_zone"].choices = [(zone, zone) for zone in zones]  # type: ignore[attr-defined]
        self.fields["fields_chosen"].choices = [  # type: ignore[attr-defined]
            (field.head.name, field.head.label) for field in exportable.fields
        ]


@requires(Permission.OWN_CALLS)
@require_http_methods(["GET", "HEAD", "POST"])
def new_export(request: HttpRequest, name: str) -> HttpResponseBase:
    exportable = exports.offered.get(name)
    if exportable is None:
        raise Http404
    person = signed_in(request)
    if not person.may(exportable.permission):
        return forbidden(request)
    query = exportable.kind.query_of(request.META.get("QUERY_STRING", ""))
    zones = list(dict.fromkeys([timezone.get_current_timezone_name(), _tenant().time_zone, "UTC"]))
    ticked = exportable.ticked(exportable.kind.shown(request.COOKIES))
    initial = {"form": "csv", "time_zone": zones[0], "fields_chosen": list(ticked)}
    form = ExportForm(request.POST or None, exportable=exportable, zones=zones, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            exports.request_export(
                actor_of(request),
                person,
                exportable,
                query=query,
                fields=form.cleaned_data["fields_chosen"],
                form=form.cleaned_data["form"],
                time_zone=form.cleaned_data["time_zone"],
            )
        except RefusedError as refused:
            form.add_error(None, refused.message)
        else:
            return redirect("exports")
    context = {"form": form, "exportable": exportable, "filters": _words_of(query), "back": _list_address(name, query)}
    return render(request, "portal/export_new.html", context)


@requires(Permission.OWN_CALLS)
@require_safe
def export_list(request: HttpRequest) -> HttpResponseBase:
    rows = list(exports.exports_of(signed_in(request))[:SHOWN])
    context = {
        "rows": [(row, exports.offered.get(row.list_name), _words_of(row.query)) for row in rows],
        "under_way": any(row.state in ("waiting", "running") for row in rows),
        "days": exports.KEPT.days,
    }
    return render(request, "portal/exports.html", context)


@requires(Permission.OWN_CALLS)
@require_POST
def cancel_export(request: HttpRequest, export_id: int) -> HttpResponseBase:
    if not exports.cancel(_own(request, export_id)):
        messages.info(request, "It had already ended.")
    return HttpResponseRedirect(reverse("exports"))


@requires(Permission.OWN_CALLS)
@require_POST
def delete_export(request: HttpRequest, export_id: int) -> HttpResponseBase:
    export = _own(request, export_id)
    exports.cancel(export)
    exports.remove(export)
    return HttpResponseRedirect(reverse("exports"))


@requires(Permission.OWN_CALLS)
@require_safe
def export_file(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """Any range of it, so that a download that broke off goes on; written down once it is begun."""
    export = _own(request, export_id)
    exportable = exports.offered.get(export.list_name)
    path = exports.path_of(export)
    if exportable is None or not signed_in(request).may(exportable.permission):
        return forbidden(request)
    if export.state != ListExport.State.READY or not path.is_file():
        raise Http404
    thing = Sendable(
        size=export.size,
        etag=f'"{export.pk}-{export.size}"',
        content_type=FORMATS[export.form],  # type: ignore[index]
        file_name=exports.file_name_of(export),
        read=lambda start, end: _blocks(path, start, end),
    )

    def note(span: Any) -> Any:
        if span.start == 0:
            exports.note_download(actor_of(request), export)
        return lambda sent: None

    return send(request, thing, note, is_download=True)


def _blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (block := file.read(min(_BLOCK, end - start))):
            start += len(block)
            yield block


def _own(request: HttpRequest, export_id: int) -> ListExport:
    found = exports.exports_of(signed_in(request)).filter(pk=export_id).first() if export_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def _words_of(query: str) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parse_qsl(query))


_ADDRESSES = {"cdr": "cdr-list", "recordings": "recordings", "audit": "audit"}


def _list_address(name: str, query: str) -> str:
    return reverse(_ADDRESSES[name]) + (f"?{query}" if query else "")


def _tenant() -> Tenant:
    tenant: Tenant = Tenant.objects.get(schema_name=current_schema())
    return tenant
