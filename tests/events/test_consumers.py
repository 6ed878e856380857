"""The /wsi door, as a client sees it: through the portal's own ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.extensions import ha1
from accounts.models import ApiToken, Extension, ExtensionCredential, User
from accounts.roles import Role
from events import consumers, feed
from events.feed import in_thread
from events.models import Event
from portal.asgi import application
from tenants.models import SipDomain, Tenant
from tenants.schemas import in_schema
from tests.events.conftest import write

pytestmark = pytest.mark.django_db(transaction=True)

Headers = tuple[tuple[bytes, bytes], ...]
AUTH_OK = '{"command":"auth","id":"1","status":0}'
ADMIN = '{"command":"auth","username":"admin","password":"correct horse","domain":"acme.test"}'
SUBSCRIBE = '{"command":"subscribe","topics":["cdr_events"]}'


def auth_error(reply: int) -> str:
    return (
        f'{{"command":"auth","error":"access_token , username , domain or password error","id":"{reply}","status":-1}}'
    )


class Peer:
    """A client on the other side of the ASGI server."""

    def __init__(self, host: str = "acme.portal.test", headers: Headers = (), path: str = "/wsi") -> None:
        scope = {
            "type": "websocket", "path": path, "headers": [(b"host", host.encode()), *headers],
            "client": ["192.0.2.7", 4711], "query_string": b"", "subprotocols": [],
        }  # fmt: skip
        self.communicator = ApplicationCommunicator(application, scope)

    async def connect(self) -> dict[str, Any]:
        await self.communicator.send_input({"type": "websocket.connect"})
        return dict(await self.communicator.receive_output(timeout=3))

    async def say(self, text: str) -> None:
        await self.communicator.send_input({"type": "websocket.receive", "text": text})

    async def ask(self, text: str) -> str:
        await self.say(text)
        return await self.hear()

    async def hear(self) -> str:
        message = await self.communicator.receive_output(timeout=3)
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def hear_many(self, count: int) -> list[str]:
        return [await self.hear() for _ in range(count)]

    async def closed(self, seconds: float = 3) -> tuple[int, str]:
        message = await self.communicator.receive_output(timeout=seconds)
        assert message["type"] == "websocket.close", message
        return message["code"], message.get("reason", "")

    async def hears_nothing(self) -> bool:
        return bool(await self.communicator.receive_nothing(timeout=0.2))


@asynccontextmanager
async def peer(host: str = "acme.portal.test", headers: Headers = ()) -> AsyncIterator[Peer]:
    client = Peer(host, headers)
    assert await client.connect() == {"type": "websocket.accept"}
    try:
        yield client
    finally:
        await client.communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await client.communicator.wait(timeout=3)


async def write_later(*sessions: str, schema: str = "acme", **more: Any) -> list[Event]:
    return await in_thread(schema, lambda: write(*sessions, **more))


@pytest.fixture
def admin(acme: Tenant, make_user: Callable[..., User]) -> User:
    return make_user("admin")


@pytest.fixture
def system_admin(tenants: None, make_user: Callable[..., User]) -> User:
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    return make_user("root", Role.SYSTEM)


# --- Authentication -----------------------------------------------------------------------------------------------


async def test_auth_by_password(admin: User) -> None:
    async with peer() as client:
        assert await client.ask(ADMIN) == AUTH_OK


async def test_auth_by_extension_number(admin: User) -> None:
    def make_extension() -> None:
        extension = Extension.objects.create(number="101", user=admin)
        ExtensionCredential.objects.create(
            extension=extension, realm="acme.test", ha1=ha1("101", "acme.test", "sip-secret")
        )

    await in_thread("acme", make_extension)
    message = '{"command":"auth","extension_number":"101","password":"%s","domain":"acme.test"}'
    async with peer() as client:
        assert await client.ask(message % "wrong") == auth_error(1)
        assert await client.ask(message % "sip-secret") == '{"command":"auth","id":"2","status":0}'
        assert orjson.loads(await client.ask(SUBSCRIBE))["status"] == 0


async def test_auth_by_access_token(admin: User, make_token: Callable[..., str]) -> None:
    token = await in_thread("acme", make_token)
    async with peer() as client:
        assert await client.ask(f'{{"command":"auth","access_token":"{token}"}}') == AUTH_OK
        assert orjson.loads(await client.ask(SUBSCRIBE))["status"] == 0


async def test_auth_of_the_system_administrator(system_admin: User) -> None:
    async with peer("portal.test") as client:
        assert await client.ask('{"command":"auth","username":"root","password":"correct horse"}') == AUTH_OK


async def test_auth_by_the_browsers_session(admin: User, acme_client: Client) -> None:
    await in_thread("acme", lambda: acme_client.force_login(admin, "accounts.backends.PortalBackend"))
    cookie = f"voxledger_session={acme_client.cookies['voxledger_session'].value}".encode()
    origin = (b"origin", b"http://acme.portal.test")
    async with peer(headers=((b"cookie", cookie), origin)) as client:
        assert await client.ask('{"command":"auth"}') == AUTH_OK
        assert orjson.loads(await client.ask(SUBSCRIBE))["status"] == 0
    async with peer(headers=((b"cookie", cookie),)) as client:  # a program has no origin to vouch for its cookie
        assert await client.ask('{"command":"auth"}') == auth_error(1)
    async with peer(headers=(origin,)) as client:
        assert await client.ask('{"command":"auth"}') == auth_error(1)


@pytest.mark.parametrize(
    "message",
    [
        '{"command":"auth","username":"admin","password":"wrong","domain":"acme.test"}',
        '{"command":"auth","username":"nobody","password":"correct horse","domain":"acme.test"}',
        '{"command":"auth","username":"admin","password":"correct horse","domain":"globex.test"}',
        '{"command":"auth","username":"admin","password":"correct horse","domain":""}',
        '{"command":"auth","username":"admin","password":"correct horse"}',
        '{"command":"auth","extension_number":"101","password":"x","domain":"acme.test"}',
        '{"command":"auth","access_token":"nonsense"}',
        '{"command":"auth","access_token":""}',
        '{"command":"auth","username":"admin","password":["correct horse"],"domain":"acme.test"}',
    ],
)
async def test_wrong_credentials_get_the_one_sentence(admin: User, message: str) -> None:
    async with peer() as client:
        assert await client.ask(message) == auth_error(1)


async def test_three_wrong_attempts_close(admin: User) -> None:
    async with peer() as client:
        for reply in (1, 2, 3):
            assert await client.ask('{"command":"auth","access_token":"x"}') == auth_error(reply)
        assert await client.closed() == (4002, "authentication failed")


async def test_guessing_meets_the_lock_out_of_the_sign_in(admin: User) -> None:
    wrong = '{"command":"auth","username":"admin","password":"wrong","domain":"acme.test"}'
    for _ in range(4):
        async with peer() as client:
            assert (await client.ask(wrong), await client.ask(wrong)) == (auth_error(1), auth_error(2))
    async with peer() as client:
        assert await client.ask(ADMIN) == auth_error(1)


async def test_guessing_a_sip_password_is_locked_out_too(admin: User) -> None:
    def make_extension() -> None:
        extension = Extension.objects.create(number="101", user=admin)
        ExtensionCredential.objects.create(extension=extension, realm="acme.test", ha1=ha1("101", "acme.test", "right"))

    await in_thread("acme", make_extension)
    message = '{"command":"auth","extension_number":"101","password":"%s","domain":"acme.test"}'
    for _ in range(4):
        async with peer() as client:
            assert [await client.ask(message % "wrong") for _ in range(2)] == [auth_error(1), auth_error(2)]
    async with peer() as client:
        assert await client.ask(message % "right") == auth_error(1)


async def test_other_tenants_user_and_token_are_unknown(admin: User, make_token: Callable[..., str]) -> None:
    token = await in_thread("acme", make_token)
    async with peer("globex.portal.test") as client:
        assert await client.ask(ADMIN) == auth_error(1)
        assert await client.ask(f'{{"command":"auth","access_token":"{token}"}}') == auth_error(2)


async def test_without_auth_nothing_is_given_and_the_connection_ends(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "AUTH_SECONDS", 0.3)
    async with peer() as client:
        assert await client.ask(SUBSCRIBE) == (
            '{"command":"subscribe","error":"not authenticated","id":"1","status":-1}'
        )
        assert await client.closed() == (4001, "no authentication within 0.3 s")


# --- Who may subscribe --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.USER, Role.QUEUE_MANAGER])
async def test_only_an_administrator_may_subscribe(acme: Tenant, make_user: Callable[..., User], role: Role) -> None:
    await in_thread("acme", lambda: make_user("reader", role))
    async with peer() as client:
        assert await client.ask(ADMIN.replace("admin", "reader")) == AUTH_OK
        assert await client.ask(SUBSCRIBE) == (
            '{"command":"subscribe","error":"permission denied","id":"2","status":-1}'
        )
        await write_later("a")
        assert await client.hears_nothing()


async def test_a_tokens_scope_narrows(admin: User, make_token: Callable[..., str]) -> None:
    token = await in_thread("acme", lambda: make_token("vxt_narrow", Role.ADMIN, ("cdr.view",)))
    async with peer() as client:
        assert await client.ask(f'{{"command":"auth","access_token":"{token}"}}') == AUTH_OK
        assert orjson.loads(await client.ask(SUBSCRIBE))["error"] == "permission denied"


async def test_topics_belong_to_their_hosts(admin: User) -> None:
    async with peer() as client:
        await client.ask(ADMIN)
        assert await client.ask('{"command":"subscribe","topics":["global_cdr_events"]}') == (
            '{"command":"subscribe","error":"on this host only cdr_events can be subscribed to","id":"2","status":-1}'
        )


# --- Events -------------------------------------------------------------------------------------------------------


async def test_events_come_in_the_stored_bytes_and_in_order(admin: User) -> None:
    await write_later("before")
    async with peer() as client:
        await client.ask(ADMIN)
        assert await client.ask(SUBSCRIBE) == '{"command":"subscribe","id":"2","status":0,"cursor":"1"}'
        written = await write_later("a", "b")
        written += await write_later(*(f"s{n}" for n in range(300)))
        assert await client.hear_many(302) == [event.body for event in written]


async def test_types_and_profile_are_chosen_on_subscribing(admin: User) -> None:
    async with peer() as client:
        await client.ask(ADMIN)
        await client.ask(
            '{"command":"subscribe","topics":["cdr_events"],"event_types":["cdr_updated"],"profile":"v22"}'
        )
        await write_later("a")
        (event,) = await write_later("b", type="cdr_updated")
        assert await client.hear() == event.body_v22
        assert await client.hears_nothing()


async def test_since_replays_what_was_missed_and_goes_live(admin: User) -> None:
    missed = await write_later(*(f"s{n}" for n in range(450)))
    async with peer() as client:
        await client.ask(ADMIN)
        assert await client.ask('{"command":"subscribe","topics":["cdr_events"],"since":"3"}') == (
            '{"command":"subscribe","id":"2","status":0,"cursor":"3"}'
        )
        assert await client.hear_many(447) == [event.body for event in missed[3:]]
        (live,) = await write_later("live")
        assert await client.hear() == live.body


async def test_a_gap_is_told_with_the_address_that_fills_it(admin: User) -> None:
    await write_later("a", "b", "c")
    await in_thread("acme", lambda: Event.objects.filter(id__lte=2).delete())
    async with peer() as client:
        await client.ask(ADMIN)
        assert await client.ask('{"command":"subscribe","topics":["cdr_events"],"since":"1"}') == (
            '{"command":"subscribe","id":"2","status":0,"cursor":"1","gap":true,'
            '"events_url":"http://acme.portal.test:8000/api/v1/events?since=1"}'
        )
        assert orjson.loads(await client.hear())["event_id"] == "3"


async def test_a_cursor_ahead_of_the_log_is_refused(admin: User) -> None:
    async with peer() as client:
        await client.ask(ADMIN)
        assert orjson.loads(await client.ask('{"command":"subscribe","topics":["cdr_events"],"since":"9"}')) == {
            "command": "subscribe", "error": "since is beyond the last event, 0", "id": "2", "status": -1,
        }  # fmt: skip


async def test_unsubscribe_ends_the_stream_and_tells_the_cursor(admin: User) -> None:
    async with peer() as client:
        await client.ask(ADMIN)
        await client.ask(SUBSCRIBE)
        await write_later("a")
        await client.hear()
        assert await client.ask('{"command":"unsubscribe","topics":["cdr_events"]}') == (
            '{"command":"unsubscribe","id":"3","status":0,"cursor":"1"}'
        )
        await write_later("b")
        assert await client.hears_nothing()
        assert orjson.loads(await client.ask('{"command":"unsubscribe","topics":["cdr_events"]}'))["status"] == -1
        await client.ask('{"command":"subscribe","topics":["cdr_events"],"since":"1"}')
        assert orjson.loads(await client.hear())["event_id"] == "2"


async def test_unsubscribe_right_behind_subscribe_leaves_nothing_unawaited(admin: User) -> None:
    async with peer() as client:
        await client.ask(ADMIN)
        for command in (SUBSCRIBE, SUBSCRIBE.replace('"subscribe"', '"unsubscribe"')) * 3:
            await client.say(command)
        replies = [orjson.loads(reply) for reply in await client.hear_many(6)]
    assert [(reply["command"], reply["status"]) for reply in replies] == [("subscribe", 0), ("unsubscribe", 0)] * 3


async def test_a_second_subscribe_replaces_the_first(admin: User) -> None:
    async with peer() as client:
        await client.ask(ADMIN)
        await client.ask(SUBSCRIBE)
        await client.ask(SUBSCRIBE.replace("}", ',"profile":"v22"}'))
        (event,) = await write_later("a")
        assert await client.hear() == event.body_v22
        assert await client.hears_nothing()


async def test_a_tenant_hears_only_its_own(admin: User) -> None:
    async with peer() as client:
        await client.ask(ADMIN)
        await client.ask(SUBSCRIBE)
        await write_later("of-globex", schema="globex")
        (own,) = await write_later("of-acme")
        assert await client.hear() == own.body
        assert await client.hears_nothing()


async def test_lost_wakes_are_made_up_for_by_the_poll(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "POLL_SECONDS", 0.1)
    monkeypatch.setattr("events.wake.readers", lambda *_args, **_kwargs: None)
    async with peer() as client:
        await client.ask(ADMIN)
        await client.ask(SUBSCRIBE)
        (event,) = await write_later("a")
        assert await client.hear() == event.body


async def test_a_follower_behind_the_feeds_memory_reads_the_log(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "REMEMBERED", 5)
    async with peer() as first, peer() as second:
        await first.ask(ADMIN)
        await first.ask(SUBSCRIBE)
        written: list[Event] = []
        for n in range(12):
            written += await write_later(f"a{n}", f"b{n}")
        assert await first.hear_many(24) == [event.body for event in written]
        await second.ask(ADMIN)
        await second.ask(SUBSCRIBE.replace("}", ',"since":"2"}'))
        assert await second.hear_many(22) == [event.body for event in written[2:]]


# --- The system's topic -------------------------------------------------------------------------------------------


async def test_global_topic_gives_the_tenants_asked_for(system_admin: User, acme: Tenant, globex: Tenant) -> None:
    await write_later("old", schema="globex")
    a, g = str(acme.pk), str(globex.pk)
    async with peer("portal.test") as client:
        await client.ask('{"command":"auth","username":"root","password":"correct horse"}')
        subscribe = {"command": "subscribe", "topics": ["global_cdr_events"], "tenants": [a]}
        assert await client.ask(orjson.dumps(subscribe).decode()) == (
            f'{{"command":"subscribe","id":"2","status":0,"cursor":{{"{a}":"0"}}}}'
        )
        await write_later("x", schema="globex")
        (own,) = await write_later("y")
        assert await client.hear() == own.body
        assert await client.hears_nothing()
        everyone = {"command": "subscribe", "topics": ["global_cdr_events"], "since": {g: "0", a: "1"}}
        reply = orjson.loads(await client.ask(orjson.dumps(everyone).decode()))
        assert reply == {"command": "subscribe", "id": "3", "status": 0, "cursor": {a: "1", g: "0"}}
        assert [orjson.loads(text)["session_id"] for text in await client.hear_many(2)] == ["old", "x"]
        unknown = subscribe | {"tenants": ["77"]}
        assert orjson.loads(await client.ask(orjson.dumps(unknown).decode()))["error"] == "there is no tenant 77"


async def test_all_tenants_means_new_ones_too(
    system_admin: User, globex: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.1)
    await in_thread("public", lambda: Tenant.objects.filter(pk=globex.pk).update(state="creating"))
    async with peer("portal.test") as client:
        await client.ask('{"command":"auth","username":"root","password":"correct horse"}')
        reply = orjson.loads(await client.ask('{"command":"subscribe","topics":["global_cdr_events"]}'))
        assert str(globex.pk) not in reply["cursor"]
        await in_thread("public", lambda: Tenant.objects.filter(pk=globex.pk).update(state="active"))
        (event,) = await write_later("first", schema="globex")
        assert await client.hear() == event.body


# --- What ends a connection ---------------------------------------------------------------------------------------


def revoke_token() -> None:
    ApiToken.objects.update(revoked_at=timezone.now())


def deactivate() -> None:
    User.objects.update(is_active=False)


def demote() -> None:
    User.objects.update(role=Role.USER)


def change_password() -> None:
    user = User.objects.get(username="admin")
    user.set_password("another horse")
    user.save()


@pytest.mark.parametrize(
    ("what", "by_token"),
    [(revoke_token, True), (deactivate, True), (demote, True), (deactivate, False), (demote, False),
     (change_password, False)],
)  # fmt: skip
async def test_revocation_closes(
    admin: User, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch, what: Callable[[], None],
    by_token: bool,
) -> None:  # fmt: skip
    assert consumers.RECHECK_SECONDS < 10
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.1)
    token = await in_thread("acme", make_token)
    async with peer() as client:
        await client.ask(f'{{"command":"auth","access_token":"{token}"}}' if by_token else ADMIN)
        await client.ask(SUBSCRIBE)
        await in_thread("acme", what)
        assert await client.closed() == (4003, "no longer allowed")


async def test_suspended_tenant_closes(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.1)
    async with peer() as client:
        await client.ask(ADMIN)
        await in_thread("public", lambda: Tenant.objects.filter(schema_name="acme").update(state="suspended"))
        closed = await client.closed()
    await in_thread("public", lambda: Tenant.objects.filter(schema_name="acme").update(state="active"))
    assert closed == (4004, "this tenant is not active")


async def test_slow_reader_is_closed_with_its_cursor(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's send blocks when the peer does not read; here it blocks for good after three events."""
    monkeypatch.setattr(consumers, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(consumers, "QUEUE_LENGTH", 4)
    said: list[dict[str, Any]] = []
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for text in (ADMIN, SUBSCRIBE):
        heard.put_nowait({"type": "websocket.receive", "text": text})
    stuck = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        said.append(message)
        if len(said) == 7:
            await stuck.wait()

    acme = await in_thread("public", lambda: Tenant.objects.get(schema_name="acme"))
    scope = {"type": "websocket", "path": "/wsi", "headers": [(b"host", b"acme.portal.test")], "tenant": acme}
    running = asyncio.create_task(consumers.Socket(scope, heard.get, send).run())
    while len(said) < 3:
        await asyncio.sleep(0.01)
    await write_later(*(f"s{n}" for n in range(20)))
    await asyncio.wait_for(running, 3)
    assert said[-1] == {"type": "websocket.close", "code": 4008, "reason": '{"cursor":"3"}'}
    assert [orjson.loads(message["text"])["event_id"] for message in said[3:6]] == ["1", "2", "3"]


async def test_too_large_too_many_and_binary_messages_close(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer() as client:
        await client.say("x" * 8193)
        assert await client.closed() == (1009, "a message has at most 8192 bytes")
    async with peer() as client:
        await client.communicator.send_input({"type": "websocket.receive", "bytes": b"x"})
        assert await client.closed() == (1003, "send text messages")
    monkeypatch.setattr(consumers, "MESSAGES_PER_WINDOW", 5)
    async with peer() as client:
        for _ in range(5):
            assert await client.ask("{") == (
                f'{{"command":"","error":"the message is not JSON","id":"{_ + 1}","status":-1}}'
            )
        await client.say("{")
        assert await client.closed() == (4028, "at most 5 messages in 10 s")


async def test_connections_of_a_tenant_are_bounded(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "CONNECTIONS_PER_TENANT", 1)
    async with peer() as first:
        async with peer() as second:
            assert await second.closed() == (4029, "too many connections of this tenant")
        async with peer("globex.portal.test") as other:
            assert await other.hears_nothing()
        assert await first.ask(ADMIN) == AUTH_OK
    async with peer() as third:
        assert await third.ask(ADMIN) == AUTH_OK


@pytest.mark.parametrize(
    ("host", "headers", "path", "code"),
    [
        ("acme.portal.test", ((b"origin", b"https://evil.example"),), "/wsi", 4403),
        ("acme.portal.test", ((b"origin", b"http://globex.portal.test"),), "/wsi", 4403),
        ("acme.portal.test", ((b"origin", b"null"),), "/wsi", 4403),
        ("unknown.portal.test", (), "/wsi", 4404),
        ("acme.portal.test", (), "/elsewhere", 4405),
    ],
)
async def test_handshake_is_refused(admin: User, host: str, headers: Headers, path: str, code: int) -> None:
    assert await Peer(host, headers, path).connect() == {"type": "websocket.close", "code": code}


async def test_same_origin_may_connect(admin: User) -> None:
    async with peer(headers=((b"origin", b"http://acme.portal.test"),)) as client:
        assert await client.ask(ADMIN) == AUTH_OK


async def test_domain_counts_in_any_case_and_any_of_the_tenants(admin: User, acme: Tenant) -> None:
    await in_thread("public", lambda: SipDomain.objects.create(tenant=acme, domain="second.test"))
    async with peer() as client:
        assert await client.ask(ADMIN.replace("acme.test", "ACME.test")) == AUTH_OK
    async with peer() as client:
        assert await client.ask(ADMIN.replace("acme.test", "second.test")) == AUTH_OK
    await in_thread("public", lambda: SipDomain.objects.filter(domain="second.test").delete())


def test_nothing_is_left_behind(admin: User) -> None:
    async def come_and_go() -> None:
        async with peer() as client:
            await client.ask(ADMIN)
            await client.ask(SUBSCRIBE)
        loop = asyncio.get_running_loop()
        assert feed._feeds[loop] == {}
        names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]
        assert not {name for name in names if name.startswith(("Feed", "Presence", "Socket"))}

    with in_schema("acme"):
        asyncio.run(come_and_go())
