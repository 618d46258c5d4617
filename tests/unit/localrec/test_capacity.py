import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from localrec.bench.capacity.cost import costs, is_quiet, limit, metrics_of, table
from localrec.bench.capacity.run import Notebook, SearchOptions, bodies, run
from localrec.bench.capacity.search import Bracket, highest
from localrec.bench.capacity.steps import Level, Step, StepOptions, judged
from localrec.bench.capacity.usage import PartUse, Service, Usage, process_cpu_seconds
from localrec.bench.load import LoadResult
from localrec.capacity import capacity
from models.contract.errors import LocalRecError

LEVEL = Level(deadline_ms=100)


def found_for(limit_of_service: float, **options: float) -> tuple[Bracket, list[float]]:
    tried = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit_of_service

    given = {"start": 20.0, "least": 1.0, "most": 1_000.0, "precision": 0.05} | options
    return highest(holds, **given), tried


@pytest.mark.parametrize("capacity_of_service", [1.0, 3.0, 19.9, 20.0, 137.0, 999.0])
def test_the_search_ends_between_a_rate_that_holds_and_one_that_does_not(capacity_of_service: float):
    bracket, tried = found_for(capacity_of_service)
    assert bracket.holds <= capacity_of_service < bracket.fails
    assert bracket.fails <= bracket.holds * 1.05
    assert len(tried) == len(set(tried)) <= 15


def test_the_search_ends_at_its_bounds():
    assert found_for(5_000.0)[0] == Bracket(1_000.0, None)
    assert found_for(0.5)[0] == Bracket(None, 1.0)


def result(p99_ms: float = 50.0, refused: int = 0, failures: int = 0, degraded: int = 0, seconds: float = 10.0):
    return LoadResult(seconds, (p99_ms,) * 1_000, refused, failures, degraded)


@pytest.mark.parametrize(
    ("given", "broken"),
    [
        (result(), ()),
        (result(100.0, failures=1), ()),
        (result(101.0), ("p99 101 ms",)),
        (result(failures=1, refused=1), ("errors 0.20%",)),
        (result(degraded=11), ("degraded 1.10%",)),
        (result(seconds=10.2), ("ended 0.2 s late",)),
        (LoadResult(10.0, (), 10, 0), ("no list", "errors 100.00%")),
    ],
)
def test_each_bound_of_the_service_level_breaks_a_rate(given: LoadResult, broken: tuple[str, ...]):
    step = judged(100.0, given, LEVEL, 10.0)
    assert step.broken == broken
    assert step.holds == (not broken)
    assert ("holds" in step.words) == (broken == ())


def use(gateway: float, engine: float, busy: float, redis: float, machine: float | None, at: float = 0.0) -> Usage:
    parts = {"gateway": PartUse(gateway, lanes=2), "engine": PartUse(engine, busy), "redis": PartUse(redis)}
    return Usage(at, parts, machine)


def test_the_cost_model_prices_each_part_and_says_what_limits():
    before, after = use(1, 1, 1, 1, 100), use(3, 6, 5, 1.5, 112, at=10.0)
    found = costs(before, after, requests=1_000, seconds=10.0, load_cpu_seconds=0.5, cores=2)
    by_name = {cost.part: cost for cost in found}
    assert by_name["gateway"].cpu_ms == pytest.approx(2.0)
    assert by_name["gateway"].alone == pytest.approx(1_000)  # two processes, a tenth of each one's time
    assert by_name["engine"].busy_share == pytest.approx(0.4)
    assert by_name["engine"].alone == pytest.approx(250)
    assert by_name["redis"].alone == pytest.approx(2_000)
    assert by_name["machine"].cpu_ms == pytest.approx(8.0)
    assert by_name["machine"].alone == pytest.approx(250)
    assert by_name["other processes"].machine_share == pytest.approx(4 / 20)
    assert limit(found).part in {"engine", "machine"}
    assert "not a quiet machine: other processes took 20%" in table(found)
    assert is_quiet(found) is False
    assert metrics_of(found)["engine_alone_per_second"] == pytest.approx(250)


def test_elsewhere_the_machine_is_not_known():
    found = costs(use(0, 0, 0, 0, None), use(1, 1, 1, 1, None), requests=10, seconds=1.0, load_cpu_seconds=1.0, cores=2)
    assert [cost.part for cost in found] == ["gateway", "engine", "redis"]
    assert is_quiet(found) is None


def test_a_machine_is_quiet_where_others_take_little_of_it():
    before, after = use(0, 0, 0, 0, 100), use(1, 1, 1, 1, 104, at=10.0)
    found = costs(before, after, requests=1_000, seconds=10.0, load_cpu_seconds=0.5, cores=2)
    assert is_quiet(found) is True
    assert "not a quiet machine" not in table(found)


def test_a_process_counts_with_all_below_it():
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(30)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    parent = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while process_cpu_seconds(parent.pid) < 0.3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.killpg(parent.pid, 9)
        parent.wait()
    with pytest.raises(LocalRecError, match="has ended"):
        process_cpu_seconds(parent.pid)


class Bed:
    """A service that holds up to a rate."""

    service = Service("http://127.0.0.1:1/metrics")

    def __init__(self, holds_up_to: float) -> None:
        self._holds_up_to, self.measured = holds_up_to, []

    def measure(self, rate: float, level: Level, options: StepOptions) -> Step:
        self.measured.append(rate)
        late = rate > self._holds_up_to
        found = costs(use(0, 0, 0, 0, None), use(1, 2, 3, 1, None), requests=10, seconds=1, load_cpu_seconds=1, cores=1)
        return judged(rate, result(500.0 if late else 5.0), level, 10.0, tuple(found))


def search(bed: Bed, file: Path | None, **subject: object):
    return run(bed, LEVEL, StepOptions(), SearchOptions(most=100.0), subject=subject, resume=file)


def test_the_record_names_rate_price_and_limit(capsys: pytest.CaptureFixture[str]):
    record = search(Bed(70.0), None)
    metrics = record["metrics"]
    assert metrics["requests_per_second"] <= 70.0 < metrics["fails_at_requests_per_second"]
    assert metrics["requests_per_core_second"] == pytest.approx(1_000 / 400)
    assert record["limits_first"] == "engine"
    assert "limits first: engine" in capsys.readouterr().out
    assert not any(math.isnan(value) for value in metrics.values())


def test_an_interrupted_search_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file, first, second = tmp_path / "steps.json", Bed(70.0), Bed(70.0)
    whole = search(first, file, bundle="a")
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"steps": kept["steps"][:2]}))
    assert search(second, file, bundle="a") == whole
    assert second.measured == first.measured[2:]
    assert "(of before)" in capsys.readouterr().out


def test_steps_of_another_search_are_refused(tmp_path: Path):
    file = tmp_path / "steps.json"
    search(Bed(70.0), file, bundle="a")
    with pytest.raises(LocalRecError, match="another search"):
        search(Bed(70.0), file, bundle="b")
    file.write_text("[]")
    with pytest.raises(LocalRecError, match=r"steps\.json: expected steps"):
        Notebook(file, {})


def test_a_service_that_holds_nothing_is_an_error():
    with pytest.raises(LocalRecError, match="not even 1 requests/s hold"):
        search(Bed(0.0), None)


def test_bodies_are_drawn_by_zipfs_law():
    drawn = [json.loads(body) for body in bodies(["a", "b", "c"], deadline_ms=150, use_cache=False, seed=0)]
    counts = [sum(body["user_id"] == user for body in drawn) for user in "abc"]
    assert counts[0] / counts[2] == pytest.approx(3.0, rel=0.15)
    assert drawn[0] | {"user_id": ""} == {"user_id": "", "n": 10, "deadline_ms": 150, "use_cache": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a BUNDLE or --host"),
        (["{tmp}", "--host", "http://127.0.0.1:1"], "a BUNDLE or --host"),
        (["--host", "https://x"], "expected an address"),
        (["--host", "http://127.0.0.1:1"], "--users-file"),
        (["--host", "http://127.0.0.1:1", "--users-file", "{tmp}/none.txt"], "expected one user id a line"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str, tmp_path: Path):
    (tmp_path / "none.txt").write_text("\n")
    outcome = CliRunner().invoke(capacity, [argument.format(tmp=tmp_path) for argument in arguments])
    assert isinstance(outcome.exception, LocalRecError)
    assert message in str(outcome.exception)
