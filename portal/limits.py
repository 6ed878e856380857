"""No request body is longer than the longest that any door takes: it is refused before it fills memory or disk."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from django.conf import settings

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyLimit:
    """ASGI. Django stores a whole body before it looks at the sender, so strangers are stopped here."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = settings.SWITCH_CDRS_BODY_MAX
        if _announced(scope) > most:
            await _refuse(send, most)
            return
        received, answered = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return {"type": "http.disconnect"} if received > most else message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        await self.application(scope, counted, noted)
        if received > most and not answered:
            await _refuse(send, most)


def _announced(scope: Scope) -> int:
    given = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(given) if given.isdigit() else 0


async def _refuse(send: Send, most: int) -> None:
    message = f"The body may have at most {most} bytes."
    body = orjson.dumps({"error": {"code": "too_large", "message": message, "details": {}}})
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
