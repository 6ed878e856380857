"""Chromium, a portal, and pages that fail their test when the browser complains."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.portal import Portal, running
from tests.browser.words import PASSWORD

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def portal(chromium: Any) -> Iterator[Portal]:
    with running() as found:
        yield found


@pytest.fixture
def open_page(chromium: Any, portal: Portal) -> Iterator[Callable[..., Any]]:
    """Opens a fresh browser, on acme's host and signed in unless told otherwise. Its complaints fail the test."""
    contexts, complaints = [], []

    def open_one(
        path: str = "/",
        *,
        user: str = "admin",
        host: str = "acme.localhost",
        scripts: bool = True,
        listen: bool = True,
        **options: Any,
    ) -> Any:
        context = chromium.new_context(viewport=WIDE, java_script_enabled=scripts, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        if listen:
            page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
        page.set_default_timeout(30_000)
        if user:
            sign_in(page, portal, user, host)
        page.goto(portal.url(host, path))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def sign_in(page: Any, portal: Portal, user: str, host: str = "acme.localhost") -> None:
    page.goto(portal.url(host, "/sign-in" if host != "localhost" else "/sign-in/administrator"))
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(portal.url(host, "/"))
