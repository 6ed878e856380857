"""The WebSocket `/wsi`: authenticate, subscribe, and get each event of the log once, in order, from a cursor on.

One outgoing queue per connection, bounded; the log is its memory. A reader too slow for the queue is closed with its
cursor and may come back with it. Raw ASGI: a subscriber costs no channel-layer subscription of its own.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest

from accounts.roles import Permission
from events import feed, protocol
from events.closing import CloseCode
from events.feed import Feed, in_thread
from events.log import Span, span
from events.principals import Principal, identify, still_allowed
from events.protocol import ProtocolError, Replies, Subscribe, Unsubscribe
from tenants.event_types import keep_event_types
from tenants.models import Domain, Tenant

AUTH_SECONDS = 10.0
AUTH_TRIES = 3
RECHECK_SECONDS = 5.0
SLOW_SECONDS = 10.0  # without a free place in the queue
QUEUE_LENGTH = 256
MESSAGES_PER_WINDOW = 60
WINDOW_SECONDS = 10.0
CONNECTIONS_PER_TENANT = 2000  # in one process
_DATABASE_PAUSE_SECONDS = 1.0

log = structlog.get_logger(__name__)
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Closed(Exception):  # noqa: N818 - an end, not an error
    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass
class Following:
    """One tenant's log as this subscription reads it: the last event that was queued, and the last that left."""

    tenant_id: str
    feed: Feed
    queued: int
    sent: int
    pump: "asyncio.Task[None] | None" = None


@dataclass(frozen=True, slots=True)
class Out:
    """A message on its way out; an event's says whose and which."""

    text: str
    following: Following | None = None
    event_id: int = 0


@dataclass
class Subscription:
    wanted: Subscribe
    by_tenant: dict[str, Following] = field(default_factory=dict)


class Socket:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.tenant: Tenant = scope["tenant"]
        self.is_system = self.tenant.schema_name == "public"
        self.permission = Permission.SYSTEM_EVENTS if self.is_system else Permission.SUBSCRIBE
        self.principal: Principal | None = None
        self.subscription: Subscription | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._replies = Replies()
        self._outgoing: asyncio.Queue[Out | Closed] = asyncio.Queue(QUEUE_LENGTH)
        self._end: asyncio.Future[Closed | None] = asyncio.get_running_loop().create_future()
        self._failed_auths = 0
        self._heard: deque[float] = deque(maxlen=MESSAGES_PER_WINDOW)

    def close(self, code: int, reason: str = "") -> None:
        """The first reason to close counts."""
        if not self._end.done():
            self._end.set_result(Closed(code, reason))

    async def run(self) -> None:
        """From the handshake's acceptance to the end."""
        await self._send({"type": "websocket.accept"})
        present = _presence_of(self.tenant.schema_name)
        if not present.add(self):
            await self._say_close(Closed(CloseCode.TOO_MANY_CONNECTIONS, "too many connections of this tenant"))
            return
        parts = (self._read, self._write, self._expect_auth)
        tasks = [asyncio.create_task(self._guard(part)) for part in parts]
        try:
            closed = await self._end
        finally:
            await present.remove(self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._unfollow()
        if closed is not None:
            await self._say_close(closed)

    async def _guard(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whatever ends one part ends the connection, with a code that says why; the process goes on.

        The part begins here: a task that is cancelled before its first step leaves no coroutine that nobody awaits.
        """
        try:
            await part()
        except Closed as closed:
            self.close(closed.code, closed.reason)
        except DatabaseError as error:
            log.warning("socket closed, database away", error=type(error).__name__)
            self.close(CloseCode.TRY_AGAIN, "try again later")
        except OSError:  # the server's word for a peer that has gone
            self._leave()
        except Exception:
            log.exception("socket broken off")
            self.close(CloseCode.SERVER_ERROR, "server error")

    def _leave(self) -> None:
        if not self._end.done():
            self._end.set_result(None)

    async def _say_close(self, closed: Closed) -> None:
        await self._send({"type": "websocket.close", "code": int(closed.code), "reason": closed.reason})

    # --- In -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            await self._hear(message)
        self._leave()

    async def _hear(self, message: Mapping[str, Any]) -> None:
        text = message.get("text")
        if text is None:
            raise Closed(CloseCode.UNSUPPORTED_DATA, "send text messages")
        if len(text.encode()) > protocol.MESSAGE_BYTES:
            raise Closed(CloseCode.TOO_BIG, f"a message has at most {protocol.MESSAGE_BYTES} bytes")
        now = time.monotonic()
        if len(self._heard) == MESSAGES_PER_WINDOW and now - self._heard[0] < WINDOW_SECONDS:
            raise Closed(CloseCode.TOO_MANY_MESSAGES, f"at most {MESSAGES_PER_WINDOW} messages in {WINDOW_SECONDS:g} s")
        self._heard.append(now)
        try:
            command = protocol.parse(text)
            match command:
                case Subscribe() | Unsubscribe() if self.principal is None:
                    raise ProtocolError(type(command).__name__.lower(), "not authenticated")
                case Subscribe():
                    await self._subscribe(command)
                case Unsubscribe():
                    await self._unsubscribe(command)
                case _:
                    await self._authenticate(command)
        except ProtocolError as error:
            await self._put(self._replies.refused(error.command, error.message))
            if error.command == "auth":
                await self._count_failed_auth()

    # --- Authentication -----------------------------------------------------------------------------------------

    async def _authenticate(self, credentials: Any) -> None:
        if isinstance(credentials, protocol.SessionAuth) and not _header(self._scope, b"origin"):
            raise ProtocolError("auth", protocol.AUTH_ERROR)  # a cookie speaks only where its origin is known
        request = request_of(self._scope)
        principal = await in_thread(self.tenant.schema_name, identify, self.tenant, credentials, request)
        if principal is None:
            raise ProtocolError("auth", protocol.AUTH_ERROR)
        if self.principal is not None and principal != self.principal:
            await self._unfollow()
        self.principal = principal
        await self._put(self._replies.done("auth"))

    async def _count_failed_auth(self) -> None:
        self._failed_auths += 1
        if self._failed_auths >= AUTH_TRIES and self.principal is None:
            await self._outgoing.put(Closed(CloseCode.AUTH_FAILED, "authentication failed"))  # after the reply

    async def _expect_auth(self) -> None:
        await asyncio.sleep(AUTH_SECONDS)
        if self.principal is None:
            self.close(CloseCode.AUTH_TIMEOUT, f"no authentication within {AUTH_SECONDS:g} s")

    # --- Subscribing --------------------------------------------------------------------------------------------

    async def _subscribe(self, wanted: Subscribe) -> None:
        assert self.principal is not None  # noqa: S101 - `_hear` has seen to it
        topic = protocol.SYSTEM_TOPIC if self.is_system else protocol.TENANT_TOPIC
        if wanted.topics != (topic,):
            raise ProtocolError("subscribe", f"on this host only {topic} can be subscribed to")
        rights = await in_thread(self.tenant.schema_name, still_allowed, [self.principal], self.permission)
        if not rights.get(self.principal):
            raise ProtocolError("subscribe", "permission denied")
        tenants = await self._tenants_of(wanted)
        since = wanted.since_by_tenant or {}
        if unknown := [tenant_id for tenant_id in since if tenant_id not in tenants]:
            raise ProtocolError("subscribe", f"since names tenant {unknown[0][:40]}, which is not subscribed to")
        spans = {tenant_id: await in_thread(tenant.schema_name, span) for tenant_id, tenant in tenants.items()}
        starts = {
            tenant_id: _start(wanted.since if not self.is_system else since.get(tenant_id), spans[tenant_id])
            for tenant_id in tenants
        }
        await self._unfollow()
        self.subscription = subscription = Subscription(wanted)
        gaps = [tenant_id for tenant_id, start in starts.items() if spans[tenant_id].misses_after(start)]
        await self._put(self._replies.done("subscribe", **await self._told(starts, gaps, tenants)))
        for tenant_id, tenant in tenants.items():
            await self._follow(subscription, tenant, starts[tenant_id])

    async def _tenants_of(self, wanted: Subscribe) -> dict[str, Tenant]:
        if not self.is_system:
            return {str(self.tenant.pk): self.tenant}
        found = await in_thread("public", active_tenants)
        if unknown := [tenant_id for tenant_id in wanted.tenants if tenant_id not in found]:
            raise ProtocolError("subscribe", f"there is no tenant {unknown[0][:40]}")
        return {tenant_id: found[tenant_id] for tenant_id in wanted.tenants} if wanted.tenants else found

    async def _told(self, starts: Mapping[str, int], gaps: list[str], tenants: Mapping[str, Tenant]) -> dict[str, Any]:
        """Where the subscription begins and, when events before that are gone, where to ask for the calls instead."""
        cursors = {tenant_id: str(start) for tenant_id, start in starts.items()}
        addresses = {
            tenant_id: await in_thread("public", events_address, tenants[tenant_id], starts[tenant_id])
            for tenant_id in gaps
        }
        if self.is_system:
            return {"cursor": cursors, **({"gap": True, "events_url": addresses} if gaps else {})}
        own = str(self.tenant.pk)
        return {"cursor": cursors[own], **({"gap": True, "events_url": addresses[own]} if gaps else {})}

    async def follow_new(self, tenants: Mapping[str, Tenant]) -> None:
        """A subscription to all tenants takes in those that were created since."""
        subscription = self.subscription
        if subscription is None or subscription.wanted.tenants:
            return
        for tenant_id, tenant in tenants.items():
            if tenant_id not in subscription.by_tenant:
                await self._follow(subscription, tenant, 0)

    async def _follow(self, subscription: Subscription, tenant: Tenant, start: int) -> None:
        await in_thread("public", keep_event_types, tenant.schema_name, subscription.wanted.event_types)
        followed = await feed.follow(tenant.schema_name)
        if self.subscription is not subscription:  # replaced meanwhile
            await feed.leave(followed)
            return
        following = Following(str(tenant.pk), followed, queued=start, sent=start)
        subscription.by_tenant[following.tenant_id] = following
        following.pump = asyncio.create_task(self._guard(partial(self._pump, subscription.wanted, following)))

    async def _pump(self, wanted: Subscribe, following: Following) -> None:
        cursor = following.queued
        types = frozenset(wanted.event_types)
        while True:
            try:
                lines = await following.feed.after(cursor)
            except DatabaseError:
                await asyncio.sleep(_DATABASE_PAUSE_SECONDS)  # it reads on from the same cursor
                continue
            for line in lines:
                if line.type in types:
                    await self._put(line.payload(wanted.profile), following, line.id)
                following.queued = line.id
            cursor = lines[-1].id

    async def _unsubscribe(self, command: Unsubscribe) -> None:
        topic = protocol.SYSTEM_TOPIC if self.is_system else protocol.TENANT_TOPIC
        if command.topics != (topic,):
            raise ProtocolError("unsubscribe", f"on this host only {topic} can be subscribed to")
        if self.subscription is None:
            raise ProtocolError("unsubscribe", f"{topic} is not subscribed to")
        subscription = self.subscription
        await self._unfollow()
        # What is queued leaves before this reply.
        cursors = {tenant_id: str(following.queued) for tenant_id, following in subscription.by_tenant.items()}
        cursor = cursors if self.is_system else next(iter(cursors.values()))
        await self._put(self._replies.done("unsubscribe", cursor=cursor))

    async def _unfollow(self) -> None:
        if self.subscription is None:
            return
        followed = list(self.subscription.by_tenant.values())
        self.subscription = None
        for following in followed:
            if following.pump is not None:
                following.pump.cancel()
        await asyncio.gather(*(one.pump for one in followed if one.pump is not None), return_exceptions=True)
        for following in followed:
            await feed.leave(following.feed)

    # --- Out ----------------------------------------------------------------------------------------------------

    async def _put(self, text: str, following: Following | None = None, event_id: int = 0) -> None:
        out = Out(text, following, event_id)
        try:
            self._outgoing.put_nowait(out)
        except asyncio.QueueFull:
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    await self._outgoing.put(out)
            except TimeoutError:
                raise Closed(CloseCode.TOO_SLOW, self._cursor_reason()) from None

    def _cursor_reason(self) -> str:
        followed = self.subscription.by_tenant if self.subscription else {}
        sent = {tenant_id: following.sent for tenant_id, following in followed.items()}
        return protocol.cursor_reason(sent, by_tenant=self.is_system)

    async def _write(self) -> None:
        while True:
            out = await self._outgoing.get()
            if isinstance(out, Closed):
                raise out
            await self._send({"type": "websocket.send", "text": out.text})
            if out.following is not None:
                out.following.sent = out.event_id


def _start(since: int | None, there: Span) -> int:
    if since is None:
        return there.last
    if since > there.last:
        raise ProtocolError("subscribe", f"since is beyond the last event, {there.last}")
    return since


def active_tenants() -> dict[str, Tenant]:
    found = Tenant.objects.filter(state=Tenant.State.ACTIVE).exclude(schema_name="public").order_by("id")
    return {str(tenant.pk): tenant for tenant in found}


def events_address(tenant: Tenant, since: int) -> str:
    host = Domain.objects.filter(tenant=tenant).order_by("-is_primary").values_list("domain", flat=True).first()
    default = {"http": 80, "https": 443}[settings.PUBLIC_SCHEME]
    port = "" if default == settings.PUBLIC_PORT else f":{settings.PUBLIC_PORT}"
    return f"{settings.PUBLIC_SCHEME}://{host}{port}/api/v1/events?since={since}"


# --- The sockets of one host in this process ------------------------------------------------------------------------


class Presence:
    """The sockets of one schema on this event loop: counted, and asked every few seconds whether they still may."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._sockets: set[Socket] = set()
        self._recheck: asyncio.Task[None] | None = None

    def add(self, socket: Socket) -> bool:
        if len(self._sockets) >= CONNECTIONS_PER_TENANT:
            return False
        self._sockets.add(socket)
        if self._recheck is None:
            self._recheck = asyncio.create_task(self._keep_rechecking())
        return True

    async def remove(self, socket: Socket) -> None:
        self._sockets.discard(socket)
        if not self._sockets and self._recheck is not None:
            task, self._recheck = self._recheck, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_rechecking(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self._recheck_all()
            except DatabaseError as error:
                log.warning("sockets not rechecked", tenant=self._schema, error=type(error).__name__)

    async def _recheck_all(self) -> None:
        sockets = [socket for socket in self._sockets if socket.principal is not None]
        if not sockets:
            return
        tenants = await in_thread("public", active_tenants)
        if not sockets[0].is_system and str(sockets[0].tenant.pk) not in tenants:
            for socket in self._sockets:
                socket.close(CloseCode.TENANT_NOT_ACTIVE, "this tenant is not active")
            return
        asked = {socket.principal for socket in sockets if socket.principal is not None}
        allowed = await in_thread(self._schema, still_allowed, asked, sockets[0].permission)
        for socket in sockets:
            may = allowed.get(socket.principal) if socket.principal is not None else None
            if may is None or (socket.subscription is not None and not may):
                socket.close(CloseCode.REVOKED, "no longer allowed")
            elif socket.is_system:
                await socket.follow_new(tenants)


_presences: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Presence]] = WeakKeyDictionary()


def _presence_of(schema: str) -> Presence:
    presences = _presences.setdefault(asyncio.get_running_loop(), {})
    return presences.setdefault(schema, Presence(schema))


# --- The doors ------------------------------------------------------------------------------------------------------


def _header(scope: Scope, name: bytes) -> str:
    return next((str(value.decode("latin1")) for key, value in scope["headers"] if key == name), "")


def request_of(scope: Scope) -> HttpRequest:
    """What the lock-out and the session need of the handshake."""
    request = HttpRequest()
    request.method = "GET"
    request.path = request.path_info = scope["path"]
    request.META = {
        "REMOTE_ADDR": (scope.get("client") or ("", 0))[0],
        **{f"HTTP_{key.decode('latin1').upper().replace('-', '_')}": value.decode("latin1")
           for key, value in scope["headers"]},
    }  # fmt: skip
    return request


def comes_from_here(scope: Scope) -> bool:
    """A browser names the page's origin: only pages of this host may connect. Programs name none."""
    origin = _header(scope, b"origin")
    return not origin or urlsplit(origin).netloc.lower() == _header(scope, b"host").lower()


async def wsi(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if not comes_from_here(scope):
        await send(
            {"type": "websocket.close", "code": int(CloseCode.WRONG_ORIGIN)}
        )  # before the acceptance: an HTTP 403
        return
    with structlog.contextvars.bound_contextvars(tenant=scope["tenant"].schema_name):
        await Socket(scope, receive, send).run()


async def no_such_socket(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": int(CloseCode.NO_SUCH_SOCKET)})
