"""Company > Rates: the rules, what a number would cost, many rules by CSV, and a period rated anew."""

from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_of, requires
from accounts.lists import bounded
from accounts.roles import Permission
from accounts.selectors import last_change
from cdr import rates
from cdr.forms import NumberField
from cdr.models import RateRule
from cdr.rates import RateForm

PAGE = 100
MOST_BYTES = 2_000_000
_SHOWN_LINES = 50
MOST_DAYS = 366


class QuoteForm(forms.Form):
    """What would this number cost?"""

    number = NumberField(label="Number")
    seconds = forms.IntegerField(label="Talking Time in seconds", min_value=0, max_value=10_000_000)
    at = forms.DateTimeField(
        label="At", required=False, input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )  # fmt: skip

    def clean_number(self) -> str:
        number = str(self.cleaned_data["number"])
        if "*" in number:
            raise ValidationError("Give one whole number.")
        return number


class PeriodForm(forms.Form):
    """The days, both included, whose calls are rated again."""

    first = forms.DateField(label="First day", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="Last day", widget=forms.DateInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        first, last = values.get("first"), values.get("last")
        if first and last:
            if first > last:
                self.add_error("last", "The last day must not come before the first.")
            elif (last - first).days >= MOST_DAYS or not 1970 <= first.year <= last.year < 9000:
                self.add_error("last", f"At most {MOST_DAYS} days at a time.")
        return values

    def span(self) -> tuple[datetime, datetime]:
        return _midnight(self.cleaned_data["first"]), _midnight(self.cleaned_data["last"] + timedelta(days=1))


class ImportForm(forms.Form):
    """A file, or the text of one that was looked at before."""

    file = forms.FileField(required=False, label="CSV file")
    text = forms.CharField(required=False, widget=forms.HiddenInput, max_length=MOST_BYTES, strip=False)
    replace_all = forms.BooleanField(required=False, label="Remove every rule that is not in the file")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if file := values.get("file"):
            if file.size > MOST_BYTES:
                raise ValidationError(f"A file holds at most {MOST_BYTES // 1_000_000} MB.")
            try:
                values["text"] = file.read().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise ValidationError("The file must be text in UTF-8.") from error
        if not values.get("text"):
            raise ValidationError("Choose a file.")
        return values


@requires(Permission.COMPANY)
@require_safe
@bounded
def rate_list(request: HttpRequest) -> HttpResponseBase:
    prefix = request.GET.get("prefix", "").strip().removeprefix("+")[:32].replace("\0", "")
    rows = rates.rules().filter(prefix__startswith=prefix) if prefix else rates.rules()
    after = request.GET.get("after", "")
    if after:
        rows = rows.filter(prefix__gt=after[:32].replace("\0", ""))
    found = list(rows[: PAGE + 1])
    page = _whole_prefixes(found)
    asked = {name: request.GET.get(name, "") for name in ("number", "seconds", "at")}
    form = QuoteForm(asked if asked["number"] or asked["seconds"] else None)
    quoted = None
    if form.is_bound and form.is_valid():
        at = form.cleaned_data["at"] or timezone.now()
        quoted = rates.quote(form.cleaned_data["number"], form.cleaned_data["seconds"], at)
    last = last_change("rates", rates.RERATED, "calls")
    context = {
        "rows": page,
        "older": "?" + urlencode({"prefix": prefix, "after": page[-1].prefix}) if len(found) > len(page) else "",
        "newer": "?" + urlencode({"prefix": prefix}) if after else "",
        "prefix": prefix,
        "form": form,
        "quote": quoted,
        "period": PeriodForm(),
        "last": last,
    }
    return render(request, "cdr/rates.html", context)


def _whole_prefixes(found: list[RateRule]) -> list[RateRule]:
    """A page ends between two prefixes, as the next one goes on after a prefix."""
    if len(found) <= PAGE:
        return found
    following = found[PAGE].prefix
    whole = [rule for rule in found[:PAGE] if rule.prefix != following]
    return whole or found[:PAGE]


@requires(Permission.COMPANY)
@require_http_methods(["GET", "HEAD", "POST"])
def rate_edit(request: HttpRequest, rule_id: int | None = None) -> HttpResponseBase:
    rule = None if rule_id is None else _rule(rule_id)
    form = RateForm(request.POST or None, instance=rule)
    if request.method == "POST" and form.is_valid():
        rates.save_rule(actor_of(request), form)
        messages.success(request, "The rate is saved. It holds for calls that end from now on.")
        return redirect("rates")
    return render(request, "cdr/rate_edit.html", {"form": form, "rule": rule})


@requires(Permission.COMPANY)
@require_POST
def rate_delete(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    rates.delete_rule(actor_of(request), _rule(rule_id))
    messages.success(request, "The rate is deleted.")
    return redirect("rates")


@requires(Permission.COMPANY)
@require_http_methods(["GET", "HEAD", "POST"])
def rate_import(request: HttpRequest) -> HttpResponseBase:
    """First what the file would do, line by line; then, by the other button, that."""
    form = ImportForm(request.POST or None, request.FILES or None)
    reading = None
    if request.method == "POST" and form.is_valid():
        reading = rates.read_csv(form.cleaned_data["text"])
        is_good = not reading.problem and not reading.bad
        if is_good and "apply" in request.POST:
            added, replaced = rates.import_rules(
                actor_of(request), reading, replace_all=form.cleaned_data["replace_all"]
            )
            messages.success(request, f"{added:,} rates added, {replaced:,} replaced.")
            return redirect("rates")
    context = {
        "form": form,
        "fields": ", ".join(rates.FIELDS),
        "reading": reading,
        "bad": reading.bad[:_SHOWN_LINES] if reading else (),
        "text": form.cleaned_data.get("text", "") if reading else "",
        "replace_all": bool(reading and form.cleaned_data["replace_all"]),
    }
    return render(request, "cdr/rate_import.html", context)


@requires(Permission.COMPANY)
@require_POST
def rate_again(request: HttpRequest) -> HttpResponseBase:
    form = PeriodForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
        return redirect("rates")
    rates.request_rating(actor_of(request), *form.span())
    messages.success(request, "The calls of these days are being rated again. The result will stand here.")
    return redirect("rates")


def _rule(rule_id: int) -> RateRule:
    found = RateRule.objects.filter(pk=rule_id).first() if rule_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.get_current_timezone())
