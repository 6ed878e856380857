"""Doors of this room on a system host."""

from django.urls import URLPattern, URLResolver, path

from pbx import api, views
from pbx.http import files as switch_files
from pbx.http import views as switch_api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/switch/v1/events", switch_api.events, name="switch-events"),
    path("api/switch/v1/cdrs", switch_api.cdrs, name="switch-cdrs"),
    path("api/switch/v1/commands", switch_api.commands, name="switch-commands"),
    path("api/switch/v1/commands/<str:command_id>", switch_api.command, name="switch-command"),
    path(
        "api/switch/v1/recordings/<str:recording_id>/segments/<str:number>/file", switch_files.file, name="switch-file"
    ),
    path("api/switch/v1/recordings/<str:recording_id>/file", switch_files.file, name="switch-file-one"),
    path("api/v1/quarantine", api.Quarantine.as_view(), name="api-quarantine"),
    path("api/v1/quarantine/rerun", api.QuarantineRerun.as_view(), name="api-quarantine-rerun"),
    path(
        "api/v1/quarantine/<str:row_id>", api.QuarantineOne.as_view(http_method_names=["get"]), name="api-quarantined"
    ),
    path(
        "api/v1/quarantine/<str:row_id>/<str:verb>",
        api.QuarantineOne.as_view(http_method_names=["post"]),
        name="api-quarantined-verb",
    ),
    path("quarantine", views.quarantine_list, name="quarantine"),
    path("quarantine/rerun", views.quarantine_rerun, name="quarantine-rerun"),
    path("quarantine/discard", views.quarantine_discard, name="quarantine-discard"),
    path("quarantine/<int:row_id>", views.quarantine_one, name="quarantine-one"),
    path("quarantine/<int:row_id>/raw", views.quarantine_raw, name="quarantine-raw"),
]
