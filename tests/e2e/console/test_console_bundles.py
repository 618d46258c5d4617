"""Page Bundles in a real browser: nothing happens by accident, and what happens is said."""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Watched
from support.console import Console

from localrec.processes import get

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.redis, pytest.mark.browser]


def bundles(console: Console) -> Any:
    return json.loads(get(console.port, "/admin/bundles")[1])


def test_a_bundle_in_detail(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    manifest = console.bundle.manifest
    watched.go("bundles")
    expect(page.locator("#bundle")).to_contain_text(f"Communities{len(manifest.communities)}")
    expect(page.locator("#bundle")).to_contain_text(f"in {len(manifest.files)} files")
    expect(page.locator("#statistics")).to_contain_text(f"Users{manifest.data_statistics['n_users']}")
    best = max(each["ndcg"] for each in manifest.metrics["fusion on validation, NDCG@10"])
    expect(page.locator("#quality tbody tr").first).to_contain_text(f"{best:.4f}")
    page.locator("#settings summary").click()
    expect(page.locator("#settings")).to_contain_text("communities.n_communities")


def test_activate_asks_first_and_rolls_back(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    before = bundles(console)
    watched.go("bundles")
    row = page.locator(f'.bundle[data-id="{console.other}"]')
    page.get_by_role("button", name=f"Activate {console.other}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{console.other} is served instead of {console.bundle.id}")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert bundles(console) == before

    page.get_by_role("button", name=f"Activate {console.other}").click()
    dialog.get_by_role("button", name="Activate").click()
    expect(page.locator("#switching")).to_have_text(f"{console.other} is in service.", timeout=60_000)
    expect(row).to_contain_text("in service")
    expect(page.locator(".top-bundle")).to_have_text(console.other)
    assert bundles(console)["in_service"] == console.other

    page.get_by_role("button", name="Roll back").click()
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.locator("#switching")).to_have_text(f"{console.bundle.id} is in service.", timeout=60_000)
    expect(row).to_contain_text("previous")
    assert bundles(console)["in_service"] == console.bundle.id


def test_a_broken_bundle_is_refused_with_the_reason(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    watched.go("bundles")
    page.get_by_role("button", name=f"Activate {console.broken}").click()
    page.get_by_role("dialog").get_by_role("button", name="Activate").click()
    said = page.locator("#switching .notice-bad")
    expect(said).to_contain_text(re.compile(f"{console.broken} was not activated: .*items.jsonl is missing"))
    expect(said).to_contain_text(f"{console.bundle.id} stays in service.")
    assert bundles(console)["current"] == console.bundle.id
    expect(page.get_by_role("button", name=f"Activate {console.broken}")).to_be_enabled()
    assert all("409" in trouble for trouble in watched.troubles), watched.troubles
    watched.forget()  # the browser itself writes refusals to its console
