"""Whether a run passes: each threshold beside what was measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtests.plan import Thresholds
from loadtests.summary import Summary


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold: what was measured, its bound, and whether it holds; None: it is shown, and fails nothing."""

    what: str
    measured: str
    bound: str
    holds: bool | None


def checks(summary: Summary, thresholds: Thresholds) -> list[Check]:
    """All thresholds of a run. One without a request holds none of them."""
    return [*_of_answers(summary, thresholds), *_of_clocks(summary, thresholds)]


def passed(found: Sequence[Check]) -> bool:
    """Whether all thresholds hold that can fail."""
    return all(check.holds is not False for check in found)


def _of_answers(summary: Summary, thresholds: Thresholds) -> Iterator[Check]:
    some = summary.requests > 0
    shares = (
        ("failed requests", summary.failed, thresholds.max_error_share),
        ("degraded answers", summary.degraded, thresholds.max_degraded_share),
        ("answers after the deadline, or none", summary.late, thresholds.max_late_share),
    )
    for what, count, bound in shares:
        share = summary.share(count)
        yield Check(what, f"{share:.2%}", f"<= {bound:.2%}", some and share <= bound)
    achieved = summary.achieved_share
    least = thresholds.min_achieved_share
    yield Check("answered in the run, of those due", f"{achieved:.2%}", f">= {least:.2%}", achieved >= least)


def _of_clocks(summary: Summary, thresholds: Thresholds) -> Iterator[Check]:
    p99 = summary.client_ms["p99"]
    holds = p99 is not None and p99 <= thresholds.max_p99_ms
    yield Check("p99 from when it was due", milliseconds(p99), f"<= {thresholds.max_p99_ms:g} ms", holds)
    gap, most = summary.p99_gap, thresholds.max_p99_gap
    if most is not None:
        yield Check("p99: client against service", _share(gap), f"<= {most:.0%}", gap is not None and gap <= most)
    else:
        yield Check("p99: client against service", _share(gap), "", None)


def as_text(found: Sequence[Check]) -> str:
    """The table, the outcome last."""
    width = max(len(check.what) for check in found)
    lines = [
        f"{check.what:<{width}}  {check.measured:>10}  {check.bound:>11}  {_word(check)}".rstrip() for check in found
    ]
    return "\n".join([*lines, "passed" if passed(found) else "FAILED"])


def milliseconds(value: float | None) -> str:
    """A latency; a dash where there is none."""
    return "-" if value is None else f"{value:.1f} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _word(check: Check) -> str:
    return "" if check.holds is None else "ok" if check.holds else "FAILS"
