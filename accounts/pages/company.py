"""Company > General and Company > Feature codes."""

from dataclasses import dataclass

from django.contrib import messages
from django.forms import BoundField, Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import actor_of, requires
from accounts.forms import CompanyForm, FeatureCodesForm, attempt
from accounts.models import AuditEntry, Extension
from accounts.roles import Permission
from accounts.selectors import last_change
from tenants.company import FEATURE_CODES, change_company
from tenants.models import Tenant
from tenants.sip_domains import domains_of

OPTIONS = (
    "enable_extension_audio_recording",
    "enable_extension_video_recording",
    "record_dual_tracks",
    "pause_style",
    "longest_pause_seconds",
    "announce_recording",
    "ask_play_reason",
)


@dataclass(frozen=True)
class Option:
    """A setting with what it does as it now stands, and who changed it last."""

    field: BoundField
    then: str
    entry: AuditEntry | None
    unit: str = ""


@requires(Permission.COMPANY)
@require_http_methods(["GET", "HEAD", "POST"])
def company_general(request: HttpRequest) -> HttpResponse:
    tenant = _tenant(request)
    form = CompanyForm(request.POST or None, initial=_present(tenant, CompanyForm))
    if request.method == "POST" and _save(request, tenant, form):
        return redirect("company-general")
    tenant = _tenant(request)
    then = _effects(tenant)
    context = {
        "form": form,
        "domains": domains_of(tenant),
        "options": [
            Option(form[name], then[name], last_change(tenant.pk, "company.changed", name), _UNITS.get(name, ""))
            for name in OPTIONS
        ],
    }
    return render(request, "accounts/company_general.html", context)


@requires(Permission.COMPANY)
@require_http_methods(["GET", "HEAD", "POST"])
def feature_codes(request: HttpRequest) -> HttpResponse:
    tenant = _tenant(request)
    form = FeatureCodesForm(request.POST or None, initial=_present(tenant, FeatureCodesForm))
    if request.method == "POST" and _save(request, tenant, form):
        return redirect("feature-codes")
    context = {
        "form": form,
        "codes": [(form[name], last_change(tenant.pk, "company.changed", name)) for name in FEATURE_CODES],
    }
    return render(request, "accounts/feature_codes.html", context)


def _save(request: HttpRequest, tenant: Tenant, form: Form) -> bool:
    if form.is_valid():
        given = dict(form.cleaned_data)
        version = given.pop("version")
        attempt(form, lambda: change_company(actor_of(request), tenant, given, version=version))
    if form.is_valid():
        messages.success(request, "Saved.")
    return form.is_valid()


def _tenant(request: HttpRequest) -> Tenant:
    tenant: Tenant = Tenant.objects.get(pk=request.tenant.pk)  # type: ignore[attr-defined]
    return tenant


def _present(tenant: Tenant, form: type[Form]) -> dict[str, object]:
    return {name: getattr(tenant, name) for name in form.base_fields}


_UNITS = {"longest_pause_seconds": "seconds"}


def _effects(tenant: Tenant) -> dict[str, str]:
    """What each option does as it now stands."""
    pause = tenant.longest_pause_seconds
    return {
        "enable_extension_audio_recording": _recorded(tenant.enable_extension_audio_recording, "record_audio"),
        "enable_extension_video_recording": _recorded(tenant.enable_extension_video_recording, "record_video"),
        "record_dual_tracks": "Now on: recordings that begin have a track for each side."
        if tenant.record_dual_tracks
        else "Now off: recordings that begin have all voices on one track.",
        "pause_style": "Now: a pause takes no time in the file."
        if tenant.pause_style == Tenant.PauseStyle.SKIP
        else "Now: a pause is heard as silence, where the switch can do it.",
        "longest_pause_seconds": f"Now: {_in_words(pause)} after it was paused, also in the calls in progress."
        if pause
        else "Now: a pause lasts until somebody resumes it, or the call ends.",
        "announce_recording": "Now on: recordings that begin are marked as announced."
        if tenant.announce_recording
        else "Now off: nothing says that callers were told.",
        "ask_play_reason": "Now on: nothing is played without a reason."
        if tenant.ask_play_reason
        else "Now off: who played it, when and from where is kept, but not why.",
    }


def _recorded(for_all: bool, switch: str) -> str:
    if for_all:
        count = Extension.objects.count()
        return (
            "Now on: the one extension is recorded." if count == 1 else f"Now on: all {count} extensions are recorded."
        )
    own = list(Extension.objects.filter(**{switch: True}).order_by("number").values_list("number", flat=True)[:6])
    if not own:
        return "Now off: no extension is recorded."
    return f"Now off: only {', '.join(own)} {'and perhaps more ' if len(own) > 5 else ''}by their own switch."


def _in_words(seconds: int) -> str:
    """90 seconds, 10 minutes, 2 hours."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}{'' if seconds == length else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
