"""CDRs over REST: the list with its filters, one call in full, and the message that was pushed for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any, ClassVar, cast

from django.forms import Form
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.lists import estimate
from accounts.rest import ApiError, Door, limit_of, may, rfc3339
from accounts.roles import Permission
from cdr.changes import Change, changes_after
from cdr.documents import CALL_CDR, v16_document, v22_document
from cdr.forms import CDRFilterForm, CDRFilters
from cdr.ledger import numbered_targets
from cdr.models import CDR, CallStatus, Direction, Target
from cdr.records import seconds_between, status_of
from cdr.selectors import narrowed, page_of, sees_all, simulators, visible_calls
from events import log
from events.models import Event, Profile

May = Callable[[Permission], bool]


@dataclass(frozen=True)
class Asker:
    """Who asks, and what they may."""

    person: Any
    may: May

    @classmethod
    def of(cls, request: Request) -> "Asker":
        return cls(request.user, partial(may, request))

    def __call__(self, permission: Permission) -> bool:
        return self.may(permission)


# Filled by higher rooms: what they add to each of these calls, in the same order, given who asks (recordings, policy
# decisions). Calls come together, so that a page of them costs no more queries than one.
detail_parts: list[Callable[[Sequence[CDR], Asker], Sequence[Mapping[str, Any]]]] = []
# The shape of what they add, for the OpenAPI document.
Fields = dict[str, Callable[[], serializers.Field[Any, Any, Any, Any]]]
detail_fields: Fields = {}


class ReadsCalls(BasePermission):
    """Whoever may see all calls, or own ones: which of them, `visible_calls` decides."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        allowed = partial(may, request)
        return sees_all(allowed) or allowed(Permission.OWN_CALLS)


class MomentField(serializers.DateTimeField):
    """RFC 3339 in UTC."""

    def to_representation(self, value: Any) -> Any:
        return rfc3339(value)


class ReasonField(serializers.CharField):
    """An end reason; null for None."""

    def to_representation(self, value: Any) -> Any:
        return value or None


class TargetSerializer(serializers.Serializer[Target]):
    id = serializers.CharField(source="pk")
    kind = serializers.ChoiceField(choices=["extension", "external", "service"])
    call_type = serializers.CharField()
    caller = serializers.CharField()
    callee = serializers.CharField()
    callee_display_name = serializers.CharField()
    destination = serializers.CharField()
    did = serializers.CharField(source="cdr.did")
    trunk_name = serializers.CharField()
    outbound_caller_id = serializers.CharField()
    start_time = MomentField()
    ring_time = MomentField(allow_null=True)
    answered_time = MomentField(allow_null=True)
    ended_time = MomentField()
    ring_duration = serializers.SerializerMethodField(help_text="Seconds.")
    talk_duration = serializers.SerializerMethodField(help_text="Seconds.")
    status = serializers.SerializerMethodField()
    status_code = serializers.IntegerField(help_text="The SIP status of a failed leg, 0 for no error.")
    end_reason = ReasonField(allow_null=True)
    cost = serializers.DecimalField(max_digits=14, decimal_places=5, allow_null=True)

    def get_ring_duration(self, target: Target) -> int:
        return seconds_between(target.ring_time, target.answered_time or target.ended_time)

    def get_talk_duration(self, target: Target) -> int:
        return seconds_between(target.answered_time, target.ended_time)

    def get_status(self, target: Target) -> str:
        return status_of(answered=target.answered_time is not None, status_code=target.status_code).value


class CDRSerializer(serializers.Serializer[CDR]):
    session_id = serializers.CharField()
    call_id = serializers.CharField()
    direction = serializers.ChoiceField(choices=Direction.choices)
    caller = serializers.CharField()
    caller_display_name = serializers.CharField()
    caller_domain = serializers.CharField()
    callee = serializers.CharField()
    callee_display_name = serializers.CharField()
    callee_domain = serializers.CharField()
    final_display_name = serializers.CharField(help_text="The name of whom the caller talked to last.")
    did = serializers.CharField()
    trunk_name = serializers.CharField()
    outbound_caller_id = serializers.CharField()
    start_time = MomentField()
    ring_time = MomentField(allow_null=True)
    answered_time = MomentField(allow_null=True)
    ended_time = MomentField()
    ring_duration = serializers.IntegerField(help_text="Seconds.")
    talk_duration = serializers.IntegerField(help_text="Seconds.")
    status = serializers.ChoiceField(choices=CallStatus.choices)
    status_code = serializers.IntegerField(help_text="The SIP status of a failed call, 0 for no error.")
    end_reason = ReasonField(allow_null=True)
    user_data = serializers.CharField()
    cost = serializers.DecimalField(max_digits=14, decimal_places=5, allow_null=True)
    currency = serializers.SerializerMethodField()
    recorded = serializers.BooleanField()
    incomplete = serializers.BooleanField(help_text="The switch vanished or never told how the call ended.")
    simulated = serializers.SerializerMethodField(help_text="Placed by the simulator, not by a real switch.")

    def get_currency(self, call: CDR) -> str:
        return str(self.context["currency"])

    def get_simulated(self, call: CDR) -> bool:
        return call.switch_id in self.context["simulators"]


class CDRDetailSerializer(CDRSerializer):
    targets = TargetSerializer(many=True)
    recordings = serializers.ListField(child=serializers.DictField(), default=list)
    policy_decisions = serializers.ListField(child=serializers.DictField(), default=list)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), **{name: make() for name, make in detail_fields.items()}}


def _filter_parameter(name: str, description: str, type: Any = OpenApiTypes.STR, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, type, OpenApiParameter.QUERY, description=description, **more)


_MOMENT = "RFC 3339, Unix seconds, or a day. Without an offset in UTC."
FILTERS = [
    _filter_parameter("from", f"Calls that started then or later. {_MOMENT}"),
    _filter_parameter("to", f"Calls that started before. {_MOMENT} A day is included."),
    _filter_parameter("number", "Caller or callee; `*` stands for any digits."),
    _filter_parameter("caller", "`*` stands for any digits."),
    _filter_parameter("callee", "`*` stands for any digits."),
    _filter_parameter("direction", "", enum=Direction.values),
    _filter_parameter("extension", "An extension that took part, as caller or as any target."),
    _filter_parameter("trunk", "The name of the trunk."),
    _filter_parameter("did", "`*` stands for any digits."),
    _filter_parameter("session_id", ""),
    _filter_parameter("status", "", enum=CallStatus.values),
    _filter_parameter("end_reason", "`None` for calls without one."),
    _filter_parameter("min_talk", "Talking time in seconds.", OpenApiTypes.INT),
    _filter_parameter("max_talk", "Talking time in seconds.", OpenApiTypes.INT),
    _filter_parameter("recorded", "", OpenApiTypes.BOOL),
    _filter_parameter("search", "A session id, the beginning of a number, or beginnings of words of a display name."),
]
PAGING = [
    _filter_parameter("limit", "At most 500.", OpenApiTypes.INT, default=50),
    _filter_parameter("cursor", "The `next` of the page before."),
    _filter_parameter("order", "By start time.", enum=["asc", "desc"], default="desc"),
    _filter_parameter("count", "Adds about how many calls there are, by the planner's statistics.", enum=["estimate"]),
]
_PAGE = inline_serializer(
    "CDRPage",
    {
        "items": CDRSerializer(many=True),
        "next": serializers.CharField(allow_null=True),
        "count": serializers.IntegerField(required=False, help_text="An estimate, when asked for."),
    },
)


def filters_of(request: Request) -> CDRFilters:
    """The filters of the address; an error of any of them refuses the request."""
    form = CDRFilterForm(request.query_params, zone=UTC)
    refuse_errors(form)
    return form.filters()


def refuse_errors(form: Form) -> None:
    if form.errors:
        details = {name: [str(message) for message in messages] for name, messages in form.errors.items()}
        sentence = " ".join(f"{name}: {' '.join(messages)}" for name, messages in details.items())
        raise ApiError("not_valid", sentence, details=details)


def choice_of(request: Request, name: str, allowed: tuple[str, ...]) -> str:
    value = request.query_params.get(name, "")
    if value and value not in allowed:
        raise ApiError("not_valid", f"{name} must be {' or '.join(allowed)}.", details={name: [value[:100]]})
    return value


def _context(request: Request) -> dict[str, Any]:
    return {
        "currency": request._request.tenant.currency,  # type: ignore[attr-defined]
        "simulators": simulators(),
    }


class CDRList(Door):
    permission = Permission.OWN_CALLS
    permission_classes: ClassVar[list[type[BasePermission]]] = [ReadsCalls]  # type: ignore[misc]

    @extend_schema(operation_id="cdrs_list", summary="Calls", parameters=[*FILTERS, *PAGING], responses=_PAGE)
    def get(self, request: Request) -> Response:
        """The calls that fit the filters, newest first, without their targets."""
        calls = narrowed(visible_calls(request.user, partial(may, request)), filters_of(request))
        page = page_of(
            calls,
            limit=limit_of(request),
            ascending=choice_of(request, "order", ("asc", "desc")) == "asc",
            after=request.query_params.get("cursor", ""),
        )
        items = CDRSerializer(cast(Any, page.rows), many=True, context=_context(request)).data
        body: dict[str, Any] = {"items": items, "next": page.next}
        if choice_of(request, "count", ("estimate",)):
            body["count"] = estimate(calls)
        return Response(body)


class CDRDetail(Door):
    permission = Permission.OWN_CALLS
    permission_classes: ClassVar[list[type[BasePermission]]] = [ReadsCalls]  # type: ignore[misc]

    @extend_schema(
        operation_id="cdrs_retrieve",
        summary="One call",
        parameters=[
            OpenApiParameter("session_id", OpenApiTypes.STR, OpenApiParameter.PATH),
            _filter_parameter("profile", "Gives the message as it is pushed instead.", enum=Profile.values),
        ],
        responses=CDRDetailSerializer,
    )
    def get(self, request: Request, session_id: str) -> Response:
        """The call with its targets, recordings and the decisions about them."""
        asker = Asker.of(request)
        call = call_of(visible_calls(request.user, asker), session_id)
        profile = choice_of(request, "profile", tuple(Profile.values))
        if profile:
            return Response(document_of(call, request._request.tenant, profile))  # type: ignore[attr-defined]
        (body,) = full_calls([call], asker, _context(request))
        return Response(body)


class ChangeSerializer(serializers.Serializer[Change]):
    change = serializers.ChoiceField(choices=["created", "corrected", "deleted"], source="kind")
    session_id = serializers.CharField()
    event_id = serializers.CharField(source="place", help_text="The event that told it: a place to go on from.")
    cdr = serializers.SerializerMethodField(help_text="The record as it is now; null when it was deleted.")

    @extend_schema_field(CDRDetailSerializer(allow_null=True))
    def get_cdr(self, change: Change) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.context["calls"].get(change.cdr.pk) if change.cdr else None
        return found


_CHANGES = inline_serializer(
    "CDRChanges",
    {
        "items": ChangeSerializer(many=True),
        "next": serializers.CharField(allow_null=True, help_text="`since` of the next page; null when there is none."),
        "since": serializers.CharField(help_text="Where to go on later, here or at any door of the event log."),
    },
)


class CDRChanges(Door):
    permission = Permission.CDR_VIEW

    @extend_schema(
        operation_id="cdrs_changes",
        summary="What became of the records",
        parameters=[_filter_parameter("since", "The id of an event; 0 for the beginning."), PAGING[0]],
        responses=_CHANGES,
    )
    def get(self, request: Request) -> Response:
        """Every record created, corrected or deleted since, in the order of the event log, each once.

        A `since` beyond the log's end is refused as `since_ahead`: it comes from another installation, or from before
        a backup was restored.
        """
        text = request.query_params.get("since", "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ApiError("bad_since", "since must be the id of an event, or 0.", details={"since": [text[:100]]})
        limit = limit_of(request)
        last = log.span().last
        if int(text) > last:
            raise ApiError("since_ahead", f"since is beyond the last event, {last}.")
        found = changes_after(int(text), limit + 1, until=last)
        given, is_more = found[:limit], len(found) > limit
        since = str(given[-1].place if is_more else last)
        records = [change.cdr for change in given if change.cdr]
        bodies = full_calls(records, Asker.of(request), _context(request))
        calls = {record.pk: body for record, body in zip(records, bodies, strict=True)}
        items = ChangeSerializer(cast(Any, given), many=True, context={"calls": calls}).data
        return Response({"items": items, "next": since if is_more else None, "since": since})


def full_calls(calls: Sequence[CDR], asker: Asker, context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Calls with their targets, which the caller has prefetched, and what higher rooms know of them."""
    if not calls:
        return []
    bodies = [_with_targets(call, context) for call in calls]
    for part in detail_parts:
        for body, added in zip(bodies, part(calls, asker), strict=True):
            body |= added
    return bodies


def _with_targets(call: CDR, context: Mapping[str, Any]) -> dict[str, Any]:
    targets = list(call.targets.all())
    for target in targets:
        target.cdr = call
    return {
        **CDRSerializer(call, context=dict(context)).data,
        "targets": TargetSerializer(cast(Any, targets), many=True).data,
        "recordings": [],
        "policy_decisions": [],
    }


def call_of(calls: Any, session_id: str) -> CDR:
    """The call if it stands among these; a session id that none can have is none."""
    if "\x00" in session_id:
        raise Http404
    call: CDR | None = calls.filter(session_id=session_id).prefetch_related("targets").first()
    if call is None:
        raise Http404
    return call


def document_of(call: CDR, tenant: Any, profile: str) -> dict[str, Any]:
    """The message that was pushed for this call, with the id of its event while the log keeps it."""
    build = v22_document if profile == Profile.V22 else v16_document
    document = build(call, numbered_targets(call), tenant)
    events = Event.objects.filter(session_id=call.session_id, type=CALL_CDR).order_by("-sequence")
    event_id = events.values_list("pk", flat=True).first()
    return document if event_id is None else document | {"event_id": str(event_id)}
