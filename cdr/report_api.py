"""Reports over REST: the same sums that the page shows."""

from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.rest import ApiError, Door
from accounts.roles import Permission
from cdr.api import refuse_errors
from cdr.models import Direction
from cdr.report_forms import BY, MOST_DAYS, PERIODS, ReportForm
from cdr.report_views import answer
from cdr.reports import Sums


class SumsSerializer(serializers.Serializer[Sums]):
    calls = serializers.IntegerField()
    answered = serializers.IntegerField()
    missed = serializers.IntegerField(help_text="Came in and were not answered.")
    met = serializers.IntegerField(help_text="Reached a person, not only a menu or a queue.")
    wait_seconds = serializers.IntegerField(help_text="Of those that reached a person, until then.")
    talk_seconds = serializers.IntegerField()
    cost = serializers.DecimalField(
        max_digits=18, decimal_places=5, allow_null=True, source="billed_cost", help_text="Null when nothing was rated."
    )


class LineSerializer(SumsSerializer):
    key = serializers.CharField()
    name = serializers.CharField(help_text="The display name of an extension, else empty.")


_REPORT = inline_serializer(
    "Report",
    {
        "by": serializers.ChoiceField(choices=list(BY)),
        "from": serializers.DateField(),
        "to": serializers.DateField(help_text="Included."),
        "time_zone": serializers.CharField(),
        "currency": serializers.CharField(),
        "items": LineSerializer(many=True),
        "total": SumsSerializer(),
    },
)


def _parameter(name: str, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.QUERY, description=description, **more)


class Reports(Door):
    permission = Permission.CDR_VIEW

    @extend_schema(
        operation_id="reports_retrieve",
        summary="Sums of calls",
        parameters=[
            _parameter("by", "What the lines are.", enum=list(BY), default="day"),
            _parameter("from", f"The first day. A report holds at most {MOST_DAYS} days."),
            _parameter("to", "The last day, included."),
            _parameter("period", "Days by name, when neither `from` nor `to` is given.", enum=list(PERIODS)),
            _parameter("time_zone", "Whose days and hours: an IANA name. The tenant's when not given."),
            _parameter("direction", "", enum=Direction.values),
            _parameter("extension", "At most one of extension, trunk, did and end_reason."),
            _parameter("trunk", ""),
            _parameter("did", ""),
            _parameter("end_reason", "`None` for calls without one."),
        ],
        responses=_REPORT,
    )
    def get(self, request: Request) -> Response:
        """Calls by day, hour, extension, trunk, DID, end reason or direction, as they were written to this moment."""
        tenant = request._request.tenant  # type: ignore[attr-defined]
        zone = _zone(request.query_params.get("time_zone") or tenant.time_zone)
        form = ReportForm(request.query_params, zone=zone, today=timezone.localdate(timezone=zone))
        refuse_errors(form)
        question = form.question()
        rows, total = answer(question)
        return Response(
            {
                "by": question.by,
                "from": question.first.isoformat(),
                "to": question.last.isoformat(),
                "time_zone": zone.key,
                "currency": tenant.currency,
                "items": [{"key": row.key, "name": row.name, **SumsSerializer(row.sums).data} for row in rows],
                "total": SumsSerializer(total).data,
            }
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ApiError("not_valid", "time_zone must be an IANA name, such as Europe/Berlin.") from error
