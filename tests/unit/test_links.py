"""A run that begins from another one's stages."""

from pathlib import Path

import pytest

from models import stage
from models.stage import COST, link_stages, run_stage


def finish(directory: Path, name: str, text: str, inputs: dict[str, Path] | None = None) -> bool:
    """A stage that writes its text, twice."""

    def work(made: Path) -> None:
        (made / "deep").mkdir()
        for file in ("a.txt", "deep/b.txt", COST):
            (made / file).write_text(text)

    return run_stage(directory / name, name=name, version=1, config={"text": text}, inputs=inputs or {}, work=work)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Two finished stages, one that was interrupted, a run that was begun from this one, and settings."""
    directory = tmp_path / "base"
    finish(directory, "data", "1")
    finish(directory, "local/c00", "2", {"data": directory / "data"})
    finish(directory, "sweeps/other/data", "3")
    (directory / "half").mkdir()
    (directory / "half" / ".started.json").write_text("{}")
    (directory / "run.json").write_text("{}")
    return directory


def test_finished_stages_are_linked_and_reused(base: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    link_stages(base, new)

    assert sorted(path.name for path in new.iterdir()) == ["data", "local"]
    assert (new / "data" / "deep" / "b.txt").samefile(base / "data" / "deep" / "b.txt")
    assert not finish(new, "data", "1")
    assert not finish(new, "local/c00", "2", {"data": new / "data"})


def test_a_stage_that_runs_again_leaves_the_other_run_alone(base: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    link_stages(base, new)

    assert finish(new, "data", "other")
    assert (base / "data" / "a.txt").read_text() == "1"
    assert not finish(base, "data", "1")
    assert finish(new, "local/c00", "2", {"data": new / "data"})


def test_what_the_run_has_stays(base: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    finish(new, "data", "own")
    link_stages(base, new)

    assert (new / "data" / "a.txt").read_text() == "own"
    assert (new / "local" / "c00" / "a.txt").exists()


def test_an_interrupted_link_is_made_anew(base: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    (new / ".data.linked").mkdir(parents=True)
    (new / ".data.linked" / "a.txt").write_text("half")
    link_stages(base, new)

    assert sorted(path.name for path in new.iterdir()) == ["data", "local"]
    assert not finish(new, "data", "1")


def test_another_disk_gets_copies(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(stage.os, "link", refuse)
    link_stages(base, tmp_path / "new")

    assert not (tmp_path / "new" / "data" / "a.txt").samefile(base / "data" / "a.txt")
    assert not finish(tmp_path / "new", "data", "1")
