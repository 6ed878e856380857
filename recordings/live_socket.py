"""The WebSocket of the page Live Calls: what changed since the last message, as HTML of the rows that did.

The browser's session cookie lets it in, only from a page of this host. It does not listen: any word to it ends it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson
import structlog
from django.db import Error as DatabaseError
from django.utils import timezone

from accounts.callers import ApiError
from accounts.roles import Permission
from cdr.models import LiveSession
from cdr.selectors import in_progress_after
from events.closing import CloseCode
from events.consumers import comes_from_here, request_of
from events.feed import in_thread
from events.principals import person_of_session, session_key_of
from recordings.live import Viewer
from recordings.live_boards import Board, Snapshot, View, leave, watch
from recordings.live_views import SEARCH_LENGTH
from tenants.models import Tenant

SOCKETS_PER_TENANT = 300  # of one process
RECHECK_SECONDS = 5.0
SEND_SECONDS = 20.0  # a browser that takes longer for one message is let go; it comes back
BEAT_SECONDS = 15.0  # without news: the page knows that it is still connected

log = structlog.get_logger(__name__)
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_open: Counter[str] = Counter()


class _Closed(Exception):  # noqa: N818 - an end, not an error
    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def live_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    tenant: Tenant = scope["tenant"]
    origin = any(name == b"origin" for name, _ in scope["headers"])
    if tenant.schema_name == "public" or not origin or not comes_from_here(scope):
        await send({"type": "websocket.close", "code": int(CloseCode.WRONG_ORIGIN)})
        return
    await send({"type": "websocket.accept"})
    with structlog.contextvars.bound_contextvars(tenant=tenant.schema_name):
        code, reason = await _serve(scope, receive, send)
    if code:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "websocket.close", "code": code, "reason": reason})
        except (TimeoutError, OSError):  # it has gone meanwhile
            return


async def _serve(scope: Scope, receive: Receive, send: Send) -> tuple[int, str]:
    """Why it ended; 0 when the browser left."""
    tenant: Tenant = scope["tenant"]
    if _open[tenant.schema_name] >= SOCKETS_PER_TENANT:
        return CloseCode.TOO_MANY_CONNECTIONS, "too many pages of this tenant watch"
    _open[tenant.schema_name] += 1
    try:
        socket = LiveSocket(tenant, session_key_of(request_of(scope)), scope["query_string"].decode("latin1"), send)
        parts: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (socket.tell, socket.recheck)
        tasks = [asyncio.create_task(part()) for part in parts] + [asyncio.create_task(_hear(receive))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return _end_of(next(iter(done)))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await socket.leave()
    finally:
        _open[tenant.schema_name] -= 1


def _end_of(task: "asyncio.Task[None]") -> tuple[int, str]:
    match task.exception():
        case _Closed() as closed:
            return closed.code, closed.reason
        case TimeoutError():
            return CloseCode.TOO_SLOW, "too slow a reader"
        case None | OSError():  # the browser left; the server's word for a peer that has gone
            return 0, ""
        case DatabaseError() as error:
            log.warning("live page closed, database away", error=type(error).__name__)
            return CloseCode.TRY_AGAIN, "try again later"
        case error:
            log.error("live page broken off", exc_info=error)
            return CloseCode.SERVER_ERROR, "server error"


async def _hear(receive: Receive) -> None:
    if (await receive())["type"] == "websocket.receive":
        raise _Closed(CloseCode.UNSUPPORTED_DATA, "this socket does not listen")


class LiveSocket:
    def __init__(self, tenant: Tenant, session_key: str, query: str, send: Send) -> None:
        self._tenant, self._session_key, self._query = tenant, session_key, query
        self._send = send
        self._board: Board | None = None
        self._ready = asyncio.Event()

    async def leave(self) -> None:
        if self._board is not None:
            board, self._board = self._board, None
            await leave(board)

    async def tell(self) -> None:
        """Each message holds what differs from the one before; the first one, after a break too, holds everything."""
        viewer = await self._viewer()
        self._board = watch(self._tenant.schema_name, view_of(viewer, self._query))
        self._ready.set()
        seen: Snapshot | None = None
        while True:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    now = await self._board.newer_than(seen)
            except TimeoutError:
                await self._say({})
                continue
            await self._say(difference(seen, now))
            seen = now

    async def recheck(self) -> None:
        """Whoever loses the session, the right, or anything of what the view rests on is shown nothing more."""
        await self._ready.wait()
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                viewer = await self._viewer()
            except DatabaseError as error:
                log.warning("live page not rechecked", error=type(error).__name__)
                continue
            if self._board is not None and viewer != self._board.view.viewer:
                raise _Closed(CloseCode.REVOKED, "no longer allowed")

    async def _viewer(self) -> Viewer:
        is_active = await in_thread("public", _is_active, self._tenant.pk)
        if not is_active:
            raise _Closed(CloseCode.TENANT_NOT_ACTIVE, "this tenant is not active")
        viewer = await in_thread(self._tenant.schema_name, viewer_of_session, self._session_key)
        if viewer is None:
            raise _Closed(CloseCode.REVOKED, "not signed in, or not allowed")
        return viewer

    async def _say(self, message: Mapping[str, Any]) -> None:
        text = orjson.dumps({"now": timezone.now().timestamp(), **message}).decode()
        async with asyncio.timeout(SEND_SECONDS):
            await self._send({"type": "websocket.send", "text": text})


def difference(seen: Snapshot | None, now: Snapshot) -> dict[str, Any]:
    """What the page must change."""
    told: dict[str, Any] = {"order": list(now.rows)}
    told["rows"] = {key: html for key, html in now.rows.items() if seen is None or seen.rows.get(key) is not html}
    for name in ("counts", "foot"):
        if seen is None or getattr(seen, name) != getattr(now, name):
            told[name] = getattr(now, name)
    return told


def viewer_of_session(session_key: str) -> Viewer | None:
    person = person_of_session(session_key) if session_key else None
    if person is None or not person.is_active or not person.may(Permission.OWN_CALLS):
        return None
    return Viewer.of(person)


def view_of(viewer: Viewer, query: str) -> View:
    given = {name: values[0] for name, values in parse_qs(query, max_num_fields=10).items()}
    after = given.get("after", "")
    try:
        in_progress_after(LiveSession.objects.all(), after)
    except ApiError:
        raise _Closed(CloseCode.UNSUPPORTED_DATA, "this cursor is not one that the list gave") from None
    return View(viewer, given.get("search", "")[:SEARCH_LENGTH], after)


def _is_active(tenant_id: int) -> bool:
    return bool(Tenant.objects.filter(pk=tenant_id, state=Tenant.State.ACTIVE).exists())
