"""The socket of the page Live Calls, as a browser sees it: through the portal's own ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import Client

from accounts.models import Extension, User
from accounts.roles import Role
from events import wake
from events.closing import CloseCode
from events.feed import in_thread
from portal.asgi import application
from recordings import live, live_boards, live_socket
from recordings.live_boards import Snapshot
from recordings.live_socket import difference
from tenants.models import Switch, Tenant
from tests.recordings.people import browser
from tests.recordings.stage import Line, Stage, inbound, over

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/call-statistics/live-calls/socket"
HERE = b"http://acme.portal.test"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_boards, "READ_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(live_socket, "RECHECK_SECONDS", 0.2)


@pytest.fixture
def stage(acme: Tenant, http_switch: Switch) -> Stage:
    stage = Stage(acme, http_switch)
    stage.extension("101", audio=True)
    stage.extension("102")
    return stage


def cookie(client: Client) -> bytes:
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}".encode()


class Page:
    def __init__(self, session: bytes, origin: bytes, query: str, host: bytes) -> None:
        headers = [(b"host", host), (b"cookie", session)] + ([(b"origin", origin)] if origin else [])
        scope = {
            "type": "websocket", "path": PATH, "headers": headers, "client": ["192.0.2.7", 4711],
            "query_string": query.encode(), "subprotocols": [],
        }  # fmt: skip
        self.communicator = ApplicationCommunicator(application, scope)

    async def output(self) -> dict[str, Any]:
        return dict(await self.communicator.receive_output(timeout=60))

    async def hear(self) -> dict[str, Any]:
        message = await self.output()
        assert message["type"] == "websocket.send", message
        told = orjson.loads(message["text"])
        assert isinstance(told.pop("now"), float)
        return dict(told)

    async def closed(self) -> int:
        while (message := await self.output())["type"] == "websocket.send":
            pass
        assert message["type"] == "websocket.close", message
        return int(message["code"])


@asynccontextmanager
async def opened(
    session: bytes, *, origin: bytes = HERE, query: str = "", host: bytes = b"acme.portal.test"
) -> AsyncIterator[Page]:
    page = Page(session, origin, query, host)
    await page.communicator.send_input({"type": "websocket.connect"})
    try:
        yield page
    finally:
        await page.communicator.send_input({"type": "websocket.disconnect", "code": 1001})
        await page.communicator.wait(timeout=60)


async def accepted(page: Page) -> None:
    assert (await page.output())["type"] == "websocket.accept"


async def play(stage: Stage, *lines: Line) -> None:
    await in_thread("acme", stage.play, *lines)


def shown(message: dict[str, Any]) -> list[str]:
    """What of each row that came its recording cell says."""
    return [row.split('class="rec')[1].split(">")[1].split("<")[0].strip() if 'class="rec' in row else "-"
            for row in message.get("rows", {}).values() for row in [row.replace("recorded", "")]]  # fmt: skip


async def sees(page: Page, recording: str) -> None:
    """The page comes to show this in its only row, whatever it shows on the way."""
    async with asyncio.timeout(60):
        while shown(await page.hear()) != [recording]:
            pass


async def test_first_message_holds_everything_and_the_next_what_changed(stage: Stage) -> None:
    session = cookie(await in_thread("acme", browser))
    await play(stage, *of("s1", inbound("102")))
    async with opened(session) as page:
        await accepted(page)
        first = await page.hear()
        assert (list(first), len(first["order"]), len(first["rows"])) == (["order", "rows", "counts", "foot"], 1, 1)
        await play(stage, *of("s2", inbound("101")))
        second = await page.hear()
        while shown(second) != ["Recording"]:
            second = await page.hear()
        assert len(second["order"]) == 2
        assert set(second["rows"]) == set(second["order"]) - set(first["order"])
        await play(stage, *of("s1", [over(20)]))
        third = await page.hear()
        assert (third["rows"], third["order"]) == ({}, list(second["rows"]))


async def test_break_is_made_good_by_the_next_connection(stage: Stage) -> None:
    session = cookie(await in_thread("acme", browser))
    async with opened(session) as page:
        await accepted(page)
        assert (await page.hear())["order"] == []
    await play(stage, *inbound())
    async with opened(session) as page:
        await accepted(page)
        await sees(page, "Recording")


async def test_lost_wake_only_delays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_boards, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(wake, "watchers", lambda schema: None)
    session = cookie(await in_thread("acme", browser))
    async with opened(session) as page:
        await accepted(page)
        await page.hear()
        await play(stage, *inbound())
        await sees(page, "Recording")


async def test_command_and_its_answer_are_seen(stage: Stage) -> None:
    client = await in_thread("acme", browser)
    await play(stage, *inbound())
    async with opened(cookie(client)) as page:
        await accepted(page)
        await sees(page, "Recording")
        stage.obeys = False
        await play(stage, (10, "feature.dialled", {"code": "*48", "leg": "a"}))
        await sees(page, "Pausing…")
        stage.obeys = True
        await in_thread("acme", stage.obey)
        await sees(page, "Paused")


async def test_standard_user_hears_of_own_calls_only(stage: Stage) -> None:
    session = cookie(await in_thread("acme", browser, Role.USER, "101"))
    async with opened(session) as page:
        await accepted(page)
        await page.hear()
        await play(stage, *of("s2", inbound("102")))
        await play(stage, *of("s1", inbound("101")))
        told = await page.hear()
        while not told["order"]:
            told = await page.hear()
        assert ["s1" in row and "s2" not in row for row in told["rows"].values()] == [True]


async def test_page_and_search_are_the_address(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAGE", 1)
    await play(stage, *of("s1", inbound("101")), *of("s2", inbound("102")))
    page_of = await in_thread("acme", live.page_for, live.Viewer(True, True))
    session = cookie(await in_thread("acme", browser))
    for query, expected in ((f"after={page_of.next}", "s2"), ("search=102", "s2"), ("search=101", "s1")):
        async with opened(session, query=query) as page:
            await accepted(page)
            (row,) = (await page.hear())["rows"].values()
            assert f"recording {expected}" in row


# --- Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [b"", b"http://evil.test", b"http://globex.portal.test", b"null"])
async def test_page_of_another_host_is_refused(acme: Tenant, origin: bytes) -> None:
    session = cookie(await in_thread("acme", browser))
    async with opened(session, origin=origin) as page:
        assert await page.output() == {"type": "websocket.close", "code": CloseCode.WRONG_ORIGIN}


async def test_system_host_has_no_such_socket(tenants: None) -> None:
    async with opened(b"", host=b"portal.test", origin=b"http://portal.test") as page:
        assert await page.output() == {"type": "websocket.close", "code": CloseCode.WRONG_ORIGIN}


async def test_stranger_and_other_tenants_session_are_nobody(acme: Tenant, globex: Tenant) -> None:
    others = cookie(await in_thread("globex", browser, host="globex"))
    for session in (b"", others, b"voxledger_session=nonsense", b"\xff=;;"):
        async with opened(session) as page:
            await accepted(page)
            assert await page.closed() == CloseCode.REVOKED


@pytest.mark.parametrize("query", ["after=nonsense", "after=WyIyMDI2IiwgMV0", "after=WzEsIDJd"])
async def test_cursor_that_no_list_gave_is_refused(acme: Tenant, query: str) -> None:
    session = cookie(await in_thread("acme", browser))
    async with opened(session, query=query) as page:
        await accepted(page)
        assert await page.closed() == CloseCode.UNSUPPORTED_DATA


async def test_word_to_the_socket_ends_it(acme: Tenant) -> None:
    session = cookie(await in_thread("acme", browser))
    async with opened(session) as page:
        await accepted(page)
        await page.communicator.send_input({"type": "websocket.receive", "text": "pause"})
        assert await page.closed() == CloseCode.UNSUPPORTED_DATA


async def test_more_pages_than_allowed_are_turned_away(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "SOCKETS_PER_TENANT", 1)
    session = cookie(await in_thread("acme", browser))
    async with opened(session) as page:
        await accepted(page)
        await page.hear()
        async with opened(session) as second:
            await accepted(second)
            assert await second.closed() == CloseCode.TOO_MANY_CONNECTIONS
    async with opened(session) as page:
        await accepted(page)
        await page.hear()


# --- Rights that end -----------------------------------------------------------------------------------------


def _deactivate() -> None:
    User.objects.update(is_active=False)


def _demote() -> None:
    User.objects.update(role=Role.USER)


def _sign_out() -> None:
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()


def _new_password() -> None:
    user = User.objects.get()
    user.set_password("another one")
    user.save()


def _other_extension() -> None:
    Extension.objects.create(number="109", user=User.objects.get())


@pytest.mark.parametrize(
    ("role", "change"),
    [
        (Role.ADMIN, _deactivate),
        (Role.ADMIN, _demote),
        (Role.ADMIN, _sign_out),
        (Role.ADMIN, _new_password),
        (Role.USER, _other_extension),
    ],
)
async def test_whoever_may_no_longer_is_shown_nothing_more(
    acme: Tenant, role: Role, change: Callable[[], None]
) -> None:
    session = cookie(await in_thread("acme", browser, role))
    async with opened(session) as page:
        await accepted(page)
        await page.hear()
        await in_thread("acme", change)
        assert await page.closed() == CloseCode.REVOKED


async def test_suspended_tenant_is_shown_nothing_more(acme: Tenant) -> None:
    session = cookie(await in_thread("acme", browser))
    async with opened(session) as page:
        await accepted(page)
        await page.hear()
        await in_thread("public", Tenant.objects.filter(pk=acme.pk).update, state=Tenant.State.SUSPENDED)
        assert await page.closed() == CloseCode.TENANT_NOT_ACTIVE


# --- Bounds --------------------------------------------------------------------------------------------------


async def test_however_many_watch_and_change_a_tenant_is_read_seldom(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_boards, "READ_EVERY_SECONDS", 0.5)
    reads = 0
    page_for = live.page_for

    def counted(*args: Any, **kwargs: Any) -> live.Page:
        nonlocal reads
        reads += 1
        return page_for(*args, **kwargs)

    monkeypatch.setattr(live_boards, "page_for", counted)
    session = cookie(await in_thread("acme", browser))
    async with opened(session) as one, opened(session) as two, opened(session) as three:
        pages = (one, two, three)
        for page in pages:
            await accepted(page)
            await page.hear()
        before, begun = reads, asyncio.get_running_loop().time()
        for number in range(10):
            await play(stage, *of(f"s{number}", inbound()))
        await asyncio.sleep(1)
        seen = reads - before
        took = asyncio.get_running_loop().time() - begun
        assert 1 <= seen <= took / 0.5 + 1
    assert live_boards._halls[asyncio.get_running_loop()] == {}


def test_row_that_did_not_change_is_not_sent_again() -> None:
    same = "<tr>1</tr>"
    before = Snapshot({"a": same, "b": "<tr>2</tr>"}, "counts", "foot")
    after = Snapshot({"c": "<tr>3</tr>", "a": same}, "counts", "other")
    assert difference(before, after) == {"order": ["c", "a"], "rows": {"c": "<tr>3</tr>"}, "foot": "other"}


async def test_quiet_tenant_still_beats(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "BEAT_SECONDS", 0.2)
    session = cookie(await in_thread("acme", browser))
    async with opened(session) as page:
        await accepted(page)
        await page.hear()
        assert await page.hear() == {}


def of(session_id: str, lines: list[Line]) -> list[Line]:
    return [(second, kind, more | {"session_id": session_id}) for second, kind, more in lines]
