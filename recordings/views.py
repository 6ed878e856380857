"""Call Statistics > Call Recordings: the list, what is done with the rows that are marked."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts.access import actor_of, requires, signed_in
from accounts.callers import ApiError
from accounts.lists import Column, about, bounded, context_of, register, total_words
from accounts.roles import Permission
from cdr import periods
from cdr.models import CDR
from cdr.selectors import simulators
from recordings import bulk, plays, trash
from recordings.forms import ReasonForm, RecordingFilterForm, RecordingFilters
from recordings.models import Gap, Recording
from recordings.selectors import Slice, calls_of, narrowed, page_of, sees_all, shown, visible_recordings
from recordings.words import gap_badge
from tenants.errors import RefusedError
from tenants.models import Tenant
from tenants.values import id_of

PAGE = 50
RECORDINGS = register(
    "recordings",
    "All recordings",
    (
        Column("caller", "Caller"),
        Column("callee", "Callee"),
        Column("ended_at", "End Time"),
        Column("duration", "Duration"),
        Column("medium", "Medium"),
        Column("state", "State and gaps"),
    ),
    {*RecordingFilterForm.base_fields, "from", "to", "period", "order"},
)
_ADDRESS = ("period", "order")  # what the address holds beside the filters; cursors are not kept


@dataclass(frozen=True)
class Row:
    """A recording in the list, with the record of its call when there is one, and its gaps by reason."""

    recording: Recording
    call: CDR | None
    gaps: tuple[tuple[str, int], ...]  # in words, and seconds

    @property
    def seconds(self) -> int:
        return round(self.recording.duration_ms / 1000)


@dataclass(frozen=True)
class Chip:
    """A filter in use: what it says, and the address without it."""

    label: str
    value: str
    without: str


@requires(Permission.OWN_CALLS)
@require_safe
@bounded
def recording_list(request: HttpRequest) -> HttpResponseBase:
    form, filters = _filters_of(request)
    kept = _kept(request)
    ascending = kept.get("order") == "asc"
    rows = narrowed(shown(visible(request)), filters)
    try:
        page = page_of(
            rows,
            limit=PAGE,
            ascending=ascending,
            after=request.GET.get("after", ""),
            before=request.GET.get("before", ""),
        )
    except ApiError:  # a cursor that was cut or written by hand
        return HttpResponseRedirect(_address(kept))
    may = signed_in(request).may
    whole = page.previous is None and page.next is None
    total, exact = (len(page.rows), True) if whole else about(rows)
    context = {
        "form": form,
        "from_value": _input(filters.shared.since) if "from" in kept else "",
        "to_value": _input(filters.shared.until) if "to" in kept else "",
        "days": [(day, list(rows)) for day, rows in groupby(_rows(page.rows), key=_day)],
        "page": page,
        "chips": _chips(form, kept),
        "wrong": [f"{_label(form, name)}: {errors[0]}" for name, errors in form.errors.items()],
        "periods": _period_links(kept),
        "any_time": _address(_without(kept, "period", "from", "to")),
        "span": _span(page),
        "ascending": ascending,
        "sort": _address(_without(kept, "order") if ascending else kept | {"order": "asc"}),
        "previous": _address(kept | {"before": page.previous}) if page.previous else "",
        "next": _address(kept | {"after": page.next}) if page.next else "",
        "refresh": _address(kept),
        "clear": _address({}),
        "total": total_words(total, exact, "recording", "recordings"),
        "own_only": not sees_all(may),
        "may_delete": may(Permission.RECORDINGS_FULL),
        "asks_reason": _tenant(request).ask_play_reason,
        "simulators": simulators(),
    }
    return render(request, "recordings/list.html", context | context_of(request, RECORDINGS))


@requires(Permission.RECORDINGS_FULL)
@require_POST
def delete_recordings(request: HttpRequest) -> HttpResponse:
    """Into the trash, one by one: what a legal hold keeps does not keep the others."""
    deleted, refusals = 0, []
    for recording in _marked(request):
        try:
            trash.trash(actor_of(request), recording)
            deleted += 1
        except RefusedError as refused:
            refusals.append(refused.message)
    if deleted:
        them = "1 recording is" if deleted == 1 else f"{deleted} recordings are"
        messages.success(request, f"{them} in the trash now, and gone for good in {trash.DAYS_IN_TRASH} days.")
    for message in sorted(set(refusals)):
        messages.error(request, message)
    if not deleted and not refusals:
        messages.warning(request, "Select recordings first.")
    return _back(request)


@requires(Permission.OWN_CALLS)
@require_POST
def download_recordings(request: HttpRequest) -> HttpResponse:
    """One as it is, several as a ZIP."""
    marked = _marked(request)
    if len(marked) == 1:
        return HttpResponseRedirect(reverse("recording-download", args=[marked[0].pk]))
    asks_reason = _tenant(request).ask_play_reason
    form = ReasonForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    try:
        made = bulk.order(actor_of(request), marked, reason=reason, asks_reason=asks_reason)
    except plays.ReasonNeededError:
        asked = ReasonForm(request.POST if "reason" in request.POST else None)
        context = {"form": asked, "recordings": marked, "back": _back_address(request)}
        return render(request, "recordings/zip_reason.html", context)
    except RefusedError as refused:
        messages.warning(request, refused.message)
        return _back(request)
    return HttpResponseRedirect(reverse("recordings-zip", args=[made.pk]))


def visible(request: HttpRequest) -> "QuerySet[Recording]":
    person = signed_in(request)
    return visible_recordings(person, person.may)


def _tenant(request: HttpRequest) -> Tenant:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    return tenant


def _marked(request: HttpRequest) -> list[Recording]:
    """The rows that were marked and may be seen, or all of the calls marked; one more than a ZIP takes at most."""
    ids = {found for written in request.POST.getlist("recording") if (found := id_of(written)) is not None}
    calls = [session_id for session_id in request.POST.getlist("session") if "\0" not in session_id]
    rows = shown(visible(request)).filter(Q(pk__in=ids) | Q(session_id__in=calls)).order_by("-created_at", "-pk")
    return list(rows[: bulk.MOST + 1])


def _back_address(request: HttpRequest) -> str:
    back = request.POST.get("back", "")
    is_list = url_has_allowed_host_and_scheme(back, allowed_hosts=None) and back.startswith(
        (reverse("recordings"), reverse("cdr-list"))
    )
    return back if is_list else reverse("recordings")


def _back(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(_back_address(request))


def _rows(recordings: list[Recording]) -> list[Row]:
    calls = calls_of(recordings)
    gaps: dict[int, dict[str, int]] = {}
    for gap in _gaps(recordings):
        seconds = round((gap.until - gap.since).total_seconds()) if gap.until else 0
        sums = gaps.setdefault(gap.recording_id, {})
        sums[gap.reason] = sums.get(gap.reason, 0) + seconds
    return [
        Row(
            recording,
            calls.get(recording.session_id),
            tuple((gap_badge(reason), seconds) for reason, seconds in gaps.get(recording.pk, {}).items()),
        )
        for recording in recordings
    ]


def _gaps(recordings: list[Recording]) -> Iterable[Gap]:
    """But those of transfers, which are of no length."""
    return Gap.objects.filter(recording__in=recordings).exclude(reason=Gap.Reason.TRANSFER).order_by("since", "pk")


def _filters_of(request: HttpRequest) -> tuple[RecordingFilterForm, RecordingFilters]:
    """The filters of the address. A named period holds unless a beginning or an end is given."""
    form = RecordingFilterForm(request.GET, zone=timezone.get_current_timezone())
    form.is_valid()
    filters = form.recording_filters()
    if filters.shared.since or filters.shared.until:
        return form, filters
    since, until = periods.span_of(request.GET.get("period", ""), timezone.localtime())
    return form, replace(filters, shared=replace(filters.shared, since=since, until=until))


def _kept(request: HttpRequest) -> dict[str, Any]:
    """What of the address every link on the page carries on."""
    names = {*RecordingFilterForm.base_fields, "from", "to", *_ADDRESS}
    return {name: value for name, value in request.GET.items() if name in names and value}


def _without(kept: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in kept.items() if name not in names}


def _address(query: dict[str, Any]) -> str:
    return reverse("recordings") + (f"?{urlencode(query)}" if query else "")


def _period_links(kept: dict[str, Any]) -> list[tuple[str, str, bool]]:
    spanned = "from" in kept or "to" in kept
    rest = _without(kept, "period", "from", "to")
    return [
        (label, _address(rest | {"period": name}), kept.get("period") == name and not spanned)
        for name, label in periods.LABELS.items()
    ]


def _chips(form: RecordingFilterForm, kept: dict[str, Any]) -> list[Chip]:
    return [
        Chip(_label(form, name), _said(form, name, value), _address(_without(kept, name)))
        for name, value in kept.items()
        if name not in _ADDRESS and name not in form.errors
    ]


def _label(form: RecordingFilterForm, name: str) -> str:
    return {"from": "From", "to": "Until", "search": "Search"}.get(name) or str(form[name].label)


def _said(form: RecordingFilterForm, name: str, value: str) -> str:
    if choices := getattr(form.fields[name], "choices", None):
        return str(dict(choices).get(value, value))
    if name in ("min_talk", "max_talk", "min_duration", "max_duration"):
        minutes, seconds = divmod(int(form.cleaned_data[name]), 60)
        return f"{minutes}:{seconds:02}"
    return _input(form.cleaned_data[name]).replace("T", " ") if name in ("from", "to") else value


def _input(moment: Any) -> str:
    """As a datetime-local field wants it."""
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M") if moment else ""


def _day(row: Row) -> date:
    return timezone.localtime(row.recording.created_at).date()


def _span(page: Slice) -> tuple[Any, Any] | None:
    return (page.rows[0].created_at, page.rows[-1].created_at) if page.rows else None
