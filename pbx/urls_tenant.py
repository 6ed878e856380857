"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from pbx import launch_api, launch_views

urlpatterns: list[URLPattern | URLResolver] = [
    path("calls/launch", launch_views.launch_page, name="call-launch"),
    path("api/v1/calls", launch_api.Calls.as_view(), name="api-calls"),
]
