"""Who may open a page: every page view carries `requires(...)` or `open_to_all`, and a test walks them all."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from accounts.lockout import client_ip
from accounts.managing import ActingAdministrator, acting_actor
from accounts.models import User
from accounts.roles import Permission
from tenants.changes import Actor

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)
V = TypeVar("V", bound=Callable[..., HttpResponseBase])
Person = User | ActingAdministrator


def requires(permission: Permission) -> Callable[[Callable[P, R]], Callable[P, HttpResponseBase]]:
    """A stranger goes to the sign-in page and comes back; a person without the right gets the 403 page."""

    def decorate(view: Callable[P, R]) -> Callable[P, HttpResponseBase]:
        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            request = args[0]
            assert isinstance(request, HttpRequest)  # noqa: S101 - Django calls every view so
            person = person_of(request)
            if person is None:
                return _to_sign_in(request)
            if not person.may(permission):
                return forbidden(request)
            return view(*args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded

    return decorate


def open_to_all(view: V) -> V:
    """Marks a view that a stranger may see."""
    view.open_to_all = True  # type: ignore[attr-defined]
    return view


def person_of(request: HttpRequest) -> Person | None:
    """Who is signed in, with rights; None for a stranger."""
    user: Any = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated and user.is_active else None


def signed_in(request: HttpRequest) -> Person:
    """Who is signed in, in a view that `requires` someone."""
    person = person_of(request)
    if person is None:
        raise RuntimeError("This view lacks requires(...).")
    return person


def actor_of(request: HttpRequest) -> Actor:
    """The person behind a page, as the verbs and the audit trail name them."""
    return actor_for(signed_in(request), client_ip(request))


def actor_for(person: Person, address: str) -> Actor:
    if isinstance(person, ActingAdministrator):
        return acting_actor(person.administrator, address)
    return Actor("user", person.username, str(person.pk), address)


def forbidden(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/forbidden.html", status=403)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    address = reverse("sign-in")
    if request.headers.get("HX-Request") == "true":
        # A fragment cannot show a sign-in page: the whole page goes there.
        return HttpResponse(status=401, headers={"HX-Redirect": address})
    if request.method in {"GET", "HEAD"}:
        address += "?" + urlencode({"next": request.get_full_path()})
    return HttpResponseRedirect(address)
