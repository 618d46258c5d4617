"""Simulated users of an experiment whose true effect is known.

Users differ in how active they are, how often they click or buy, and what they spend; they did before what they do in
the experiment, so that CUPED has something to go by. The effect multiplies a treated user's rates of clicking and
buying by 1 + effect, so that the lifts of click-through, conversion and revenue are the effect itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.online.statistics import Moments, Values, moments

Counts = NDArray[np.int64]

RATE_SHAPE = (1.0, 9.0)  # Beta: one list in ten is clicked, one user in ten buys
ACTIVITY_SHAPE = 2.0  # Gamma with mean 1
SPEND = (3.0, 0.5)  # log-normal
PURCHASES_BEFORE = 2.0  # as many chances to buy before as that


@dataclass(frozen=True)
class PopulationOptions:
    """Whom to simulate.

    Args:
        n_users: how many.
        effect: true lift; below 1, so that rates stay below 1 but for one user in a million.
        mismatch: by how much the treated share exceeds one half.
        n_periods: days, or looks; users come in at any of them.
        lists_per_user: in the whole of it, for a user who comes in first, and in the time before.
    """

    n_users: int
    effect: float
    mismatch: float = 0.0
    n_periods: int = 1
    lists_per_user: float = 15.0


@dataclass(frozen=True)
class Population:
    """Users' outcomes.

    Args:
        treated: (n,) whether a user is in the treatment.
        arrival: (n,) period in which a user is first shown a list.
        lists: (n, periods) lists shown.
        clicks: (n, periods) at most one a list.
        purchases: (n, periods) at most one a user.
        spend: (n,) what a purchase of the user is worth.
        clicks_before: (n,) before the first list.
        purchases_before: (n,) before the first list.
    """

    treated: NDArray[np.bool_]
    arrival: Counts
    lists: Counts
    clicks: Counts
    purchases: Counts
    spend: Values
    clicks_before: Counts
    purchases_before: Counts

    def looks(self) -> Iterator[dict[str, tuple[Moments, Moments]]]:
        """Control and treatment by metric, as they are known at the end of each period."""
        clicks, lists, purchases = (counts.cumsum(axis=1) for counts in (self.clicks, self.lists, self.purchases))
        bought_before = self.purchases_before * self.spend
        for period in range(self.lists.shape[1]):
            here = self.arrival <= period
            arms = here & ~self.treated, here & self.treated
            clicked, shown, bought = clicks[:, period], lists[:, period], purchases[:, period]
            yield {
                "click-through": _arms(arms, clicked, shown, self.clicks_before),
                "conversion": _arms(arms, bought, np.ones_like(shown), self.purchases_before),
                "revenue": _arms(arms, bought * self.spend, np.ones_like(shown), bought_before),
            }


def draw(options: PopulationOptions, rng: np.random.Generator) -> Population:
    """Draw users and all that they do."""
    n, periods = options.n_users, options.n_periods
    treated = rng.random(n) < 0.5 + options.mismatch
    rate, activity = rng.beta(*RATE_SHAPE, n), rng.gamma(ACTIVITY_SHAPE, 1 / ACTIVITY_SHAPE, n)
    arrival = rng.integers(periods, size=n)
    lists = _lists(options, arrival, activity, rng)
    raised = np.minimum(rate * np.where(treated, 1 + options.effect, 1.0), 1.0)
    return Population(
        treated=treated,
        arrival=arrival,
        lists=lists,
        clicks=rng.binomial(lists, raised[:, None]),
        purchases=_purchases(lists, rng.random(n) < raised, rng),
        spend=rng.lognormal(*SPEND, n),
        clicks_before=rng.poisson(rate * activity * options.lists_per_user),
        purchases_before=rng.poisson(rate * PURCHASES_BEFORE),
    )


def _lists(options: PopulationOptions, arrival: Counts, activity: Values, rng: np.random.Generator) -> Counts:
    """One at the arrival, and more from then on."""
    per_period = rng.poisson(
        activity[:, None] * options.lists_per_user / options.n_periods, (options.n_users, options.n_periods)
    )
    per_period[np.arange(options.n_periods) < arrival[:, None]] = 0
    per_period[np.arange(options.n_users), arrival] += 1
    return per_period


def _purchases(lists: Counts, buys: NDArray[np.bool_], rng: np.random.Generator) -> Counts:
    """(n, periods) each buyer's purchase, behind any of the user's lists."""
    until = lists.cumsum(axis=1)
    behind = np.floor(rng.random(len(lists)) * until[:, -1])
    period = (until <= behind[:, None]).sum(axis=1)
    purchases = np.zeros_like(lists)
    purchases[np.arange(len(lists)), period] = buys
    return purchases


def _arms(arms: Sequence[NDArray[np.bool_]], *columns: NDArray[Any]) -> tuple[Moments, Moments]:
    control, treatment = (moments(*(column[arm].astype(np.float64) for column in columns)) for arm in arms)
    return control, treatment
