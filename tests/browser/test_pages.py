"""A person at a browser: signs in, looks for a call, opens it; on a phone, in the dark, and without scripts."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import PHONE
from tests.browser.portal import Portal

pytestmark = pytest.mark.browser
LIST = "/call-statistics/cdr"
Open = Callable[..., Any]


def rows(page: Any) -> int:
    return int(page.locator("[data-open]").count())


def test_sign_in_asks_for_the_company_first(open_page: Open, portal: Portal) -> None:
    page = open_page(user="")
    page.goto(portal.url("localhost", "/sign-in"))
    page.get_by_label("SIP domain of your company").fill("ACME.example")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(portal.url("acme.localhost", "/sign-in**"))

    assert page.get_by_role("heading", name="Acme Logistics").is_visible()


def test_a_wrong_password_is_said_in_a_sentence(open_page: Open) -> None:
    page = open_page("/sign-in", user="")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()

    assert page.locator(".error, [role=alert]").first.inner_text().strip() != ""
    assert page.get_by_label("Password").input_value() == ""


def test_menu_leads_to_the_list_and_it_fills_a_page(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("link", name="CDR", exact=True).click()

    assert page.get_by_role("heading", name="CDR", level=1).is_visible()
    assert rows(page) == 50
    assert page.locator("nav a[aria-current=page]").inner_text() == "CDR"
    assert "Times in Europe/Berlin" in page.inner_text("main")


def test_older_and_newer_swap_the_list_and_the_address(open_page: Open) -> None:
    page = open_page(LIST)
    first = page.locator("[data-open]").first.get_attribute("href")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**after=**")
    assert page.locator("[data-open]").first.get_attribute("href") != first
    page.get_by_role("link", name="Newer").click()
    page.wait_for_url(lambda url: "after=" not in url)
    page.wait_for_function("first => document.querySelector('[data-open]').getAttribute('href') === first", arg=first)
    page.go_back()
    page.wait_for_url("**after=**")
    page.locator("[data-open]").nth(49).wait_for()


def test_filters_go_into_the_address_and_come_off_again(open_page: Open) -> None:
    page = open_page(LIST)
    page.get_by_role("button", name="Filter").first.click()
    page.get_by_label("Direction").select_option("outbound")
    page.get_by_role("button", name="Show calls").click()
    page.wait_for_url("**direction=outbound**")

    assert page.url.endswith("?direction=outbound")
    assert set(page.locator("tbody .way").evaluate_all("all => all.map(one => one.ariaLabel)")) == {"Outbound"}
    page.get_by_role("link", name="Remove the filter Direction").click()
    page.wait_for_url(lambda url: url.endswith(LIST))
    page.keyboard.press("/")
    page.keyboard.type("lindgren")
    page.keyboard.press("Enter")
    page.wait_for_url("**search=lindgren")
    assert 0 < rows(page) < 50


@pytest.mark.parametrize("way", ["double-click", "Enter", "link", "menu"])
def test_a_row_opens_its_call(open_page: Open, way: str) -> None:
    page = open_page(LIST)
    first = page.locator("[data-open]").first
    address = first.get_attribute("href")
    if way == "double-click":
        page.locator("tbody tr:has([data-open]) td:nth-child(2)").first.dblclick()
    elif way == "Enter":
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("Enter")
    elif way == "link":
        first.click()
    else:
        page.get_by_role("button", name="Action").first.click()
        page.get_by_role("menuitem", name="CDR").click()
    page.wait_for_url(f"**{address}")

    assert page.get_by_role("heading", level=1).inner_text().startswith("Call from")
    assert (
        page.locator(".ladder-row:not(.media)").count() == page.get_by_label("Targets").locator("tbody tr").count() + 1
    )


def test_an_action_menu_is_worked_by_keys_and_gives_the_focus_back(open_page: Open) -> None:
    page = open_page(LIST)
    page.keyboard.press("j")
    page.keyboard.press(".")
    focused = "document.activeElement.textContent.trim()"
    page.wait_for_function(f"{focused}.startsWith('CDR')")
    page.keyboard.press("a")
    assert page.evaluate(focused) == "All calls with this number"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.ariaLabel") == "Action"
    assert page.locator("[popover]:popover-open").count() == 0


def test_columns_are_remembered(open_page: Open) -> None:
    page = open_page(LIST)
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("checkbox", name="Trunk").check()
    page.get_by_role("checkbox", name="Caller").uncheck()
    page.keyboard.press("Escape")
    shown = page.locator("thead th:visible").all_inner_texts()
    assert "Trunk" in shown
    assert "Caller" not in shown
    page.reload()
    assert page.locator("thead th:visible").all_inner_texts() == shown


def test_details_show_the_message_in_both_profiles(open_page: Open) -> None:
    page = open_page(LIST, permissions=["clipboard-read", "clipboard-write"])
    page.locator("[data-open]").first.click()
    assert '"did_cid"' in page.inner_text(".code pre")
    page.get_by_role("link", name="v22").click()
    page.wait_for_url("**profile=v22**")
    assert '"call_status": "answered"' in page.inner_text(".code pre")
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_text("Copied").wait_for()
    assert '"event_type": "call_cdr"' in page.evaluate("navigator.clipboard.readText()")


def test_the_list_works_without_scripts(open_page: Open) -> None:
    page = open_page(f"{LIST}?direction=inbound", scripts=False)
    page.get_by_role("link", name="Older").click()
    assert "after=" in page.url
    assert "direction=inbound" in page.url
    page.locator("[data-open]").first.click()
    assert page.get_by_role("heading", level=1).inner_text().startswith("Call from")


def test_on_a_phone_rows_fold_and_nothing_scrolls_sideways(open_page: Open, portal: Portal) -> None:
    page = open_page(LIST)
    page.set_viewport_size(PHONE)
    for path in (LIST, page.locator("[data-open]").first.get_attribute("href"), "/"):
        page.goto(portal.url("acme.localhost", path))
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], path
    page.get_by_role("button", name="Open the menu").click()
    page.get_by_role("link", name="CDR", exact=True).click()
    page.wait_for_url(f"**{LIST}")
    assert page.locator("tbody tr:has([data-open])").first.evaluate("row => getComputedStyle(row).display") == "grid"


def test_the_theme_is_the_systems_until_one_is_chosen(open_page: Open) -> None:
    page = open_page(LIST, color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Switch between light and dark").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == light
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_event_url_page_opens(open_page: Open) -> None:
    page = open_page("/company/event-url")
    assert page.get_by_role("heading", level=1).is_visible()
    assert "https://crm.example.com/calls" in page.content()


def test_the_rest_api_can_be_read(open_page: Open) -> None:
    page = open_page("/api/docs")
    page.get_by_text("/api/v1/cdrs", exact=True).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_meet_the_accessibility_rules(open_page: Open, portal: Portal, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(LIST, color_scheme=scheme, bypass_csp=True, listen=False)  # axe styles what it measures
    details = page.locator("[data-open]").first.get_attribute("href")
    for path in (LIST, f"{LIST}?caller=nobody", details, "/"):
        page.goto(portal.url("acme.localhost", path))
        found = axe.Axe().run(page).response["violations"]
        assert [(rule["id"], [node["html"][:120] for node in rule["nodes"][:2]]) for rule in found] == [], path
