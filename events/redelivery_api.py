"""REST: sending many deliveries of an endpoint again, its progress, and stopping it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest import ApiError, Door, actor_of, fields_of, rfc3339, row_or_404, time_of
from accounts.roles import Permission
from events.endpoints import EndpointError, live_endpoints
from events.models import Delivery, Endpoint, Redelivery
from events.redeliveries import (
    RATE,
    RATE_MAX,
    Selection,
    newest_redelivery,
    planned,
    start_redelivery,
    stop_redelivery,
)
from tenants.values import clean_fields, flag, id_of


class RedeliverySerializer(serializers.Serializer[Redelivery]):
    """`done` of `total` have been given a time at which they go out. `id` is null in a dry run."""

    id = serializers.SerializerMethodField()
    endpoint_id = serializers.CharField()
    state = serializers.CharField(help_text=f"One of {', '.join(Redelivery.State.values)}.")
    what = serializers.ChoiceField(choices=Redelivery.What.choices)
    delivery_state = serializers.CharField(help_text="Empty: any.")
    event_type = serializers.CharField()
    session_id = serializers.CharField()
    from_event = serializers.CharField()
    to_event = serializers.CharField()
    rate = serializers.IntegerField()
    total = serializers.IntegerField()
    done = serializers.IntegerField()
    created_at = serializers.SerializerMethodField()
    finished_at = serializers.SerializerMethodField()

    def get_id(self, redelivery: Redelivery) -> str | None:
        return None if redelivery.pk is None else str(redelivery.pk)

    def get_created_at(self, redelivery: Redelivery) -> str | None:
        return rfc3339(redelivery.created_at)

    def get_finished_at(self, redelivery: Redelivery) -> str | None:
        return rfc3339(redelivery.finished_at)


class RedeliveryInput(serializers.Serializer[Any]):
    """Which deliveries; every bound is inclusive. Times are those at which events were written."""

    what = serializers.ChoiceField(choices=Redelivery.What.choices, default=Redelivery.What.UNACKNOWLEDGED)
    delivery_state = serializers.CharField(required=False, help_text=f"One of {', '.join(Delivery.State.values)}.")
    event_type = serializers.CharField(required=False)
    session_id = serializers.CharField(required=False)
    from_event = serializers.CharField(required=False, help_text="An event_id.")
    to_event = serializers.CharField(required=False, help_text="An event_id.")
    from_time = serializers.DateTimeField(required=False)
    to_time = serializers.DateTimeField(required=False)
    rate = serializers.IntegerField(default=RATE, min_value=1, max_value=RATE_MAX, help_text="Deliveries a second.")
    dry_run = serializers.BooleanField(default=False, help_text="Only count: `total` says how many.")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValidationError("This must be a text.")
    return value


def _event_id(value: Any) -> int:
    found = id_of(value) if isinstance(value, str) else None
    if found is None:
        raise ValidationError("This must be the event_id of an event, as a text.")
    return found


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValidationError("This must be a whole number.")
    return value


def _time(value: Any) -> Any:
    try:
        return time_of(value, "this")
    except ApiError as error:
        raise ValidationError("This must be RFC 3339 or Unix seconds.") from error


_CLEANERS = {
    "what": _text, "delivery_state": _text, "event_type": _text, "session_id": _text, "from_event": _event_id,
    "to_event": _event_id, "from_time": _time, "to_time": _time, "rate": _number, "dry_run": flag,
}  # fmt: skip


class RedeliverManyDoor(Door):
    permission = Permission.EVENT_URL

    @extend_schema(request=RedeliveryInput, responses={200: RedeliverySerializer, 202: RedeliverySerializer})
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Sends many again, or what the endpoint missed, at a stated rate. With `dry_run` it only counts, with 200."""
        endpoint = row_or_404(live_endpoints(), endpoint_id)
        given = clean_fields(fields_of(request), _CLEANERS)
        dry_run, rate = given.pop("dry_run", False), given.pop("rate", RATE)
        selection = Selection(**given)
        try:
            if dry_run:
                return Response(RedeliverySerializer(planned(endpoint, selection, rate=rate)).data)
            begun = start_redelivery(endpoint, selection, rate=rate, actor=actor_of(request))
        except EndpointError as error:
            raise ApiError(error.code, error.message, details={"field": error.field}) from error
        return Response(RedeliverySerializer(begun).data, status=202)

    @extend_schema(responses=RedeliverySerializer)
    def get(self, request: Request, endpoint_id: str) -> Response:
        """How far the newest one has come."""
        return Response(RedeliverySerializer(_newest(row_or_404(live_endpoints(), endpoint_id))).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, endpoint_id: str) -> Response:
        """Stops the one that runs."""
        stop_redelivery(_newest(row_or_404(live_endpoints(), endpoint_id)), actor=actor_of(request))
        return Response(status=204)


def _newest(endpoint: Endpoint) -> Redelivery:
    found = newest_redelivery(endpoint)
    if found is None:
        raise Http404
    return found
