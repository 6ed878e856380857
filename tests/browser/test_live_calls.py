"""Live Calls in a browser, while a switch tells a call and answers its commands when it is told to."""

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.browser.portal import Portal
from tests.browser.words import SWITCH_TOKEN

pytestmark = pytest.mark.browser
PAGE = "/call-statistics/live-calls"
Open = Callable[..., Any]


class Phones:
    """A switch of kind http with one call, from a mobile to 103, which rings until it is answered."""

    def __init__(self, portal: Portal) -> None:
        self.portal, self.session_id = portal, f"live-{uuid4().hex}"
        mobile, sam = {"number": "+49171555", "kind": "external"}, {"number": "103", "kind": "extension"}
        self.tell("call.started", domain="acme.example", caller=mobile, callee=sam)
        self.tell("target.added", target_id="a", callee=sam)
        self.tell("target.ringing", target_id="a")

    def ask(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            self.portal.url("127.0.0.1", f"/api/switch/v1{path}"),
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {SWITCH_TOKEN}", "Host": f"localhost:{self.portal.port}"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return json.load(answer)

    def tell(self, kind: str, **fields: Any) -> None:
        at = datetime.now(UTC).isoformat()
        event = {"id": uuid4().hex, "type": kind, "session_id": self.session_id, "at": at} | fields
        (result,) = self.ask("/events", {"events": [event]})["results"]
        assert result["status"] == "applied", result

    def confirm(self, **answer: str) -> list[str]:
        waiting = self.ask("/commands")["commands"]
        for command in waiting:
            self.ask(f"/commands/{command['id']}", answer or {"status": "done"})
        return [str(command["command"]) for command in waiting]


@pytest.fixture
def phones(portal: Portal) -> Any:
    found = Phones(portal)
    yield found
    found.tell("call.ended", ended_reason="caller_disconnect", status_code=0)


def test_call_is_followed_and_paused_when_the_switch_says_so(open_page: Open, phones: Phones) -> None:
    page = open_page(PAGE)
    row = page.locator("tbody tr", has_text="+49171555")
    row.get_by_text("Ringing").wait_for()
    phones.tell("target.answered", target_id="a")
    row.get_by_role("button", name="Start").click()
    row.get_by_text("Starting…").wait_for()
    assert phones.confirm() == ["start_recording"]
    page.get_by_text("Recording was started; the switch confirmed it.").wait_for()
    row.get_by_role("button", name="Pause").click()
    row.get_by_text("Pausing…").wait_for()
    assert phones.confirm() == ["pause_recording"]
    row.locator(".rec[data-is=paused]").wait_for()
    assert row.get_by_role("button", name="Resume").is_visible()
    row.get_by_role("button", name="Legs").click()
    assert "Paused by admin on Live Calls." in row.locator(".legs").inner_text()
    phones.tell("party.held", leg="a")  # the row waits until its panel is closed
    page.keyboard.press("Escape")
    row.locator(".status", has_text="Held").wait_for()


def test_call_that_ends_leaves_the_page(open_page: Open, portal: Portal) -> None:
    page = open_page(PAGE)
    phones = Phones(portal)
    row = page.locator("tbody tr", has_text="+49171555")
    row.wait_for()
    phones.tell("call.ended", ended_reason="cancelled", status_code=487)
    row.wait_for(state="detached")
    assert page.get_by_text("No calls in progress").is_visible()


def test_without_scripts_the_page_is_a_form(open_page: Open, phones: Phones) -> None:
    phones.tell("target.answered", target_id="a")
    page = open_page(PAGE, user="sam", scripts=False)
    page.get_by_role("button", name="Start").click()
    assert "The switch has not fetched the command yet." in page.inner_text("body")
    assert "Starting…" in page.inner_text("tbody")
    phones.confirm(status="failed", reason="unsupported: no recorder")
    page.reload()
    assert "Failed" in page.inner_text("tbody")
