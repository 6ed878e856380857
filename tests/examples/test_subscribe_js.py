"""The browser's client in Chromium, served from the host whose `/wsi` it opens, as its page says."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.examples.portal import TOKEN, Peer, Portal, event, portal

pytestmark = pytest.mark.browser
LIST = "() => [...document.querySelectorAll('li')].map((line) => line.textContent)"


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[[Portal], Any]]:
    context = chromium.new_context()

    def open_one(found: Portal) -> Any:
        page = context.new_page()
        page.goto(f"http://{found.address}/subscribe.html")
        return page

    yield open_one
    context.close()


def subscribe(page: Any, token: str = TOKEN) -> None:
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Subscribe").click()


def shows(page: Any, *numbers: int) -> None:
    page.wait_for_function(f"(wanted) => JSON.stringify(({LIST})()) === wanted", arg=_as_text(numbers), timeout=15_000)


def _as_text(numbers: tuple[int, ...]) -> str:
    return json.dumps([event(number) for number in numbers], separators=(",", ":"))


def says(page: Any, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=15_000)


def test_page_comes_back_where_it_was(open_page: Callable[[Portal], Any]) -> None:
    def three_then_cut(peer: Peer) -> None:
        peer.tell(1, 2, 3)
        peer.drop()

    def two_more(peer: Peer) -> None:
        peer.tell(4, 5)
        peer.wait()

    with portal(three_then_cut, two_more, Peer.wait) as found:
        page = open_page(found)
        subscribe(page)
        shows(page, 5, 4, 3, 2, 1)
        page.reload()
        subscribe(page)
        says(page, "Subscribed, from event 5 on.")
        assert found.subscriptions() == [None, "3", "5"]
        assert found.heard[:2] == [
            {"command": "auth", "access_token": TOKEN},
            {"command": "subscribe", "topics": ["cdr_events"], "event_types": ["call_cdr"], "profile": "v16"},
        ]
        page.close()


def test_page_lets_the_session_speak_when_it_has_no_token(open_page: Callable[[Portal], Any]) -> None:
    with portal() as found:
        page = open_page(found)
        subscribe(page, token="")
        says(page, "The portal refused to auth: access_token error.")
        assert found.heard == [{"command": "auth"}]
        page.close()


def test_page_says_what_it_missed_and_that_it_may_no_longer(open_page: Callable[[Portal], Any]) -> None:
    def gap(peer: Peer) -> None:
        peer.tell(18)
        peer.wait()

    def revoke(peer: Peer) -> None:
        peer.socket.close(4003, "no longer allowed")

    with portal(gap, revoke, more={"gap": True, "events_url": "http://acme.localhost/api/v1/events?since=7"}) as found:
        page = open_page(found)
        page.evaluate("localStorage.setItem(`voxledger cursor ${location.origin.replace('http', 'ws')}/wsi`, '7')")
        subscribe(page)
        shows(page, 18)
        assert found.subscriptions() == ["7"]
        page.reload()
        subscribe(page)
        says(page, "The portal closed the connection: the token or its permission is gone.")
        assert found.subscriptions() == ["7", "18"]
        page.close()


def test_module_takes_an_event_again_that_could_not_be_handled(open_page: Callable[[Portal], Any]) -> None:
    def two(peer: Peer) -> None:
        peer.tell(1, 2)
        peer.wait()

    with portal(two, two) as found:
        page = open_page(found)
        page.evaluate(
            """async (token) => {
                const { subscribe } = await import("/subscribe.js");
                window.taken = [];
                window.subscription = subscribe({
                    token,
                    onEvent: async (event) => {
                        window.taken.push(event.event_id);
                        if (window.taken.length === 2) throw new Error("no disk");
                    },
                });
            }""",
            TOKEN,
        )
        page.wait_for_function("() => window.taken.length >= 4", timeout=15_000)
        page.evaluate("() => window.subscription.close()")
        # The second connection's portal tells both again, whatever it was asked.
        assert page.evaluate("() => window.taken") == ["1", "2", "1", "2"]
        assert found.subscriptions() == [None, "1"]
        page.close()
