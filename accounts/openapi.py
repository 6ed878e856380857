"""How the REST doors of this room and of the system host stand in the OpenAPI document.

What a value may be, the verbs decide; a shape only tells a reader names and types. A test holds it to the answers.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view, inline_serializer
from rest_framework import serializers

from accounts.roles import Role
from tenants.models import Tenant

Shape = type[serializers.Serializer[Any]]
D = TypeVar("D", bound=type)
_PAGING = [
    OpenApiParameter("limit", OpenApiTypes.INT, description="1 to 500, by default 50."),
    OpenApiParameter("cursor", OpenApiTypes.STR, description="`next` of the page before."),
]


class UserShape(serializers.Serializer[Any]):
    id = serializers.CharField(read_only=True)
    username = serializers.CharField(max_length=64)
    display_name = serializers.CharField(max_length=120, required=False)
    email = serializers.CharField(max_length=254, required=False)
    role = serializers.ChoiceField([role.value for role in Role if role is not Role.SYSTEM], required=False)
    is_active = serializers.BooleanField(required=False)
    may_sign_in = serializers.BooleanField(read_only=True)
    time_zone = serializers.CharField(required=False)
    extension = serializers.CharField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)
    password = serializers.CharField(write_only=True, required=False)


class ExtensionShape(serializers.Serializer[Any]):
    number = serializers.CharField(max_length=32)
    display_name = serializers.CharField(max_length=120, required=False)
    user = serializers.CharField(required=False, help_text="Its id; else a user of the number's name.")
    record_audio = serializers.BooleanField(required=False)
    record_video = serializers.BooleanField(required=False)
    outbound_caller_id = serializers.CharField(max_length=32, required=False)
    enabled = serializers.BooleanField(required=False)
    realms_without_password = serializers.ListField(child=serializers.CharField(), read_only=True)
    version = serializers.IntegerField(required=False)
    sip_password = serializers.CharField(write_only=True, required=False)


class NewExtensionShape(ExtensionShape):
    sip_password = serializers.CharField(read_only=True, help_text="Told only here.")


class SipPasswordShape(serializers.Serializer[Any]):
    number = serializers.CharField()
    sip_password = serializers.CharField(help_text="Told only here.")


class CompanyShape(serializers.Serializer[Any]):
    id = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)
    host = serializers.CharField(read_only=True)
    sip_domain = serializers.CharField(read_only=True)
    sip_domains = serializers.ListField(child=serializers.CharField(), read_only=True)
    time_zone = serializers.CharField(required=False)
    currency = serializers.CharField(required=False)
    enable_extension_audio_recording = serializers.BooleanField(required=False)
    enable_extension_video_recording = serializers.BooleanField(required=False)
    event_log_days = serializers.IntegerField(required=False, min_value=1, max_value=365)
    record_dual_tracks = serializers.BooleanField(required=False)
    pause_style = serializers.ChoiceField(Tenant.PauseStyle.values, required=False)
    longest_pause_seconds = serializers.IntegerField(required=False, min_value=0, max_value=86_400)
    announce_recording = serializers.BooleanField(required=False)
    recording_days = serializers.IntegerField(required=False, min_value=1, max_value=3_650)
    recording_quota_mb = serializers.IntegerField(read_only=True, help_text="MiB; 0: none is set.")
    when_quota_full = serializers.ChoiceField(Tenant.QuotaFull.values, required=False)
    ask_play_reason = serializers.BooleanField(required=False)
    start_recording_code = serializers.CharField(max_length=7, required=False)
    stop_recording_code = serializers.CharField(max_length=7, required=False)
    pause_recording_code = serializers.CharField(max_length=7, required=False)
    resume_recording_code = serializers.CharField(max_length=7, required=False)
    version = serializers.IntegerField(required=False)


def described(
    word: str,
    shape: Shape,
    *,
    many: bool = False,
    asks: Shape | None = None,
    created: Shape | None = None,
    post_status: int = 201,
    delete_status: int = 204,
) -> Callable[[D], D]:
    """Every method of a door: `shape` is what it shows, `created` what POST answers, `asks` what it takes."""
    page = inline_serializer(
        f"{word.title().replace('_', '')}Page",
        {"items": shape(many=True), "next": serializers.CharField(allow_null=True)},
    )
    methods = {
        "get": extend_schema(
            operation_id=f"{word}_{'list' if many else 'retrieve'}",
            parameters=_PAGING if many else [],
            responses=page if many else shape,
        ),
        "post": extend_schema(operation_id=f"{word}_create", request=asks, responses={post_status: created or shape}),
        "patch": extend_schema(operation_id=f"{word}_update", request=shape(partial=True), responses=shape),
        "delete": extend_schema(
            operation_id=f"{word}_delete",
            request=asks,
            responses={delete_status: None if delete_status == 204 else shape},
        ),
    }

    def decorate(door: D) -> D:
        return extend_schema_view(**{name: told for name, told in methods.items() if hasattr(door, name)})(door)

    return decorate
