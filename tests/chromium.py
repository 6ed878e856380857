"""One Chromium for every test that needs a browser, whatever folder it stands in; a pytest plugin."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from tests.browser.portal import CHROMIUM, CHROMIUM_FLAGS  # pytest rewrites that module only after the plugins

    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install -r requirements-browser.lock"
    )
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: install the chromium package of your system")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
