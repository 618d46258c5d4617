"""Pages Communities, Experiments and Workers in a real browser over a real service."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Watched
from support.console import Console
from support.processes import wait_until

from localrec.processes import get, post

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.redis, pytest.mark.browser]

REQUESTS = 20
LOOK_MS = 6_000  # more than the longest time between two looks of a page


def asked(console: Console, path: str) -> Any:
    status, body = get(console.port, path)
    assert status == 200, body
    return json.loads(body)


def test_communities_as_the_bundle_has_them(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    portrait = asked(console, "/admin/communities")
    watched.go("communities")
    expect(page.get_by_role("img", name="Map of users and anchors")).to_be_visible()
    sizes = page.locator("#sizes tbody tr")
    expect(sizes).to_have_count(len(portrait["communities"]))
    for row, community in enumerate(portrait["communities"]):
        expect(sizes.nth(row)).to_contain_text(str(community["n_users"]))
    page.locator('#sizes button[data-community="1"]').press("Enter")
    second = portrait["communities"][1]
    expect(page.get_by_role("heading", name=re.compile("^Community 1"))).to_be_visible()
    expect(page.locator("#items tbody th")).to_have_text([item["title"] for item in second["items"]])
    expect(page.locator("#members a")).to_have_text(second["members"])
    share = f"{portrait['overlap'][1][0]:.0%}".replace("%", " %")
    expect(page.locator("#overlap tbody tr").nth(1).locator("td").first).to_have_text(share)
    expect(page).to_have_url(re.compile("community=1"))


def test_users_on_the_map_are_all_drawn(watched: Watched, page: "Page", console: Console):
    drawn = asked(console, "/admin/communities")["map"]["users"]
    watched.go("communities")
    page.locator("path.users").first.wait_for()
    marks = "paths => paths.reduce((sum, path) => sum + path.getAttribute('d').split('M').length - 1, 0)"
    assert page.locator("path.users").evaluate_all(marks) == len(drawn)


def test_a_member_leads_to_try(watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    watched.go("communities")
    member = page.locator("#members a").first
    user = member.inner_text()
    member.click()
    expect(page.get_by_role("combobox", name="User")).to_have_value(user)
    expect(page.get_by_role("region", name="Served list").get_by_role("button").first).to_be_visible()


def counter(page: "Page", experiment: str, variant: str, name: str) -> "Locator":
    row = page.locator(f"#experiment-{experiment} tbody tr").filter(has=page.locator(f'[data-variant="{variant}"]'))
    return row.locator(f'[data-counter="{name}"] strong')


def shown(page: "Page", experiment: str, *variants: str) -> int:
    return sum(int(counter(page, experiment, each, "assignments").inner_text()) for each in variants)


def test_counters_of_experiments_rise_with_requests(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    page.clock.install()
    watched.go("experiments")
    for variant in ("control", "diverse"):
        expect(counter(page, "variety", variant, "assignments")).to_have_text("0")
    answers = [ask(console, f"visitor-{number}") for number in range(REQUESTS)]
    of_diverse = sum(answer["experiments"].get("variety") == "diverse" for answer in answers)
    in_variety = sum("variety" in answer["experiments"] for answer in answers)
    assert 0 < of_diverse < in_variety <= REQUESTS
    page.clock.run_for(LOOK_MS)
    expect(counter(page, "variety", "diverse", "assignments")).to_have_text(str(of_diverse))
    assert shown(page, "variety", "control", "diverse") == in_variety
    expect(counter(page, "local-against-cf", "cf", "p95")).to_have_text(re.compile(r"\d ms$"))
    expect(counter(page, "local-against-cf", "cf", "degraded")).to_have_text("0 %")


def ask(console: Console, user_id: str) -> Any:
    status, body = post(console.stack.gateway_port, "/recommend", {"user_id": user_id, "n": 3})
    assert status == 200, body
    return json.loads(body)


def test_what_an_experiment_is_and_has_shown(watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    watched.go("experiments")
    local = page.locator("#experiment-local-against-cf")
    expect(local).to_contain_text("pipeline local; deadline 9000 ms; fusion: RRF, k 20")
    expect(local).to_contain_text("90 % of the layer's users, from 0 % to 90 %")
    expect(page.locator("#shadows")).to_contain_text("cf-beside")
    report = page.locator("#report")
    expect(report.get_by_role("heading")).to_have_text("Report: simulated")
    expect(report.get_by_role("row").filter(has_text="Clicks per list")).to_contain_text("More, better; holds")
    expect(report.locator("svg.interval").first).to_have_accessible_name(re.compile("at any look from"))


def test_a_new_file_of_experiments_is_shown_and_a_bad_one_named(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    file = console.directory / "experiments.toml"
    good, bad = file.read_text(), "layers = 7"
    page.clock.install()
    watched.go("experiments")
    expect(page.locator("#experiment-variety")).to_contain_text("running")
    try:
        put_in_force(page, console, file, f"kill_switch = true\n{good}")
        expect(page.locator("#experiment-variety")).to_contain_text("stopped by the kill switch")
        put_in_force(page, console, file, bad)
        expect(page.get_by_text("The file as it is now is not in force.")).to_be_visible()
    finally:
        put_in_force(page, console, file, good)
    expect(page.locator("#experiment-variety")).to_contain_text("running")


def put_in_force(page: "Page", console: Console, file: Path, content: str) -> None:
    """Write a file of experiments, wait until the service has seen it, and let the page's next look come at once."""
    before = asked(console, "/admin/experiments")
    file.write_text(content)
    wait_until(lambda: asked(console, "/admin/experiments") != before, 20, "the file")
    page.clock.run_for(LOOK_MS)


def test_a_killed_worker_is_shown_as_down_and_comes_back(watched: Watched, page: "Page", console: Console):
    from playwright.sync_api import expect

    replica = page.locator(".replica")
    watched.go("workers")
    expect(replica).to_contain_text("ready")
    expect(replica).to_contain_text(f"{console.bundle.id}")
    expect(replica.locator("summary")).to_have_text(re.compile(r"[3-9] resident"))
    console.stack.worker.kill()
    expect(replica.locator(".badge").first).to_have_text("down")
    expect(replica.locator(".notice-bad")).to_contain_text(re.compile(r"\w"))
    expect(page.locator("#banners")).to_contain_text("Workers")
    console.restart_worker()
    expect(replica.locator(".badge").first).to_have_text("ready", timeout=60_000)
    expect(page.locator("#banners")).to_be_hidden()
    wait_until(lambda: asked(console, "/admin/service")["warnings"] == [], 30)


def test_refreshing_can_be_paused(watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    looks: list[str] = []
    page.clock.install()
    watched.go("workers")
    expect(page.locator(".replica")).to_be_visible()
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.locator("#age")).to_contain_text("Paused")
    page.on("request", lambda request: looks.append(request.url) if request.url.endswith("/admin/workers") else None)
    page.clock.run_for(LOOK_MS)
    assert looks == []
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.locator("#age")).not_to_contain_text("Paused")
    page.clock.run_for(LOOK_MS)
    wait_until(lambda: page.evaluate("1") == 1 and bool(looks), what="looks at the workers")
