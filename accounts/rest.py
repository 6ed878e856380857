"""The frame of every REST door: who calls, what they may, errors in one form, lists by cursor."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import orjson
import structlog
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import OperationalError
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import actor_for
from accounts.callers import Allowed as Allowed
from accounts.callers import ApiError as ApiError
from accounts.callers import JSONParser as JSONParser
from accounts.callers import TokenAuthentication as TokenAuthentication
from accounts.callers import may as may
from accounts.lockout import client_ip
from accounts.models import ApiToken
from accounts.roles import Permission
from tenants.changes import Actor
from tenants.errors import RefusedError
from tenants.values import id_of

log = structlog.get_logger(__name__)

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
M = TypeVar("M", bound=Model)


def actor_of(request: Request) -> Actor:
    address = client_ip(request._request)
    if isinstance(request.auth, ApiToken):
        return Actor("token", request.auth.name, str(request.auth.pk), address)
    return actor_for(request.user, address)  # type: ignore[arg-type]


def fields_of(request: Request) -> dict[str, Any]:
    """The body of a request that creates or changes one thing."""
    if not isinstance(request.data, dict):
        raise ApiError("not_an_object", "The body must be a JSON object.")
    return dict(request.data)


def take_version(fields: dict[str, Any]) -> int | None:
    """The version that the caller saw, if it says so: then a change by somebody else meanwhile is a 409."""
    version = fields.pop("version", None)
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise ApiError("not_valid", "version must be a whole number.")
    return version


def row_or_404(rows: "QuerySet[M]", written_id: str) -> M:
    """The row with this id, or 404 for whatever is not there or cannot be an id."""
    row_id = id_of(written_id)
    found = rows.filter(pk=row_id).first() if row_id is not None else None
    if found is None:
        raise Http404
    return found


def error_body(code: str, message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": details or {}}}


def handle_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every error of a REST door as `{"error": {"code", "message", "details"}}`."""
    if isinstance(error, ApiError):
        return Response(error_body(error.code, str(error.detail), error.details), status=error.status_code)
    if isinstance(error, RefusedError):
        return Response(error_body(error.code, error.message), status=409)
    if isinstance(error, DjangoValidationError):
        details = error.message_dict if hasattr(error, "error_dict") else {"errors": error.messages}
        return Response(error_body("not_valid", _sentence(details), details), status=400)
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
    # Ours, not the caller's: noted in full, told in general, in the one form that a program can read.
    log.error("request failed", exc_info=error)
    reference = getattr(getattr(context.get("request"), "_request", None), "request_id", "")
    return Response(
        error_body("server_error", "This is our mistake. Quote the reference to report it.", {"reference": reference}),
        status=500,
    )


def _sentence(detail: Any) -> str:
    if isinstance(detail, dict):
        return " ".join(
            _sentence(value) if name in {"errors", "__all__"} else f"{name}: {_sentence(value)}"
            for name, value in detail.items()
        )
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
