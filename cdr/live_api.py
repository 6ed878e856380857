"""Calls in progress over REST, each with its legs as they stand now."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest import Door, encode_cursor, limit_of, may
from accounts.roles import Permission
from cdr import calls
from cdr.api import PAGING, Fields, May, MomentField, ReadsCalls
from cdr.records import direction_of
from cdr.selectors import in_progress_after, visible_in_progress
from cdr.session import Leg, Session

# Filled by higher rooms: what they add to calls in progress, by session id, given what the asker may do; and its shape.
call_parts: list[Callable[[Sequence[Session], May], Mapping[str, Mapping[str, Any]]]] = []
call_fields: Fields = {}


class LegSerializer(serializers.Serializer[Leg]):
    """One target as it stands now."""

    target_id = serializers.CharField()
    kind = serializers.ChoiceField(choices=["extension", "external", "service"], source="callee.kind")
    callee = serializers.CharField(source="callee.number")
    callee_display_name = serializers.CharField(source="callee.display_name")
    state = serializers.SerializerMethodField(help_text="ringing, talking, held or ended.")
    start_time = MomentField()
    ring_time = MomentField(allow_null=True)
    answered_time = MomentField(allow_null=True)
    ended_time = MomentField(allow_null=True)

    def get_state(self, leg: Leg) -> str:
        if leg.ended_time is not None:
            return "ended"
        if leg.answered_time is None:
            return "ringing"
        return "held" if leg.held and leg.held[-1][1] is None else "talking"


class LiveCallSerializer(serializers.Serializer[Session]):
    session_id = serializers.CharField()
    call_id = serializers.CharField(source="started.call_id")
    direction = serializers.SerializerMethodField()
    caller = serializers.CharField(source="caller.number")
    caller_display_name = serializers.CharField(source="caller.display_name")
    callee = serializers.CharField(source="started.callee.number")
    callee_display_name = serializers.CharField(source="started.callee.display_name")
    did = serializers.CharField(source="started.did")
    trunk_name = serializers.CharField(source="started.trunk")
    user_data = serializers.CharField(source="started.user_data")
    start_time = MomentField(source="started.at")
    answered_time = MomentField(allow_null=True)
    targets = serializers.SerializerMethodField()

    def get_direction(self, session: Session) -> str:
        return direction_of(session).value

    @extend_schema_field(LegSerializer(many=True))
    def get_targets(self, session: Session) -> Any:
        return LegSerializer(cast(Any, list(session.legs.values())), many=True).data


class WholeLiveCallSerializer(LiveCallSerializer):
    """With what higher rooms add; only the OpenAPI document is made from it."""

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), **{name: make() for name, make in call_fields.items()}}


_PAGE = inline_serializer(
    "LiveCallPage", {"items": WholeLiveCallSerializer(many=True), "next": serializers.CharField(allow_null=True)}
)


class LiveCalls(Door):
    permission = Permission.OWN_CALLS
    permission_classes: ClassVar[list[type[BasePermission]]] = [ReadsCalls]  # type: ignore[misc]

    @extend_schema(operation_id="calls_list", summary="Calls in progress", parameters=PAGING[:2], responses=_PAGE)
    def get(self, request: Request) -> Response:
        """The calls that have not ended, newest first. Who may see own calls only gets those of the own extension."""
        limit, allowed = limit_of(request), partial(may, request)
        visible = visible_in_progress(request.user, allowed)
        rows = list(in_progress_after(visible, request.query_params.get("cursor", ""))[: limit + 1])
        following = encode_cursor(rows[limit - 1].start_time, rows[limit - 1].pk) if len(rows) > limit else None
        sessions = calls.sessions_now([row.session_id for row in rows[:limit]])
        items = [dict(item) for item in LiveCallSerializer(cast(Any, sessions), many=True).data]
        for part in call_parts:
            added = part(sessions, allowed)
            items = [item | dict(added.get(item["session_id"], {})) for item in items]
        return Response({"items": items, "next": following})
