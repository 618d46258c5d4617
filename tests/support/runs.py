"""A whole tiny run of the offline pipeline."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from support.backbones import tiny_config, write_walks

from models.contract.bundle import Bundle
from models.pipeline import Pipeline
from models.run import RunConfig, make_run
from models.stage import RECORD

N_COMMUNITIES = 2
LONG_CONTEXT = 512
SHORT_COLLM = {
    "embedding_size": 8,
    "negatives": 2,
    "batch_size": 8,
    "iterations": 5,
    "warmup_iterations": 2,
    "text_epochs": 2,
    "feature_epochs": 2,
    "valid_pairs": 40,
}
SHORT_HATLLM = {
    "intra_layers": 1,
    "cross_layers": 1,
    "embedding_size": 16,
    "text_size": 16,
    "batch_size": 8,
    "steps": 20,
    "evaluate_every": 10,
    "valid_examples": 40,
    "head_learning_rate": 1e-2,
}


@dataclass(frozen=True)
class FinishedRun:
    """Run directory, settings, what was reported, and the bundle."""

    directory: Path
    config: RunConfig
    reports: tuple[str, ...]
    bundle: Bundle


def finish_run(root: Path, backbone: Path, *, further: bool = False) -> FinishedRun:
    """Run every stage on the walks, read from CSV files; ``further``: with CoLLM and HatLLM."""
    reports: list[str] = []
    config = run_config(root, backbone, further=further)
    bundle = Pipeline(root / "run", config, reports.append).run()
    return FinishedRun(root / "run", config, tuple(reports), bundle)


def run_config(root: Path, backbone: Path, *, further: bool = False) -> RunConfig:
    """Settings of a run in seconds; the input tables are written to ``root``.

    ``further``: with CoLLM and HatLLM, whose prompts need a backbone of ``LONG_CONTEXT``.
    """
    files = write_walks(root)
    document = {
        "name": "walks",
        "data": {"source": "table", "interactions": str(files.interactions), "items": str(files.items)},
        "cf": {"embedding_size": 8, "epochs": 15, "learning_rate": 1e-2, "anneal_steps": 50},
        "communities": {"n_communities": N_COMMUNITIES, "bandwidth": 0.9, "candidate_share": 1.0},
        "local": msgspec.to_builtins(tiny_config(backbone)),
        "serving": {"candidates": 10, "dampings": [0.0, 10.0]},
    }
    return make_run(document | (_further_sections(backbone) if further else {}), "test")


def _further_sections(backbone: Path) -> dict[str, dict[str, Any]]:
    both = {"backbone": str(backbone), "lora_rank": 4, "title_tokens": 8, "history_length": 5, "learning_rate": 3e-3}
    return {
        "collm": both | SHORT_COLLM,
        "hatllm": both | SHORT_HATLLM,
    }


def pretend_prepared(directory: Path) -> None:
    """Leave the record of a finished data stage in a run directory."""
    (directory / "data").mkdir(parents=True)
    (directory / "data" / RECORD).write_text("{}")
