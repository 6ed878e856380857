"""What a person keeps of a list: columns for a browser without scripts, and saved views."""

from typing import cast
from urllib.parse import urlsplit

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from accounts.access import requires, signed_in
from accounts.lists import Kind, kinds, save_view
from accounts.models import SavedView, User
from accounts.roles import Permission
from tenants.errors import RefusedError

_YEAR = 365 * 86_400


@requires(Permission.PROFILE)
@require_POST
def choose_columns(request: HttpRequest, name: str) -> HttpResponse:
    kind = _kind(name)
    response = _back(request)
    names = kind.cookie_of(request.POST.getlist("column"))
    response.set_cookie(kind.cookie, names, max_age=_YEAR, samesite="Lax", secure=request.is_secure())
    density = request.POST.get("density", "")
    if density in ("compact", "normal", "roomy"):
        response.set_cookie("density", density, max_age=_YEAR, samesite="Lax", secure=request.is_secure())
    return response


@requires(Permission.PROFILE)
@require_POST
def save(request: HttpRequest, name: str) -> HttpResponse:
    kind = _kind(name)
    back = _address(request)
    try:
        view = save_view(
            cast(User, signed_in(request)), kind, name=request.POST.get("name", ""), query=urlsplit(back).query
        )
    except RefusedError as refused:
        messages.error(request, refused.message)
        return HttpResponseRedirect(back)
    messages.success(request, f"Saved as {view.name}.")
    return HttpResponseRedirect(f"{urlsplit(back).path}?{view.query}")


@requires(Permission.PROFILE)
@require_POST
def remove(request: HttpRequest, name: str, view_id: int) -> HttpResponse:
    kind = _kind(name)
    own = SavedView.objects.filter(user=cast(User, signed_in(request)), list_name=kind.name)
    view = own.filter(pk=view_id).first() if view_id < 2**63 else None
    if view is None:
        raise Http404
    view.delete()
    messages.success(request, f"The view {view.name} has been removed.")
    return _back(request)


def _kind(name: str) -> Kind:
    if name not in kinds:
        raise Http404
    return kinds[name]


def _address(request: HttpRequest) -> str:
    """The list one came from: an address of this host only."""
    back = request.POST.get("back", "")
    is_ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return back if is_ours else "/"


def _back(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(_address(request))
