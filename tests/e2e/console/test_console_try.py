"""Pages Try and Compare in a real browser over a real service."""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Watched
from support.console import Console

from localrec.processes import post

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.redis, pytest.mark.browser]


def tried(console: Console, **body: Any) -> list[str]:
    """The titles of the list that the operators' API gives."""
    status, answer = post(console.port, "/admin/try", body)
    assert status == 200, answer
    return [item["title"] for item in json.loads(answer)["answer"]["items"]]


def served(page: "Page") -> "Locator":
    return page.get_by_role("region", name="Served list").locator(".row .row-title")


def expect_list(page: "Page", titles: list[str]) -> None:
    from playwright.sync_api import expect

    expect(served(page)).to_have_text(titles)


def test_a_picked_users_list_is_that_of_the_service(watched: Watched, page: "Page", console: Console, user: str):
    from playwright.sync_api import expect

    watched.go("try")
    page.get_by_role("combobox", name="User").press_sequentially(user[:2])
    page.get_by_role("option", name=user, exact=True).click()
    expect_list(page, tried(console, request={"user_id": user, "n": 10}))
    expect(page).to_have_url(re.compile(f"user={user}"))


def test_fusion_k_and_communities_move_the_list(watched: Watched, page: "Page", console: Console, user: str):
    from playwright.sync_api import expect

    watched.go(f"try?user={user}")
    request = {"user_id": user, "n": 10}
    expect_list(page, tried(console, request=request))
    page.get_by_label("Fusion").select_option("rrf")
    enter(page, "k", "37")
    expect_list(page, tried(console, request=request, overrides={"fusion": {"method": "rrf", "k": 37}}))
    expect(page).to_have_url(re.compile(r"method=rrf.*k=37"))
    enter(page, "communities", "1")
    one = {"max_communities": 1, "fusion": {"method": "rrf", "k": 37}}
    expect_list(page, tried(console, request=request, overrides=one))
    page.get_by_label("Pipeline").select_option("cf")
    other = tried(console, request=request, pipeline="cf")
    expect_list(page, other)
    assert other != tried(console, request=request, overrides=one)
    expect(page.locator("#changed")).to_contain_text(re.compile(r"Since the list before: .*(up|down|new)"))
    expect(page.locator(".move").first).to_be_visible()


def test_the_address_holds_what_is_tried(watched: Watched, page: "Page", console: Console, user: str):
    watched.go(f"try?user={user}&method=count&n=5")
    five, three = (
        tried(console, request={"user_id": user, "n": n}, overrides={"fusion": {"method": "count"}}) for n in (5, 3)
    )
    assert (len(five), len(three)) == (5, 3)
    expect_list(page, five)
    enter(page, "n", "3")
    expect_list(page, three)
    page.go_back()
    expect_list(page, five)


def test_a_composed_history_is_ranked_and_reordered(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    watched.go("try")
    page.get_by_label("A history").check()
    search = page.get_by_role("combobox", name="Add items")
    chosen = page.get_by_role("list", name="History, oldest first").locator(".composed-title")
    titles = titles_of(console)[:2]
    for title in titles:
        search.press_sequentially(title)
        page.get_by_role("option", name=title).first.click()
    expect(chosen).to_have_text(titles)
    expect_list(page, ranked_after(console, titles))
    page.get_by_role("button", name=f"Move up {titles[1]}").press("Enter")
    expect(chosen).to_have_text(titles[::-1])
    expect_list(page, ranked_after(console, titles[::-1]))
    page.get_by_role("button", name=f"Remove {titles[1]}").press("Enter")
    expect(chosen).to_have_text(titles[:1])
    expect(page).to_have_url(re.compile(r"who=history&history=[^&]+$"))


def test_try_by_keyboard_alone(watched: Watched, page: "Page"):
    """From the address bar: skip the navigation, pick a user, walk through the list, ask why, change the fusion."""
    from playwright.sync_api import expect

    watched.go("try")
    expect(page.get_by_role("combobox", name="User")).to_be_visible()
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, page.get_by_role("combobox", name="User"))
    keys.type("u0")
    expect(page.get_by_role("option").first).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(served(page).first).to_be_visible()
    tab_to(page, page.get_by_label("Fusion"))
    keys.press("ArrowDown")
    rows = page.get_by_role("region", name="Served list").get_by_role("button")
    tab_to(page, rows.first)
    keys.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    keys.press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("heading", name=re.compile("^Why .* is 2nd$"))).to_be_visible()


def test_why_an_item_is_where_it_is(watched: Watched, page: "Page", user: str):
    from playwright.sync_api import expect

    watched.go(f"try?user={user}")
    title = served(page).nth(2).inner_text()
    served(page).nth(2).click()
    expect(page.locator("#why-title")).to_have_text(f"Why “{title}” is 3rd")
    voters = page.locator("#why").get_by_role("row")
    expect(voters.filter(has_text="Community")).not_to_have_count(0)
    expect(page.locator("#course")).to_contain_text("Fuse")
    expect(page.locator("#seen")).to_contain_text(re.compile(r"\w"))


def test_an_unknown_user_gets_a_list_and_a_word(watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    watched.go("try?user=nobody-yet")
    expect(served(page).first).to_be_visible()
    expect(page.locator("#lists")).to_contain_text("Nothing is known of the user")


def test_two_pipelines_are_compared(watched: Watched, page: "Page", console: Console, user: str):
    from playwright.sync_api import expect

    watched.go(f"compare?user={user}")
    request = {"user_id": user, "n": 10}
    local, cf = tried(console, request=request, pipeline="local"), tried(console, request=request, pipeline="cf")
    first, second = (page.get_by_role("region", name=f"Side {side}").locator(".row .row-title") for side in "AB")
    expect(first).to_have_text(local)
    expect(second).to_have_text(cf)
    shared = f"{len(set(local) & set(cf))} of {len(local)}"
    expect(page.locator('[data-measure="shared"] .figure-value')).to_have_text(shared)
    page.get_by_role("button", name="Swap sides").click()
    expect(first).to_have_text(cf)
    expect(second).to_have_text(local)


def titles_of(console: Console) -> list[str]:
    return [item["title"] for item in catalogue(console)]


def ranked_after(console: Console, titles: list[str]) -> list[str]:
    """The list of somebody of whom a history is all that is known."""
    return tried(console, request={"user_id": "nobody", "n": 10, "history": items_of(console, titles)})


def items_of(console: Console, titles: list[str]) -> list[str]:
    ids = {item["title"]: item["item_id"] for item in catalogue(console)}
    return [ids[title] for title in titles]


def catalogue(console: Console) -> list[dict[str, str]]:
    lines = (console.bundle.directory / "items.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def enter(page: "Page", name: str, value: str) -> None:
    """Type into a field of numbers, by its name."""
    control = page.locator(f'input[name="{name}"]')
    control.fill(value)
    control.press("Enter")


def tab_to(page: "Page", wanted: "Locator") -> None:
    """Press Tab until an element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("(each) => each === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached by Tab")
