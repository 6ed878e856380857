"""The frame of every page, by keyboard: the search, the keys, the menu; and what each page must hold at any width."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.portal import Portal

pytestmark = pytest.mark.browser
Open = Callable[..., Any]
LIST = "/call-statistics/cdr"
TENANT = ("acme.localhost", "admin")
SYSTEM = ("localhost", "root")
BESIDE_THE_MENU = {
    TENANT: ["/display", "/jump?q=call", "/profile", f"{LIST}?period=today&caller=nobody", "/users/new"],
    SYSTEM: ["/display", "/jump?q=acme", "/profile", "/api-tokens", "/tenants/new", "/trunks/new", "/switches/new"],
}
# Layout shift as the browser counts it: what moved without the person having done something.
SHIFTS = """() => new Promise(done => {
  let sum = 0;
  new PerformanceObserver(list => list.getEntries().forEach(e => { if (!e.hadRecentInput) sum += e.value; }))
    .observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => setTimeout(() => done(sum), 100));
})"""


def addresses(page: Any, who: tuple[str, str]) -> list[str]:
    menu = page.locator("nav[aria-label=Main] a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    return [*menu, *BESIDE_THE_MENU[who]]


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()"))


def test_search_goes_to_a_page_by_keys_alone(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Control+k")
    page.keyboard.type("event")
    page.locator("#found [aria-selected=true]", has_text="Event URL").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/company/event-url*")


def test_search_finds_numbers_and_arrows_choose(open_page: Open) -> None:
    page = open_page(LIST)
    number = page.locator("tbody .who").first.inner_text()
    page.keyboard.press("Control+k")
    page.keyboard.type(number)
    page.locator("#found [role=group][aria-label=Numbers] a", has_text="begins so").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "number=" in url or "/cdr/" in url)


def test_search_closes_and_gives_the_focus_back(open_page: Open) -> None:
    page = open_page(LIST)
    page.get_by_role("link", name="Search or jump to").focus()
    page.keyboard.press("Enter")
    page.locator("#palette[open]").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('#palette').open")
    assert focused(page) == "Search or jump to"


def test_search_works_without_scripts(open_page: Open) -> None:
    page = open_page("/", scripts=False)
    page.get_by_role("link", name="Search or jump to").click()
    page.get_by_label("Search everything").fill("event")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("main").get_by_role("link", name="Event URL").click()
    assert page.url.endswith("/company/event-url") or "/event-url/" in page.url


def test_keys_are_told_and_lead_to_pages(open_page: Open) -> None:
    page = open_page(LIST)
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('#keys').open")
    page.keyboard.press("g")
    page.keyboard.press("u")
    page.wait_for_url("**/users")


def test_single_keys_can_be_switched_off(open_page: Open, portal: Portal) -> None:
    page = open_page("/display")
    page.get_by_label("Off").check()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Single keys are off.").wait_for()
    page.goto(portal.url("acme.localhost", LIST))
    for key in ("j", "?", "g", "u", "/"):
        page.keyboard.press(key)
    assert page.locator("tr.cursor, dialog[open]").count() == 0
    assert page.evaluate("document.activeElement === document.body")
    page.keyboard.press("Control+k")
    page.locator("#palette[open]").wait_for()


@pytest.mark.parametrize("who", [TENANT, SYSTEM], ids=["tenant", "system"])
def test_pages_fit_any_width_and_nothing_jumps(open_page: Open, portal: Portal, who: tuple[str, str]) -> None:
    host, user = who
    page = open_page(host=host, user=user)
    for path in addresses(page, who):
        for width in (360, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(portal.url(host, path), wait_until="load")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            assert page.get_by_role("heading", level=1).count() == 1, path
            assert page.evaluate(SHIFTS) < 0.02, (path, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("who", [TENANT, SYSTEM], ids=["tenant", "system"])
def test_every_page_meets_the_accessibility_rules(
    open_page: Open, portal: Portal, who: tuple[str, str], scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    host, user = who
    page = open_page(host=host, user=user, color_scheme=scheme, bypass_csp=True, listen=False)  # axe styles pages
    wrong = {}
    for path in addresses(page, who):
        page.goto(portal.url(host, path))
        found = axe.Axe().run(page).response["violations"]
        if found:
            wrong[path] = [(rule["id"], [node["html"][:120] for node in rule["nodes"][:2]]) for rule in found]
    assert wrong == {}


@pytest.mark.parametrize("opened", ["palette", "keys", "views", "columns", "filters"])
def test_what_opens_meets_the_accessibility_rules(open_page: Open, opened: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(f"{LIST}?direction=inbound", bypass_csp=True, listen=False)
    if opened == "palette":
        page.keyboard.press("Control+k")
        page.locator("#found a").first.wait_for()
    elif opened == "keys":
        page.keyboard.press("?")
        page.locator("#keys[open]").wait_for()
    else:
        page.locator(f"[popovertarget={opened}]").first.click()
        page.locator(f"#{opened}:popover-open").wait_for()
    found = axe.Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"][:2]]) for rule in found] == []
