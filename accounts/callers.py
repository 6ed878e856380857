"""Who calls a REST door, what it may, and how its body is read.

Apart from `accounts.rest`, because `APIView` looks these classes up while it is being imported.
"""

from datetime import timedelta
from typing import Any

import orjson
from django.conf import settings
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.access import Person, person_of
from accounts.limiting import count_call
from accounts.models import ApiToken, User
from accounts.roles import Permission
from tenants.crypto import token_hash
from tenants.schemas import current_schema

_TOUCH_EVERY = timedelta(minutes=1)


class ApiError(exceptions.APIException):
    """An error with a stable code; the message is a sentence."""

    def __init__(
        self, code: str, message: str, *, status_code: int = 400, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, code)
        self.status_code = status_code
        self.code = code
        self.details = details or {}


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <api token>` of this host's schema."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        header = request.headers.get("Authorization", "")
        scheme, _, secret = header.partition(" ")
        if not header:
            return None
        if scheme.lower() != "bearer" or not secret.strip():
            raise exceptions.AuthenticationFailed("Send the API token as 'Authorization: Bearer <token>'.")
        token = ApiToken.objects.select_related("user").filter(token_hash=token_hash(secret.strip())).first()
        if token is None or not token.is_live or not token.user.is_active:
            raise exceptions.AuthenticationFailed("This API token is unknown, expired or revoked.")
        _count(request, token)
        now = timezone.now()
        if token.last_used_at is None or now - token.last_used_at > _TOUCH_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Voxledger"'


def _count(request: Request, token: ApiToken) -> None:
    """The answer's headers are `CallsLeftMiddleware`'s matter, so that every door has them."""
    left = count_call(current_schema(), token.token_hash)
    request._request.calls_left = left  # type: ignore[attr-defined]
    if left is not None and left.is_over:
        raise ApiError(
            "rate_limited",
            f"This token may make {left.limit} calls a minute. Try again in {left.reset_seconds} s.",
            status_code=429,
        )


class BrowserAuthentication(SessionAuthentication):
    """The browser's session, with CSRF."""

    def authenticate(self, request: Request) -> tuple[Person, None] | None:
        person = person_of(request._request)
        if person is None:
            return None
        self.enforce_csrf(request)
        return person, None


class Allowed(BasePermission):
    """A view names what it needs in `permission` (a Permission, or a dict by HTTP method); without it nobody enters."""

    def has_permission(self, request: Request, view: object) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        method = (request.method or "").lower()
        if not hasattr(view, method):
            return True  # the answer is 405, whoever asks
        needed = getattr(view, "permission", None)
        if isinstance(needed, dict):
            needed = needed.get("GET" if method == "head" else method.upper())
        return needed is not None and may(request, needed)


def may(request: Request, permission: Permission) -> bool:
    """The person's right, narrowed by the token's scopes (an empty list of scopes narrows nothing)."""
    scopes = request.auth.scopes if isinstance(request.auth, ApiToken) else []
    person: Person = request.user  # type: ignore[assignment]
    return person.may(permission) and (not scopes or permission in scopes)


class JSONParser(BaseParser):
    """JSON by orjson: numbers, no NaN, UTF-8 only. The body must be an object or an array.

    A view may set `body_limit` in bytes; what is longer is refused before it is all read.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        limit = getattr((parser_context or {}).get("view"), "body_limit", settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise ApiError("too_large", f"The body may have at most {limit} bytes.", status_code=413)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ApiError("malformed_json", f"The body is not JSON: {error}.") from error
        if not isinstance(document, dict | list):
            raise ApiError("malformed_json", "The body must be a JSON object or array.")
        return document
