"""A whole tiny run of the offline pipeline."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from support.backbones import tiny_config, write_walks

from models.contract.bundle import Bundle
from models.pipeline import Pipeline
from models.run import RunConfig, make_run
from models.stage import RECORD

N_COMMUNITIES = 2


@dataclass(frozen=True)
class FinishedRun:
    """Run directory, settings, what was reported, and the bundle."""

    directory: Path
    config: RunConfig
    reports: tuple[str, ...]
    bundle: Bundle


def finish_run(root: Path, backbone: Path) -> FinishedRun:
    """Run every stage on the walks, read from CSV files."""
    reports: list[str] = []
    config = run_config(root, backbone)
    bundle = Pipeline(root / "run", config, reports.append).run()
    return FinishedRun(root / "run", config, tuple(reports), bundle)


def run_config(root: Path, backbone: Path) -> RunConfig:
    """Settings of a run in seconds; the input tables are written to ``root``."""
    files = write_walks(root)
    document = {
        "name": "walks",
        "data": {"source": "table", "interactions": str(files.interactions), "items": str(files.items)},
        "cf": {"embedding_size": 8, "epochs": 15, "learning_rate": 1e-2, "anneal_steps": 50},
        "communities": {"n_communities": N_COMMUNITIES, "bandwidth": 0.9, "candidate_share": 1.0},
        "local": msgspec.to_builtins(tiny_config(backbone)),
        "serving": {"candidates": 10, "dampings": [0.0, 10.0]},
    }
    return make_run(document, "test")


def pretend_prepared(directory: Path) -> None:
    """Leave the record of a finished data stage in a run directory."""
    (directory / "data").mkdir(parents=True)
    (directory / "data" / RECORD).write_text("{}")
