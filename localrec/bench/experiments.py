"""``localrec bench experiments``: do the report's intervals and tests keep what they promise?"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from localrec.bench.report import provenance, report
from models.evaluation.measure import as_json
from models.evaluation.tables import Table, page
from models.online.calibration import (
    MISMATCH_USERS,
    CalibrationOptions,
    MetricCalibration,
    MismatchCalibration,
    Rate,
    calibrate,
    calibrate_mismatch,
)
from models.online.statistics import MISMATCH_ALARM

_LINES = {
    "covered": "truth in the 95 % interval of the last look",
    "covered_cuped": "the same with CUPED",
    "covered_sequential": "truth in the sequential intervals of all looks",
    "false_fixed": "false positives, one look",
    "false_cuped": "the same with CUPED",
    "false_peeking": "false positives, fixed test looked at again and again",
    "false_sequential": "false positives, sequential test looked at as often",
    "false_sequential_cuped": "the same with CUPED",
    "power": "effect found, one look",
    "power_cuped": "the same with CUPED",
    "power_sequential": "effect found, sequential test at any look",
}


def run(options: CalibrationOptions, out: Path | None) -> dict[str, Any]:
    """Measure, print a table, and return the record; with ``out`` also write ``<out>.md`` and ``<out>.json``."""
    measured_with = provenance()
    metrics, mismatch = calibrate(options, _progress), calibrate_mismatch(options)
    record = report("experiments", _numbers(metrics, mismatch))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_name(f"{out.name}.json").write_bytes(as_json(record | {"options": asdict(options)}))
        tables = [_table(metrics, options), _mismatch_table(mismatch)]
        text = page("Calibration of localrec experiment report", _protocol(options), measured_with, tables)
        out.with_name(f"{out.name}.md").write_text(text, encoding="utf-8")
    return record


def _progress(numbers: range) -> Iterable[int]:
    return tqdm(numbers, "experiments", leave=False, disable=None)


def _numbers(metrics: dict[str, MetricCalibration], mismatch: MismatchCalibration) -> dict[str, float]:
    rates = {f"{metric}_{name}": getattr(found, name).share for metric, found in metrics.items() for name in _LINES}
    reductions = {f"{metric}_variance_reduction": found.variance_reduction for metric, found in metrics.items()}
    return rates | reductions | {"mismatch_found": mismatch.found.share, "mismatch_false": mismatch.false.share}


def _table(metrics: dict[str, MetricCalibration], options: CalibrationOptions) -> Table:
    rows = [(line, *(_in_words(getattr(found, name)) for found in metrics.values())) for name, line in _LINES.items()]
    reductions = ("variance that CUPED takes", *(f"{found.variance_reduction:.1%}" for found in metrics.values()))
    title = f"Shares of {options.n_experiments:,} experiments ± two standard deviations"
    return Table(title, ("", *metrics), (*rows, reductions))


def _mismatch_table(mismatch: MismatchCalibration) -> Table:
    rows = (("52 : 48", _in_words(mismatch.found)), ("50 : 50", _in_words(mismatch.false)))
    return Table(
        f"Splits of {MISMATCH_USERS:,} users called wrong, p < {MISMATCH_ALARM}", ("split", "called wrong"), rows
    )


def _in_words(rate: Rate) -> str:
    return f"{rate.share:.1%} ± {2 * rate.deviation:.1%}"


def _protocol(options: CalibrationOptions) -> str:
    return (
        f"{options.n_experiments:,} simulated experiments with a true lift of {options.effect:.0%} and as many without,"
        f" {options.n_users:,} users each, who come in over {options.n_looks} looks and go on clicking and buying;"
        f" α = {options.alpha:g}, τ = {options.mixture:g}, seed {options.seed}"
    )
