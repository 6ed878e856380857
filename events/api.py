"""REST doors on a tenant's host: endpoints, the log of deliveries, and the event log by pull."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import orjson
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest import (
    ApiError,
    Door,
    actor_of,
    fields_of,
    limit_of,
    page_by_id,
    page_response,
    rfc3339,
    row_or_404,
    take_version,
    time_of,
)
from accounts.roles import Permission
from events import deliveries, endpoints, log, samples
from events.endpoints import EndpointError, Settings
from events.models import Attempt, Delivery, Endpoint, Profile
from events.selectors import LogFilters, deliveries_log
from events.types import DEFAULT, EVENT_TYPES, unknown_types
from tenants.models import Tenant
from tenants.values import clean_fields, flag, id_of


class EndpointSerializer(serializers.Serializer[Endpoint]):
    """An endpoint as it is shown: none of its secrets."""

    id = serializers.CharField(source="pk")
    url = serializers.CharField()
    enabled = serializers.BooleanField()
    auth = serializers.ChoiceField(choices=Endpoint.Auth.choices)
    username = serializers.CharField()
    has_password = serializers.SerializerMethodField()
    has_token = serializers.SerializerMethodField()
    event_types = serializers.ListField(child=serializers.CharField())
    profile = serializers.ChoiceField(choices=Profile.choices)
    disabled_reason = serializers.CharField()
    failing_since = serializers.SerializerMethodField()
    former_secrets_until = serializers.SerializerMethodField(
        help_text="Until when each former secret signs beside the newest, of those that still do."
    )
    missed_since = serializers.SerializerMethodField(help_text="Since when events passed it by and were not sent yet.")
    created_at = serializers.SerializerMethodField()
    version = serializers.IntegerField()

    def get_has_password(self, endpoint: Endpoint) -> bool:
        return bool(endpoint.password)

    def get_has_token(self, endpoint: Endpoint) -> bool:
        return bool(endpoint.token)

    def get_failing_since(self, endpoint: Endpoint) -> str | None:
        return rfc3339(endpoint.failing_since)

    def get_former_secrets_until(self, endpoint: Endpoint) -> list[str | None]:
        return [rfc3339(until) for until in endpoints.former_secrets_until(endpoint, timezone.now())]

    def get_missed_since(self, endpoint: Endpoint) -> str | None:
        return rfc3339(endpoint.missed_since)

    def get_created_at(self, endpoint: Endpoint) -> str | None:
        return rfc3339(endpoint.created_at)


class NewEndpointSerializer(EndpointSerializer):
    secret = serializers.CharField(help_text="The signing secret, whsec_ and base64. Shown this once.")


class EndpointInput(serializers.Serializer[Any]):
    """What may be set. A password, token or field left out of a PATCH stays as it is."""

    url = serializers.CharField(max_length=2000, help_text="http or https, to a public address.")
    enabled = serializers.BooleanField(default=True)
    auth = serializers.ChoiceField(choices=Endpoint.Auth.choices, default=Endpoint.Auth.DISABLE)
    username = serializers.CharField(required=False, max_length=64)
    password = serializers.CharField(required=False, min_length=6, max_length=64, write_only=True)
    token = serializers.CharField(required=False, write_only=True)
    event_types = serializers.ListField(child=serializers.ChoiceField(choices=EVENT_TYPES), default=[DEFAULT])
    profile = serializers.ChoiceField(choices=Profile.choices, default=Profile.V16)


class TestInput(serializers.Serializer[Any]):
    event_type = serializers.CharField(default=DEFAULT, help_text="One that has an example.")


class DeliverySerializer(serializers.Serializer[Delivery]):
    id = serializers.CharField(source="pk")
    endpoint_id = serializers.CharField()
    event_id = serializers.SerializerMethodField()
    event_type = serializers.CharField()
    session_id = serializers.CharField()
    state = serializers.ChoiceField(choices=Delivery.State.choices)
    attempts_made = serializers.IntegerField()
    next_attempt_at = serializers.SerializerMethodField()
    created_at = serializers.SerializerMethodField()
    finished_at = serializers.SerializerMethodField()
    replay = serializers.BooleanField()
    test = serializers.BooleanField(source="is_test")

    def get_event_id(self, delivery: Delivery) -> str | None:
        return None if delivery.event_id is None else str(delivery.event_id)

    def get_next_attempt_at(self, delivery: Delivery) -> str | None:
        return rfc3339(delivery.next_attempt_at)

    def get_created_at(self, delivery: Delivery) -> str | None:
        return rfc3339(delivery.created_at)

    def get_finished_at(self, delivery: Delivery) -> str | None:
        return rfc3339(delivery.finished_at)


class AttemptSerializer(serializers.Serializer[Attempt]):
    at = serializers.SerializerMethodField()
    latency_ms = serializers.IntegerField(allow_null=True)
    status = serializers.IntegerField(allow_null=True, help_text="The HTTP status; null when no answer came.")
    reason = serializers.CharField()
    request_headers = serializers.DictField(help_text="As sent, without the credentials.")
    response_headers = serializers.DictField(help_text="Only from public addresses.")
    response_body = serializers.CharField(help_text="Its first kilobyte, only from public addresses.")

    def get_at(self, attempt: Attempt) -> str | None:
        return rfc3339(attempt.at)


class DeliveryDetailSerializer(DeliverySerializer):
    request_body = serializers.SerializerMethodField()
    attempts = AttemptSerializer(many=True)

    def get_request_body(self, delivery: Delivery) -> str:
        return body_of(delivery)


def body_of(delivery: Delivery) -> str:
    return delivery.test_body if delivery.event is None else delivery.event.payload(delivery.profile)


def _many(serializer: type[serializers.Serializer[Any]], name: str) -> Any:
    fields = {"items": serializer(many=True), "next": serializers.CharField(allow_null=True)}
    return type(name, (serializers.Serializer,), fields)


# --- Endpoints --------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValidationError("This must be a text.")
    return value


def _types(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or any(not isinstance(name, str) for name in value):
        raise ValidationError("This must be a list of event types.")
    return tuple(dict.fromkeys(value))


_CLEANERS = {
    "url": _text, "enabled": flag, "auth": _text, "username": _text, "password": _text, "token": _text,
    "event_types": _types, "profile": _text,
}  # fmt: skip


def _refuse(error: EndpointError) -> NoReturn:
    raise ApiError(error.code, error.message, details={"field": error.field}) from error


def _endpoint(endpoint_id: str) -> Endpoint:
    return row_or_404(endpoints.live_endpoints(), endpoint_id)


class EndpointsDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(responses=_many(EndpointSerializer, "EndpointPage"))
    def get(self, request: Request) -> Response:
        rows = endpoints.live_endpoints()
        return page_response(page_by_id(request, rows, lambda row: EndpointSerializer(row).data, newest_first=False))

    @extend_schema(request=EndpointInput, responses={201: NewEndpointSerializer})
    def post(self, request: Request) -> Response:
        given = clean_fields(fields_of(request), _CLEANERS)
        if "url" not in given:
            raise ApiError("url_missing", "An endpoint needs a url.", details={"field": "url"})
        try:
            endpoint, secret = endpoints.create_endpoint(Settings(**given), actor=actor_of(request))
        except EndpointError as error:
            _refuse(error)
        return Response({**EndpointSerializer(endpoint).data, "secret": secret}, status=201)


class EndpointDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(responses=EndpointSerializer)
    def get(self, request: Request, endpoint_id: str) -> Response:
        return Response(EndpointSerializer(_endpoint(endpoint_id)).data)

    @extend_schema(request=EndpointInput(partial=True), responses=EndpointSerializer)
    def patch(self, request: Request, endpoint_id: str) -> Response:
        endpoint = _endpoint(endpoint_id)
        fields = fields_of(request)
        version = take_version(fields)
        kept = {
            "url": endpoint.url, "enabled": endpoint.enabled, "auth": endpoint.auth, "username": endpoint.username,
            "event_types": tuple(endpoint.event_types), "profile": endpoint.profile,
        }  # fmt: skip
        settings = Settings(**{**kept, **clean_fields(fields, _CLEANERS)})
        try:
            endpoint = endpoints.change_endpoint(endpoint, settings, actor=actor_of(request), version=version)
        except EndpointError as error:
            _refuse(error)
        return Response(EndpointSerializer(endpoint).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, endpoint_id: str) -> Response:
        endpoints.delete_endpoint(_endpoint(endpoint_id), actor=actor_of(request))
        return Response(status=204)


class RotateDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(request=None, responses=NewEndpointSerializer)
    def post(self, request: Request, endpoint_id: str) -> Response:
        """A new signing secret; each former one signs beside it until 24 hours after it was replaced."""
        endpoint = _endpoint(endpoint_id)
        secret = endpoints.rotate_secret(endpoint, actor=actor_of(request))
        return Response({**EndpointSerializer(_endpoint(endpoint_id)).data, "secret": secret})


class TestDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(request=TestInput, responses=DeliveryDetailSerializer)
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Sends an example at once, of a finished call unless another type is named, and answers with the outcome."""
        endpoint = _endpoint(endpoint_id)
        given = clean_fields(fields_of(request), {"event_type": _text}) if request.body else {}
        event_type = given.get("event_type", DEFAULT)
        if event_type not in samples.EXAMPLES:
            raise ApiError("event_type_unknown", f"There is no example of {event_type[:40]}.")
        delivery = deliveries.send_test(
            endpoint, tenant_of(request._request), actor=actor_of(request), event_type=event_type
        )
        return Response(DeliveryDetailSerializer(delivery).data)


def tenant_of(request: HttpRequest) -> Tenant:
    return request.tenant  # type: ignore[attr-defined, no-any-return]


# --- Deliveries -------------------------------------------------------------------------------------------------


_LOG_FILTERS = ("endpoint", "state", "failing", "event", "event_type", "session_id", "from", "to")


def _log_filters(request: Request) -> LogFilters:
    _refuse_unknown(request, _LOG_FILTERS, "limit", "cursor")
    asked = {name: request.query_params[name] for name in _LOG_FILTERS if request.query_params.get(name)}
    return LogFilters(
        state=_choice(asked, "state", Delivery.State.values),
        failing=_choice(asked, "failing", ["true", "false"]) == "true",
        endpoint=_id_filter(asked, "endpoint"),
        event=_id_filter(asked, "event"),
        event_type=_choice(asked, "event_type", EVENT_TYPES),
        session_id=_session_filter(asked),
        from_time=time_of(asked["from"], "from") if "from" in asked else None,
        to_time=time_of(asked["to"], "to") if "to" in asked else None,
    )


def _refuse_unknown(request: Request, filters: Sequence[str], *more: str) -> None:
    """A filter that there is not is refused: its caller would take the whole log for an answer."""
    for name in request.query_params:
        if name not in (*filters, *more):
            raise ApiError(
                "unknown_filter", f"There is no filter {name[:40]}. There are: {', '.join(filters)}.",
                details={"field": name[:40]},
            )  # fmt: skip


def _choice(asked: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    value = asked.get(name, "")
    if value and value not in allowed:
        raise ApiError("bad_filter", f"{name} is one of {', '.join(allowed)}.", details={"field": name})
    return value


def _id_filter(asked: Mapping[str, str], name: str) -> int | None:
    found = id_of(asked[name]) if name in asked else None
    if name in asked and found is None:
        raise ApiError("bad_filter", f"{name} must be an id.", details={"field": name})
    return found


def _session_filter(asked: Mapping[str, str]) -> str:
    session_id = asked.get("session_id", "")
    if len(session_id) > 128 or "\0" in session_id:
        raise ApiError("bad_filter", "A session_id has at most 128 characters.", details={"field": "session_id"})
    return session_id


class DeliveriesDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(
        parameters=[
            OpenApiParameter("endpoint"),
            OpenApiParameter("state", enum=Delivery.State.values),
            OpenApiParameter(
                "failing", enum=["true", "false"], description="true: only what was tried in vain and is tried again."
            ),
            OpenApiParameter("event", description="An event_id."),
            OpenApiParameter("event_type", enum=EVENT_TYPES, description="Of the event; leaves tests out."),
            OpenApiParameter("session_id"),
            OpenApiParameter("from", description="Deliveries written at this time or later; RFC 3339 or Unix seconds."),
            OpenApiParameter("to", description="Deliveries written at this time or earlier."),
            OpenApiParameter("limit", OpenApiTypes.INT),
            OpenApiParameter("cursor"),
        ],
        responses=_many(DeliverySerializer, "DeliveryPage"),
    )
    def get(self, request: Request) -> Response:
        """The log of deliveries, newest first. A filter that there is not is refused."""
        rows = deliveries_log(_log_filters(request))
        return page_response(page_by_id(request, rows, lambda row: DeliverySerializer(row).data))


class DeliveryDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(responses=DeliveryDetailSerializer)
    def get(self, request: Request, delivery_id: str) -> Response:
        return Response(DeliveryDetailSerializer(row_or_404(deliveries_log(), delivery_id)).data)


class RedeliverDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, delivery_id: str) -> Response:
        """Sends the same bytes under the same id again, marked by the header `webhook-replay`."""
        delivery = deliveries.redeliver(row_or_404(deliveries_log(), delivery_id), actor=actor_of(request))
        return Response(DeliverySerializer(delivery).data, status=202)


class ExampleDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(
        operation_id="event_example",
        parameters=[OpenApiParameter("profile", enum=Profile.values, default=Profile.V16.value)],
        responses={(200, "application/json"): OpenApiTypes.OBJECT},
    )
    def get(self, request: Request, event_type: str) -> HttpResponse:
        """An example of this event type, the bytes that a test would send."""
        if event_type not in samples.EXAMPLES:
            raise Http404
        profile = _profile_asked(request)
        example = samples.example(event_type, tenant_of(request._request), timezone.now(), profile=profile)
        return HttpResponse(log.render(example, deliveries.TEST_EVENT_ID).encode(), content_type="application/json")


def _profile_asked(request: Request) -> str:
    profile = request.query_params.get("profile", Profile.V16)
    if profile not in Profile.values:
        raise ApiError("bad_filter", f"profile is one of {', '.join(Profile.values)}.")
    return profile


# --- The event log ----------------------------------------------------------------------------------------------


class EventsDoor(Door):
    permission: ClassVar[Permission | dict[str, Permission] | None] = Permission.SUBSCRIBE

    @extend_schema(
        parameters=[
            OpenApiParameter("since", description="An event_id: only what came after it. All that is kept without."),
            OpenApiParameter("types", description="Comma separated; all types without."),
            OpenApiParameter("profile", enum=Profile.values, default=Profile.V16.value),
            OpenApiParameter("limit", OpenApiTypes.INT),
        ],
        responses={(200, "application/json"): OpenApiTypes.OBJECT},
    )
    def get(self, request: Request) -> HttpResponse:
        """Events in the order of their ids, each the very bytes that webhooks and subscribers get.

        `cursor` is the `since` of the next request; `next` says the same while more is there already. `gap` is true
        when events after `since` are no longer kept. A parameter that there is not is refused.
        """
        _refuse_unknown(request, ("since", "types", "profile", "limit"), "cursor")
        since = _since(request)
        types = _types_asked(request)
        profile = _profile_asked(request)
        limit = limit_of(request)
        span = log.span()
        if since > span.last:
            raise ApiError("since_ahead", f"since is beyond the last event, {span.last}.")
        found = list(log.events_after(since, types=types).filter(id__lte=span.last)[: limit + 1])
        more = len(found) > limit
        cursor = found[limit - 1].pk if more else span.last
        # Asked anew: what was pruned while this read is a gap too.
        gap = bool(_place_asked(request)) and log.span().misses_after(since)
        tail = {"next": str(cursor) if more else None, "cursor": str(cursor), "gap": gap}
        bodies = ",".join(event.payload(profile) for event in found[:limit])
        return HttpResponse(
            b'{"items":[' + bodies.encode() + b"]," + orjson.dumps(tail)[1:], content_type="application/json"
        )


def _place_asked(request: Request) -> str:
    return request.query_params.get("since") or request.query_params.get("cursor") or ""


def _since(request: Request) -> int:
    written = _place_asked(request) or "0"
    if not (written.isascii() and written.isdigit() and len(written) <= 18):
        raise ApiError("bad_since", "since must be the event_id of an event.")
    return int(written)


def _types_asked(request: Request) -> list[str]:
    asked = [name.strip() for name in request.query_params.get("types", "").split(",") if name.strip()]
    if unknown := unknown_types(asked):
        raise ApiError("event_type_unknown", f"There is no event type {unknown[0][:40]}.")
    return asked
