"""Jobs on a real Ray on this machine, and what each gets of a cluster."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from models.contract.errors import ConfigError, MissingExtraError
from models.training.jobs import Executor, Job, JobsError, OpenExecutor, do_all
from models.training.on_ray import Share, on_ray, share
from models.types import Report

if TYPE_CHECKING:
    from support.runs import FinishedRun


@pytest.mark.parametrize(
    ("nodes", "gpus", "jobs", "gpus_per_job", "expected"),
    [
        ([2.0], 0, 10, 1.0, Share(1, 0.0, 2)),  # more jobs than cores: one core each
        ([16.0], 0, 10, 1.0, Share(1, 0.0, 16)),
        ([64.0], 0, 10, 1.0, Share(6, 0.0, 10)),  # more cores than jobs: no core idle
        ([8.0, 8.0], 0, 1, 1.0, Share(8, 0.0, 2)),  # a job stays on its node
        ([16.0], 4, 10, 1.0, Share(1, 1.0, 4)),
        ([16.0], 1, 10, 0.25, Share(1, 0.25, 4)),
        ([0.0], 0, 10, 1.0, Share(1, 0.0, 1)),  # a head without cores: its cluster may grow
    ],
)
def test_what_a_job_gets(nodes: list[float], gpus: float, jobs: int, gpus_per_job: float, expected: Share) -> None:
    assert share(nodes, gpus, jobs, gpus_per_job) == expected


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'localrec\[ray\]'"):
        on_ray("local")


@pytest.fixture(scope="module")
def local_ray() -> Iterator[Executor]:
    """An executor on a Ray of two cores' worth, as ``--ray local`` opens it."""
    pytest.importorskip("ray", reason="extra: ray")
    before = dict(os.environ)
    with on_ray("local")(100) as executor:
        yield executor
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
class TestLocalRay:
    def test_jobs_run_in_other_processes(self, local_ray: Executor, tmp_path: Path) -> None:
        def work(report: Report) -> bool:
            (tmp_path / f"{os.getpid()}").touch()
            return True

        do_all([Job("a", 1.0, work)], local_ray, lambda line: None)
        assert {path.name for path in tmp_path.iterdir()}.isdisjoint({str(os.getpid())})
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_killed_process_is_tried_again_and_the_others_are_done(self, local_ray: Executor, tmp_path: Path) -> None:
        def killed_once(report: Report) -> bool:
            if (tmp_path / "tried").exists():
                (tmp_path / "a").touch()
                return True
            (tmp_path / "tried").touch()
            os.kill(os.getpid(), 9)
            return False

        def work(report: Report) -> bool:
            (tmp_path / "b").touch()
            return True

        lines: list[str] = []
        do_all([Job("a", 1.0, killed_once), Job("b", 1.0, work)], local_ray, lines.append)
        assert {path.name for path in tmp_path.iterdir()} == {"tried", "a", "b"}
        assert any("a: attempt 1 of 3 failed, is tried again: WorkerCrashedError" in line for line in lines)

    def test_what_fails_for_good_is_named_and_refusals_are_not_tried_again(
        self, local_ray: Executor, tmp_path: Path
    ) -> None:
        def refused(report: Report) -> bool:
            (tmp_path / f"refused {len(list(tmp_path.glob('refused*')))}").touch()
            raise ConfigError("a community has no users")

        def broken(report: Report) -> bool:
            (tmp_path / f"broken {len(list(tmp_path.glob('broken*')))}").touch()
            raise OSError("disk full")

        jobs = [Job("c00", 1.0, refused), Job("c01", 1.0, broken)]
        with pytest.raises(JobsError, match="2 of 2 failed") as failure:
            do_all(jobs, local_ray, lambda line: None)
        assert "c00: a community has no users" in str(failure.value)
        assert "c01: OSError: disk full" in str(failure.value)
        assert (len(list(tmp_path.glob("refused*"))), len(list(tmp_path.glob("broken*")))) == (1, 3)


@pytest.mark.slow
def test_an_address_where_no_ray_is_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="extra: ray")
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    open_executor: OpenExecutor = on_ray("auto")
    with pytest.raises(ConfigError, match=r"--ray: 'auto'.*'local' starts a Ray"), open_executor(1):
        pass


@pytest.mark.slow
def test_adapters_trained_on_ray_are_those_trained_here(
    finished_run: "FinishedRun", local_ray: Executor, tmp_path: Path
) -> None:
    from models.pipeline import Pipeline

    directory = shutil.copytree(finished_run.directory, tmp_path / "run")
    shutil.rmtree(directory / "local")
    lines: list[str] = []
    pipeline = Pipeline(directory, finished_run.config, lines.append, open_executor=lambda n: nullcontext(local_ray))
    pipeline.run_until(pipeline.local)
    assert lines[-1] == "  2 of 2"
    for name in ("c00", "c01"):
        adapter = Path("local") / name / "adapter" / "adapter_model.safetensors"
        here, there = load_file(finished_run.directory / adapter), load_file(directory / adapter)
        assert here.keys() == there.keys()
        assert all(torch.equal(here[key], there[key]) for key in here)
