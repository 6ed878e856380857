"""The frame of every REST door: who calls, what they may, errors in one form, lists by cursor."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import orjson
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import OperationalError
from django.db.models import Model, QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework import exceptions, status
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import ApiToken, User
from accounts.roles import Permission
from tenants.changes import Actor
from tenants.crypto import token_hash

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_TOUCH_EVERY = timedelta(minutes=1)
M = TypeVar("M", bound=Model)


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
        now = timezone.now()
        if token.last_used_at is None or now - token.last_used_at > _TOUCH_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Voxledger"'


class BrowserAuthentication(SessionAuthentication):
    """The browser's session, with CSRF."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        user = getattr(request._request, "user", None)
        if user is None or not user.is_authenticated:
            return None
        self.enforce_csrf(request)
        return user, None


class Allowed(BasePermission):
    """A view names what it needs in `permission` (a Permission, or a dict by HTTP method); without it nobody enters."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        needed = getattr(view, "permission", None)
        if isinstance(needed, dict):
            needed = needed.get(request.method or "")
        return needed is not None and may(request, needed)


def may(request: Request, permission: Permission) -> bool:
    """The user's right, narrowed by the token's scopes (an empty list of scopes narrows nothing)."""
    user = request.user
    if not isinstance(user, User) and not hasattr(user, "may"):
        return False
    scopes = request.auth.scopes if isinstance(request.auth, ApiToken) else []
    return bool(user.may(permission)) and (not scopes or permission in scopes)


def actor_of(request: Request) -> Actor:
    from accounts.lockout import client_ip

    if isinstance(request.auth, ApiToken):
        return Actor("token", request.auth.name, str(request.auth.pk), client_ip(request._request))
    return Actor("user", str(request.user), str(request.user.pk), client_ip(request._request))


class JSONParser(BaseParser):
    """JSON by orjson: numbers, no NaN, UTF-8 only. The body must be an object or an array."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return orjson.loads(stream.read())
        except orjson.JSONDecodeError as error:
            raise ApiError("malformed_json", f"The body is not JSON: {error}.") from error


def error_body(code: str, message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": details or {}}}


def handle_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every error of a REST door as `{"error": {"code", "message", "details"}}`."""
    if isinstance(error, ApiError):
        return Response(error_body(error.code, str(error.detail), error.details), status=error.status_code)
    if isinstance(error, DjangoValidationError):
        details = error.message_dict if hasattr(error, "error_dict") else {"errors": error.messages}
        return Response(error_body("not_valid", "; ".join(error.messages), details), status=400)
    if isinstance(error, exceptions.ValidationError):
        said: Any = error.detail
        return Response(
            error_body("not_valid", _sentence(said), said if isinstance(said, dict) else {"errors": said}), status=400
        )
    if isinstance(error, Http404 | exceptions.NotFound):
        return Response(error_body("not_found", "There is no such thing here."), status=404)
    if isinstance(error, PermissionDenied | exceptions.PermissionDenied):
        return Response(error_body("forbidden", "You may not do this."), status=403)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Response(
            error_body("not_authenticated", str(error.detail)),
            status=401,
            headers={"WWW-Authenticate": 'Bearer realm="Voxledger"'},
        )
    if isinstance(error, exceptions.APIException):
        return Response(error_body(str(error.default_code), str(error.detail)), status=error.status_code)
    if isinstance(error, OperationalError) and "statement timeout" in str(error):
        return Response(
            error_body("query_too_slow", "This query took too long. Narrow its time span or its filters."), status=503
        )
    return None


def _sentence(detail: Any) -> str:
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_sentence(value)}" for name, value in detail.items())
    if isinstance(detail, list):
        return " ".join(_sentence(value) for value in detail)
    return str(detail)


@dataclass(frozen=True)
class Page:
    items: list[Any]
    next: str | None


def limit_of(request: Request) -> int:
    text = request.query_params.get("limit", "")
    if not text:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_LIMIT:
        raise ApiError("bad_limit", f"limit must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def encode_cursor(*values: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode_cursor(cursor: str, count: int) -> list[Any]:
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise ApiError("bad_cursor", "This cursor is not one that a list gave.") from error
    if not isinstance(values, list) or len(values) != count:
        raise ApiError("bad_cursor", "This cursor is not one that a list gave.")
    return values


def page_by_id(
    request: Request, rows: "QuerySet[M]", represent: Callable[[M], Any], *, newest_first: bool = True
) -> Page:
    """Keyset pages on the primary key, for lists whose order is the order of creation."""
    limit = limit_of(request)
    if cursor := request.query_params.get("cursor"):
        (last,) = decode_cursor(cursor, 1)
        if not isinstance(last, int):
            raise ApiError("bad_cursor", "This cursor is not one that a list gave.")
        rows = rows.filter(pk__lt=last) if newest_first else rows.filter(pk__gt=last)
    found: Sequence[M] = list(rows.order_by("-pk" if newest_first else "pk")[: limit + 1])
    following = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
    return Page([represent(row) for row in found[:limit]], following)


def time_of(value: Any, name: str) -> datetime:
    """RFC 3339, or Unix seconds as int, float or string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ApiError("bad_time", f"{name} must be RFC 3339 or Unix seconds.")
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            moment = datetime.fromisoformat(value.replace(" ", "+"))
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ApiError("bad_time", f"{name} must be RFC 3339 or Unix seconds.") from error


def rfc3339(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def page_response(page: Page) -> Response:
    return Response({"items": page.items, "next": page.next}, status=status.HTTP_200_OK)


class Door(APIView):
    """A REST view; `permission` says who may enter, per method when it is a dict."""

    permission: ClassVar[Permission | dict[str, Permission] | None] = None
