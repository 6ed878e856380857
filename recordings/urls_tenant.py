"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from recordings import (
    api,
    bulk_views,
    check_views,
    control_api,
    keeping_api,
    keeping_views,
    listening_views,
    live_views,
    reconcile_views,
    views,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("call-statistics/recordings", views.recording_list, name="recordings"),
    path("call-statistics/recordings/delete", views.delete_recordings, name="recordings-delete"),
    path("call-statistics/recordings/download", views.download_recordings, name="recordings-download"),
    path("call-statistics/recordings/zip/<int:bulk_id>", bulk_views.zip_page, name="recordings-zip"),
    path("call-statistics/recordings/zip/<int:bulk_id>/file", bulk_views.zip_file, name="recordings-zip-file"),
    path("call-statistics/recordings/<int:recording_id>", listening_views.recording_page, name="recording"),
    path("call-statistics/recordings/<int:recording_id>/file", listening_views.recording_file, name="recording-file"),
    path(
        "call-statistics/recordings/<int:recording_id>/download",
        listening_views.recording_download,
        name="recording-download",
    ),
    path("call-statistics/recordings/<int:recording_id>/reason", listening_views.give_reason, name="recording-reason"),
    path("api/v1/recordings", api.RecordingList.as_view(), name="api-recordings"),
    path("api/v1/recordings/<str:recording_id>", api.RecordingDetail.as_view(), name="api-recording"),
    path("api/v1/recordings/<str:recording_id>/file", api.RecordingMedia.as_view(), name="api-recording-file"),
    path("api/v1/recordings/<str:recording_id>/peaks", api.RecordingPeaks.as_view(), name="api-recording-peaks"),
    path("api/v1/recordings/<str:recording_id>/plays", api.RecordingPlays.as_view(), name="api-recording-plays"),
    path("call-statistics/live-calls", live_views.live_calls, name="live-calls"),
    path("call-statistics/live-calls/command", live_views.command, name="live-calls-command"),
    # A session id is the switch's own word and may hold a slash.
    path("api/v1/calls/<path:session_id>/recording", control_api.CallRecording.as_view(), name="api-call-recording"),
    path("call-statistics/reconciliation", reconcile_views.recordings_without_file, name="reconciliation"),
    path(
        "call-statistics/reconciliation/recordings/<int:recording_id>/put-away",
        reconcile_views.put_away,
        name="reconciliation-put-away",
    ),
    path("call-statistics/reconciliation/calls", reconcile_views.calls_without_recording, name="reconciliation-calls"),
    path("call-statistics/reconciliation/files", reconcile_views.files_without_call, name="reconciliation-files"),
    path(
        "call-statistics/reconciliation/files/<int:file_id>",
        reconcile_views.quarantined_file,
        name="reconciliation-file",
    ),
    path(
        "call-statistics/reconciliation/files/<int:file_id>/bytes",
        reconcile_views.quarantined_file_bytes,
        name="reconciliation-file-bytes",
    ),
    path(
        "call-statistics/reconciliation/files/<int:file_id>/delete",
        reconcile_views.quarantined_file_delete,
        name="reconciliation-file-delete",
    ),
    path("company/retention", keeping_views.retention_page, name="retention"),
    path("company/retention/trash", keeping_views.trash_page, name="trash"),
    path("company/retention/trash/<int:recording_id>", keeping_views.trash_one, name="trash-one"),
    path("company/retention/holds", keeping_views.holds_page, name="holds"),
    path("company/retention/holds/<int:recording_id>", keeping_views.hold_page, name="recording-hold"),
    path("api/v1/company/recording-storage", keeping_api.Storage.as_view(), name="api-recording-storage"),
    path("api/v1/trash", keeping_api.Trash.as_view(), name="api-trash"),
    path("api/v1/trash/<str:recording_id>", keeping_api.OneInTrash.as_view(), name="api-trash-one"),
    path("api/v1/trash/<str:recording_id>/restore", keeping_api.Restore.as_view(), name="api-trash-restore"),
    path("api/v1/legal-holds", keeping_api.Holds.as_view(), name="api-holds"),
    path("api/v1/recordings/<str:recording_id>/hold", keeping_api.OneHold.as_view(), name="api-recording-hold"),
    path("company/recording-check", check_views.recording_check, name="recording-check"),
    path("api/v1/recording-check", check_views.RecordingCheck.as_view(), name="api-recording-check"),
]
