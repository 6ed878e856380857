"""Who is signed in, from the session of this host's schema, and what a token may still do."""

from collections.abc import Callable

from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.limiting import CallsLeft
from accounts.managing import ActingAdministrator, acting_in
from accounts.models import User


class AuthenticationMiddleware:
    """`request.user` is a user of this schema, a system administrator who manages it, or nobody."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.user = SimpleLazyObject(lambda: _user_of(request))  # type: ignore[assignment]
        return self.get_response(request)


class CallsLeftMiddleware:
    """Every answer to a token says how many calls it has left; one place for all doors and their errors."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        left: CallsLeft | None = getattr(request, "calls_left", None)
        if left is not None:
            for name, value in left.headers().items():
                response.headers[name] = value
        return response


def _user_of(request: HttpRequest) -> User | ActingAdministrator | AnonymousUser:
    return acting_in(request.session) or get_user(request)
