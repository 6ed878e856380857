"""Call Statistics > Reports: sums of calls by day, hour, extension, trunk, DID, end reason or direction."""

import io
from dataclasses import dataclass
from datetime import date
from typing import Any, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import sheets
from accounts.access import requires
from accounts.models import Extension
from accounts.roles import Permission
from cdr import charts, reports
from cdr.ladder import percent
from cdr.models import Direction
from cdr.report_forms import BY, PERIODS, SUBJECTS, Question, ReportForm
from cdr.reports import MOST_VALUES, Sums

_KEPT = ("by", "period", "from", "to", "direction", *SUBJECTS)
_LABELS_ACROSS = 12  # so many labels a narrow screen has room for
HEADS = (
    sheets.Head("calls", "Calls", "number"),
    sheets.Head("answered", "Answered", "number"),
    sheets.Head("missed", "Missed", "number"),
    sheets.Head("met", "Reached a person", "number"),
    sheets.Head("average_wait", "Waiting, average", "duration"),
    sheets.Head("talk_seconds", "Talking Time", "duration"),
    sheets.Head("average_talk", "Talking Time, average", "duration"),
    sheets.Head("cost", "Cost", "amount"),
)


@dataclass(frozen=True)
class Row:
    """One line: what it is about, as a key, in words, and where its calls are listed (empty: nowhere)."""

    key: str
    label: str
    name: str
    sums: Sums
    share: str  # of the largest line, for its bar
    href: str


@requires(Permission.CDR_VIEW)
@require_safe
def report(request: HttpRequest) -> HttpResponseBase:
    form, question = _asked(request)
    rows, total = answer(question)
    kept = {name: value for name, value in request.GET.items() if name in _KEPT and value and name not in form.errors}
    timed = question.by in ("day", "hour")
    context = {
        "form": form,
        "question": question,
        "by": BY[question.by],
        "by_word": _word(question),
        "rows": rows,
        "total": total,
        "is_cut": len(rows) == MOST_VALUES,
        "overlaps": question.by == "extension",
        "chart": _chart(rows) if timed else None,
        "spoken": _spoken(rows, question),
        "wrong": [f"{form.fields[name].label or name}: {errors[0]}" for name, errors in form.errors.items()],
        "bys": [(label, _address(kept, by=by), by == question.by) for by, label in BY.items()],
        "periods": [
            (label, _address(_without(kept, "from", "to"), period=name), _is_period(kept, name))
            for name, label in PERIODS.items()
        ],
        "chips": _chips(form, kept),
        "filtered": any(name in kept for name in ("direction", *SUBJECTS)),
        "clear": _address({name: kept[name] for name in ("by", "period") if name in kept}),
        "hidden": [(name, kept[name]) for name in ("by", "period") if name in kept],
        "formats": [(form, f"{reverse('report-file', args=[form])}?{urlencode(kept)}") for form in sheets.FORMATS],
    }
    return render(request, "cdr/report.html", context)


@requires(Permission.CDR_VIEW)
@require_safe
def report_file(request: HttpRequest, form: str) -> HttpResponseBase:
    """The same rows as a file, the total last."""
    if form not in sheets.FORMATS:
        raise Http404
    kind = form
    _, question = _asked(request)
    rows, total = answer(question)
    lines: list[list[sheets.Cell]] = [[row.key, row.name, *_cells(row.sums)] for row in rows]
    if kind != "ndjson":  # a program adds up by itself
        lines.append(["Total", "", *_cells(total)])
    heads = [sheets.Head(question.by, BY[question.by]), sheets.Head("name", "Name"), *HEADS]
    file = io.BytesIO()
    sheets.write_all(kind, file, heads, lines, question.zone)
    name = f"calls-by-{question.by.replace('_', '-')}-{question.first}-{question.last}.{kind}"
    return HttpResponse(
        file.getvalue(),
        content_type=sheets.FORMATS[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"},
    )


def answer(question: Question) -> tuple[list[Row], Sums]:
    found = reports.grouped(question.narrowing, question.by, question.zone.key)
    names = _names(question, [str(key) for key, _ in found])
    most = max((sums.calls for _, sums in found), default=0)
    rows = [
        Row(
            key := _key(question, value),
            _label(question, value),
            names.get(key, ""),
            sums,
            percent(sums.calls * 100 / most if most else 0),
            _calls_of(question, value) if sums.calls else "",
        )
        for value, sums in found
    ]
    return rows, reports.total(question.narrowing)


def _names(question: Question, keys: list[str]) -> dict[str, str]:
    if question.by != "extension":
        return {}
    return dict(Extension.objects.filter(number__in=keys).values_list("number", "display_name"))


def _key(question: Question, value: Any) -> str:
    match question.by:
        case "hour":
            return f"{value:02}:00"
        case "end_reason":
            return value or "None"
    return str(value)


def _label(question: Question, value: Any) -> str:
    match question.by:
        case "day":
            day = cast(date, value)
            return f"{day:%a} {day.day} {day:%b %Y}"
        case "direction":
            return str(Direction(value).label)
    return _key(question, value)


def _calls_of(question: Question, value: Any) -> str:
    """The CDR list of exactly the calls of a line; a clock hour of many days is no filter of it."""
    if question.by == "hour":
        return ""
    key = _key(question, value)
    query = {"from": question.first.isoformat(), "to": question.last.isoformat(), "direction": question.direction}
    if question.subject:
        query[question.subject] = question.value
    if question.by == "day":
        query["from"] = query["to"] = key
    else:
        query[question.by] = key
    return f"{reverse('cdr-list')}?{urlencode({name: text for name, text in query.items() if text})}"


def _cells(sums: Sums) -> list[sheets.Cell]:
    return [
        sums.calls, sums.answered, sums.missed, sums.met, sums.average_wait, sums.talk_seconds, sums.average_talk,
        sums.billed_cost,
    ]  # fmt: skip


def _chart(rows: list[Row]) -> charts.BarChart:
    bars = [
        charts.Column(
            label=row.label.split(" ", 1)[1].rsplit(" ", 1)[0] if " " in row.label else row.label.removesuffix(":00"),
            title=f"{row.label}: {row.sums.answered:,} answered, {row.sums.others:,} not",
            good=row.sums.answered,
            bad=row.sums.others,
        )
        for row in rows
    ]
    return charts.bar_chart(bars, every=-(-len(bars) // _LABELS_ACROSS))


def _spoken(rows: list[Row], question: Question) -> str:
    busiest = max(rows, key=lambda row: row.sums.calls, default=None)
    if busiest is None or not busiest.sums.calls:
        return "No calls."
    return f"Calls by {_word(question)}. Most: {busiest.label}, {busiest.sums.calls:,} calls."


def _word(question: Question) -> str:
    """What the lines are, within a sentence."""
    return "DID/DDI" if question.by == "did" else BY[question.by].lower()


def _asked(request: HttpRequest) -> tuple[ReportForm, Question]:
    zone = ZoneInfo(timezone.get_current_timezone_name())
    form = ReportForm(request.GET, zone=zone, today=timezone.localdate())
    form.is_valid()
    return form, form.question()


def _address(kept: dict[str, Any], **more: Any) -> str:
    query = kept | more
    return reverse("reports") + (f"?{urlencode(query)}" if query else "")


def _without(kept: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in kept.items() if name not in names}


def _is_period(kept: dict[str, Any], name: str) -> bool:
    return "from" not in kept and "to" not in kept and kept.get("period", "7d") == name


def _chips(form: ReportForm, kept: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Each filter in use, what it says, and the address without it."""
    shown = []
    for name in ("from", "to", "direction", *SUBJECTS):
        if name in kept:
            said = str(Direction(kept[name]).label) if name == "direction" else kept[name]
            shown.append((str(form[name].label), said, _address(_without(kept, name))))
    return shown
