"""Writes the README's pictures to docs/images: `python -m tests.browser.screenshots`."""

from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.conftest import sign_in
from tests.browser.portal import CHROMIUM, CHROMIUM_FLAGS, PROJECT, Portal, running

IMAGES = PROJECT / "docs" / "images"
SIZE = {"width": 1280, "height": 800}


def shoot(page: Any, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png")


def pictures(browser: Any, portal: Portal) -> None:
    page = browser.new_page(viewport=SIZE, reduced_motion="reduce", color_scheme="light")
    page.goto(portal.url("acme.localhost", "/sign-in"))
    shoot(page, "sign-in")
    sign_in(page, portal, "admin")
    page.goto(portal.url("acme.localhost", "/call-statistics/cdr"))
    shoot(page, "cdr-list")
    page.locator("[data-open]").first.click()
    shoot(page, "cdr-details")
    page.goto(portal.url("acme.localhost", "/company/event-url"))
    shoot(page, "event-url")


def main() -> None:
    Path(IMAGES).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver, running() as portal:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        pictures(browser, portal)
        browser.close()


if __name__ == "__main__":
    main()
