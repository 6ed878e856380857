"""HTTP and WebSocket, both routed to a tenant by their host."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from portal.checks import refuse_if_unsafe

refuse_if_unsafe()

from channels.routing import ProtocolTypeRouter, URLRouter

from events.routing import websocket_urlpatterns
from pbx.http.waiting import CommandsWait
from portal.sockets import TenantSocketMiddleware

application = ProtocolTypeRouter(
    {
        "http": CommandsWait(django_application),
        "websocket": TenantSocketMiddleware(URLRouter(websocket_urlpatterns)),
    }
)
