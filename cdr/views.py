"""Call Statistics > CDR: the list of calls and the details of one."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from accounts.access import actor_of, requires, signed_in
from accounts.callers import ApiError
from accounts.lists import about, bounded, context_of
from accounts.roles import Permission
from cdr import columns, periods
from cdr.api import call_of, document_of
from cdr.forms import CDRFilterForm, CDRFilters
from cdr.ladder import Track, ladder_of
from cdr.models import CDR, Target
from cdr.records import seconds_between
from cdr.selectors import (
    MANY,
    Slice,
    cdr_deliveries,
    count_since,
    last_id,
    narrowed,
    neighbours,
    page_of,
    sees_all,
    simulators,
    visible_calls,
)
from cdr.sentence import sentence_of
from events import deliveries
from events.models import Delivery, Profile
from events.selectors import LogFilters, deliveries_log
from tenants.errors import RefusedError
from tenants.models import Switch

PAGE = 50
PUSHES = 20
_ADDRESS = ("period", "order")  # what the address holds beside the filters; cursors are not kept
# Filled by higher rooms: what they show on the page of a call, as HTML of their own templates.
page_parts: list[Callable[[HttpRequest, CDR], SafeString]] = []
# And these draw what they know of it under its ladder.
ladder_tracks: list[Callable[[HttpRequest, CDR], Sequence[Track]]] = []


LEGEND = (("service", "In a menu or queue"), ("ringing", "Ringing"), ("talking", "Talking"), ("held", "Held"))
TRACK_LEGEND = (("recording", "Recorded"), ("paused-gap", "Not recorded"))


@dataclass(frozen=True)
class TargetRow:
    """A target with its durations in seconds; `talk` is None when it never answered."""

    row: Target
    ring: int
    talk: int | None

    @classmethod
    def of(cls, target: Target) -> "TargetRow":
        answered = target.answered_time
        ring = seconds_between(target.ring_time, answered or target.ended_time)
        return cls(target, ring, seconds_between(answered, target.ended_time) if answered else None)


@dataclass(frozen=True)
class Chip:
    """A filter in use: what it says, and the address without it."""

    label: str
    value: str
    without: str


@dataclass(frozen=True)
class Silence:
    """When the last call began, and the switch that told it."""

    since: datetime
    switch: str


@requires(Permission.OWN_CALLS)
@require_safe
@bounded
def cdr_list(request: HttpRequest) -> HttpResponseBase:
    form, filters = _filters_of(request)
    calls = narrowed(_visible(request), filters)
    ascending = request.GET.get("order") == "asc"
    try:
        page = page_of(
            calls,
            limit=PAGE,
            ascending=ascending,
            after=request.GET.get("after", ""),
            before=request.GET.get("before", ""),
        )
    except ApiError:  # a cursor that was cut or written by hand
        return HttpResponseRedirect(_address(_kept(request)))
    kept = _kept(request)
    whole = page.previous is None and page.next is None
    total, exact = (len(page.rows), True) if whole else about(calls)
    may = signed_in(request).may
    context = {
        "form": form,
        "from_value": _input(filters.since) if "from" in kept else "",
        "to_value": _input(filters.until) if "to" in kept else "",
        "days": [(day, list(rows)) for day, rows in groupby(page.rows, key=_day)],
        "page": page,
        "simulators": simulators(),
        "chips": _chips(form, kept),
        "wrong": [f"{_label(form, name)}: {errors[0]}" for name, errors in form.errors.items()],
        "periods": _period_links(kept),
        "any_time": _address(_without(kept, "period", "from", "to")),
        "total": total,
        "about": not exact,
        "whole": whole,
        "span": _span(page),
        "ascending": ascending,
        "sort": _address(_without(kept, "order") if ascending else kept | {"order": "asc"}),
        "previous": _address(kept | {"before": page.previous}) if page.previous else "",
        "next": _address(kept | {"after": page.next}) if page.next else "",
        "refresh": _address(kept),
        "clear": _address({}),
        "newer": f"{reverse('cdr-newer')}?{urlencode(kept | {'since': last_id()})}",
        "own_only": not sees_all(may),
        "silence": None if page.rows else _silence(request, filters, kept),
        "may_send_again": may(Permission.EVENT_URL),
    }
    return render(request, "cdr/list.html", context | context_of(request, columns.CALLS))


@requires(Permission.OWN_CALLS)
@require_safe
def newer_calls(request: HttpRequest) -> HttpResponseBase:
    """How many calls were written since the list was read; asked every few seconds, mostly answered by nothing."""
    since = request.GET.get("since", "")
    _, filters = _filters_of(request)
    count = count_since(narrowed(_visible(request), filters), int(since)) if _is_id(since) else 0
    if not count:
        return HttpResponse(status=204)
    words = f"{MANY}+ new calls" if count > MANY else f"{count} new call{'s' if count > 1 else ''}"
    return render(request, "cdr/newer.html", {"words": words, "refresh": _address(_kept(request))})


@requires(Permission.EVENT_URL)
@require_POST
def send_again(request: HttpRequest) -> HttpResponseBase:
    """The calls that were marked, to every endpoint that was sent them and is switched on."""
    marked = request.POST.getlist("session")[:PAGE]
    calls = _visible(request).filter(session_id__in=[each for each in marked if "\0" not in each])
    sent = 0
    for delivery in cdr_deliveries(list(calls.values_list("session_id", flat=True))):
        try:
            deliveries.redeliver(delivery, actor=actor_of(request))
            sent += 1
        except RefusedError as refused:
            messages.error(request, refused.message)
    if sent:
        messages.success(request, f"{sent} deliver{'y is' if sent == 1 else 'ies are'} sent again.")
    else:
        messages.warning(request, "Nothing to send again: no endpoint that is switched on was sent these calls.")
    return HttpResponseRedirect(_back(request))


def _back(request: HttpRequest) -> str:
    back = request.POST.get("back", "")
    is_list = url_has_allowed_host_and_scheme(back, allowed_hosts=None) and back.startswith(reverse("cdr-list"))
    return back if is_list else reverse("cdr-list")


@requires(Permission.OWN_CALLS)
@require_safe
def cdr_detail(request: HttpRequest, session_id: str) -> HttpResponseBase:
    calls = _visible(request)
    call = call_of(calls, session_id)
    targets = list(call.targets.all())
    profile = Profile.V22 if request.GET.get("profile") == Profile.V22 else Profile.V16
    tenant = request.tenant  # type: ignore[attr-defined]
    newer, older = neighbours(calls, call)
    tracks = [each for drawn in ladder_tracks for each in drawn(request, call)]
    context = {
        "call": call,
        "simulators": simulators(),
        "targets": targets,
        "rows": [TargetRow.of(target) for target in targets],
        "sentence": sentence_of(call, targets),
        "ladder": ladder_of(call, targets, tracks),
        "legend": (*LEGEND, *(TRACK_LEGEND if tracks else ())),
        "profile": profile,
        "document": json.dumps(document_of(call, tenant, profile), indent=2, ensure_ascii=False),
        "curl": _as_curl(request, call, profile),
        "newer": newer and reverse("cdr-detail", args=[newer]),
        "older": older and reverse("cdr-detail", args=[older]),
        "parts": [part(request, call) for part in page_parts],
        "pushes": _pushes(request, call),
    }
    return render(request, "cdr/detail.html", context)


def _as_curl(request: HttpRequest, call: CDR, profile: Profile) -> str:
    """The same message by REST; $VOXLEDGER_TOKEN stands for a token of the reader's own."""
    address = request.build_absolute_uri(f"/api/v1/cdrs/{quote(call.session_id)}?profile={profile}")
    return f'curl -H "Authorization: Bearer $VOXLEDGER_TOKEN" {shlex.quote(address)}'


def _pushes(request: HttpRequest, call: CDR) -> "list[Delivery] | None":
    """The latest deliveries of this call; None for whoever may not see endpoints."""
    if not signed_in(request).may(Permission.EVENT_URL):
        return None
    return list(deliveries_log(LogFilters(session_id=call.session_id))[:PUSHES])


def _visible(request: HttpRequest) -> Any:
    person = signed_in(request)
    return visible_calls(person, person.may)


def _silence(request: HttpRequest, filters: CDRFilters, kept: dict[str, Any]) -> Silence | None:
    """When the list is empty for no other reason than that nothing came in its time, which still goes on."""
    if not filters.since or filters.until or set(kept) - {"from", "period", "order"}:
        return None
    last = _visible(request).order_by("-start_time", "-pk").first()
    if last is None:
        return None
    switch = Switch.objects.filter(pk=last.switch_id).values_list("name", flat=True).first()
    return Silence(last.start_time, switch or "")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _filters_of(request: HttpRequest) -> tuple[CDRFilterForm, CDRFilters]:
    """The filters of the address. A named period holds unless a beginning or an end is given."""
    form = CDRFilterForm(request.GET, zone=timezone.get_current_timezone())
    form.is_valid()
    filters = form.filters()
    if filters.since or filters.until:
        return form, filters
    since, until = periods.span_of(request.GET.get("period", ""), timezone.localtime())
    return form, replace(filters, since=since, until=until)


def _kept(request: HttpRequest) -> dict[str, Any]:
    """What of the address every link on the page carries on."""
    names = {*CDRFilterForm.base_fields, "from", "to", *_ADDRESS}
    return {name: value for name, value in request.GET.items() if name in names and value}


def _without(kept: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in kept.items() if name not in names}


def _address(query: dict[str, Any]) -> str:
    return reverse("cdr-list") + (f"?{urlencode(query)}" if query else "")


def _period_links(kept: dict[str, Any]) -> list[tuple[str, str, bool]]:
    spanned = "from" in kept or "to" in kept
    rest = _without(kept, "period", "from", "to")
    return [
        (label, _address(rest | {"period": name}), kept.get("period") == name and not spanned)
        for name, label in periods.LABELS.items()
    ]


def _chips(form: CDRFilterForm, kept: dict[str, Any]) -> list[Chip]:
    chips = []
    for name, value in kept.items():
        if name in _ADDRESS or name in form.errors:
            continue
        chips.append(Chip(_label(form, name), _said(form, name, value), _address(_without(kept, name))))
    return chips


def _label(form: CDRFilterForm, name: str) -> str:
    return _LABELS.get(name) or str(form[name].label)


_LABELS = {
    "from": "From",
    "to": "Until",
    "min_talk": "Talking Time at least",
    "max_talk": "Talking Time at most",
    "search": "Search",
    "recorded": "Recorded",
}


def _said(form: CDRFilterForm, name: str, value: str) -> str:
    choices = getattr(form.fields[name], "choices", None)
    if choices:
        return str(dict(choices).get(value, value))
    if name in ("min_talk", "max_talk"):
        minutes, seconds = divmod(int(form.cleaned_data[name]), 60)
        return f"{minutes}:{seconds:02}"
    if name == "recorded":
        return "yes" if form.cleaned_data[name] else "no"
    return _input(form.cleaned_data[name]).replace("T", " ") if name in ("from", "to") else value


def _input(moment: datetime | None) -> str:
    """As a datetime-local field wants it."""
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M") if moment else ""


def _day(call: CDR) -> date:
    return timezone.localtime(call.start_time).date()


def _span(page: Slice) -> tuple[Any, Any] | None:
    return (page.rows[0].start_time, page.rows[-1].start_time) if page.rows else None
