"""Doors of this room on a system host."""

from django.urls import URLPattern, URLResolver, path

from pbx.http import views as switch_api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/switch/v1/events", switch_api.events, name="switch-events"),
    path("api/switch/v1/cdrs", switch_api.cdrs, name="switch-cdrs"),
    path("api/switch/v1/commands", switch_api.commands, name="switch-commands"),
    path("api/switch/v1/commands/<str:command_id>", switch_api.command, name="switch-command"),
]
