"""What an experiment is judged by: metrics of users, and guards that must not suffer."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from models.online import columns as c
from models.online import outcomes as o
from models.online.statistics import Estimate, Moments, Values, moments, quantile


@dataclass(frozen=True)
class Metric:
    """A ratio of two columns of the users' table.

    Args:
        numerator: what is counted.
        denominator: what it is counted over; "" for users.
        covariate: the same before the experiment, for CUPED; "" where there is none.
        meaning: for people.
        percent: whether it is a share.
    """

    numerator: str
    denominator: str
    covariate: str
    meaning: str
    percent: bool = True

    def moments(self, users: pl.DataFrame) -> Moments:
        """The metric of these users."""
        denominator, covariate = (_values(users, name) if name else None for name in (self.denominator, self.covariate))
        return moments(_values(users, self.numerator), denominator, covariate)


METRICS: Mapping[str, Metric] = {
    "click-through": Metric(o.CLICKS, o.EXPOSURES, o.BEFORE + o.CLICKS, "clicks per list shown"),
    "click-share": Metric(o.CLICKED, "", o.BEFORE + o.CLICKS, "users who clicked"),
    "conversion": Metric(o.CONVERTED, "", o.BEFORE + o.CONVERTED, "users who bought"),
    "revenue": Metric(o.REVENUE, "", o.BEFORE + o.REVENUE, "revenue per user", percent=False),
}
GUARDS: Mapping[str, Metric] = {o.DEGRADED: Metric(o.DEGRADED, o.EXPOSURES, "", "lists that lacked something planned")}
LATENCIES: Mapping[str, float] = {"latency-p50": 0.5, "latency-p95": 0.95, "latency-p99": 0.99}  # milliseconds
GUARD_NAMES = frozenset(GUARDS) | frozenset(LATENCIES)


def latency(lists: pl.DataFrame, level: float) -> Estimate:
    """A quantile of the latency of these lists, milliseconds."""
    users = lists[c.USER].rank("dense").cast(pl.Int64).to_numpy()
    return quantile(_values(lists, c.LATENCY), users, level)


def _values(frame: pl.DataFrame, column: str) -> Values:
    return frame[column].cast(pl.Float64).to_numpy()
