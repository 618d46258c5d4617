"""Every page for everybody: no barriers, on a narrow screen, in light and dark, and quickly."""

from typing import TYPE_CHECKING

import pytest
from support.browser import NARROW, Watched, barriers, first_paint_ms, sideways, watched_page
from support.console import Console

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.redis, pytest.mark.browser]

FIRST_PAINT_MS = 1_000
ATTEMPTS = 3  # the machine may be busy with something else
# What is there when a page has all that it shows.
PAGES = {
    "try?user={user}": ".column-served .row",
    "try?who=history": "#item-search",
    "compare?user={user}": ".column .row",
    "communities": "path.users",
    "experiments": ".counter strong",
    "workers": ".replica .badge",
    "bundles": "#quality table",
}


def show(watched: Watched, route: str, user: str) -> None:
    watched.go(route.format(user=user))
    watched.page.locator(PAGES[route]).first.wait_for()
    watched.page.locator(".loading").wait_for(state="detached")


@pytest.mark.parametrize("route", PAGES)
def test_no_barriers_in_light_and_dark(watched: Watched, page: "Page", user: str, route: str):
    show(watched, route, user)
    light = barriers(page)
    page.emulate_media(color_scheme="dark")
    assert (light, barriers(page)) == ([], [])


@pytest.mark.parametrize("route", PAGES)
def test_narrow_screens_scroll_in_one_direction(browser: "Browser", console: Console, user: str, route: str):
    with watched_page(browser, console.origin, viewport=NARROW) as watched:
        show(watched, route, user)
        assert sideways(watched.page) <= 0
        assert barriers(watched.page) == []
        assert watched.troubles == []


def test_a_dialog_has_no_barriers(watched: Watched, page: "Page", console: Console):
    watched.go("bundles")
    page.get_by_role("button", name=f"Activate {console.other}").click()
    page.get_by_role("dialog").wait_for()
    assert barriers(page) == []
    page.keyboard.press("Escape")


def test_every_page_is_reached_by_keyboard_and_named(watched: Watched, page: "Page"):
    """Each page has one first heading, which has the focus, and a title of its own."""
    from playwright.sync_api import expect

    watched.go("try")
    for name in ("Compare", "Communities", "Experiments", "Workers", "Bundles", "Try"):
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        expect(page).to_have_title(f"{name} · LocalRec console")


def test_first_paint(browser: "Browser", console: Console, record_property):
    """Within a second on this machine, nothing cached."""
    taken = []
    for _ in range(ATTEMPTS):
        with watched_page(browser, console.origin) as watched:
            watched.page.goto(f"{console.origin}/console")
            taken.append(first_paint_ms(watched.page))
        if taken[-1] < FIRST_PAINT_MS:
            break
    record_property("first_contentful_paint_ms", taken)
    print(f"first contentful paint: {', '.join(f'{ms:.0f} ms' for ms in taken)}")
    assert min(taken) < FIRST_PAINT_MS
