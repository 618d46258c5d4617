"""What the tests of the console check with finds what it should: pages with known faults."""

import json
from typing import TYPE_CHECKING

import pytest
from support.browser import NARROW, barriers, first_paint_ms, sideways, watched_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.browser

ORIGIN = "http://console.test"
SOUND = "<!doctype html><html lang=en><title>Sound</title><main><h1>Sound</h1><p>All is well.</p></main></html>"
FAULTY = """<!doctype html><html lang=en><title>Faulty</title><main><h1>Faulty</h1>
<input name=unlabelled><p style="color: #bbb; background: #fff">hard to read</p><div style="width: 500px">wide</div>
<script>
console.error("said");
fetch("http://elsewhere.test/data").catch(() => {});
fetch("/gone").catch(() => {});
setTimeout(() => { throw new Error("thrown"); });
</script></main></html>"""


def answer(route: "Route") -> None:
    """Serve both pages; what else is asked for does not answer."""
    pages = {f"{ORIGIN}/sound": SOUND, f"{ORIGIN}/faulty": FAULTY}
    page = pages.get(route.request.url)
    if page is None:
        route.abort("connectionrefused")
    else:
        route.fulfill(body=page, content_type="text/html")


def test_a_sound_page_has_no_troubles_and_no_barriers(browser: "Browser"):
    with watched_page(browser, ORIGIN, viewport=NARROW) as watched:
        watched.page.context.route("**/*", answer)
        watched.page.goto(f"{ORIGIN}/sound")
        assert 0 < first_paint_ms(watched.page) < 60_000
        assert barriers(watched.page) == []
        assert sideways(watched.page) == 0
        assert watched.troubles == []


def test_every_fault_is_found(browser: "Browser"):
    with watched_page(browser, ORIGIN, viewport=NARROW) as watched:
        watched.page.context.route("**/*", answer)
        watched.page.goto(f"{ORIGIN}/faulty", wait_until="networkidle")
        found = " ".join(barriers(watched.page))
        assert "color-contrast" in found
        assert "label" in found
        assert sideways(watched.page) > 100
        said = json.dumps(watched.troubles)
        for trouble in ("console: said", "exception: thrown", "foreign: http://elsewhere.test/data", "failed: "):
            assert trouble in said, trouble
