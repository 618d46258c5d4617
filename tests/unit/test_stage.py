"""A stage runs once per content of its configuration and inputs, and its record means that it is complete."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.contract.bundle import hash_file
from models.contract.errors import DataError
from models.stage import RECORD, STARTED, digest, run_stage


@dataclass(frozen=True)
class Settings:
    """A configuration with everything that configurations hold."""

    epochs: int = 3
    share: float = 0.5
    cutoffs: tuple[int, ...] = (5, 10)
    min_rating: float | None = None


class Stage:
    """A stage that copies its input, and counts how often."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "stage"
        self.source = root / "input.txt"
        self.source.write_text("data")
        self.runs = 0

    def work(self, directory: Path) -> None:
        self.runs += 1
        (directory / "deep").mkdir(exist_ok=True)
        (directory / "deep" / "copy.txt").write_text(self.source.read_text())

    def run(self, config: Any = Settings(), *, work: Callable[[Path], None] | None = None, **changes: Any) -> bool:
        arguments = {"name": "copy", "version": 1, "inputs": {"source": self.source}} | changes
        return run_stage(self.directory, config=config, work=work or self.work, **arguments)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage that has not run."""
    return Stage(tmp_path)


def failing(directory: Path) -> None:
    (directory / "half.txt").write_text("half")
    raise RuntimeError("power cut")


class TestReuse:
    def test_the_second_run_does_nothing(self, stage: Stage) -> None:
        assert stage.run() is True
        assert stage.run() is False
        assert stage.runs == 1

    @pytest.mark.parametrize("config", [None, {"regs": (1.0, 2.5)}, {"nested": {"a": [1, None]}}, Settings(), {1: "a"}])
    def test_whatever_the_configuration_holds(self, stage: Stage, config: Any) -> None:
        assert [stage.run(config), stage.run(config)] == [True, False]

    @pytest.mark.parametrize(
        ("before", "now"),
        [
            ({"epochs": 3}, {"epochs": 3, "targets": None}),
            ({"epochs": 3, "targets": None}, {"epochs": 3}),
            ({"local": {"epochs": 3}}, {"local": {"epochs": 3, "targets": None}}),
            ({"fusions": [{"k": 60}]}, {"fusions": [{"k": 60, "voters": None}]}),
        ],
    )
    def test_a_setting_that_is_unset_does_not_count(self, stage: Stage, before: Any, now: Any) -> None:
        assert [stage.run(before), stage.run(now)] == [True, False]

    def test_times_do_not_count(self, stage: Stage) -> None:
        stage.run()
        for path in (stage.source, stage.directory / "deep" / "copy.txt", stage.directory / RECORD):
            os.utime(path, (1, 1))

        assert stage.run() is False

    def test_the_place_of_an_input_does_not_count(self, stage: Stage) -> None:
        stage.run()
        stage.source = stage.source.rename(stage.source.with_name("moved.txt"))

        assert stage.run() is False

    def test_a_record_says_what_was_done_from_what(self, stage: Stage) -> None:
        stage.run()

        record = json.loads((stage.directory / RECORD).read_text())
        assert (record["name"], record["version"]) == ("copy", 1)
        assert record["config"] == {"epochs": 3, "share": 0.5, "cutoffs": [5, 10], "min_rating": None}
        assert record["inputs"] == {"source": hash_file(stage.source).sha256}
        assert record["outputs"] == {"deep/copy.txt": hash_file(stage.source).sha256}
        assert sorted(path.name for path in stage.directory.iterdir()) == ["deep", RECORD]


class TestAgain:
    @pytest.mark.parametrize(
        "config", [Settings(epochs=4), Settings(cutoffs=(10, 5)), Settings(min_rating=4.0), {"epochs": 3}]
    )
    def test_another_configuration(self, stage: Stage, config: Any) -> None:
        stage.run()

        assert stage.run(config) is True
        assert stage.run(config) is False

    @pytest.mark.parametrize(
        ("before", "now"),
        [
            ({"share": None}, {"share": 0}),
            ({"share": None}, {"share": ""}),
            ({"local": {"share": None}}, {"local": {"share": 0.5}}),
            ({"regs": [None]}, {"regs": []}),
        ],
    )
    def test_a_setting_that_was_unset_and_is_set(self, stage: Stage, before: Any, now: Any) -> None:
        assert [stage.run(before), stage.run(now)] == [True, True]

    @pytest.mark.parametrize("change", [{"version": 2}, {"name": "other"}, {"inputs": {}}])
    def test_another_version_name_or_set_of_inputs(self, stage: Stage, change: dict[str, Any]) -> None:
        stage.run()

        assert stage.run(**change) is True

    def test_another_content_of_an_input(self, stage: Stage) -> None:
        stage.run()
        stage.source.write_text("date")

        assert stage.run() is True
        assert (stage.directory / "deep" / "copy.txt").read_text() == "date"

    def test_inputs_that_changed_places(self, stage: Stage, tmp_path: Path) -> None:
        other = tmp_path / "other.txt"
        other.write_text("other")
        stage.run(inputs={"a": stage.source, "b": other})

        assert stage.run(inputs={"a": other, "b": stage.source}) is True

    def test_one_byte_of_an_output(self, stage: Stage) -> None:
        stage.run()
        (stage.directory / "deep" / "copy.txt").write_text("dato")

        assert stage.run() is True
        assert (stage.directory / "deep" / "copy.txt").read_text() == "data"

    def test_an_output_lost(self, stage: Stage) -> None:
        stage.run()
        (stage.directory / "deep" / "copy.txt").unlink()

        assert stage.run() is True

    def test_a_file_that_the_stage_did_not_write_is_cleared(self, stage: Stage) -> None:
        stage.run()
        (stage.directory / "deep" / RECORD).write_text("{}")  # not even one that looks like the record

        assert stage.run() is True
        assert not (stage.directory / "deep" / RECORD).exists()

    @pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"name": "\xff"}'])
    def test_a_record_that_cannot_be_read(self, stage: Stage, content: bytes) -> None:
        stage.run()
        (stage.directory / RECORD).write_bytes(content)

        assert stage.run() is True


class TestInterrupted:
    @pytest.mark.parametrize("resumable", [False, True])
    def test_failed_work_leaves_no_record(self, stage: Stage, resumable: bool) -> None:
        with pytest.raises(RuntimeError, match="power cut"):
            stage.run(work=failing, resumable=resumable)

        assert not (stage.directory / RECORD).exists()
        assert stage.run(resumable=resumable) is True

    def test_a_failed_second_run_does_not_leave_the_first_ones_record(self, stage: Stage) -> None:
        stage.run()
        with pytest.raises(RuntimeError):
            stage.run(Settings(epochs=4), work=failing)

        assert stage.run() is True

    def test_what_is_left_is_cleared(self, stage: Stage) -> None:
        with pytest.raises(RuntimeError):
            stage.run(work=failing)

        stage.run()

        assert not (stage.directory / "half.txt").exists()

    def test_a_resumable_stage_finds_what_is_left(self, stage: Stage) -> None:
        with pytest.raises(RuntimeError):
            stage.run(work=failing, resumable=True)

        stage.run(resumable=True)

        assert (stage.directory / "half.txt").read_text() == "half"
        assert stage.run(resumable=True) is False

    def test_also_where_an_optional_setting_came_since(self, stage: Stage) -> None:
        with pytest.raises(RuntimeError):
            stage.run({"epochs": 3}, work=failing, resumable=True)

        stage.run({"epochs": 3, "targets": None}, resumable=True)

        assert (stage.directory / "half.txt").read_text() == "half"

    def test_nothing_of_another_content_is_resumed(self, stage: Stage) -> None:
        with pytest.raises(RuntimeError):
            stage.run(work=failing, resumable=True)

        stage.run(Settings(epochs=4), resumable=True)

        assert not (stage.directory / "half.txt").exists()

    def test_a_finished_stage_that_was_altered_is_not_resumed(self, stage: Stage) -> None:
        with pytest.raises(RuntimeError):
            stage.run(work=failing, resumable=True)
        started = (stage.directory / STARTED).read_bytes()
        stage.run(resumable=True)
        (stage.directory / STARTED).write_bytes(started)  # as if cut off right after the record
        assert stage.run(resumable=True) is False
        (stage.directory / "deep" / "copy.txt").unlink()

        stage.run(resumable=True)

        assert not (stage.directory / "half.txt").exists()

    def test_cut_off_before_the_record_is_written_the_work_is_not_lost(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr("models.stage.os.replace", fail)
            with pytest.raises(OSError, match="disk full"):
                stage.run(resumable=True)
        assert (stage.directory / STARTED).exists()

        stage.run(work=lambda _: None, resumable=True)

        assert (stage.directory / "deep" / "copy.txt").exists()
        assert stage.run() is False


class TestDigest:
    def test_a_file_is_its_content(self, stage: Stage) -> None:
        assert digest(stage.source) == hash_file(stage.source).sha256

    def test_a_stage_is_its_outputs_whatever_made_them(self, stage: Stage) -> None:
        stage.run()
        before = digest(stage.directory)
        stage.run(Settings(epochs=4))
        assert digest(stage.directory) == before

        stage.run(work=lambda directory: (directory / "other.txt").write_text("x"), version=9)
        assert digest(stage.directory) != before

    def test_a_stage_made_again_from_the_same_is_the_same(self, stage: Stage) -> None:
        stage.run()
        before = digest(stage.directory)
        (stage.directory / RECORD).unlink()
        stage.run()

        assert digest(stage.directory) == before

    def test_an_unfinished_stage_or_a_missing_file_is_refused(self, stage: Stage, tmp_path: Path) -> None:
        (tmp_path / "unfinished").mkdir()

        for name in ("unfinished", "missing.txt"):
            with pytest.raises(DataError, match=f"{name}: is missing or was not finished"):
                stage.run(inputs={"source": tmp_path / name})
        assert not stage.directory.exists()
