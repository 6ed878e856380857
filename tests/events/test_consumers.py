"""The /wsi door, as a client sees it: through the portal's own ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
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
from events import consumers, feed, presence, protocol
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

    def __init__(
        self, host: str = "acme.portal.test", headers: Headers = (), path: str = "/wsi", address: str = "192.0.2.7"
    ) -> None:
        scope = {
            "type": "websocket", "path": path, "headers": [(b"host", host.encode()), *headers],
            "client": [address, 4711], "query_string": b"", "subprotocols": [],
        }  # fmt: skip
        self.communicator = ApplicationCommunicator(application, scope)

    async def connect(self) -> dict[str, Any]:
        await self.communicator.send_input({"type": "websocket.connect"})
        return dict(await self.communicator.receive_output(timeout=60))

    async def say(self, text: str) -> None:
        await self.communicator.send_input({"type": "websocket.receive", "text": text})

    async def ask(self, text: str) -> str:
        await self.say(text)
        return await self.hear()

    async def hear(self) -> str:
        message = await self.communicator.receive_output(timeout=60)
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def hear_many(self, count: int) -> list[str]:
        return [await self.hear() for _ in range(count)]

    async def closed(self, seconds: float = 60) -> tuple[int, str]:
        message = await self.communicator.receive_output(timeout=seconds)
        assert message["type"] == "websocket.close", message
        return message["code"], message.get("reason", "")

    async def hears_nothing(self) -> bool:
        return bool(await self.communicator.receive_nothing(timeout=0.2))


@asynccontextmanager
async def peer(
    host: str = "acme.portal.test", headers: Headers = (), address: str = "192.0.2.7"
) -> AsyncIterator[Peer]:
    client = Peer(host, headers, address=address)
    assert await client.connect() == {"type": "websocket.accept"}
    try:
        yield client
    finally:
        await client.communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await client.communicator.wait(timeout=60)


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
    monkeypatch.setattr(consumers, "AUTH_SECONDS", 3.0)
    async with peer() as client:
        assert await client.ask(SUBSCRIBE) == (
            '{"command":"subscribe","error":"not authenticated","id":"1","status":-1}'
        )
        assert await client.closed() == (4001, "no authentication within 3 s")


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
    monkeypatch.setattr(presence, "RECHECK_SECONDS", 0.1)
    await in_thread("public", lambda: Tenant.objects.filter(pk=globex.pk).update(state="creating"))
    async with peer("portal.test") as client:
        await client.ask('{"command":"auth","username":"root","password":"correct horse"}')
        reply = orjson.loads(await client.ask('{"command":"subscribe","topics":["global_cdr_events"]}'))
        assert str(globex.pk) not in reply["cursor"]
        await in_thread("public", lambda: Tenant.objects.filter(pk=globex.pk).update(state="active"))
        (event,) = await write_later("first", schema="globex")
        assert await client.hear() == event.body


ROOT = '{"command":"auth","username":"root","password":"correct horse"}'


async def subscribe_to_all(client: Peer, **more: Any) -> dict[str, Any]:
    command = {"command": "subscribe", "topics": ["global_cdr_events"], **more}
    return dict(orjson.loads(await client.ask(orjson.dumps(command).decode())))


async def sessions_heard(client: Peer, count: int) -> list[str]:
    return sorted(orjson.loads(text)["session_id"] for text in await client.hear_many(count))


async def become(tenant: Tenant, state: str) -> None:
    await in_thread("public", lambda: Tenant.objects.filter(pk=tenant.pk).update(state=state))


@pytest.fixture
def quick_recheck(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Waits until all sockets were asked anew by what holds now."""
    monkeypatch.setattr(presence, "RECHECK_SECONDS", 0.1)
    whole, asked = presence.Presence._recheck_all, 0

    async def recheck_all(self: presence.Presence, sockets: Any) -> None:
        nonlocal asked
        await whole(self, sockets)
        asked += 1

    async def rechecked() -> None:
        before = asked
        async with asyncio.timeout(60):
            while asked < before + 2:  # one of them may have begun before
                await asyncio.sleep(0.02)

    monkeypatch.setattr(presence.Presence, "_recheck_all", recheck_all)
    return rechecked


async def test_the_cursors_cover_every_tenant(system_admin: User, acme: Tenant, globex: Tenant) -> None:
    """Also one that is suspended: who comes back with these cursors has missed nothing of anybody."""
    a, g = str(acme.pk), str(globex.pk)
    await write_later("old", schema="globex")
    await become(globex, "suspended")
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        assert await subscribe_to_all(client) == {
            "command": "subscribe", "id": "2", "status": 0, "cursor": {a: "0", g: "1"}, "inactive": [g],
        }  # fmt: skip


async def test_a_tenant_that_the_cursors_leave_out_is_told_from_its_first_event(
    system_admin: User, acme: Tenant, globex: Tenant
) -> None:
    """Who kept the cursors of the reply can lack only a tenant that was created while he was away."""
    await write_later("a1", "a2")
    await write_later("g1", "g2", schema="globex")
    a, g = str(acme.pk), str(globex.pk)
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        assert (await subscribe_to_all(client, since={a: "1"}))["cursor"] == {a: "1", g: "0"}
        assert await sessions_heard(client, 3) == ["a2", "g1", "g2"]
        assert (await subscribe_to_all(client, since={}))["cursor"] == {a: "0", g: "0"}
        assert await sessions_heard(client, 4) == ["a1", "a2", "g1", "g2"]
        await in_thread("globex", lambda: Event.objects.filter(id=1).delete())
        reply = await subscribe_to_all(client, since={a: "2"})
        assert (reply["gap"], reply["events_url"]) == (
            True, {g: "http://globex.portal.test:8000/api/v1/events?since=0"},
        )  # fmt: skip
        assert await sessions_heard(client, 1) == ["g2"]


async def test_a_suspended_tenant_holds_up_no_other_and_goes_on_where_it_was(
    system_admin: User, acme: Tenant, globex: Tenant, quick_recheck: None
) -> None:
    await write_later("g1", "g2", schema="globex")
    await write_later("a1")
    await become(globex, "suspended")
    a, g = str(acme.pk), str(globex.pk)
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        for named in ({}, {"tenants": [a, g]}):
            reply = await subscribe_to_all(client, since={a: "0", g: "1"}, **named)
            assert (reply["status"], reply["cursor"], reply["inactive"]) == (0, {a: "0", g: "1"}, [g])
            assert await sessions_heard(client, 1) == ["a1"]
        await become(globex, "active")
        assert await sessions_heard(client, 1) == ["g2"]


async def test_a_tenant_active_again_floods_nobody_with_its_past(
    system_admin: User, acme: Tenant, globex: Tenant, quick_recheck: Callable[[], Awaitable[None]]
) -> None:
    await write_later(*(f"old{n}" for n in range(50)), schema="globex")
    await become(globex, "suspended")
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        await subscribe_to_all(client)
        await become(globex, "active")
        await quick_recheck()
        (event,) = await write_later("new", schema="globex")
        assert await client.hear() == event.body
        assert await client.hears_nothing()


async def test_a_tenant_suspended_for_a_while_is_told_without_a_hole_or_a_repeat(
    system_admin: User, acme: Tenant, globex: Tenant, quick_recheck: Callable[[], Awaitable[None]]
) -> None:
    a, g = str(acme.pk), str(globex.pk)
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        await subscribe_to_all(client)
        await write_later("g1", schema="globex")
        assert await sessions_heard(client, 1) == ["g1"]
        await become(globex, "suspended")
        await quick_recheck()
        await write_later("g2", schema="globex")  # a call that was still going on
        assert await client.hears_nothing()
        await become(globex, "active")
        assert await sessions_heard(client, 1) == ["g2"]
        assert await client.hears_nothing()
        unsubscribed = await client.ask('{"command":"unsubscribe","topics":["global_cdr_events"]}')
        assert orjson.loads(unsubscribed)["cursor"] == {a: "0", g: "2"}


async def test_cursors_of_a_thousand_tenants_of_which_most_are_gone(
    system_admin: User, acme: Tenant, globex: Tenant
) -> None:
    await write_later("a1")
    gone = [str(10**6 + n) for n in range(998)]
    since = {str(acme.pk): "0", str(globex.pk): "0"} | dict.fromkeys(gone, "123456789012")
    assert len(orjson.dumps(since)) > 3 * protocol.MESSAGE_BYTES
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        reply = await subscribe_to_all(client, since=since, tenants=list(since))
        assert (reply["status"], len(reply["cursor"]), reply["gone"]) == (0, 2, gone)
        assert await sessions_heard(client, 1) == ["a1"]


async def test_only_a_system_administrator_may_send_long_messages(system_admin: User) -> None:
    long = "x" * (protocol.MESSAGE_BYTES + 1)
    async with peer("portal.test") as client:
        await client.say(long)
        assert await client.closed() == (1009, "a message has at most 8192 bytes")
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        assert orjson.loads(await client.ask(long))["error"] == "the message is not JSON"
        await client.say("x" * (protocol.SYSTEM_MESSAGE_BYTES + 1))
        assert await client.closed() == (1009, "a message has at most 262144 bytes")


async def test_a_slip_in_the_tenants_or_the_cursors_is_refused(
    system_admin: User, acme: Tenant, globex: Tenant
) -> None:
    a, g = str(acme.pk), str(globex.pk)
    async with peer("portal.test") as client:
        await client.ask(ROOT)
        for asked, error in [
            ({"tenants": ["77"]}, "there is no tenant 77"),
            ({"tenants": ["77"], "since": {a: "0"}}, "there is no tenant 77"),
            ({"tenants": [a], "since": {g: "0"}}, f"since names tenant {g}, which is not subscribed to"),
            ({"since": {g: "9"}}, f"since of tenant {g} is beyond its last event, 0"),
            ({"since": {g: 0}}, "since is an event_id, as a string"),
        ]:
            assert (await subscribe_to_all(client, **asked))["error"] == error


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
    assert presence.RECHECK_SECONDS < 10
    monkeypatch.setattr(presence, "RECHECK_SECONDS", 0.1)
    token = await in_thread("acme", make_token)
    async with peer() as client:
        await client.ask(f'{{"command":"auth","access_token":"{token}"}}' if by_token else ADMIN)
        await client.ask(SUBSCRIBE)
        await in_thread("acme", what)
        assert await client.closed() == (4003, "no longer allowed")


async def test_suspended_tenant_closes(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "RECHECK_SECONDS", 0.1)
    async with peer() as client:
        await client.ask(ADMIN)
        await in_thread("public", lambda: Tenant.objects.filter(schema_name="acme").update(state="suspended"))
        closed = await client.closed()
    await in_thread("public", lambda: Tenant.objects.filter(schema_name="acme").update(state="active"))
    assert closed == (4004, "this tenant is not active")


class Stuck:
    """A peer of the server that stops reading after some messages, as a server shows it: `send` waits for it."""

    def __init__(self, *commands: str, reads: int) -> None:
        self.said: list[dict[str, Any]] = []
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for text in commands:
            self.heard.put_nowait({"type": "websocket.receive", "text": text})
        self.reads_on = asyncio.Event()
        self._reads = reads

    async def send(self, message: dict[str, Any]) -> None:
        if len(self.said) == self._reads:
            await self.reads_on.wait()
        self.said.append(message)

    async def run(self, schema: str) -> None:
        tenant = await in_thread("public", lambda: Tenant.objects.get(schema_name=schema))
        scope = {"type": "websocket", "path": "/wsi", "headers": [(b"host", b"x")], "tenant": tenant}
        await consumers.Socket(scope, self.heard.get, self.send).run()

    async def has_said(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.said) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Waits until a reader was found to be too slow."""
    monkeypatch.setattr(consumers, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(consumers, "QUEUE_LENGTH", 4)
    return too_slow_seen(monkeypatch)


def too_slow_seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    found, whole = [False], consumers.Socket._too_slow

    def too_slow(self: consumers.Socket) -> Any:
        closed = whole(self)
        found[0] = True
        return closed

    async def seen() -> None:
        async with asyncio.timeout(60):
            while not found[0]:
                await asyncio.sleep(0.02)

    monkeypatch.setattr(consumers.Socket, "_too_slow", too_slow)
    return seen


async def test_slow_reader_is_closed_with_its_cursor(admin: User, impatient: Callable[[], Awaitable[None]]) -> None:
    stuck = Stuck(ADMIN, SUBSCRIBE, reads=6)
    running = asyncio.create_task(stuck.run("acme"))
    await stuck.has_said(3)
    await write_later(*(f"s{n}" for n in range(20)))
    await impatient()
    stuck.reads_on.set()
    await asyncio.wait_for(running, 60)
    assert stuck.said[-1] == {"type": "websocket.close", "code": 4008, "reason": '{"cursor":"3"}'}
    assert [orjson.loads(message["text"])["event_id"] for message in stuck.said[3:-1]] == ["1", "2", "3"]


async def test_slow_reader_of_all_tenants_gets_every_cursor_before_the_close(
    system_admin: User, acme: Tenant, globex: Tenant, impatient: Callable[[], Awaitable[None]]
) -> None:
    """A close frame's reason has 123 bytes (RFC 6455, 5.5.1): no room for a map."""
    stuck = Stuck(ROOT, '{"command":"subscribe","topics":["global_cdr_events"]}', reads=6)
    running = asyncio.create_task(stuck.run("public"))
    await stuck.has_said(3)
    await write_later(*(f"s{n}" for n in range(20)), schema="globex")
    await impatient()
    stuck.reads_on.set()
    await asyncio.wait_for(running, 60)
    assert stuck.said[-2:] == [
        {
            "type": "websocket.send",
            "text": f'{{"command":"closing","code":4008,"cursor":{{"{acme.pk}":"0","{globex.pk}":"3"}}}}',
        },
        {"type": "websocket.close", "code": 4008, "reason": "the last message holds the cursors"},
    ]


async def test_events_pruned_under_a_reader_are_not_passed_by_in_silence(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "QUEUE_LENGTH", 4)
    monkeypatch.setattr(feed, "READ_AT_ONCE", 5)
    await write_later(*(f"s{n}" for n in range(40)))
    stuck = Stuck(ADMIN, SUBSCRIBE.replace("}", ',"since":"0"}'), reads=6)
    running = asyncio.create_task(stuck.run("acme"))
    await stuck.has_said(6)
    await asyncio.sleep(0.2)
    await in_thread("acme", lambda: Event.objects.filter(id__lte=20).delete())
    stuck.reads_on.set()
    await asyncio.wait_for(running, 60)
    *_, last, close = stuck.said
    assert close == {
        "type": "websocket.close", "code": 1013, "reason": "events were pruned before they were read, subscribe again",
    }  # fmt: skip
    cursor = orjson.loads(last["text"])["event_id"]
    assert [orjson.loads(said["text"])["event_id"] for said in stuck.said[3:-1]] == [
        str(n) for n in range(1, int(cursor) + 1)
    ]
    async with peer() as client:
        await client.ask(ADMIN)
        reply = orjson.loads(await client.ask(SUBSCRIBE.replace("}", f',"since":"{cursor}"}}')))
        assert (reply["cursor"], reply["gap"]) == (cursor, True)
        assert orjson.loads(await client.hear())["event_id"] == "21"


async def test_who_never_reads_again_is_dropped(admin: User, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "LINGER_SECONDS", 0.2)
    stuck = Stuck(ADMIN, SUBSCRIBE, reads=6)
    running = asyncio.create_task(stuck.run("acme"))
    await stuck.has_said(3)
    await write_later(*(f"s{n}" for n in range(20)))
    await asyncio.wait_for(running, 60)
    assert len(stuck.said) == 6


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
    monkeypatch.setattr(presence, "CONNECTIONS_PER_TENANT", 1)
    async with peer() as first:
        assert await first.ask(ADMIN) == AUTH_OK
        async with peer() as second:
            await second.say(ADMIN)
            assert await second.closed() == (4029, "too many connections of this tenant")
        async with peer("globex.portal.test") as other:
            assert await other.hears_nothing()
        assert await first.ask(ADMIN) == AUTH_OK.replace('"1"', '"2"')  # the same person again takes no second place
    async with peer() as third:
        assert await third.ask(ADMIN) == AUTH_OK


async def test_strangers_take_no_place_of_a_tenant(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "CONNECTIONS_PER_TENANT", 1)
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(peer())
        subscriber = await stack.enter_async_context(peer())
        assert await subscriber.ask(ADMIN) == AUTH_OK


async def test_those_who_wait_are_bounded_by_address(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "WAITING_PER_ADDRESS", 2)
    refused = (4029, "too many connections of this address wait for authentication")
    async with peer() as first, peer("globex.portal.test"):
        async with peer() as third:
            assert await third.closed() == refused
        async with peer(address="192.0.2.8") as neighbour:
            assert await neighbour.ask(ADMIN) == AUTH_OK
        assert await first.ask(ADMIN) == AUTH_OK  # and waits no more
        async with peer() as third, peer() as fourth:
            assert await fourth.closed() == refused
            assert await third.ask(ADMIN) == AUTH_OK
    async with peer(), peer() as again:  # those who left wait no more either
        assert await again.ask(ADMIN) == AUTH_OK


async def test_a_full_lobby_lets_go_of_who_has_waited_longest(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "WAITING", 2)
    async with peer(address="192.0.2.1") as let_in:
        assert await let_in.ask(ADMIN) == AUTH_OK
        async with peer(address="192.0.2.2") as oldest, peer(address="192.0.2.3"), peer(address="192.0.2.4") as last:
            assert await oldest.closed() == (4029, "too many connections wait for authentication")
            assert await last.ask(ADMIN) == AUTH_OK
        assert await let_in.ask(ADMIN) == AUTH_OK.replace('"1"', '"2"')


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


@pytest.fixture(autouse=True)
def _all_active_again(acme: Tenant) -> Iterator[None]:
    yield
    with in_schema("public"):
        Tenant.objects.exclude(schema_name="public").update(state="active")


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
