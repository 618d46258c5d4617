"""What a study of HatLLM measures: the numbers of the paper's Tables 3 and 5, and of Figure 5.

The document, JSON::

    dataset, n_examples, n_items, n_windows, seeds
    provenance       commit, hardware, command: text
    main, ablation, local
                     evaluations, see ``models.evaluation.measure``; ablation of the first seed, the others over all
    whole            {"main", "ablation", "local"}: NDCG without a cutoff by row: {"ndcg", "gain"}, an interval, and a
                     paired difference to the row that the others are compared with; it moves with every example
    sweep            [{"intra", "cross", "metrics", "valid_ndcg"}] of the first seed
    gains            {data set: relative gain of HatLLM's NDCG@10 over no masks, in percent, and its p-value}: this
                     study's, and those of documents that were given
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from models.contract.errors import DataError
from models.evaluation.measure import EvaluateConfig, Evaluation, HeldOut, evaluation_of, metric_values
from models.evaluation.metrics import (
    Difference,
    Interval,
    Ranks,
    bootstrap,
    ndcg,
    paired_bootstrap,
    ranks_in_lists,
)
from models.evaluation.ranked import RankedRow, lists_by_seed, ranked_rows
from models.papers.hatllm.study import HatStudy
from models.papers.hatllm.study_config import HATLLM, LOCAL_ROWS, UNMASKED, RowSpec

CUTOFFS = (5, 10)
BOOTSTRAP_SEED = 0


class Whole(msgspec.Struct, frozen=True):
    """NDCG without a cutoff of a row; ``gain`` is None for the row that the others are compared with."""

    ndcg: Interval
    gain: Difference | None


class Point(msgspec.Struct, frozen=True):
    """A point of Figure 5: numbers of layers, metrics on the test examples, and NDCG on validation."""

    intra: int
    cross: int
    metrics: dict[str, Interval]
    valid_ndcg: float


class Gain(msgspec.Struct, frozen=True):
    """How much better HatLLM's NDCG@10 is than that of the same model without masks."""

    percent: float
    p_value: float


class StudyReport(msgspec.Struct, frozen=True):
    """The document, see the module. What no row was wanted of is empty."""

    dataset: str
    n_examples: int
    n_items: int
    n_windows: int
    seeds: tuple[int, ...]
    provenance: dict[str, str]
    main: Evaluation | None
    ablation: Evaluation | None
    local: Evaluation | None
    whole: dict[str, dict[str, Whole]]
    sweep: tuple[Point, ...]
    gains: dict[str, Gain]


def measure_study(
    study: HatStudy, seeds: Sequence[int], wanted: Sequence[str], provenance: dict[str, str]
) -> StudyReport:
    """Train what the study lacks, and measure.

    Args:
        study: see :class:`HatStudy`.
        seeds: of the main rows and of local models; ablations and sweep are trained with the first.
        wanted: names of rows or of groups of rows; empty: all.
        provenance: see ``localrec.bench.report``.
    """
    chosen = [row for row in study.rows if not wanted or row.name in wanted or row.group in wanted]
    held_out = _held_out(study)
    main = ranked_rows(study.ranked, [row for row in chosen if row.group == "main"], seeds)
    reference = [row for row in study.rows if row.name in (UNMASKED, HATLLM)]
    ablated = [row for row in chosen if row.group == "ablation"]
    ablation = ranked_rows(study.ranked, [*reference, *ablated], seeds[:1]) if ablated else {}
    fused = [row for row in chosen if row.group == "local"]
    local = ranked_rows(study.ranked, [reference[1], *fused], seeds) if fused else {}
    words = [{row.name: study.fusion_of(row, seed) for row in fused if row.name in LOCAL_ROWS} for seed in seeds]
    groups = {
        "main": (main, UNMASKED, tuple(seeds)),
        "ablation": (ablation, HATLLM, tuple(seeds[:1])),
        "local": (local, HATLLM, tuple(seeds)),
    }
    found = {
        name: _evaluation(study, held_out, rows, against, of_seeds, provenance) if against in rows else None
        for name, (rows, against, of_seeds) in groups.items()
    }
    return StudyReport(
        dataset=study.config.name,
        n_examples=len(held_out.examples),
        n_items=len(held_out.training_counts),
        n_windows=len(study.data.train),
        seeds=tuple(seeds),
        provenance=provenance,
        main=found["main"],
        ablation=found["ablation"],
        local=replace(found["local"], fusions=_by_row(words)) if found["local"] else None,
        whole={name: _whole(rows, against) for name, (rows, against, _) in groups.items() if against in rows},
        sweep=tuple(_point(study, row, seeds[0]) for row in chosen if row.group == "sweep"),
        gains=_gain(study.config.name, found["main"]),
    )


def with_others(report: StudyReport, documents: Sequence[Path]) -> StudyReport:
    """With the gains that other studies' documents hold. Raises DataError where one is none."""
    gains: dict[str, Gain] = {}
    for path in documents:
        try:
            held = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
            gains |= msgspec.json.decode(held["gains"], type=dict[str, Gain])
        except (OSError, KeyError, msgspec.MsgspecError) as exc:
            raise DataError(f"{path}: {exc!r}; expected the JSON document of a study of HatLLM") from exc
    return msgspec.structs.replace(report, gains=gains | report.gains)


def _by_row(words: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Settings in words, one mapping a seed, as one tuple a row."""
    return {name: tuple(of_seed[name] for of_seed in words) for name in words[0]}


def _held_out(study: HatStudy) -> HeldOut:
    data = study.data
    counts = np.bincount(data.train.items, minlength=len(data.catalogue)).astype(np.int64)
    return HeldOut(data.test, counts)


def _evaluation(
    study: HatStudy,
    held_out: HeldOut,
    rows: Mapping[str, Sequence[RankedRow]],
    against: str,
    seeds: tuple[int, ...],
    provenance: dict[str, str],
) -> Evaluation:
    return evaluation_of(
        lists_by_seed(rows),
        held_out,
        EvaluateConfig(CUTOFFS, BOOTSTRAP_SEED),
        dataset=study.config.name,
        protocol="full",
        against=against,
        provenance=provenance,
        seeds=seeds,
    )


def _whole(rows: Mapping[str, Sequence[RankedRow]], against: str) -> dict[str, Whole]:
    means: dict[str, Ranks] = {
        name: np.mean([ndcg(row.ranks, np.inf) for row in found], axis=0) for name, found in rows.items()
    }
    return {
        name: Whole(
            bootstrap(values, BOOTSTRAP_SEED),
            None if name == against else paired_bootstrap(values, means[against], BOOTSTRAP_SEED),
        )
        for name, values in means.items()
    }


def _point(study: HatStudy, row: RowSpec, seed: int) -> Point:
    ranks = ranks_in_lists(study.ranked(row, seed).lists, study.data.test.targets)
    metrics = {name: bootstrap(values, BOOTSTRAP_SEED) for name, values in metric_values(ranks, CUTOFFS).items()}
    return Point(*row.masked_layers, metrics, study.training_of(row, seed).valid_ndcg)


def _gain(dataset: str, main: Evaluation | None) -> dict[str, Gain]:
    hat = next((row for row in main.rows if row.name == HATLLM), None) if main else None
    if hat is None:
        return {}
    gain = hat.gains["NDCG@10"]
    baseline = hat.metrics["NDCG@10"].mean - gain.interval.mean
    return {dataset: Gain(100 * gain.interval.mean / baseline, gain.p_value)} if baseline > 0 else {}
