"""A call of a real Asterisk, recorded with a pause, played by a person in a browser."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from accounts.models import User
from recordings import completion
from recordings.models import Play, Recording
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema
from tests.asterisk.connected import connected
from tests.asterisk.flows import connect, hang_up, open_lab
from tests.asterisk.ledger import in_acme, until
from tests.asterisk.rig import Asterisk
from tests.asterisk.test_recording import dial, parts_of, three, until_recorded
from tests.browser.portal import CHROMIUM, CHROMIUM_FLAGS, Portal, serving
from tests.run.stack import free_port

pytestmark = [pytest.mark.asterisk, pytest.mark.django_db(transaction=True)]
HOST = "acme.portal.test"
TALKED, PAUSED = 3.0, 4.0  # seconds


async def call_with_a_pause(asterisk: Asterisk, switch: Switch) -> str:
    """101 rings 102, *48 after some seconds, *49 after some more; returns the session's id once its file is ready."""
    async with connected(switch), open_lab(asterisk) as lab:
        alice, bob, _ = await three(lab, 201)
        caller, callee = await connect(alice, "202", bob)
        await until_recorded(callee.session_id, 1)
        await asyncio.sleep(TALKED)
        await dial(caller, "*48", callee.session_id, "paused")
        await asyncio.sleep(PAUSED)
        await dial(callee, "*49", callee.session_id, "recording")
        await asyncio.sleep(TALKED)
        await hang_up(caller, callee)
        await parts_of(callee.session_id)
        await until(is_ready(callee.session_id))
        return callee.session_id


def is_ready(session_id: str) -> Callable[[], bool | None]:
    def look() -> bool | None:
        completion.probe_waiting()
        completion.settle_calls([session_id])
        return Recording.objects.filter(session_id=session_id, state="ready").exists() or None

    return look


@pytest.fixture
def portal(switch: Switch) -> Iterator[Portal]:
    """The test's own database behind a server of its own."""
    database, port = connection.settings_dict, free_port()
    environment = os.environ | {
        "DATABASE_URL": f"postgres://{database['USER']}@{quote(str(database['HOST']), safe='')}/{database['NAME']}",
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "SYSTEM_HOST": settings.SYSTEM_HOST,
        "TENANT_HOST_SUFFIX": settings.TENANT_HOST_SUFFIX,
        "VAR_DIR": str(settings.VAR_DIR),
        "PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"]
    subprocess.run(collect, check=True, env=environment, cwd=settings.BASE_DIR)
    with serving(environment, port):
        yield Portal(port)


@pytest.fixture
def signed_in(make_user: Callable[..., User], switch: Switch) -> str:
    """An administrator's session."""
    Tenant.objects.filter(schema_name="acme").update(enable_extension_audio_recording=True)
    with in_schema("acme"):
        client = Client(headers={"host": HOST})
        client.force_login(make_user())
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def test_what_was_recorded_is_played_with_its_gap(
    asterisk: Asterisk, switch: Switch, signed_in: str, portal: Portal
) -> None:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is missing: make test-browser installs it")
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: install the chromium package of your system")
    session_id = asyncio.run(call_with_a_pause(asterisk, switch))
    flags = [*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": signed_in, "url": portal.url(HOST)}])
        try:
            look_and_listen(
                context.new_page(), portal.url(HOST, f"/call-statistics/recordings?session_id={session_id}")
            )
        finally:
            browser.close()
    assert in_acme(lambda: Play.objects.filter(session_id=session_id).count())() == 1


def look_and_listen(page: Any, address: str) -> None:
    page.goto(address)
    page.locator("[data-open]").first.click()
    page.wait_for_url("**/call-statistics/recordings/*")
    media = "document.querySelector('[data-media]')"
    page.get_by_role("button", name="Play", exact=True).first.click()
    page.wait_for_function(f"() => {media}.currentTime > 0.5", timeout=60_000)
    assert page.evaluate(f"() => {media}.error") is None
    length = page.evaluate(f"() => {media}.duration")
    assert 2 * TALKED - 1 < length < 2 * TALKED + 3, "the pause is not in the file"
    wave = page.get_by_role("slider", name="Position").bounding_box()
    (gap,) = [each.bounding_box() for each in page.locator("rect.paused-gap").all()]
    spoken = wave["width"] - gap["width"]
    assert 0.1 < gap["width"] / spoken < 0.15, "drawn as wide as a gap becomes at most"
    told = page.locator("g:has(rect.paused-gap) title").text_content()
    length_told = re.search(r", 0:(\d\d) from", told)
    assert "201" in told
    assert length_told, told
    assert int(length_told[1]) >= PAUSED
