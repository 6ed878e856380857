"""How the pages look and listen in this browser: theme, height of rows, single keys. Kept in cookies."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods
from phonenumbers import country_code_for_region

from accounts.access import requires
from accounts.roles import Permission
from portal.phone import REGIONS

_YEAR = 365 * 86_400


class DisplayForm(forms.Form):
    """The first choice of each field is what holds without a cookie."""

    theme = forms.ChoiceField(
        label="Theme",
        choices=[("system", "As the system"), ("light", "Light"), ("dark", "Dark")],
        widget=forms.RadioSelect,
    )
    density = forms.ChoiceField(
        label="Rows of lists",
        choices=[("normal", "Normal"), ("compact", "Compact"), ("roomy", "Roomy")],
        widget=forms.RadioSelect,
    )
    numbers = forms.ChoiceField(
        label="Numbers in lists",
        choices=[
            ("switch", "As the switch writes them"),
            ("e164", "E.164, +493012345678"),
            ("national", "National, 030 12345678"),
        ],
        widget=forms.RadioSelect,
        help_text="What is no telephone number, such as an extension, stays as it is.",
    )
    region = forms.ChoiceField(
        label="Country of the national numbers",
        required=False,
        choices=[("", "None"), *((code, f"{code}, +{country_code_for_region(code)}") for code in REGIONS)],
    )
    keys = forms.ChoiceField(
        label="Single keys",
        choices=[("on", "On"), ("off", "Off")],
        widget=forms.RadioSelect,
        help_text="Off, when speech input or a habit presses letters by themselves. Ctrl K always works.",
    )


@requires(Permission.OWN_CALLS)
@require_http_methods(["GET", "HEAD", "POST"])
def tenant_display(request: HttpRequest) -> HttpResponseBase:
    return _display(request)


@requires(Permission.PROFILE)
@require_http_methods(["GET", "HEAD", "POST"])
def system_display(request: HttpRequest) -> HttpResponseBase:
    return _display(request)


def _display(request: HttpRequest) -> HttpResponseBase:
    form = DisplayForm(request.POST or None, initial=_present(request))
    if not form.is_valid():
        return render(request, "portal/display.html", {"form": form}, status=422 if form.is_bound else 200)
    response = redirect("display")
    for name, value in form.cleaned_data.items():
        response.set_cookie(name, value, max_age=_YEAR, samesite="Lax", secure=request.is_secure())
    messages.success(request, "Saved.")
    return response


def _present(request: HttpRequest) -> dict[str, str]:
    found = {}
    for name, field in DisplayForm.base_fields.items():
        values = [value for value, _ in field.choices]  # type: ignore[attr-defined]
        cookie = request.COOKIES.get(name, "")
        found[name] = cookie if cookie in values else values[0]
    return found
