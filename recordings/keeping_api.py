"""REST: the disk that recordings take, the trash, and the legal holds."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.openapi import described
from accounts.rest import (
    ApiError,
    Door,
    Page,
    actor_of,
    encode_cursor,
    fields_of,
    limit_of,
    page_response,
    rfc3339,
    row_or_404,
)
from accounts.roles import Permission
from recordings import holds, trash
from recordings.models import MEDIUM_CHOICES, Recording
from recordings.quota import Level, usage_of
from recordings.selectors import moment_and_id
from tenants.models import Tenant
from tenants.schemas import current_schema


class KeptRecordingShape(serializers.Serializer[Any]):
    """A recording that is held, or waits in the trash."""

    id = serializers.CharField(read_only=True)
    session_id = serializers.CharField(read_only=True)
    medium = serializers.ChoiceField(MEDIUM_CHOICES, read_only=True)
    state = serializers.ChoiceField(Recording.State.values, read_only=True)
    caller = serializers.CharField(read_only=True)
    callee = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    size = serializers.IntegerField(read_only=True, help_text="Bytes.")
    legal_hold = serializers.BooleanField(read_only=True)
    legal_hold_reason = serializers.CharField(read_only=True)
    trashed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    deleted_at = serializers.DateTimeField(read_only=True, allow_null=True)
    deletion = serializers.CharField(read_only=True, help_text="Who or what deleted it, in words.")


class ReasonShape(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300)


class StorageShape(serializers.Serializer[Any]):
    used = serializers.IntegerField(help_text="Bytes, the trash included.")
    files = serializers.IntegerField()
    in_trash = serializers.IntegerField(help_text="Bytes.")
    quota = serializers.IntegerField(help_text="Bytes; 0: there is none.")
    level = serializers.ChoiceField([level.value for level in Level])
    growth_per_day = serializers.IntegerField(
        allow_null=True, help_text="Bytes, in the last four weeks; null while there is less than a day to judge by."
    )
    days_until_full = serializers.IntegerField(allow_null=True)
    forecast = serializers.CharField()


def represent(row: Recording) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "session_id": row.session_id,
        "medium": row.medium,
        "state": row.state,
        "caller": row.caller,
        "callee": row.callee,
        "created_at": rfc3339(row.created_at),
        "size": row.size,
        "legal_hold": row.legal_hold,
        "legal_hold_reason": row.legal_hold_reason,
        "trashed_at": rfc3339(row.trashed_at),
        "deleted_at": rfc3339(row.deleted_at),
        "deletion": row.deletion,
    }


@described("recording_storage", StorageShape)
class Storage(Door):
    permission = Permission.COMPANY

    def get(self, request: Request) -> Response:
        usage = usage_of(Tenant.objects.get(schema_name=current_schema()), timezone.now())
        return Response(
            {
                "used": usage.used,
                "files": usage.files,
                "in_trash": usage.in_trash,
                "quota": usage.quota,
                "level": usage.level,
                "growth_per_day": None if usage.growth is None else int(usage.growth),
                "days_until_full": usage.days_until_full,
                "forecast": usage.forecast,
            }
        )


@described("trash", KeptRecordingShape, many=True)
class Trash(Door):
    permission = Permission.RECORDINGS_FULL

    def get(self, request: Request) -> Response:
        """What was put there last comes first."""
        limit = limit_of(request)
        found = list(trash.in_trash(_before(request))[: limit + 1])
        last = found[limit - 1] if len(found) > limit else None
        following = encode_cursor(last.trashed_at.isoformat(), last.pk) if last and last.trashed_at else None
        return page_response(Page([represent(row) for row in found[:limit]], following))


@described("trash_recording", KeptRecordingShape)
class OneInTrash(Door):
    permission = Permission.RECORDINGS_FULL

    def get(self, request: Request, recording_id: str) -> Response:
        return Response(represent(row_or_404(trash.in_trash(), recording_id)))

    def delete(self, request: Request, recording_id: str) -> Response:
        """For good, at once."""
        trash.delete_now(actor_of(request), row_or_404(trash.in_trash(), recording_id))
        return Response(status=204)


@described("trash_restore", KeptRecordingShape, post_status=200)
class Restore(Door):
    permission = Permission.RECORDINGS_FULL

    def post(self, request: Request, recording_id: str) -> Response:
        row = row_or_404(Recording.objects.all(), recording_id)
        return Response(represent(trash.restore(actor_of(request), row)))


@described("legal_holds", KeptRecordingShape, many=True)
class Holds(Door):
    permission = Permission.RECORDINGS_FULL

    def get(self, request: Request) -> Response:
        """The newest recording first."""
        limit = limit_of(request)
        found = list(holds.held(_before(request))[: limit + 1])
        last = found[limit - 1] if len(found) > limit else None
        following = encode_cursor(last.created_at.isoformat(), last.pk) if last else None
        return page_response(Page([represent(row) for row in found[:limit]], following))


class OneHold(Door):
    """A legal hold is placed by POST and released by DELETE, each with a `reason`."""

    permission = Permission.RECORDINGS_FULL

    @extend_schema(operation_id="recording_hold_create", request=ReasonShape, responses={200: KeptRecordingShape})
    def post(self, request: Request, recording_id: str) -> Response:
        row = row_or_404(Recording.objects.all(), recording_id)
        return Response(represent(holds.place_hold(actor_of(request), row, _reason(request))))

    @extend_schema(operation_id="recording_hold_delete", request=ReasonShape, responses={200: KeptRecordingShape})
    def delete(self, request: Request, recording_id: str) -> Response:
        row = row_or_404(Recording.objects.all(), recording_id)
        return Response(represent(holds.release_hold(actor_of(request), row, _reason(request))))


def _reason(request: Request) -> Any:
    given = fields_of(request)
    reason = given.pop("reason", "")
    if given:
        raise ApiError(
            "not_valid", f"There is no field {min(given)}.", details={min(given): ["There is no such field."]}
        )
    return reason


def _before(request: Request) -> Any:
    cursor = request.query_params.get("cursor", "")
    return moment_and_id(cursor) if cursor else None
