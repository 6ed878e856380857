"""The WebSocket `/wsi`: authenticate, subscribe, and get each event of the log once, in order, from a cursor on.

One outgoing queue per connection, bounded; the log is its memory. A reader too slow for the queue is closed with its
cursor and may come back with it. Raw ASGI: a subscriber costs no channel-layer subscription of its own.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest

from accounts.lockout import client_ip
from accounts.roles import Permission
from events import feed, protocol
from events.beginnings import Beginning, Choice, beginning_of, beginning_of_one, choice_of
from events.closing import CloseCode
from events.feed import Feed, in_thread
from events.log import Span, span
from events.presence import lobby, presence_of
from events.principals import Principal, identify, still_allowed
from events.protocol import ProtocolError, Replies, Subscribe, Unsubscribe
from tenants.event_types import keep_event_types
from tenants.models import Domain, Tenant
from tenants.schemas import in_schema

AUTH_SECONDS = 10.0
AUTH_TRIES = 3
SLOW_SECONDS = 10.0  # without a free place in the queue
LINGER_SECONDS = 30.0  # for which a reader who is stuck is offered the reason of the close
QUEUE_LENGTH = 256
MESSAGES_PER_WINDOW = 60
WINDOW_SECONDS = 10.0
_DATABASE_PAUSE_SECONDS = 1.0

log = structlog.get_logger(__name__)
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Closed(Exception):  # noqa: N818 - an end, not an error
    def __init__(self, code: int, reason: str = "", *, last_message: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.last_message = last_message  # what does not fit a close frame


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
    """`starts` holds a place for every tenant that it is about: one that is not active goes on from there later."""

    wanted: Subscribe
    starts: dict[str, int]
    by_tenant: dict[str, Following] = field(default_factory=dict)

    def includes(self, tenant_id: str) -> bool:
        """Without names it is about every tenant, those that are yet to come too."""
        return tenant_id in self.starts or not self.wanted.tenants

    def queued(self) -> dict[str, int]:
        return self.starts | {tenant_id: following.queued for tenant_id, following in self.by_tenant.items()}

    def sent(self) -> dict[str, int]:
        return self.starts | {tenant_id: following.sent for tenant_id, following in self.by_tenant.items()}


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
        self._following = asyncio.Lock()
        self._failed_auths = 0
        self._heard: deque[float] = deque(maxlen=MESSAGES_PER_WINDOW)

    @property
    def is_subscribed(self) -> bool:
        return self.subscription is not None

    def close(self, code: int, reason: str = "") -> None:
        """The first reason to close counts."""
        self._finish(Closed(code, reason))

    def _finish(self, closed: Closed | None) -> None:
        if not self._end.done():
            self._end.set_result(closed)

    async def run(self) -> None:
        """From the handshake's acceptance to the end."""
        await self._send({"type": "websocket.accept"})
        if not lobby().enter(self, client_ip(request_of(self._scope))):
            reason = "too many connections of this address wait for authentication"
            await self._say_close(Closed(CloseCode.TOO_MANY_CONNECTIONS, reason))
            return
        parts = (self._read, self._write, self._expect_auth)
        tasks = [asyncio.create_task(self._guard(part)) for part in parts]
        try:
            closed = await self._end
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._unfollow()
            lobby().leave(self)
            await presence_of(self.tenant.schema_name).remove(self)
        if closed is not None:
            await self._say_close(closed)

    async def _guard(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whatever ends one part ends the connection, with a code that says why; the process goes on.

        The part begins here: a task that is cancelled before its first step leaves no coroutine that nobody awaits.
        """
        try:
            await part()
        except Closed as closed:
            self._finish(closed)
        except DatabaseError as error:
            log.warning("socket closed, database away", error=type(error).__name__)
            self.close(CloseCode.TRY_AGAIN, "try again later")
        except OSError:  # the server's word for a peer that has gone
            self._leave()
        except Exception:
            log.exception("socket broken off")
            self.close(CloseCode.SERVER_ERROR, "server error")

    def _leave(self) -> None:
        self._finish(None)

    async def _say_close(self, closed: Closed) -> None:
        """A server waits with what it is given until its peer reads; here not for ever."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                if closed.last_message:
                    await self._send({"type": "websocket.send", "text": closed.last_message})
                await self._send({"type": "websocket.close", "code": int(closed.code), "reason": closed.reason})
        except TimeoutError:
            log.info("socket dropped, its peer does not read", code=int(closed.code))
        except OSError:  # it has gone meanwhile
            return

    # --- In -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            await self._hear(message)
        self._leave()

    async def _hear(self, message: Mapping[str, Any]) -> None:
        text = message.get("text")
        if text is None:
            raise Closed(CloseCode.UNSUPPORTED_DATA, "send text messages")
        most = protocol.message_bytes(is_system_administrator=self.is_system and self.principal is not None)
        if len(text.encode()) > most:
            raise Closed(CloseCode.TOO_BIG, f"a message has at most {most} bytes")
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
        lobby().leave(self)
        if not presence_of(self.tenant.schema_name).add(self):
            raise Closed(CloseCode.TOO_MANY_CONNECTIONS, "too many connections of this tenant")
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
        async with self._following:
            await (self._begin_with_all(wanted) if self.is_system else self._begin_with_own(wanted))

    async def _begin_with_own(self, wanted: Subscribe) -> None:
        own = str(self.tenant.pk)
        there = await in_thread(self.tenant.schema_name, span)
        beginning = beginning_of_one(wanted, own, there)
        await in_thread("public", keep_event_types, self.tenant.schema_name, wanted.event_types)
        told: dict[str, Any] = {"cursor": str(beginning.starts[own])}
        if beginning.gaps:
            addresses = await in_thread("public", events_addresses, {own: self.tenant}, beginning)
            told |= {"gap": True, "events_url": addresses[own]}
        await self._begin(wanted, beginning, {own: self.tenant}, told)

    async def _begin_with_all(self, wanted: Subscribe) -> None:
        there = await in_thread("public", tenants_there)
        choice = choice_of(wanted, there)
        chosen = {tenant_id: there[tenant_id] for tenant_id in choice.tenants}
        beginning = beginning_of(wanted, await in_thread("public", spans_of, chosen, wanted.event_types))
        active = {tenant_id: tenant for tenant_id, tenant in chosen.items() if tenant.is_active}
        told: dict[str, Any] = {"cursor": protocol.written(beginning.starts)}
        if beginning.gaps:
            told |= {"gap": True, "events_url": await in_thread("public", events_addresses, chosen, beginning)}
        await self._begin(wanted, beginning, active, told | _left_out(choice, active))

    async def _begin(
        self, wanted: Subscribe, beginning: Beginning, active: Mapping[str, Tenant], told: Mapping[str, Any]
    ) -> None:
        await self._unfollow()
        self.subscription = subscription = Subscription(wanted, beginning.places())
        await self._put(self._replies.done("subscribe", **told))
        for tenant in active.values():
            await self._follow(subscription, tenant)

    async def follow_active(self, active: Mapping[str, Tenant]) -> None:
        """Takes in tenants that were created or are active again, lets go of those that are not."""
        subscription = self.subscription
        if subscription is None or self._following.locked():  # it is about to see to all of them
            return
        async with self._following:
            for tenant_id in subscription.by_tenant.keys() - active.keys():
                following = subscription.by_tenant.pop(tenant_id)
                subscription.starts[tenant_id] = following.queued
                await _stop([following])
                subscription.starts[tenant_id] = following.queued
            for tenant_id in active.keys() - subscription.by_tenant.keys():
                if subscription.includes(tenant_id):
                    await in_thread("public", keep_event_types, active[tenant_id].schema_name,
                                    subscription.wanted.event_types)  # fmt: skip
                    await self._follow(subscription, active[tenant_id])

    async def _follow(self, subscription: Subscription, tenant: Tenant) -> None:
        """One that was not there when the subscription began is followed from its first event on."""
        followed = await feed.follow(tenant.schema_name)
        if self.subscription is not subscription:  # replaced meanwhile
            await feed.leave(followed)
            return
        start = subscription.starts.setdefault(str(tenant.pk), 0)
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
            if lines[0].id != cursor + 1:
                raise Closed(CloseCode.TRY_AGAIN, "events were pruned before they were read, subscribe again")
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
        cursors = protocol.written(subscription.queued())
        cursor = cursors if self.is_system else cursors[str(self.tenant.pk)]
        await self._put(self._replies.done("unsubscribe", cursor=cursor))

    async def _unfollow(self) -> None:
        if self.subscription is None:
            return
        followed = list(self.subscription.by_tenant.values())
        self.subscription = None
        await _stop(followed)

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
                raise self._too_slow() from None

    def _too_slow(self) -> Closed:
        if self.subscription is None:
            return Closed(CloseCode.TOO_SLOW, "too slow a reader")
        sent = self.subscription.sent()
        if self.is_system:
            last_message = protocol.closing(CloseCode.TOO_SLOW, sent)
            return Closed(CloseCode.TOO_SLOW, "the last message holds the cursors", last_message=last_message)
        return Closed(CloseCode.TOO_SLOW, protocol.cursor_reason(sent[str(self.tenant.pk)]))

    async def _write(self) -> None:
        while True:
            out = await self._outgoing.get()
            if isinstance(out, Closed):
                raise out
            await self._send({"type": "websocket.send", "text": out.text})
            if out.following is not None:
                out.following.sent = out.event_id


async def _stop(followed: list[Following]) -> None:
    pumps = [following.pump for following in followed if following.pump is not None]
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    for following in followed:
        await feed.leave(following.feed)


def _left_out(choice: Choice, active: Iterable[str]) -> dict[str, list[str]]:
    """What a reader cannot see from the cursors: which tenants tell nothing now, and which are no more."""
    found = {"inactive": [each for each in choice.tenants if each not in active], "gone": list(choice.gone)}
    return {name: ids for name, ids in found.items() if ids}


def tenants_there() -> dict[str, Tenant]:
    """All that have a log: a suspended one tells nothing, and may be active again."""
    states = (Tenant.State.ACTIVE, Tenant.State.SUSPENDED)
    found = Tenant.objects.filter(state__in=states).exclude(schema_name="public").order_by("id")
    return {str(tenant.pk): tenant for tenant in found}


def spans_of(tenants: Mapping[str, Tenant], event_types: tuple[str, ...]) -> dict[str, Span]:
    """What each tenant's log holds; from here on it keeps these types too."""
    found: dict[str, Span] = {}
    for tenant_id, tenant in tenants.items():
        keep_event_types(tenant.schema_name, event_types)
        with in_schema(tenant.schema_name):
            found[tenant_id] = span()
    return found


def events_addresses(tenants: Mapping[str, Tenant], beginning: Beginning) -> dict[str, str]:
    """Where to ask for what is left after the gaps, by tenant."""
    default = {"http": 80, "https": 443}[settings.PUBLIC_SCHEME]
    port = "" if default == settings.PUBLIC_PORT else f":{settings.PUBLIC_PORT}"
    domains = Domain.objects.filter(tenant_id__in=[tenants[each].pk for each in beginning.gaps])
    # The primary one comes last, and stays.
    hosts = {
        str(tenant_id): host for tenant_id, host in domains.order_by("is_primary").values_list("tenant_id", "domain")
    }
    return {
        each: f"{settings.PUBLIC_SCHEME}://{hosts.get(each, '')}{port}/api/v1/events?since={beginning.starts[each]}"
        for each in beginning.gaps
    }


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
