"""The frame of every Switch API door: who calls, what may be sent, and errors in the one JSON form."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, cast

import orjson
import structlog
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.rest import error_body
from tenants.models import Switch
from tenants.switches import switch_of_token

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, Switch, P], HttpResponse]
Door = Callable[Concatenate[HttpRequest, P], HttpResponse]
_LATER = {"Retry-After": "5"}
_PASSING = (503, 507)  # what a switch need only wait for


class DoorError(Exception):
    """A request that is turned away: HTTP status, stable code, a sentence."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more


def switch_door(method: str) -> Callable[[View[P]], Door[P]]:
    """Opens to an enabled switch with its bearer token, and for one method."""

    def decorate(view: View[P]) -> Door[P]:
        @csrf_exempt  # a bearer token is no cookie: no other site can make a browser send it
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            try:
                switch = _switch_of(request)
                with structlog.contextvars.bound_contextvars(switch=switch.name):
                    if request.method != method:
                        return _wrong_method(method)
                    return view(request, switch, *args, **kwargs)
            except DoorError as error:
                said = {**error_body(error.code, error.message), **error.more}
                return answer(said, status=error.status, headers=_LATER if error.status in _PASSING else None)
            except OperationalError:
                structlog.get_logger(__name__).exception("the database did not answer a switch")
                refused = error_body("try_again", "The database did not answer. Nothing was kept: send it again.")
                return answer(refused, status=503, headers=_LATER)

        guarded.switch_door = True  # type: ignore[attr-defined]
        return cast(Door[P], guarded)

    return decorate


def answer(body: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json", headers=headers)


def body_of(request: HttpRequest, most: int) -> bytes:
    """The body, if it is no longer than that."""
    announced = request.headers.get("Content-Length", "")
    body = b"" if announced.isdigit() and int(announced) > most else request.read(most + 1)
    if (announced.isdigit() and int(announced) > most) or len(body) > most:
        raise DoorError(413, "too_large", f"The body may have at most {most} bytes.")
    return body


def _switch_of(request: HttpRequest) -> Switch:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    switch = switch_of_token(token.strip()) if scheme.lower() == "bearer" else None
    if switch is None:
        raise DoorError(
            401, "not_authenticated", "Send the token of an enabled switch: 'Authorization: Bearer <token>'."
        )
    return switch


def _wrong_method(method: str) -> HttpResponse:
    said = error_body("method_not_allowed", f"This door takes {method} only.")
    return answer(said, status=405, headers={"Allow": method})
