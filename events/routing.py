"""The WebSocket doors."""

from typing import Any

from django.urls import re_path

from events.consumers import no_such_socket, wsi

websocket_urlpatterns: list[Any] = [
    re_path(r"^wsi/?$", wsi),  # type: ignore[arg-type]  # an ASGI application, as channels' router wants it
    re_path(r"", no_such_socket),  # type: ignore[arg-type]
]
