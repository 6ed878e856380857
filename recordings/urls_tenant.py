"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from recordings import check_views, control_api

urlpatterns: list[URLPattern | URLResolver] = [
    # A session id is the switch's own word and may hold a slash.
    path("api/v1/calls/<path:session_id>/recording", control_api.CallRecording.as_view(), name="api-call-recording"),
    path("company/recording-check", check_views.recording_check, name="recording-check"),
    path("api/v1/recording-check", check_views.RecordingCheck.as_view(), name="api-recording-check"),
]
