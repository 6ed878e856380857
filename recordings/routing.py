"""The WebSocket doors."""

from typing import Any

from django.urls import re_path

from recordings.live_socket import live_socket

websocket_urlpatterns: list[Any] = [
    re_path(r"^call-statistics/live-calls/socket$", live_socket),  # type: ignore[arg-type]  # an ASGI application
]
