"""A real Chromium that looks at the console, and notes all that a page does wrong."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

ROOT = Path(__file__).parents[2]
AXE = ROOT / ".browser-tools" / "node_modules" / "axe-core" / "axe.min.js"
HOW = "scripts/tools installs it, or says how"
ARGUMENTS = ["--no-sandbox", "--disable-gpu"]  # containers have no user namespaces
SHOWN_MS = 15_000  # for what a test waits for, on whatever machine
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
SERIOUS = frozenset({"serious", "critical"})


def chromium_path() -> str:
    """The Chromium on the PATH; skips the test where it, or Playwright, is missing."""
    pytest.importorskip("playwright.sync_api", reason=f"no playwright: {HOW}")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return path or pytest.skip(f"no chromium on the PATH: {HOW}")


@contextmanager
def running_browser() -> "Iterator[Browser]":
    """Chromium, driven by Playwright, whose event loop runs meanwhile: no test of asyncio's may come before its end."""
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and what went wrong in it.

    ``troubles`` are errors on the console, exceptions, requests that failed, and those to other origins. A page that
    is left cancels its requests: that is none.
    """

    page: "Page"
    origin: str
    troubles: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Begin to note."""
        self.page.on("console", lambda said: self._note(f"console: {said.text}", said.type in {"error", "warning"}))
        self.page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        self.page.on("request", lambda request: self._note(f"foreign: {request.url}", self._is_foreign(request)))
        self.page.on("requestfailed", lambda request: self._note(*self._failure(request)))

    def forget(self) -> None:
        """Of what is past, nothing counts."""
        self.troubles.clear()

    def go(self, route: str) -> None:
        """To a page of the console, by its address, from the beginning."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.origin}/console#/{route}")

    def _note(self, trouble: str, is_one: bool = True) -> None:
        if is_one:
            self.troubles.append(trouble)

    def _is_foreign(self, request: "Request") -> bool:
        return not request.url.startswith((f"{self.origin}/", "data:"))

    def _failure(self, request: "Request") -> tuple[str, bool]:
        return f"failed: {request.url} {request.failure}", request.failure != "net::ERR_ABORTED"


@contextmanager
def watched_page(browser: "Browser", origin: str, *, viewport: dict[str, int] | None = None) -> Iterator[Watched]:
    """A page of a session of its own, which is watched from its first request."""
    context = browser.new_context(
        viewport=viewport or WIDE,  # type: ignore[arg-type]
        color_scheme="light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(SHOWN_MS)
    try:
        watched = Watched(context.new_page(), origin)
        watched.watch()
        yield watched
    finally:
        context.close()


@cache
def _axe() -> str:
    if not AXE.exists():
        pytest.skip(f"no axe-core in .browser-tools: {HOW}")
    return AXE.read_text(encoding="utf-8")


def barriers(page: "Page") -> list[str]:
    """What keeps people out of the page as it is now: axe's serious and critical violations."""
    page.evaluate(_axe())
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']} ({violation['impact']}): {json.dumps([node['html'][:200] for node in violation['nodes']])}"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
    ]


def sideways(page: "Page") -> int:
    """By how many CSS pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def first_paint_ms(page: "Page") -> float:
    """From the beginning of the navigation to the first text or picture, milliseconds."""
    paints: Any = page.evaluate(
        """() => new Promise((resolve) => new PerformanceObserver((list) => {
            const paint = list.getEntriesByName('first-contentful-paint')[0];
            if (paint) resolve(paint.startTime);
        }).observe({type: 'paint', buffered: true}))"""
    )
    return float(paints)
