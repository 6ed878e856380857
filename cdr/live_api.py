"""Calls in progress over REST, each with its legs as they stand now."""

from functools import partial
from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Extension, User
from accounts.rest import Door, decode_cursor, encode_cursor, limit_of, may, time_of
from accounts.roles import Permission
from cdr import calls
from cdr.api import PAGING, MomentField, ReadsCalls
from cdr.callevents import PartyKind
from cdr.records import direction_of
from cdr.selectors import sees_all
from cdr.session import Leg, Session


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

    def get_targets(self, session: Session) -> Any:
        return LegSerializer(cast(Any, list(session.legs.values())), many=True).data


_PAGE = inline_serializer(
    "LiveCallPage", {"items": LiveCallSerializer(many=True), "next": serializers.CharField(allow_null=True)}
)


class LiveCalls(Door):
    permission = Permission.OWN_CALLS
    permission_classes: ClassVar[list[type[BasePermission]]] = [ReadsCalls]  # type: ignore[misc]

    @extend_schema(operation_id="calls_list", summary="Calls in progress", parameters=PAGING[:2], responses=_PAGE)
    def get(self, request: Request) -> Response:
        """The calls that have not ended, newest first. Who may see own calls only gets those of the own extension."""
        limit = limit_of(request)
        rows = list(_rows_after(request.query_params.get("cursor", ""))[: limit + 1])
        following = encode_cursor(rows[limit - 1].start_time, rows[limit - 1].pk) if len(rows) > limit else None
        sessions = calls.sessions_now([row.session_id for row in rows[:limit]])
        if not sees_all(partial(may, request)):
            number = _own_number(request.user)
            sessions = [session for session in sessions if number and number in _numbers_of(session)]
        return Response({"items": LiveCallSerializer(cast(Any, sessions), many=True).data, "next": following})


def _rows_after(cursor: str) -> Any:
    rows = calls.sessions_in_progress()
    if not cursor:
        return rows
    start, session_id = decode_cursor(cursor, 2)
    moment = time_of(start, "cursor")
    return rows.filter(start_time__lte=moment).exclude(start_time=moment, session_id__lte=str(session_id))


def _own_number(person: Any) -> str:
    if not isinstance(person, User):
        return ""
    return Extension.objects.filter(user_id=person.pk).values_list("number", flat=True).first() or ""


def _numbers_of(session: Session) -> set[str]:
    parties = [session.caller, *(party for leg in session.legs.values() for party in (leg.caller, leg.callee))]
    return {party.number for party in parties if party.kind is PartyKind.EXTENSION}
