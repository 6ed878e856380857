"""Over REST: the calls in progress, and launching one."""

from functools import partial
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import ApiError, actor_of, error_body, fields_of, may
from accounts.roles import Permission
from cdr.api import ReadsCalls
from cdr.live_api import LiveCalls
from pbx.launches import (
    USER_DATA_MAX,
    Launched,
    LaunchError,
    Outcome,
    TooManyLaunchesError,
    launch_call,
    outcome_of,
)
from recordings.ordered import LONGEST_WAIT_SECONDS, PATIENCE_SECONDS

_STATUS = {
    "not_valid": 400, "malformed_number": 400, "not_your_extension": 403, "forbidden_number": 403,
    "unknown_extension": 404, "extension_disabled": 409, "no_sip_domain": 409, "rate_limited": 429,
    "no_switch": 503,
}  # fmt: skip


class ReadsOrLaunches(ReadsCalls):
    """To launch needs a right of its own, so that a token made to read rings no telephone."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method != "POST":
            return super().has_permission(request, view)
        if not request.user or not request.user.is_authenticated:
            return False
        return may(request, Permission.CALLS_LAUNCH) or may(request, Permission.CALLS_LAUNCH_ALL)


_ASKED = inline_serializer(
    "LaunchCall",
    {
        "caller": serializers.CharField(max_length=32, help_text="The extension that rings first."),
        "callee": serializers.CharField(max_length=33, help_text="Whom it is connected to once it has answered."),
        "user_data": serializers.CharField(
            required=False, max_length=USER_DATA_MAX, default="", help_text="Stands in the CDR and in `call_cdr`."
        ),
        "wait": serializers.IntegerField(
            required=False, min_value=0, max_value=LONGEST_WAIT_SECONDS, default=int(PATIENCE_SECONDS),
            help_text="Seconds to wait for the switch; 0 does not wait.",
        ),
    },
)  # fmt: skip
_RESULT = inline_serializer(
    "LaunchedCall",
    {
        "session_id": serializers.CharField(),
        "status": serializers.ChoiceField(
            choices=["ringing", "pending"], help_text="ringing: the switch said that it rings the caller."
        ),
        "caller": serializers.CharField(),
        "callee": serializers.CharField(),
        "user_data": serializers.CharField(allow_blank=True),
    },
)
_ERROR = inline_serializer(
    "LaunchCallError",
    {
        "error": inline_serializer(
            "LaunchCallErrorBody",
            {
                "code": serializers.CharField(),
                "message": serializers.CharField(),
                "details": serializers.DictField(),
            },
        )
    },
)


class Calls(LiveCalls):
    permission = {"GET": Permission.OWN_CALLS, "POST": Permission.CALLS_LAUNCH}  # type: ignore[assignment]
    permission_classes: ClassVar[list[type[BasePermission]]] = [ReadsOrLaunches]  # type: ignore[misc]

    @extend_schema(
        operation_id="calls_create",
        summary="Launch a call",
        request=_ASKED,
        responses={
            201: _RESULT, 202: _RESULT, 400: _ERROR, 403: _ERROR, 404: _ERROR, 409: _ERROR, 429: _ERROR, 502: _ERROR,
            503: _ERROR, 504: _ERROR,
        },
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """The switch rings the extension `caller`, and once it has answered the `callee`.

        201 once the switch has said that the caller rings. 202: the switch has fetched the order and not answered yet,
        or `wait` was 0; `GET /api/v1/calls` shows the call as soon as the switch tells it. 403 `forbidden_number`: an
        emergency number, a code of the switch, or a prefix that the operator forbids; `not_your_extension`. 404
        `unknown_extension`. 409 `extension_disabled`, or `unsupported`: this switch launches no calls. 429: too many
        launched in this minute. 502 `switch_failed`: the switch could not. 503 `no_switch`: none is connected. 504
        `not_confirmed`: the switch has not fetched the order; it was withdrawn, and nothing will ring.
        """
        caller, callee, user_data, seconds = _asked(fields_of(request))
        try:
            launched = launch_call(
                request._request.tenant, caller, callee, user_data,  # type: ignore[attr-defined]
                person=request.user, may=partial(may, request), actor=actor_of(request),
            )  # fmt: skip
        except LaunchError as error:
            if isinstance(error, TooManyLaunchesError):
                request._request.calls_left = error.left  # type: ignore[attr-defined]
            raise ApiError(error.code, error.message, status_code=_STATUS[error.code]) from error
        return _told(launched, outcome_of(launched, seconds), seconds)


def _asked(fields: dict[str, Any]) -> tuple[str, str, Any, int]:
    caller, callee = (fields.pop(name, None) for name in ("caller", "callee"))
    user_data, seconds = fields.pop("user_data", ""), fields.pop("wait", int(PATIENCE_SECONDS))
    if fields:
        raise ApiError("not_valid", f"There is no field {sorted(fields)[0][:40]}.")
    for name, value in (("caller", caller), ("callee", callee)):
        if not isinstance(value, str) or not value:
            raise ApiError("not_valid", f"{name} must be a number, as a string.")
    if user_data is not None and not isinstance(user_data, str):
        raise ApiError("not_valid", "user_data must be a string.")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise ApiError("not_valid", f"wait must be a whole number of seconds from 0 to {LONGEST_WAIT_SECONDS}.")
    return str(caller), str(callee), user_data, seconds


def _told(launched: Launched, outcome: Outcome, seconds: int) -> Response:
    if outcome.status in ("ringing", "pending"):
        told = {
            "session_id": launched.session_id,
            "status": outcome.status,
            "caller": launched.caller,
            "callee": launched.callee,
            "user_data": launched.user_data,
        }
        return Response(told, 201 if outcome.status == "ringing" else 202)
    code, status, message = _failure(outcome, seconds)
    return Response(error_body(code, message, {"session_id": launched.session_id}), status)


def _failure(outcome: Outcome, seconds: int) -> tuple[str, int, str]:
    if outcome.status == "withdrawn":
        message = f"The switch has not fetched the order within {seconds} s. It was withdrawn: nothing will ring."
        return "not_confirmed", 504, message
    if outcome.is_unsupported:
        return "unsupported", 409, f"The switch cannot do this: {outcome.reason}"
    return "switch_failed", 502, f"The switch could not do this: {outcome.reason}"
