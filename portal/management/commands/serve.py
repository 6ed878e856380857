"""The web server: HTTP and WebSocket on BIND and PORT."""

from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand

from events.protocol import SYSTEM_MESSAGE_BYTES

PING_SECONDS = 25.0
WEBSOCKETS: dict[str, Any] = {
    "ws_max_size": SYSTEM_MESSAGE_BYTES,  # events.consumers takes less from most
    "ws_ping_interval": PING_SECONDS,
    "ws_ping_timeout": PING_SECONDS,
    "ws_per_message_deflate": False,  # costs more than it saves on small messages
}


class Command(BaseCommand):
    help = "Serves HTTP and WebSocket on BIND and PORT with WEB_PROCESSES processes."

    def handle(self, *_: Any, **__: Any) -> None:
        uvicorn.run(
            "portal.asgi:application",
            host=settings.BIND,
            port=settings.PORT,
            workers=settings.WEB_PROCESSES,
            lifespan="off",
            log_config=None,  # ours is in place
            access_log=False,  # portal.request writes a line with the tenant
            server_header=False,
            proxy_headers=False,  # accounts.lockout reads them, from TRUSTED_PROXIES only
            timeout_graceful_shutdown=5,
            **WEBSOCKETS,
        )
