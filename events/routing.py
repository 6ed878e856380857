"""The WebSocket doors."""

from typing import Any

websocket_urlpatterns: list[Any] = []
