"""Company > General."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import actor_of, requires
from accounts.forms import CompanyForm, attempt
from accounts.models import Extension
from accounts.roles import Permission
from accounts.selectors import last_change
from tenants.company import COMPANY_FIELDS, change_company
from tenants.models import Tenant
from tenants.sip_domains import domains_of


@requires(Permission.COMPANY)
@require_http_methods(["GET", "HEAD", "POST"])
def company_general(request: HttpRequest) -> HttpResponse:
    tenant = Tenant.objects.get(pk=request.tenant.pk)  # type: ignore[attr-defined]
    present = {name: getattr(tenant, name) for name in (*COMPANY_FIELDS, "version")}
    form = CompanyForm(request.POST or None, initial=present)
    if request.method == "POST":
        if form.is_valid():
            given = dict(form.cleaned_data)
            version = given.pop("version")
            attempt(form, lambda: change_company(actor_of(request), tenant, given, version=version))
        if form.is_valid():
            messages.success(request, "Saved.")
            return redirect("company-general")
    context = {
        "form": form,
        "domains": domains_of(tenant),
        "extensions": Extension.objects.count(),
        "audio": list(_recorded("record_audio")),
        "video": list(_recorded("record_video")),
        "by": {name: last_change(tenant.pk, "company.changed", name) for name in COMPANY_FIELDS},
    }
    return render(request, "accounts/company_general.html", context)


def _recorded(switch: str) -> list[str]:
    """The first few extensions whose own switch is on."""
    return list(Extension.objects.filter(**{switch: True}).order_by("number").values_list("number", flat=True)[:6])
