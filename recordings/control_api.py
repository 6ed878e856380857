"""Over REST: what is recorded of the calls in progress, and commanding it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import ApiError, Door, actor_of, error_body, fields_of, may, rfc3339
from accounts.roles import Permission
from cdr import calls
from cdr import selectors as cdr_selectors
from cdr.api import May, MomentField
from cdr.session import Session
from recordings import live, selectors
from recordings.books import Via
from recordings.control import ControlError
from recordings.live import MediumState
from recordings.models import Recording
from recordings.ordered import LONGEST_WAIT_SECONDS, PATIENCE_SECONDS, WORDS, Answer, order, wait_for
from recordings.policy import MEDIA

_STATUS = {
    "call_not_found": 404, "not_a_party": 403, "forbidden_by_policy": 403, "not_recording": 409, "unsupported": 409,
}  # fmt: skip
_STATES = ["off", *(Recording.State(each).value for each in ("starting", "recording", "paused", "stopped", "failed"))]


class MediumSerializer(serializers.Serializer[Any]):
    """What is recorded of one medium now."""

    state = serializers.ChoiceField(choices=_STATES)
    recording_id = serializers.CharField(allow_null=True)
    since = MomentField(allow_null=True, help_text="Since when it is paused, stopped, or first ran.")
    asked = serializers.ChoiceField(
        choices=["start", "stop", "pause", "resume"], allow_null=True,
        help_text="What the switch was commanded and has not answered yet.",
    )  # fmt: skip
    problem = serializers.CharField(help_text="What the switch could not do, in a sentence.")
    words = serializers.CharField(help_text="Why it is so, in a sentence.")


class RecordingNowSerializer(serializers.Serializer[Any]):
    """By medium; null for a medium that the call has not."""

    audio = MediumSerializer(allow_null=True)
    video = MediumSerializer(allow_null=True)


def recording_of_calls(sessions: Sequence[Session], allowed: May) -> Mapping[str, Mapping[str, Any]]:
    """What this room adds to calls in progress, for whoever may see their recordings."""
    own_only = allowed(Permission.OWN_CALLS) and not cdr_selectors.sees_all(allowed)
    if not (selectors.sees_all(allowed) or own_only):
        return {session.session_id: {"recording": None} for session in sessions}
    return {session_id: {"recording": _told(media)} for session_id, media in live.states_of(sessions).items()}


def _told(media: Sequence[MediumState]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(MEDIA)
    for each in media:
        found[each.medium] = {
            "state": each.state,
            "recording_id": each.recording_id or None,
            "since": rfc3339(each.since),
            "asked": each.asked or None,
            "problem": each.problem,
            "words": each.words,
        }
    return found


class Commands(BasePermission):
    """An administrator of recordings, or whoever has own calls: in which of them, `order` decides."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        return may(request, Permission.RECORDINGS_FULL) or may(request, Permission.OWN_CALLS)


_COMMAND = inline_serializer(
    "RecordingCommand",
    {
        "operation": serializers.ChoiceField(choices=list(WORDS)),
        "wait": serializers.IntegerField(
            required=False, min_value=0, max_value=LONGEST_WAIT_SECONDS, default=int(PATIENCE_SECONDS),
            help_text="Seconds to wait for the switch; 0 does not wait.",
        ),
    },
)  # fmt: skip
_RESULT = inline_serializer(
    "RecordingCommandResult",
    {
        "session_id": serializers.CharField(),
        "operation": serializers.ChoiceField(choices=list(WORDS)),
        "status": serializers.ChoiceField(choices=["done", "pending"]),
        "commands": serializers.ListField(
            child=serializers.CharField(), help_text="What the switch was asked for; empty when it was so already."
        ),
        "recording": RecordingNowSerializer(allow_null=True),
    },
)
_ERROR = inline_serializer(
    "RecordingCommandError",
    {
        "error": inline_serializer(
            "RecordingCommandErrorBody",
            {
                "code": serializers.CharField(),
                "message": serializers.CharField(),
                "details": serializers.DictField(),
            },
        )
    },
)


class CallRecording(Door):
    permission = Permission.OWN_CALLS
    permission_classes: ClassVar[list[type[BasePermission]]] = [Commands]  # type: ignore[misc]

    @extend_schema(
        operation_id="calls_recording",
        summary="Start, stop, pause or resume the recording of a call",
        parameters=[OpenApiParameter("session_id", OpenApiTypes.STR, OpenApiParameter.PATH)],
        request=_COMMAND,
        responses={
            200: _RESULT, 202: _RESULT, 400: _ERROR, 403: _ERROR, 404: _ERROR, 409: _ERROR, 502: _ERROR, 504: _ERROR,
        },
    )  # fmt: skip
    def post(self, request: Request, session_id: str) -> Response:
        """Answers 200 once the switch has done it, or when it was so already.

        `pause-recording` and the like, without a medium, act on audio and video alike. With `wait` 0 the answer is 202
        at once. 403 `not_a_party`: the caller's extension is not connected in this call; `forbidden_by_policy`: the
        system's switch is against it. 404 `call_not_found`. 409 `not_recording`, or `unsupported`: the switch never
        will. 502 `switch_failed`: it answered that it could not. 504 `not_confirmed`: it has not answered in time; the
        command stands for some seconds more, and `GET /api/v1/calls` shows what becomes of it.
        """
        word, seconds = _asked(fields_of(request))
        tenant = request._request.tenant  # type: ignore[attr-defined]
        try:
            ordered = order(
                tenant, session_id, word,
                person=request.user, may=partial(may, request), actor=actor_of(request), via=Via.REST,
            )  # fmt: skip
        except ControlError as error:
            raise ApiError(error.code, error.message, status_code=_STATUS[error.code]) from error
        answer = wait_for(ordered, seconds)
        commands = [str(each) for each in ordered.commands]
        recording = _recording_now(session_id, request)
        if answer.status == "done" or (answer.status == "not_confirmed" and not seconds):
            status = "done" if answer.status == "done" else "pending"
            body = {"session_id": session_id, "operation": word, "status": status}
            return Response(body | {"commands": commands, "recording": recording}, 200 if status == "done" else 202)
        code, number, message = _failure(answer, seconds)
        return Response(error_body(code, message, {"commands": commands, "recording": recording}), number)


def _asked(fields: dict[str, Any]) -> tuple[str, int]:
    word, seconds = fields.pop("operation", None), fields.pop("wait", int(PATIENCE_SECONDS))
    if fields:
        raise ApiError("not_valid", f"There is no field {sorted(fields)[0][:40]}.")
    if not isinstance(word, str) or word not in WORDS:
        raise ApiError("unknown_operation", f"operation must be one of {', '.join(WORDS)}.")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise ApiError("not_valid", f"wait must be a whole number of seconds from 0 to {LONGEST_WAIT_SECONDS}.")
    return word, seconds


def _failure(answer: Answer, seconds: int) -> tuple[str, int, str]:
    if answer.is_unsupported:
        return "unsupported", 409, f"The switch cannot do this: {answer.reason}"
    if answer.status == "failed":
        return "switch_failed", 502, f"The switch could not do this: {answer.reason}"
    what = "answered" if answer.is_taken else "fetched the command"
    return "not_confirmed", 504, f"The switch has not {what} within {seconds} s."


def _recording_now(session_id: str, request: Request) -> Any:
    """A call that was merged into another goes on as that one."""
    told = recording_of_calls(calls.sessions_now([calls.root_of(session_id)]), partial(may, request))
    return next((each["recording"] for each in told.values()), None)
