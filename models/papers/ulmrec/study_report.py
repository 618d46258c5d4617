"""What a study of ULMRec measures: the numbers of the paper's Tables 2 and 4, and of Figures 8 and 9.

The document, JSON (an interval is ``{"mean", "low", "high"}``: over users, 95 % bootstrap bounds)::

    dataset, retriever, n_candidates, n_test, n_found, n_items, seeds
    facts            what users are known by, tasks that are left out, and how it was measured: text
    similarity       {row: [{"shared", "pairs", "cosine", "jaccard", "met"}]}, see ``models.papers.ulmrec.similarity``
    groups           {"main", "ablation", "index", "index-only"}: {"against", "rows"}, a row being
      name
      rank, overall  {"M@5", "N@5", "R@5", "M@10" …: interval}, of users whose target was retrieved, and of all
      gains          {"rank", "overall"}: {"M@5" …: {"interval", "p_value"}}, paired differences to ``against``; {} for
                     ``against`` itself, and where it was not tuned
      percent        the gain of overall NDCG@10, relative; null without gains
      by_seed        [overall NDCG@10 of each seed]
      valid_ndcg     NDCG@10 within validation candidates, mean over seeds; null for a row without a language model
      weight         of the retriever's vote, by seed; [] for a row without
      seconds        {"training_seconds", "scoring_seconds"} of the first seed; {} without a language model
      tokens         of test prompts, see :class:`models.papers.ulmrec.prompt_tokens.PromptTokens`; null without

Intervals and p-values are over users; a metric of a user is its mean over the seeds. P-values are not corrected for the
number of rows.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from models.evaluation.metrics import Difference, Interval, Ranks, bootstrap, paired_bootstrap
from models.papers.ulmrec.prompt_tokens import PromptTokens
from models.papers.ulmrec.reranking import NAMES
from models.papers.ulmrec.similarity import PrefixSimilarity
from models.papers.ulmrec.study import ULMStudy
from models.papers.ulmrec.study_config import AGAINST, GROUPS, LLAMAREC_VOTED, ULMREC_VOTED, Group, RowSpec, reads_table

BOOTSTRAP_SEED = 0
MAIN_METRIC = "N@10"


class Measured(msgspec.Struct, frozen=True):
    """A row, see the module."""

    name: str
    rank: dict[str, Interval]
    overall: dict[str, Interval]
    gains: dict[str, dict[str, Difference]]
    percent: float | None
    by_seed: list[float]
    valid_ndcg: float | None
    weight: list[float]
    seconds: dict[str, float]
    tokens: PromptTokens | None


class MeasuredGroup(msgspec.Struct, frozen=True):
    """Rows that are compared with one of them, see the module."""

    against: str
    rows: tuple[Measured, ...]


class StudyReport(msgspec.Struct, frozen=True):
    """The document, see the module. What no row was wanted of is not there."""

    dataset: str
    retriever: str
    n_candidates: int
    n_test: int
    n_found: int
    n_items: int
    seeds: tuple[int, ...]
    facts: dict[str, str]
    similarity: dict[str, tuple[PrefixSimilarity, ...]]
    groups: dict[Group, MeasuredGroup]


Values = Mapping[str, Ranks]  # every metric of each user (n,)


def measure_study(
    study: ULMStudy, seeds: Sequence[int], wanted: Sequence[str], provenance: Mapping[str, str]
) -> StudyReport:
    """Tune what the study lacks, and measure.

    Args:
        study: see :class:`ULMStudy`.
        seeds: of all rows.
        wanted: names of rows or of groups of rows; empty: all. What they are compared with is shown where it is there.
        provenance: see ``localrec.bench.report``.
    """
    chosen = [row for row in study.rows if not wanted or row.name in wanted or row.group in wanted]
    for seed in seeds:  # seed by seed, so that what is interrupted has all rows of some seeds
        for row in chosen:
            study.values(row, seed)
    groups = {group: _group(study, group, chosen, seeds) for group in GROUPS}
    data, config = study.data, study.config
    return StudyReport(
        dataset=config.name,
        retriever=config.retriever.model,
        n_candidates=config.ulmrec.candidates,
        n_test=len(data.test),
        n_found=len(data.found),
        n_items=len(data.dataset.catalogue),
        seeds=tuple(seeds),
        facts=_facts(study, chosen) | dict(provenance),
        similarity=study.similarities(chosen),
        groups={group: found for group, found in groups.items() if found.rows},
    )


def _facts(study: ULMStudy, chosen: Sequence[RowSpec]) -> dict[str, str]:
    config = study.config
    whole = len(study.data.dataset.examples("test"))
    drawn = "all" if len(study.data.test) == whole else f"drawn from {whole:,}"
    missing = ", ".join(sorted(study.missing))
    told = "; ".join(row.name for row in chosen if reads_table(row))
    return {
        "retriever": f"{config.retriever.model}, in the place of the paper's LRURec; seen items are not retrieved",
        "test users": f"{len(study.data.test):,}, {drawn}",
        "backbone": f"{config.ulmrec.backbone}, layers: {config.ulmrec.layers or 'all'}",
        **study.sources(chosen),
        "tasks without data": missing or "none",
        "rows that may be told what is predicted": (
            f"{told}: their users' indices or texts are from a table, of which nobody knows that reviews of"
            " validation and test items were left out when it was made"
            if told
            else "none"
        ),
    }


def _group(study: ULMStudy, group: Group, chosen: Sequence[RowSpec], seeds: Sequence[int]) -> MeasuredGroup:
    against = AGAINST[group]
    rows = [row for row in chosen if row.group == group]
    reference = next(row for row in study.rows if row.name == against)
    there = all(study.finished(reference, seed) for seed in seeds)
    if rows and there and reference not in rows:
        rows = [reference, *rows]
    baseline = _means(study, reference, seeds) if rows and there else None
    return MeasuredGroup(against, tuple(_measured(study, row, seeds, baseline, against) for row in rows))


def _measured(study: ULMStudy, row: RowSpec, seeds: Sequence[int], baseline: Values | None, against: str) -> Measured:
    means, found = _means(study, row, seeds), study.data.found.rows
    compared = baseline if row.name != against else None
    gains = {"rank": _gains(means, compared, found), "overall": _gains(means, compared, None)} if compared else {}
    tuned = row.model is not None
    voted = row.name in (LLAMAREC_VOTED, ULMREC_VOTED)
    return Measured(
        name=row.name,
        rank={name: bootstrap(means[name][found], BOOTSTRAP_SEED) for name in NAMES},
        overall={name: bootstrap(means[name], BOOTSTRAP_SEED) for name in NAMES},
        gains=gains,
        percent=_percent(means, compared) if compared else None,
        by_seed=[float(study.values(row, seed)[MAIN_METRIC].mean()) for seed in seeds],
        valid_ndcg=float(np.mean([study.valid_ndcg(row, seed) for seed in seeds])) if tuned else None,
        weight=[study.weight_of(row, seed) for seed in seeds] if voted else [],
        seconds=study.seconds_of(row, seeds[0]) if tuned else {},
        tokens=study.tokens_of(row, seeds[0]) if tuned else None,
    )


def _means(study: ULMStudy, row: RowSpec, seeds: Sequence[int]) -> Values:
    """Every metric of each user, mean over the seeds; rounded, so that the order of the seeds makes no new values."""
    found = [study.values(row, seed) for seed in seeds]
    return {name: np.mean([values[name] for values in found], axis=0).round(12) for name in NAMES}


def _gains(means: Values, baseline: Values, rows: np.ndarray | None) -> dict[str, Difference]:
    chosen = slice(None) if rows is None else rows
    return {
        name: paired_bootstrap(means[name][chosen], baseline[name][chosen], BOOTSTRAP_SEED)
        for name in NAMES
        if len(means[name][chosen])
    }


def _percent(means: Values, baseline: Values) -> float | None:
    reached, before = float(means[MAIN_METRIC].mean()), float(baseline[MAIN_METRIC].mean())
    return 100 * (reached / before - 1) if before > 0 else None
