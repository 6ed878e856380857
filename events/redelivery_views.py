"""Company > Event URL > Send again: chosen, counted, then begun; and how far it has come."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import actor_of, requires
from accounts.roles import Permission
from events.endpoints import EndpointError, live_endpoints
from events.forms import RedeliveryForm
from events.models import Endpoint, Redelivery
from events.redeliveries import newest_redelivery, planned, start_redelivery, stop_redelivery
from tenants.errors import RefusedError


def _endpoint(endpoint_id: int) -> Endpoint:
    found = live_endpoints().filter(pk=endpoint_id).first() if endpoint_id < 2**63 else None
    if found is None:
        raise Http404
    return found


@requires(Permission.EVENT_URL)
@require_http_methods(["GET", "HEAD", "POST"])
def redeliveries(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """A choice in the address is counted; posted, it begins."""
    endpoint = _endpoint(endpoint_id)
    if request.method == "POST":
        form = RedeliveryForm(request.POST)
        if _begun(request, endpoint, form):
            return redirect("event-url-redeliveries", endpoint.pk)
    else:
        asked = "what" in request.GET
        form = RedeliveryForm(
            {"rate": RedeliveryForm.base_fields["rate"].initial, **request.GET.dict()} if asked else None
        )
    context = {
        "endpoint": endpoint,
        "form": form,
        "plan": _counted(endpoint, form),
        "asked": [(field.name, field.value()) for field in form],
        "newest": newest_redelivery(endpoint),
    }
    return render(request, "events/redeliveries.html", context)


@requires(Permission.EVENT_URL)
@require_POST
def stop(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    newest = newest_redelivery(_endpoint(endpoint_id))
    if newest is None:
        raise Http404
    try:
        stop_redelivery(newest, actor=actor_of(request))
        messages.success(request, "Stopped. What was released already still goes out.")
    except RefusedError as refused:
        messages.error(request, refused.message)
    return redirect("event-url-redeliveries", endpoint_id)


def _begun(request: HttpRequest, endpoint: Endpoint, form: RedeliveryForm) -> bool:
    if not form.is_valid():
        return False
    try:
        start_redelivery(endpoint, form.selection(), rate=form.cleaned_data["rate"], actor=actor_of(request))
    except EndpointError as wrong:
        form.add_error(wrong.field, wrong.message)
    except RefusedError as refused:
        form.add_error(None, refused.message)
    return form.is_valid()


def _counted(endpoint: Endpoint, form: RedeliveryForm) -> Redelivery | None:
    if not form.is_valid():
        return None
    try:
        return planned(endpoint, form.selection(), rate=form.cleaned_data["rate"])
    except EndpointError as wrong:
        form.add_error(wrong.field, wrong.message)
    return None
