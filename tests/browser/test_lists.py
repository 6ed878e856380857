"""Lists as a person works them: views, marked rows, keys, the way back. Tests share one portal."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser
Open = Callable[..., Any]
LIST = "/call-statistics/cdr"


def test_a_view_is_saved_offered_and_removed(open_page: Open) -> None:
    page = open_page(f"{LIST}?direction=outbound&period=month")
    page.get_by_role("button", name="View:").click()
    page.get_by_label("Save these filters as").fill("Outbound this month")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="View: Outbound this month").wait_for()

    page.get_by_role("link", name="All", exact=True).click()
    page.wait_for_url(lambda url: "period=" not in url)
    page.get_by_role("link", name="Remove the filter Direction").click()
    page.get_by_role("button", name="View: All calls").click()
    page.get_by_role("link", name="Outbound this month").click()
    page.wait_for_url("**direction=outbound&period=month")

    page.get_by_role("button", name="View: Outbound this month").click()
    page.get_by_role("button", name="Remove the view Outbound this month").click()
    page.get_by_text("The view Outbound this month has been removed.").wait_for()
    page.get_by_role("button", name="View: Views").wait_for()


def test_rows_are_marked_by_keys_and_their_ids_copied(open_page: Open) -> None:
    page = open_page(LIST, permissions=["clipboard-read", "clipboard-write"])
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    page.get_by_text("2 selected").wait_for()
    page.get_by_role("button", name="Copy session ids").click()
    page.get_by_text("Copied").wait_for()
    ids = page.locator("tbody input:checked").evaluate_all("all => all.map(one => one.value)")
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(ids)
    page.get_by_role("button", name="Clear the selection").click()
    assert page.locator("tbody input:checked").count() == 0
    page.get_by_label("Select all on this page").check()
    page.get_by_text("50 selected").wait_for()


def test_two_users_are_recorded_together(open_page: Open) -> None:
    names = ["101", "102"]
    page = open_page("/users")
    for name in names:
        page.locator("tbody tr", has=page.get_by_role("link", name=name, exact=True)).get_by_role("checkbox").check()
    page.get_by_role("button", name="Record Audio Calls").click()
    page.get_by_text("Record Audio Calls: done for 2 users.").wait_for()
    page.get_by_role("link", name="Recorded", exact=True).click()
    page.wait_for_url("**state=recorded")
    assert set(names) <= set(page.locator("tbody td[data-slot=title]").all_inner_texts())
    for name in names:
        page.locator("tbody tr", has=page.get_by_role("link", name=name, exact=True)).get_by_role("checkbox").check()
    page.get_by_role("button", name="Stop recording audio").click()
    page.get_by_text("Stop recording audio: done for 2 users.").wait_for()


def test_marked_rows_work_without_scripts(open_page: Open) -> None:
    page = open_page("/users", scripts=False)
    page.get_by_role("button", name="Stop recording video").click()
    assert page.get_by_text("Select users with an extension first.").is_visible()


def test_back_leads_to_where_one_was(open_page: Open) -> None:
    page = open_page(LIST)
    page.evaluate("scrollTo(0, 400)")
    page.wait_for_function("() => scrollY === 400")
    page.locator("[data-open]").nth(15).click()
    page.wait_for_url("**/cdr/*")
    page.go_back()
    page.wait_for_function("() => scrollY === 400")


def test_next_page_begins_at_its_top_and_back_at_the_foot(open_page: Open) -> None:
    page = open_page(LIST)
    first = page.locator("[data-open]").first.get_attribute("href")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_function("() => scrollY > 300")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**after=**")
    page.wait_for_function("() => scrollY < 200")
    page.go_back()
    page.wait_for_function("first => document.querySelector('[data-open]')?.getAttribute('href') === first", arg=first)
    page.wait_for_function("() => scrollY > 300")


@pytest.mark.parametrize("path", ["/users", "/logs/audit", "/call-statistics/recordings"])
def test_other_lists_remember_columns_too(open_page: Open, path: str) -> None:
    page = open_page(path)
    if not page.locator("thead").count():
        pytest.skip("this list is empty")
    before = page.locator("thead th:visible").count()
    page.get_by_role("button", name="Columns").click()
    page.locator("#columns input[type=checkbox]").first.uncheck()
    page.keyboard.press("Escape")
    assert page.locator("thead th:visible").count() == before - 1
    page.reload()
    assert page.locator("thead th:visible").count() == before - 1


def test_rows_of_users_open_by_double_click_and_keys(open_page: Open) -> None:
    page = open_page("/users")
    page.locator("tbody tr td:nth-child(3)").first.dblclick()
    page.wait_for_url("**/users/**")
    page.go_back()
    page.locator("[data-open]").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/users/**")
