"""When requests are due: at a rate that nobody's answers change (open loop).

The times are those of one stream, of which each of several processes takes its turn: what is sent, and when, does not
depend on how many processes send it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

Law = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a run: its share of the duration, and its share of the run's rate."""

    share: float
    level: float


def arrivals(phases: Sequence[Phase], rate: float, duration_seconds: float, *, law: Law, seed: int) -> Iterator[float]:
    """Times at which requests are due, in seconds since the start, rising, all before the end.

    Args:
        phases: of the run, in turn; their shares are of their sum.
        rate: requests per second where a phase's level is 1.
        duration_seconds: of all phases together.
        law: ``constant``: evenly; ``poisson``: as callers who know nothing of each other come.
        seed: of the Poisson process.
    """
    needed = _work(law, seed)  # requests that the rate must have added up to until the next one is due
    due, total = next(needed), sum(phase.share for phase in phases)
    began, done = 0.0, 0.0
    for phase in phases:
        seconds, speed = duration_seconds * phase.share / total, rate * phase.level
        while due < done + speed * seconds:
            yield began + (due - done) / speed
            due = next(needed)
        began, done = began + seconds, done + speed * seconds


def shared(times: Iterator[float], index: int, processes: int) -> Iterator[tuple[int, float]]:
    """Number and time of the requests that are this process's: each ``processes``-th, from number ``index`` on."""
    return ((number, due) for number, due in enumerate(times) if number % processes == index)


def wanted(phases: Sequence[Phase], rate: float, duration_seconds: float, seconds: float) -> float:
    """Requests that are due on average in the first ``seconds`` of a run."""
    total, began, due = sum(phase.share for phase in phases), 0.0, 0.0
    for phase in phases:
        length = duration_seconds * phase.share / total
        due += rate * phase.level * min(max(seconds - began, 0.0), length)
        began += length
    return due


def _work(law: Law, seed: int) -> Iterator[float]:
    if law == "constant":
        yield from map(float, count())
    rng, due = random.Random(seed), 0.0  # noqa: S311 - a load pattern, not a secret
    while True:
        due += rng.expovariate(1.0)
        yield due
