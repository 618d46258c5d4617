"""``localrec bench local``: the stages of a `local` request before a real worker that serves a real bundle."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from localrec.bench.report import report
from localrec.bench.stages import STAGES, ask, stage_metrics
from localrec.stack import WorkerKind, running_stack
from models.contract.bundle import PROFILES, verify_bundle

DEADLINE_MS = 2_000  # every call is let end: what is measured is its length


@dataclass(frozen=True)
class LocalBenchOptions:
    """What is measured: ``requests`` one at a time, for users drawn with ``seed``, after ``warm_up`` others."""

    workers: WorkerKind = "engine"
    requests: int = 200
    warm_up: int = 20
    seed: int = 0


def run(bundle_directory: Path, options: LocalBenchOptions) -> dict[str, Any]:
    """Measure, print a table, and return ``{"bench", "commit", "hardware", "metrics"}``."""
    bundle = verify_bundle(bundle_directory)
    users = pl.read_parquet(bundle.path(PROFILES), columns=["user_id"])["user_id"].to_numpy()
    drawn = np.random.default_rng(options.seed).choice(users, options.warm_up + options.requests)
    with (
        tempfile.TemporaryDirectory(prefix="lr-") as directory,
        running_stack(bundle, Path(directory), workers=options.workers) as stack,
    ):
        answers = [ask(stack.gateway_port, user, deadline_ms=DEADLINE_MS) for user in drawn.tolist()]
    metrics = {"communities": float(len(bundle.manifest.communities))} | stage_metrics(answers[options.warm_up :])
    record = report("local", metrics)
    slowest = max(STAGES, key=lambda stage: metrics[f"local_{stage}_p50_ms"])
    print(f"  slowest stage: {slowest}")
    return record
