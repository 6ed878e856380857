"""REST for the quarantine, on the system host."""

import base64
from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest import ApiError, Door, actor_of, fields_of, page_by_id, page_response, rfc3339, row_or_404
from accounts.roles import Permission
from pbx import quarantine
from pbx.models import Quarantined
from pbx.rerun import rerun
from pbx.views import shown

_FILTERS = ("code", "session_id", "kind", "event_id")
_text = serializers.CharField
# How the answers look to a reader of the API's description; `represent` makes them.
_ROW = inline_serializer(
    "Quarantined",
    {
        **{name: _text() for name in ("id", "switch", "kind", "state", "code", "message", "session_id", "event_id")},
        "received_at": serializers.DateTimeField(),
        "settled_at": serializers.DateTimeField(allow_null=True),
        "raw": _text(help_text="What came, made readable."),
        "raw_base64": _text(help_text="What came, byte for byte."),
    },
)
_PAGE = inline_serializer(
    "QuarantinePage", {"items": serializers.ListField(child=_ROW), "next": _text(allow_null=True)}
)
_RAN = inline_serializer("Rerun", {"applied": serializers.IntegerField(), "waiting": serializers.IntegerField()})
_ASKED = inline_serializer("RerunOf", {"code": _text(required=False), "session_id": _text(required=False)})


def represent(row: Quarantined) -> dict[str, Any]:
    raw = bytes(row.raw)
    return {
        "id": str(row.pk),
        "switch": str(row.switch_id),
        "kind": row.kind,
        "state": row.state,
        "code": row.code,
        "message": row.message,
        "session_id": row.session_id,
        "event_id": row.event_id,
        "received_at": rfc3339(row.received_at),
        "settled_at": rfc3339(row.settled_at),
        "raw": shown(raw),
        "raw_base64": base64.b64encode(raw).decode(),
    }


class Quarantine(Door):
    """Newest first. `state` is waiting unless it says applied, discarded or all."""

    permission = Permission.SYSTEM_QUARANTINE

    @extend_schema(responses=_PAGE, parameters=[OpenApiParameter(name) for name in ("state", *_FILTERS)])
    def get(self, request: Request) -> Response:
        rows = Quarantined.objects.all()
        state = request.query_params.get("state", Quarantined.State.WAITING)
        if state != "all":
            if state not in Quarantined.State.values:
                raise ApiError("bad_value", "state must be waiting, applied, discarded or all.")
            rows = rows.filter(state=state)
        wanted = {name: request.query_params[name] for name in _FILTERS if request.query_params.get(name)}
        if any("\x00" in value for value in wanted.values()):
            raise ApiError("bad_value", "A filter holds a control character.")
        return page_response(page_by_id(request, rows.filter(**wanted), represent))


class QuarantineRerun(Door):
    """`{"code": "..."}`, `{"session_id": "..."}`, or `{}` for all that waits: runs a thousand, the oldest first."""

    permission = Permission.SYSTEM_QUARANTINE

    @extend_schema(request=_ASKED, responses=_RAN)
    def post(self, request: Request) -> Response:
        given = fields_of(request)
        if set(given) - {"code", "session_id"} or not all(
            isinstance(value, str) and value and "\x00" not in value for value in given.values()
        ):
            raise ApiError("not_valid", "Send code, session_id, both or neither, as texts.")
        return _ran(request, Quarantined.objects.filter(**given))


class QuarantineOne(Door):
    """`/rerun` runs it with all else that waits of its session; `/discard` takes it out."""

    permission = Permission.SYSTEM_QUARANTINE

    @extend_schema(responses=_ROW)
    def get(self, request: Request, row_id: str) -> Response:
        return Response(represent(row_or_404(Quarantined.objects.all(), row_id)))

    @extend_schema(request=None, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request, row_id: str, verb: str = "") -> Response:
        row = row_or_404(Quarantined.objects.all(), row_id)
        rows = Quarantined.objects.filter(pk=row.pk)
        if verb == "rerun":
            return _ran(request, rows)
        if verb == "discard":
            quarantine.discard(actor_of(request), rows)
            row.refresh_from_db()
            return Response(represent(row))
        raise Http404


def _ran(request: Request, rows: Any) -> Response:
    outcome = rerun(actor_of(request), rows)
    return Response({"applied": outcome.applied, "waiting": outcome.waiting})
