"""The console's files: their own tests, run by node, and what the Content-Security-Policy asks of them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONSOLE = ROOT / "service" / "console"
TESTS = sorted((ROOT / "tests" / "console").glob("*.test.mjs"))
SCRIPTS = sorted(CONSOLE.rglob("*.js"))
OLDEST_NODE = (20, 19)  # from it on, node knows a module by its imports
MAX_BYTES = 400_000  # of all files together, uncompressed

_IMPORT = re.compile(r"""(?:from|import|import\()\s*["'`](\.[^"'`]+)["'`]""")
_MARKUP_FROM_TEXT = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: apt-get install nodejs, or https://nodejs.org")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(part) for part in version.strip("v\n").split(".")[:2]) < OLDEST_NODE:
        pytest.skip(f"node {version.strip()} is too old: expected 20.19 or later")
    return node


def test_the_modules_pass_their_own_tests() -> None:
    assert TESTS
    command = [_node(), "--test", "--test-reporter=tap", *map(str, TESTS)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stdout[-8_000:] + run.stderr[-2_000:]
    passed = re.search(r"^# pass (\d+)$", run.stdout, re.MULTILINE)
    assert passed
    assert int(passed[1]) >= len(TESTS)


class _Page(HTMLParser):
    """What a page loads and links to, and what its policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.blocked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.blocked += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag in ("script", "style") and "src" not in given:
            self.blocked.append(f"inline {tag}")
        source = given.get("src") or (given.get("href") if tag == "link" else None)
        if source:
            self.loaded.append(source)


def test_the_page_holds_no_script_and_no_style_and_loads_only_files_that_are_there() -> None:
    page = _Page()
    page.feed((CONSOLE / "index.html").read_text())
    assert page.blocked == []
    assert "/console/main.js" in page.loaded
    for path in page.loaded:
        assert path.startswith("/console/"), path
        assert (CONSOLE / path.removeprefix("/console/")).is_file(), path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(CONSOLE)))
def test_a_module_imports_files_that_are_there_and_makes_no_markup_of_text(script: Path) -> None:
    source = script.read_text()
    for wanted in _IMPORT.findall(source):
        assert "${" in wanted or (script.parent / wanted).resolve().is_file(), wanted
    assert not _MARKUP_FROM_TEXT.search(source)


def _foreign(text: str) -> Iterator[str]:
    """Addresses outside, but for the names of XML namespaces."""
    return (url for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w./-]*", text) if "www.w3.org" not in url)


def test_nothing_comes_from_outside_and_the_whole_is_light() -> None:
    files = [path for path in CONSOLE.rglob("*") if path.is_file()]
    assert [url for path in files for url in _foreign(path.read_text())] == []
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
