"""The file in service: followed, settled before it counts, and never replaced by a bad one."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from support.experiment_files import PIPELINES

from models.contract.errors import ConfigError
from service.gateway.experiments.file import ExperimentsFollower, ExperimentsLoader

SPLIT = """
[[layers]]
name = "l"
[[layers.experiments]]
name = "{}"
variants = [{{name = "a", weight = 1, pipeline = "cf"}}]
"""
BAD = {
    "not TOML": b"layers = [",
    "not UTF-8": b"\xff\xfe",
    "an unknown pipeline": SPLIT.format("e").replace("cf", "gone").encode(),
    "nested too deep": b"x = " + b"[" * 100_000,
    "an unknown key": b"surprise = 1",
}


class Followed:
    """A follower of a file, and what it told."""

    def __init__(self, path: Path) -> None:
        self.counts: Counter[str] = Counter()
        loader = ExperimentsLoader(path, PIPELINES, "local")
        self.follower = ExperimentsFollower(loader, loader.load(), lambda outcome: self.counts.update([outcome]))

    def look(self, times: int) -> None:
        """At the file. A new content counts at the second look."""
        for _ in range(times):
            asyncio.run(self.follower.follow())

    @property
    def names(self) -> list[str]:
        """The experiments in service."""
        return [experiment.name for experiment in self.follower.current.file.experiments()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "experiments.toml"
    path.write_text(SPLIT.format("old"))
    return path


def test_a_new_content_counts_once_it_was_the_same_twice(path: Path):
    followed = Followed(path)
    assert followed.names == ["old"]
    path.write_text(SPLIT.format("half"))
    followed.look(1)
    path.write_text(SPLIT.format("new"))
    followed.look(1)
    assert followed.names == ["old"]
    followed.look(1)
    assert followed.names == ["new"]
    assert followed.counts == {"loaded": 1}


def test_an_unchanged_file_is_no_new_one(path: Path):
    followed = Followed(path)
    first = followed.follower.current
    path.write_text(path.read_text())
    followed.look(2)
    assert followed.follower.current is first
    assert not followed.counts


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_leaves_the_old_one_in_service(path: Path, bad: str):
    followed, good = Followed(path), path.read_bytes()
    path.write_bytes(BAD[bad])
    followed.look(2)
    followed.look(2)
    assert followed.names == ["old"]
    assert str(path) in followed.follower.refusal
    assert followed.counts == {"refused": 1}
    path.write_bytes(good)
    followed.look(2)
    assert followed.follower.refusal == ""
    assert followed.counts == {"refused": 1, "loaded": 1}


def test_a_file_that_vanishes_and_comes_back(path: Path):
    followed, good = Followed(path), path.read_bytes()
    path.unlink()
    followed.look(2)
    assert followed.names == ["old"]
    assert "No such file" in followed.follower.refusal
    assert followed.counts == {"refused": 1}
    path.write_bytes(good)
    followed.look(2)
    assert followed.follower.refusal == ""


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_at_the_start_is_an_error(path: Path, bad: str):
    path.write_bytes(BAD[bad])
    with pytest.raises(ConfigError, match=r"experiments\.toml: ."):
        ExperimentsLoader(path, PIPELINES, "local").load()


def test_no_file_is_no_experiments():
    experiments = ExperimentsLoader(None, PIPELINES, "local").load()
    assert experiments.assign("u", 0.0).experiments == {}
    assert experiments.assign("u", 0.0).pipeline == "local"
