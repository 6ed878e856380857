"""A person listens at a browser: real sound and a real picture, sought in, by mouse, keys and address."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import PHONE
from tests.browser.recorded import SECONDS

pytestmark = pytest.mark.browser
LIST = "/call-statistics/recordings"
READY = f"{LIST}?state=ready"  # other tests may have left calls whose files never came
Open = Callable[..., Any]
MEDIA = "document.querySelector('[data-media]')"
PLAYS = f"() => {MEDIA}.currentTime > {{since}} && !{MEDIA}.paused"


def media(page: Any, what: str) -> Any:
    return page.evaluate(f"() => {MEDIA}.{what}")


def open_sound(page: Any) -> None:
    """From the list, as one opens any row."""
    page.locator("tbody tr", has_text="Audio").first.locator("td").nth(3).dblclick()
    page.wait_for_url(f"**{LIST}/*")


def play(page: Any) -> None:
    page.get_by_role("button", name="Play", exact=True).first.click()


def test_double_click_opens_the_player_and_it_plays(open_page: Open) -> None:
    page = open_page(READY)
    open_sound(page)
    assert media(page, "readyState") == 0, "nothing is fetched before somebody plays"
    play(page)
    page.wait_for_function(PLAYS.format(since=0.3))
    assert round(media(page, "duration")) == SECONDS
    page.get_by_role("button", name="Pause").click()
    assert media(page, "paused")

    page.reload()
    assert "Ruth Adler" not in page.inner_text("#listeners")
    assert "admin" in page.inner_text("#listeners")
    assert page.locator("#listeners tbody tr").count() == 1


def test_waveform_and_keys_seek(open_page: Open) -> None:
    page = open_page(READY)
    open_sound(page)
    wave = page.get_by_role("slider", name="Position")
    wave.click(position={"x": wave.bounding_box()["width"] * 0.9, "y": 40})
    play(page)
    page.wait_for_function(PLAYS.format(since=45))
    page.get_by_role("button", name="Pause").click()
    before = media(page, "currentTime")
    page.locator("h1").click()
    for key, by in (("ArrowLeft", -10), ("ArrowLeft", -10), ("ArrowRight", 10)):
        page.keyboard.press(key)
        before += by
        page.wait_for_function(f"() => Math.abs({MEDIA}.currentTime - {before}) < 0.5")
    page.keyboard.press(">")
    assert media(page, "playbackRate") == 1.25
    page.keyboard.press(" ")
    page.wait_for_function(f"() => !{MEDIA}.paused")
    wave.press("Home")
    page.wait_for_function(f"() => {MEDIA}.currentTime < 5")
    assert wave.get_attribute("aria-valuetext").endswith("of 1:00")


def test_click_in_a_gap_means_its_far_side(open_page: Open) -> None:
    page = open_page(READY)
    open_sound(page)
    gap = page.locator("rect.paused-gap").first.bounding_box()
    page.mouse.click(gap["x"] + gap["width"] / 2, gap["y"] + gap["height"] / 2)
    assert page.locator("[data-clock]").inner_text() == "0:20"


def test_address_holds_the_second(open_page: Open) -> None:
    page = open_page(READY)
    open_sound(page)
    page.goto(f"{page.url.split('?')[0]}?t=41")
    assert page.locator("[data-clock]").inner_text() == "0:41"
    assert page.locator("[data-link]").get_attribute("data-copy").endswith("?t=41")
    play(page)
    page.wait_for_function(PLAYS.format(since=41.2))
    assert media(page, "currentTime") < 55


def test_picture_plays_and_is_sought_in(open_page: Open) -> None:
    page = open_page(f"{LIST}?medium=video")
    page.locator("[data-open]").first.click()
    page.wait_for_url(f"**{LIST}/*")
    play(page)
    page.wait_for_function(PLAYS.format(since=0.2))
    assert (media(page, "videoWidth"), round(media(page, "duration"))) == (320, 8)
    wave = page.get_by_role("slider", name="Position")
    wave.click(position={"x": wave.bounding_box()["width"] * 0.75, "y": 40})
    page.wait_for_function(f"() => {MEDIA}.currentTime > 5.5")


def test_call_is_played_from_the_list_of_calls(open_page: Open) -> None:
    page = open_page(READY)
    session_id = page.locator("[data-copy]").first.get_attribute("data-copy")
    page.goto(f"{page.url.split('/call-')[0]}/call-statistics/cdr?session_id={session_id}")
    page.get_by_role("link", name="Recorded: play the recording").click()
    page.wait_for_url("**#recordings")
    play(page)
    page.wait_for_function(PLAYS.format(since=0.2))
    page.locator("#recordings").get_by_role("link", name="Call Recordings").click()
    page.wait_for_url(f"**{LIST}?session_id={session_id}")
    assert page.locator("[data-open]").count() == 2


def test_marked_rows_say_how_much_they_are(open_page: Open) -> None:
    page = open_page(READY)
    page.get_by_label("Select all on this page").check()
    bar = page.get_by_role("region", name="Selection")
    assert "2 selected, 1:08" in bar.inner_text()
    bar.get_by_role("button", name="Clear the selection").click()
    assert not bar.is_visible()


def test_without_scripts_it_plays_and_tells_the_same(open_page: Open) -> None:
    page = open_page(READY, scripts=False)
    page.locator("tbody tr", has_text="Audio").first.locator("[data-open]").click()
    page.wait_for_url(f"**{LIST}/*")
    sound = page.locator("audio")
    assert sound.is_visible()
    assert sound.get_attribute("controls") is not None
    assert page.locator("use.peaks").count() == 4
    page.get_by_text("Show as a table").click()
    assert "Paused by 101 by feature code" in page.get_by_role("table", name="What is recorded").inner_text()
    assert page.get_by_role("link", name="Download").first.is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_phone_never_scrolls_sideways(open_page: Open, theme: str) -> None:
    page = open_page(READY, color_scheme=theme)
    page.set_viewport_size(PHONE)
    for go in (lambda: None, lambda: page.locator("[data-open]").first.click()):
        go()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
