"""The search as a whole: what was measured is kept, printed, and summed up."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from localrec.bench.capacity.cost import LOAD, MACHINE, OTHERS, is_quiet, limit, metrics_of, table
from localrec.bench.capacity.search import Bracket, highest
from localrec.bench.capacity.steps import Bench, Level, Step, StepOptions
from localrec.bench.report import report
from models.contract.errors import LocalRecError

BODIES = 5_000
NOT_THE_SERVICE = {LOAD, MACHINE, OTHERS}


@dataclass(frozen=True)
class SearchOptions:
    """Where is searched; see :func:`localrec.bench.capacity.search.highest`."""

    start: float = 20.0
    least: float = 1.0
    most: float = 20_000.0
    precision: float = 0.1


class Notebook:
    """The steps so far, in a file where one is named: a search that was interrupted goes on from it.

    Args:
        file: JSON; None: nothing is kept.
        subject: what is measured and how; a file of another subject is refused.

    Raises:
        LocalRecError: the file is no notebook, or one of another subject.
    """

    def __init__(self, file: Path | None, subject: dict[str, Any]) -> None:
        self._file, self._subject = file, subject
        self._steps: dict[float, Step] = {}
        if file is not None and file.exists():
            self._steps = {step.rate: step for step in _read(file, subject)}

    def get(self, rate: float) -> Step | None:
        """The step of this rate, where it was made."""
        return self._steps.get(rate)

    def keep(self, step: Step) -> None:
        """Note a step."""
        self._steps[step.rate] = step
        if self._file is not None:
            document = {"subject": self._subject, "steps": [made.record() for made in self._steps.values()]}
            self._file.write_text(json.dumps(document, indent=2) + "\n")


def run(
    bench: Bench,
    level: Level,
    options: StepOptions,
    search: SearchOptions,
    *,
    subject: dict[str, Any],
    resume: Path | None = None,
) -> dict[str, Any]:
    """Search, print each step and the result, and return ``{"bench", "commit", "hardware", "metrics", …}``.

    Raises:
        LocalRecError: not even the lowest rate holds.
    """
    notebook = Notebook(resume, subject | {"level": asdict(level), "options": asdict(options)})

    def measured(rate: float) -> Step:
        step, again = notebook.get(rate), " (of before)"
        if step is None:
            step, again = bench.measure(rate, level, options), ""
            notebook.keep(step)
        print(f"  {step.words}{again}", flush=True)
        return step

    bracket = highest(lambda rate: measured(rate).holds, **asdict(search))
    best = notebook.get(bracket.holds) if bracket.holds is not None else None
    if best is None:
        failed = notebook.get(bracket.fails or search.least)
        raise LocalRecError(f"capacity: not even {search.least:g} requests/s hold: {failed.words if failed else ''}")
    return _summed_up(best, bracket, level, options, subject, count_gpus() if bench.service.is_here else 0)


def bodies(user_ids: Sequence[str], *, deadline_ms: int, use_cache: bool, seed: int) -> list[bytes]:
    """Requests for users drawn by Zipf's law, the first ones most often."""
    weights = 1.0 / np.arange(1, len(user_ids) + 1)
    drawn = np.random.default_rng(seed).choice(len(user_ids), BODIES, p=weights / weights.sum())
    shared = {"n": 10, "deadline_ms": deadline_ms, "use_cache": use_cache}
    return [json.dumps({"user_id": user_ids[row]} | shared).encode() for row in drawn.tolist()]


def count_gpus() -> int:
    """GPUs of this machine that a driver knows."""
    if shutil.which("nvidia-smi") is None:
        return 0
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)  # noqa: S607 - fixed
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())


def _summed_up(
    best: Step, bracket: Bracket, level: Level, options: StepOptions, subject: dict[str, Any], gpus: int
) -> dict[str, Any]:
    cpu_ms = sum(cost.cpu_ms for cost in best.costs if cost.part not in NOT_THE_SERVICE)
    metrics = {
        "requests_per_second": best.rate,
        **({} if bracket.fails is None else {"fails_at_requests_per_second": bracket.fails}),
        "requests_per_second_per_core": best.rate / options.cores,
        "requests_per_core_second": 1e3 / cpu_ms,
        **({"requests_per_second_per_gpu": best.rate / gpus} if gpus else {}),
        "p50_ms": best.p50_ms,
        "p99_ms": best.p99_ms,
        "error_share": best.error_share,
        "degraded_share": best.degraded_share,
        "deadline_ms": float(level.deadline_ms),
        **metrics_of(best.costs),
    }
    record = report("capacity", metrics)
    print(f"\n{table(best.costs)}")
    said = {"limits_first": limit(best.costs).part, "quiet": is_quiet(best.costs), "gpus": gpus}
    return record | said | {"subject": subject, "level": asdict(level)}


def _read(file: Path, subject: dict[str, Any]) -> list[Step]:
    try:
        document = json.loads(file.read_text())
        steps = [Step.of(record) for record in document["steps"]]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise LocalRecError(f"{file}: expected steps of a search for the capacity: {exc!r}") from exc
    if document["subject"] != subject:
        raise LocalRecError(f"{file}: steps of another search: {document['subject']}; name another file, or remove it")
    return steps
