"""HTTP and WebSocket, both routed to a tenant by their host."""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()
django_application.chunk_size = 256 * 1024  # a recording leaves as it is read, not in quarters

from portal.checks import refuse_if_unsafe

refuse_if_unsafe()

from channels.routing import ProtocolTypeRouter, URLRouter

from events.routing import websocket_urlpatterns
from pbx.http.uploads import Uploads
from pbx.http.waiting import CommandsWait
from portal.contexts import OwnContext
from portal.limits import BodyLimit
from portal.sockets import TenantSocketMiddleware
from recordings.routing import websocket_urlpatterns as live_urlpatterns

application = ProtocolTypeRouter(
    {
        "http": OwnContext(Uploads(django_application, otherwise=BodyLimit(CommandsWait(django_application)))),
        "websocket": TenantSocketMiddleware(URLRouter([*live_urlpatterns, *websocket_urlpatterns])),
    }
)

# What is loaded by now lives as long as the process. The collector need not look at it again, nor so often at a batch
# of calls, which leaves no cycles: a fifth of the time of finished calls went there.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)
