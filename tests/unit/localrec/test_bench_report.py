"""What a measurement says about itself."""

import subprocess
from pathlib import Path

import pytest

from localrec.bench.report import commit


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit: code, and a table of results."""
    git(tmp_path, "init", "--quiet")
    for name in ("code.py", "docs/table.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("as committed\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "All there is")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_clean_checkout_is_its_short_hash(checkout: Path) -> None:
    (checkout / "untracked.txt").write_text("no code\n")
    assert commit() == git(checkout, "rev-parse", "--short", "HEAD")


def test_changed_code_makes_it_dirty(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "code.py").write_text("changed\n")
    assert commit() == f"{git(checkout, 'rev-parse', '--short', 'HEAD')}-dirty"
    monkeypatch.chdir(checkout / "docs")
    assert commit().endswith("-dirty")


def test_results_that_were_just_written_do_not(checkout: Path) -> None:
    (checkout / "docs" / "table.md").write_text("measured again\n")
    assert commit() == git(checkout, "rev-parse", "--short", "HEAD")


def test_outside_of_a_checkout_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == "unknown"


def test_without_git_it_is_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert commit() == "unknown"
