"""What the console says when gateway, Redis, workers or the bundle are away, and who may look at all."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Watched, watched_page
from support.bundles import make_bundle, publish, users_of
from support.gateway import RunningGateway, running_gateway
from support.processes import free_port, wait_until
from support.stub_worker import StubProcess, stub_process

from localrec.redis_server import redis_process, socket_url
from models.contract.bundle import Bundle
from service.gateway.security.keys import digest_of
from service.gateway.settings import Settings

if TYPE_CHECKING:
    import subprocess

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.redis, pytest.mark.browser]

KEY = "lrk_operator"
LOOK_MS = 6_000  # more than the longest time between two looks of a page
SECONDS = 30.0


@dataclass(frozen=True)
class Small:
    """A service whose parts can be taken away: real Redis, a gateway in this process, a stub worker."""

    redis: "subprocess.Popen[bytes]"
    redis_url: str
    stub: StubProcess
    bundle: Bundle
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def gateway(self, **changes: Any) -> Iterator[RunningGateway]:
        """Serve, on the same operators' port each time."""
        settings: dict[str, Any] = {
            "redis_url": self.redis_url,
            "redis_timeout_ms": 300,
            "redis_grace_s": 0.2,
            "bundle_root": self.bundle.directory.parent,
            "bundle_poll_ms": 100,
            "default_deadline_ms": 5_000,
            "default_pipeline": "local",
            "cache": {"ttl_ms": 0},
            "admin": {"port": self.port},
            "pools": [{"name": "local", "urls": [self.stub.url], "probe_interval_ms": 100}],
            "pipelines": {"local": {"kind": "local", "pool": "local"}, "cf": {"kind": "cf"}},
        }
        with running_gateway(Settings(**(settings | changes))) as gateway:
            yield gateway

    def publish(self) -> None:
        publish(self.redis_url, self.bundle, users_of(self.bundle))


@pytest.fixture
def small(browser: "Browser") -> Iterator[Small]:
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="lr-")))
        redis = parts.enter_context(redis_process(directory))
        bundle = make_bundle(directory / "bundles")
        stub = parts.enter_context(stub_process(bundle.base_id, bundle.manifest.model.n_items))
        yield Small(redis, socket_url(directory), stub, bundle, free_port())


@pytest.fixture
def watched(browser: "Browser", small: Small) -> Iterator[Watched]:
    """A page in which only requests may go wrong: the browser writes those to its console itself."""
    with watched_page(browser, small.origin) as opened:
        opened.page.clock.install()
        yield opened
        others = [trouble for trouble in opened.troubles if "Failed to load resource" not in trouble]
        assert [trouble for trouble in others if not trouble.startswith("failed: ")] == []


@pytest.fixture
def page(watched: Watched) -> "Page":
    return watched.page


def expect_notice(page: "Page", text: str) -> None:
    hurry(page, lambda: text in page.locator("#banners").inner_text())


def expect_none(page: "Page") -> None:
    hurry(page, page.locator("#banners").is_hidden)


def hurry(page: "Page", condition: Callable[[], bool]) -> None:
    """Let the page look again and again, without waiting in between, until a condition holds."""

    def look() -> bool:
        page.clock.run_for(LOOK_MS)
        return condition()

    wait_until(look, SECONDS)


def test_a_gateway_that_goes_and_comes_back(small: Small, watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    small.publish()
    with small.gateway() as gateway:
        gateway.wait_ready()
        watched.go("workers")
        expect(page.locator(".replica")).to_contain_text("ready")
        expect_none(page)
    expect_notice(page, "Gateway unreachable.")
    hurry(page, lambda: "Gateway unreachable" in page.get_by_role("alert").first.inner_text())
    with small.gateway() as gateway:
        gateway.wait_ready()
        expect_none(page)
        hurry(page, lambda: page.get_by_role("alert").count() == 0)


def test_redis_that_falls_silent(small: Small, watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    small.publish()
    with small.gateway() as gateway:
        gateway.wait_ready()
        watched.go("bundles")
        expect(page.locator(".bundle")).to_contain_text("in service")
        small.redis.send_signal(signal.SIGSTOP)
        try:
            expect_notice(page, "Redis is down.")
            hurry(page, lambda: "Redis is down" in page.get_by_role("alert").first.inner_text())
        finally:
            small.redis.send_signal(signal.SIGCONT)
        expect_none(page)
        hurry(page, lambda: page.get_by_role("alert").count() == 0)


def test_workers_that_are_gone(small: Small, watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    small.publish()
    with small.gateway() as gateway:
        gateway.wait_ready()
        watched.go("try?user=u0")
        expect(page.get_by_role("region", name="Served list").get_by_role("button").first).to_be_visible()
        small.stub.kill()
        expect_notice(page, "Workers.")
        page.get_by_role("link", name="Workers").click()
        hurry(page, lambda: page.locator(".replica .badge").first.inner_text() == "down")
        small.stub.start()
        expect_none(page)
        hurry(page, lambda: page.locator(".replica .badge").first.inner_text() == "ready")


def test_no_bundle_in_service(small: Small, watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    with small.gateway():
        watched.go("communities")
        expect_notice(page, "No bundle in service.")
        expect(page.get_by_role("alert")).to_contain_text("No bundle in service")
        watched.go("bundles")
        expect(page.locator("#published")).to_contain_text("Nothing is published")


def test_what_there_is_not_is_said_with_how_to_get_it(small: Small, watched: Watched, page: "Page"):
    from playwright.sync_api import expect

    small.publish()
    with small.gateway() as gateway:
        gateway.wait_ready()
        watched.go("communities")
        expect(page.locator("#page")).to_contain_text("This bundle has no portrait of its communities")
        watched.go("experiments")
        expect(page.locator("#page")).to_contain_text("No experiments")
        expect(page.locator("#report")).to_contain_text("localrec experiment report NAME")


def test_sign_in_with_a_key(small: Small, watched: Watched, page: "Page", tmp_path: Path):
    """Nothing is shown before; a wrong key is refused, one without the scope too; the right one lasts."""
    from playwright.sync_api import expect

    keys = tmp_path / "keys.toml"
    keys.write_text(entry("operator", KEY, "admin") + entry("shop", "lrk_shop", "recommend"))
    small.publish()
    with small.gateway(security={"keys_file": keys}) as gateway:
        watched.go("bundles")
        dialog = page.get_by_role("dialog", name="Sign in")
        expect(dialog.get_by_label("API key")).to_be_focused()
        expect(page.locator(".bundle")).to_have_count(0)
        dialog.get_by_label("API key").fill("lrk_wrong")
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_be_visible()
        dialog.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.locator(".bundle")).to_contain_text("in service")
        page.reload()
        expect(page.locator(".bundle")).to_contain_text("in service")
        refused = gateway.metric('localrec_access_total{key="",outcome="')
        assert refused > 0
        page.get_by_role("button", name="Sign out").click()
        expect(dialog).to_be_visible()
        dialog.get_by_label("API key").fill("lrk_shop")
        page.keyboard.press("Enter")
        expect(page.locator("#page")).to_contain_text("Not allowed")


def entry(name: str, key: str, scope: str) -> str:
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest_of(key.encode()).hex()}"\nscopes = ["{scope}"]\n'
