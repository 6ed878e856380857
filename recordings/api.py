"""Recordings over REST: the list with its filters, one with its ledger, its file, its waveform, who listened."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any, ClassVar, cast

from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import ApiError, Door, actor_of, encode_cursor, limit_of, may, row_or_404
from accounts.roles import Permission
from cdr.api import FILTERS, PAGING, Asker, MomentField, choice_of, refuse_errors
from cdr.models import CDR
from recordings import playback, plays, trash
from recordings.errors import VaultError
from recordings.forms import REASON_LENGTH, RecordingFilterForm, RecordingFilters
from recordings.joined import offered_name
from recordings.models import MEDIUM_CHOICES, Gap, Play, Recording, RecordingFile, Segment
from recordings.player import peaks_of, stretches_of_recording
from recordings.selectors import (
    PUT_AWAY,
    narrowed,
    page_of,
    plays_of,
    recordings_of,
    sees_all,
    sees_plays,
    shown,
    visible_recordings,
    with_files,
)
from tenants.models import Tenant
from tenants.schemas import current_schema

CONTENT_TYPES = {"audio": "audio/wav", "video": "video/mp4"}


class ReadsRecordings(BasePermission):
    """Whoever may see all recordings, or own ones: which of them, `visible_recordings` decides."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        allowed = partial(may, request)
        return sees_all(allowed) or allowed(Permission.OWN_CALLS)


class FileSerializer(serializers.Serializer[RecordingFile]):
    """A segment's file as it came."""

    state = serializers.ChoiceField(choices=RecordingFile.State.choices)
    problem = serializers.CharField(help_text="Why it is quarantined.")
    content_type = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")
    sha256 = serializers.CharField()
    duration_ms = serializers.IntegerField()
    audio_codec = serializers.CharField()
    video_codec = serializers.CharField()
    channels = serializers.IntegerField()
    sample_rate = serializers.IntegerField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    received_at = MomentField()


class SegmentSerializer(serializers.Serializer[Segment]):
    number = serializers.IntegerField()
    state = serializers.ChoiceField(choices=Segment.State.choices)
    started_at = MomentField(allow_null=True)
    ended_at = MomentField(allow_null=True)
    end_reason = serializers.CharField()
    problem = serializers.CharField()
    file = serializers.SerializerMethodField()

    def get_file(self, segment: Segment) -> dict[str, Any] | None:
        file = getattr(segment, "file", None)
        return dict(FileSerializer(file).data) if file else None


class GapSerializer(serializers.Serializer[Gap]):
    medium = serializers.ChoiceField(
        choices=MEDIUM_CHOICES, help_text="audio in a video recording: only its sound is missing."
    )
    since = MomentField()
    until = MomentField(allow_null=True)
    reason = serializers.ChoiceField(choices=Gap.Reason.choices)
    begun_by = serializers.CharField(help_text="The kind of actor, then the name.")
    begun_via = serializers.CharField()
    ended_by = serializers.CharField()
    ended_via = serializers.CharField()


class RecordingSerializer(serializers.Serializer[Recording]):
    id = serializers.CharField(source="pk")
    session_id = serializers.CharField()
    medium = serializers.ChoiceField(choices=MEDIUM_CHOICES)
    state = serializers.ChoiceField(choices=Recording.State.choices)
    problem = serializers.CharField(help_text="What went wrong last, in words.")
    caller = serializers.CharField()
    callee = serializers.CharField()
    extensions = serializers.ListField(child=serializers.CharField(), help_text="Extensions that were recorded.")
    created_at = MomentField(help_text="When it was commanded; the list is in this order.")
    start_time = MomentField(source="started_at", allow_null=True)
    end_time = MomentField(source="ended_at", allow_null=True)
    ready_at = MomentField(allow_null=True)
    duration_ms = serializers.IntegerField(help_text="Of all its files together.")
    size = serializers.IntegerField(help_text="Bytes, of all its files together.")
    content_type = serializers.SerializerMethodField()
    file = serializers.SerializerMethodField(help_text="The path of its file; null as long as there is none.")
    dual_tracks = serializers.BooleanField(help_text="Caller on one channel, callee on the other.")
    pause_style = serializers.CharField(help_text="skip: a pause takes no time in it; silence: it does.")
    announced = serializers.BooleanField(help_text="Callers were told of it.")
    legal_hold = serializers.BooleanField()
    deletion = serializers.CharField(help_text="Who or what deleted it, in words.")

    def get_content_type(self, recording: Recording) -> str:
        return CONTENT_TYPES[recording.medium]

    def get_file(self, recording: Recording) -> str | None:
        is_there = recording.state == Recording.State.READY
        return reverse("api-recording-file", args=[recording.pk]) if is_there else None


class RecordingDetailSerializer(RecordingSerializer):
    file_name = serializers.SerializerMethodField(help_text="The name it is offered under; null: there is no file.")
    segments = SegmentSerializer(many=True)
    gaps = GapSerializer(many=True)

    def get_file_name(self, recording: Recording) -> str | None:
        return offered_name(recording, self.context["tenant"]) if recording.state == Recording.State.READY else None


class PlaySerializer(serializers.Serializer[Play]):
    kind = serializers.ChoiceField(choices=Play.Kind.choices)
    at = MomentField()
    last_at = MomentField(help_text="Of the last request of the same listening.")
    actor_kind = serializers.CharField()
    actor = serializers.CharField()
    on_behalf = serializers.CharField(help_text="A system administrator who managed the tenant.")
    address = serializers.CharField()
    sent = serializers.IntegerField(help_text="Bytes.")
    reason = serializers.CharField()


class StretchSerializer(serializers.Serializer[Any]):
    """A part of the call; `begin_ms` and `end_ms` are places in the recording, equal where it has nothing of it."""

    since = MomentField()
    until = MomentField()
    begin_ms = serializers.IntegerField()
    end_ms = serializers.IntegerField()
    gap = serializers.CharField(source="gap.reason", allow_null=True, default=None)
    told = serializers.CharField(source="gap.told", allow_null=True, default=None)


_PEAKS = inline_serializer(
    "RecordingPeaks",
    {
        "recording_id": serializers.CharField(),
        "duration_ms": serializers.IntegerField(),
        "points": serializers.IntegerField(help_text="In each channel; one after the other they make the duration."),
        "loudest": serializers.IntegerField(help_text="The greatest a point can be."),
        "channels": serializers.ListField(child=serializers.ListField(child=serializers.IntegerField())),
        "stretches": StretchSerializer(many=True),
    },
)
_PAGE = inline_serializer(
    "RecordingPage", {"items": RecordingSerializer(many=True), "next": serializers.CharField(allow_null=True)}
)
_PLAYS = inline_serializer(
    "RecordingPlays", {"items": PlaySerializer(many=True), "next": serializers.CharField(allow_null=True)}
)


def _query(name: str, description: str, type: Any = OpenApiTypes.STR, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, type, OpenApiParameter.QUERY, description=description, **more)


_FILTERS = [
    *(each for each in FILTERS if each.name != "recorded"),
    _query("medium", "", enum=[medium for medium, _ in MEDIUM_CHOICES]),
    _query("state", "Those trashed or deleted only when asked for, and only with the full right.",
           enum=Recording.State.values),
    _query("min_duration", "Of the recording, in seconds.", OpenApiTypes.INT),
    _query("max_duration", "Of the recording, in seconds.", OpenApiTypes.INT),
]  # fmt: skip
_HEADERS = [
    OpenApiParameter("Range", OpenApiTypes.STR, OpenApiParameter.HEADER,
                     description="One range of bytes; several are ignored, and the whole is sent."),
    OpenApiParameter("If-Range", OpenApiTypes.STR, OpenApiParameter.HEADER, description="An ETag."),
    OpenApiParameter("If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description="ETags."),
    _query("reason", f"Why you listen, where the company asks for it. At most {REASON_LENGTH} characters."),
]  # fmt: skip
_FILE_RESPONSES = {
    (200, "audio/wav"): OpenApiTypes.BINARY,
    (200, "video/mp4"): OpenApiTypes.BINARY,
    (206, "audio/wav"): OpenApiTypes.BINARY,
    (206, "video/mp4"): OpenApiTypes.BINARY,
    302: OpenApiResponse(description="The store serves it: a presigned address."),
    304: OpenApiResponse(description="It is what If-None-Match names."),
    416: OpenApiResponse(description="The range begins beyond the end."),
}


class RecordingDoor(Door):
    permission = Permission.OWN_CALLS
    permission_classes: ClassVar[list[type[BasePermission]]] = [ReadsRecordings]  # type: ignore[misc]


class RecordingList(RecordingDoor):
    @extend_schema(
        operation_id="recordings_list", summary="Recordings", parameters=[*_FILTERS, *PAGING[:3]], responses=_PAGE
    )
    def get(self, request: Request) -> Response:
        """The recordings that fit the filters, newest first, without their segments and gaps."""
        filters = _filters_of(request)
        rows = visible_recordings(request.user, partial(may, request))
        if filters.state not in PUT_AWAY or not may(request, Permission.RECORDINGS_FULL):
            rows = shown(rows)
        page = page_of(
            narrowed(rows, filters),
            limit=limit_of(request),
            ascending=choice_of(request, "order", ("asc", "desc")) == "asc",
            after=request.query_params.get("cursor", ""),
        )
        items = RecordingSerializer(cast(Any, page.rows), many=True).data
        return Response({"items": items, "next": page.next})


class RecordingDetail(RecordingDoor):
    @extend_schema(operation_id="recordings_retrieve", summary="One recording", responses=RecordingDetailSerializer)
    def get(self, request: Request, recording_id: str) -> Response:
        """With its segments, their files and its gaps. One that was deleted is still told of."""
        recording = row_or_404(with_files(visible_recordings(request.user, partial(may, request))), recording_id)
        return Response(RecordingDetailSerializer(recording, context={"tenant": _tenant(request)}).data)

    @extend_schema(operation_id="recordings_destroy", summary="Delete a recording", responses={204: None})
    def delete(self, request: Request, recording_id: str) -> Response:
        """Puts it into the trash. 409 `legal_hold` while a legal hold keeps it."""
        recording = _recording(request, recording_id)
        if not may(request, Permission.RECORDINGS_FULL):
            self.permission_denied(request)
        trash.trash(actor_of(request), recording)
        return Response(status=204)


class _AnyMedia(BaseContentNegotiation):
    """A player asks for audio; whatever it accepts, it gets the file, or an error as JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return None


class RecordingMedia(RecordingDoor):
    content_negotiation_class = _AnyMedia

    @extend_schema(
        operation_id="recordings_file",
        summary="A recording's file",
        parameters=_HEADERS,
        responses=_FILE_RESPONSES,
    )
    def get(self, request: Request, recording_id: str) -> HttpResponseBase:
        """All its segments as one WAV or MP4. Written down with who took it, from where and why."""
        recording = _recording(request, recording_id)
        reason = request.query_params.get("reason", "").strip()
        if len(reason) > REASON_LENGTH:
            raise ApiError("not_valid", f"reason may have at most {REASON_LENGTH} characters.")
        try:
            return playback.response_for(
                request._request,
                recording,
                actor=actor_of(request),
                kind=Play.Kind.DOWNLOAD,
                asks_reason=_tenant(request).ask_play_reason,
                reason=reason,
            )
        except plays.ReasonNeededError as error:
            raise ApiError(error.code, error.message, status_code=403) from error
        except playback.NotPlayableError as error:
            raise ApiError(error.code, error.message, status_code=error.status_code) from error
        except VaultError as error:
            raise ApiError(error.code, error.message, status_code=503) from error


class RecordingPeaks(RecordingDoor):
    @extend_schema(operation_id="recordings_peaks", summary="A recording's waveform", responses=_PEAKS)
    def get(self, request: Request, recording_id: str) -> Response:
        """The loudest sample of each stretch, per channel, and where the gaps of the call lie."""
        recording = _recording(request, recording_id)
        if recording.state in PUT_AWAY:
            raise ApiError("recording_deleted", "This recording was deleted.", status_code=410)
        peaks = peaks_of(recording)
        return Response(
            {
                "recording_id": str(recording.pk),
                "duration_ms": peaks.duration_ms,
                "points": peaks.points,
                "loudest": 127,
                "channels": [list(channel) for channel in peaks.channels],
                "stretches": StretchSerializer(cast(Any, stretches_of_recording(recording)), many=True).data,
            }
        )


class RecordingPlays(RecordingDoor):
    @extend_schema(
        operation_id="recordings_plays",
        summary="Who listened to a recording",
        parameters=PAGING[:2],
        responses=_PLAYS,
    )
    def get(self, request: Request, recording_id: str) -> Response:
        """The latest first. For the administrator, and for a user who was recorded; it outlives the recording."""
        recording = _recording(request, recording_id)
        if not sees_plays(request.user, partial(may, request), recording):
            self.permission_denied(request)
        limit = limit_of(request)
        rows = list(plays_of(recording, request.query_params.get("cursor", ""))[: limit + 1])
        following = encode_cursor(rows[limit - 1].at.isoformat(), rows[limit - 1].pk) if len(rows) > limit else None
        return Response({"items": PlaySerializer(cast(Any, rows[:limit]), many=True).data, "next": following})


def _filters_of(request: Request) -> RecordingFilters:
    form = RecordingFilterForm(request.query_params, zone=UTC)
    refuse_errors(form)
    return form.recording_filters()


def _recording(request: Request, recording_id: str) -> Recording:
    return row_or_404(visible_recordings(request.user, partial(may, request)), recording_id)


def _tenant(request: Request) -> Tenant:
    tenant: Tenant = request._request.tenant  # type: ignore[attr-defined]
    return tenant


def of_calls(calls: Sequence[CDR], asker: Asker) -> list[Mapping[str, Any]]:
    """The recordings of each call, for whoever may see them. Fills the slot of `cdr.api`."""
    rows = recordings_of(visible_recordings(asker.person, asker), [call.session_id for call in calls])
    told = RecordingDetailSerializer(
        cast(Any, with_files(rows)), many=True, context={"tenant": Tenant.objects.get(schema_name=current_schema())}
    ).data
    found: dict[str, list[Any]] = defaultdict(list)
    for each in told:
        found[each["session_id"]].append(each)
    return [{"recordings": found[call.session_id]} for call in calls]
