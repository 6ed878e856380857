"""Who is signed in, from the session of this host's schema."""

from collections.abc import Callable

from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.managing import ActingAdministrator, acting_in
from accounts.models import User


class AuthenticationMiddleware:
    """`request.user` is a user of this schema, a system administrator who manages it, or nobody."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.user = SimpleLazyObject(lambda: _user_of(request))  # type: ignore[assignment]
        return self.get_response(request)


def _user_of(request: HttpRequest) -> User | ActingAdministrator | AnonymousUser:
    return acting_in(request.session) or get_user(request)
