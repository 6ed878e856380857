"""Advanced > Settings > General."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import actor_of, requires
from accounts.models import AuditEntry
from accounts.roles import Permission
from tenants.errors import RefusedError
from tenants.models import SystemSettings, Tenant
from tenants.system_settings import change_system_settings


@requires(Permission.SYSTEM_SETTINGS)
@require_http_methods(["GET", "HEAD", "POST"])
def settings_general(request: HttpRequest) -> HttpResponse:
    """The form says what the switch shall be, so that sending it twice changes nothing more."""
    if request.method == "POST":
        wanted, version = request.POST.get("record_external_calls"), request.POST.get("version", "")
        if wanted not in {"on", "off"} or not (version.isascii() and version.isdigit()):
            return HttpResponse("The form is incomplete.", status=400, content_type="text/plain")
        given = {"record_external_calls": wanted == "on"}
        try:
            change_system_settings(actor_of(request), given, version=int(version))
        except RefusedError as refused:
            messages.error(request, refused.message)
        else:
            messages.success(request, "Saved.")
        return redirect("settings-general")
    changes = AuditEntry.objects.filter(action="settings.changed").order_by("-at", "-id")[:5]
    context = {
        "settings": SystemSettings.current(),
        "tenants": Tenant.objects.exclude(schema_name="public").count(),
        "changes": list(changes),
    }
    return render(request, "system/settings_general.html", context)
