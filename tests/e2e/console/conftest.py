"""The service that the browser looks at, and the browser."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.browser import SHOWN_MS, Watched, chromium_path, running_browser, watched_page
from support.console import Console, running_console
from support.runs import FinishedRun

from localrec.processes import get

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with running_browser() as running:
        from playwright.sync_api import expect

        expect.set_options(timeout=SHOWN_MS)
        yield running


@pytest.fixture(scope="session")
def chromium() -> str:
    """Nothing is started for tests that would be skipped."""
    return chromium_path()


@pytest.fixture(scope="session")
def console(chromium: str, tiny_run: FinishedRun) -> Iterator[Console]:
    """Redis, our engine, a gateway with its operators' port, a tiny bundle. Tests leave it as they found it."""
    with (
        tempfile.TemporaryDirectory(prefix="lr-") as directory,
        running_console(tiny_run.bundle, Path(directory)) as running,
    ):
        yield running


@pytest.fixture
def watched(browser: "Browser", console: Console) -> Iterator[Watched]:
    """A page of the console in which nothing may go wrong but what the test forgets."""
    with watched_page(browser, console.origin) as opened:
        yield opened
        assert opened.troubles == []


@pytest.fixture(scope="session")
def user(console: Console) -> str:
    """A user in as many communities as any."""
    portrait = json.loads(get(console.port, "/admin/communities")[1])
    members = [each for community in portrait["communities"] for each in community["members"]]
    return max(members, key=members.count)


@pytest.fixture
def page(watched: Watched) -> "Page":
    return watched.page
