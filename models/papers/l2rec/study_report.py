"""What a study of L2Rec measures: the numbers of the paper's Tables 2 and 3, and of Figure 2.

The document, JSON::

    dataset, n_examples, n_items, n_users, seeds
    provenance       commit, hardware, command: text
    main, ablation   evaluations, see ``models.evaluation.measure``: main is compared with the single pathway, over all
                     seeds; ablation with L2Rec, of the first seed
    best_baseline    of the main rows that adapt no language model, the one of the highest NDCG@10 on test
    over_best        {row: {"NDCG@10": paired difference to it …}}
    limited          [{"model", "share", "n_users", "metrics", "gain", "over_all"}]: Figure 2, of the first seed; paired
                     differences to the single pathway with as many users, and with all
    trained          {row: {"facts", "seconds"}} of the first seed, see ``models.papers.l2rec.study_models.Facts``
"""

from collections.abc import Mapping, Sequence

import msgspec

from models.evaluation.measure import EvaluateConfig, Evaluation, HeldOut, compared, evaluation_of, metric_values
from models.evaluation.metrics import Difference, Interval, Ranks, bootstrap, paired_bootstrap, ranks_in_lists
from models.evaluation.ranked import RankedRow, lists_by_seed, ranked_rows
from models.evaluation.slices import training_counts
from models.papers.l2rec.limited import drawn_users
from models.papers.l2rec.study import L2Study
from models.papers.l2rec.study_config import BASELINES, L2REC, LIMITED, SINGLE, RowSpec
from models.papers.l2rec.study_models import Facts
from models.papers.l2rec.training import check_initial

CUTOFFS = (5, 10)
MAIN_METRIC = "NDCG@10"
BOOTSTRAP_SEED = 0
_CONFIG = EvaluateConfig(CUTOFFS, BOOTSTRAP_SEED)

Lists = Mapping[str, Sequence[RankedRow]]  # by row, one a seed


class Trained(msgspec.Struct, frozen=True):
    """How the training of a row went, and in how many seconds."""

    facts: Facts
    seconds: float


class Point(msgspec.Struct, frozen=True):
    """A point of Figure 2, see the module."""

    model: str
    share: float
    n_users: int
    metrics: dict[str, Interval]
    gain: dict[str, Difference]
    over_all: dict[str, Difference]


class StudyReport(msgspec.Struct, frozen=True):
    """The document, see the module. What no row was wanted of is empty."""

    dataset: str
    n_examples: int
    n_items: int
    n_users: int
    seeds: tuple[int, ...]
    provenance: dict[str, str]
    main: Evaluation | None
    ablation: Evaluation | None
    best_baseline: str
    over_best: dict[str, dict[str, Difference]]
    limited: tuple[Point, ...]
    trained: dict[str, Trained]


def measure_study(
    study: L2Study, seeds: Sequence[int], wanted: Sequence[str], provenance: dict[str, str]
) -> StudyReport:
    """Train what the study lacks, and measure.

    Args:
        study: see :class:`L2Study`.
        seeds: of the main rows; ablations and limited data are trained with the first.
        wanted: names of rows or of groups of rows; empty: all. Ablations are compared with L2Rec, which is trained for
            them; limited data with the single pathway, of which only those rows are that are wanted.
        provenance: see ``localrec.bench.report``.
    """
    chosen = [row for row in study.rows if not wanted or row.name in wanted or row.group in wanted]
    for row in chosen:
        if row.config is not None:
            check_initial(row.config)
    held_out = HeldOut(study.test, training_counts(study.dataset))
    of_group = {name: [row for row in chosen if row.group == name] for name in ("main", "ablation", "limited")}
    main = ranked_rows(study.ranked, of_group["main"], seeds)
    reference = [row for row in study.rows if row.group == "main" and row.name == L2REC]
    ablated = [*reference, *of_group["ablation"]] if of_group["ablation"] else []
    ablation = ranked_rows(study.ranked, ablated, seeds[:1])
    whole = [row for row in of_group["main"] if row.model in LIMITED]
    limited = [*of_group["limited"], *whole] if of_group["limited"] else []
    evaluation = _evaluation(study, held_out, main, SINGLE, tuple(seeds), provenance)
    best = best_baseline(evaluation)
    return StudyReport(
        dataset=study.config.name,
        n_examples=len(held_out.examples),
        n_items=len(held_out.training_counts),
        n_users=len(study.dataset.user_ids),
        seeds=tuple(seeds),
        provenance=provenance,
        main=evaluation,
        ablation=_evaluation(study, held_out, ablation, L2REC, tuple(seeds[:1]), provenance),
        best_baseline=best,
        over_best=_over(evaluation, main, held_out, best) if evaluation and best else {},
        limited=_points(study, limited, seeds[0]),
        trained={row.name: _trained(study, row, seeds[0]) for row in chosen},
    )


def best_baseline(evaluation: Evaluation | None) -> str:
    """The best baseline's name; empty where there is none. Chosen on test: no choice is harder on what is compared."""
    rows = [row for row in evaluation.rows if row.name in BASELINES] if evaluation else []
    return max(rows, key=lambda row: row.metrics[MAIN_METRIC].mean).name if rows else ""


def _evaluation(
    study: L2Study,
    held_out: HeldOut,
    rows: Lists,
    against: str,
    seeds: tuple[int, ...],
    provenance: dict[str, str],
) -> Evaluation | None:
    """Compared with ``against`` or, where that is not among the rows, with the first of them; None without any."""
    if not rows:
        return None
    return evaluation_of(
        lists_by_seed(rows),
        held_out,
        _CONFIG,
        dataset=study.config.name,
        protocol="full",
        against=against if against in rows else next(iter(rows)),
        provenance=provenance,
        seeds=seeds,
    )


def _over(evaluation: Evaluation, rows: Lists, held_out: HeldOut, against: str) -> dict[str, dict[str, Difference]]:
    found = compared(evaluation, lists_by_seed(rows), held_out, against)
    return {row.name: row.gains for row in found.rows if row.gains}


def _points(study: L2Study, rows: Sequence[RowSpec], seed: int) -> tuple[Point, ...]:
    """Figure 2, smallest shares first."""
    values = {(row.model, row.share): _values(study.ranked(row, seed), study) for row in rows}
    shares = sorted({share for _, share in values})
    return tuple(
        _point(model, share, values, int(drawn_users(len(study.dataset.user_ids), share).sum()))
        for share in shares
        for model in LIMITED
        if (model, share) in values
    )


def _values(row: RankedRow, study: L2Study) -> dict[str, Ranks]:
    return metric_values(ranks_in_lists(row.lists, study.test.targets), CUTOFFS)


def _point(model: str, share: float, values: Mapping[tuple[str, float], dict[str, Ranks]], n_users: int) -> Point:
    own = values[model, share]

    def over(rival: tuple[str, float]) -> dict[str, Difference]:
        if rival == (model, share) or rival not in values:
            return {}
        return {name: paired_bootstrap(own[name], values[rival][name], BOOTSTRAP_SEED) for name in own}

    metrics = {name: bootstrap(found, BOOTSTRAP_SEED) for name, found in own.items()}
    return Point(model, share, n_users, metrics, over((SINGLE, share)), over((SINGLE, 1.0)))


def _trained(study: L2Study, row: RowSpec, seed: int) -> Trained:
    return Trained(study.facts(row, seed), study.training_seconds(row, seed))
