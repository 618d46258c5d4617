"""The highest rate that holds, by doubling and bisection."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bracket:
    """Between the highest rate that held and the lowest that did not, in requests per second.

    ``holds`` is None where none held, ``fails`` where all did, up to the highest that was tried.
    """

    holds: float | None
    fails: float | None


def highest(holds: Callable[[float], bool], *, start: float, least: float, most: float, precision: float) -> Bracket:
    """Find the highest rate that holds.

    Args:
        holds: measures a rate.
        start: the first rate; doubled while it holds, halved while it does not.
        least, most: rates beyond these are not tried.
        precision: the end: the lowest rate that failed is above the highest that held by this share at most.
    """
    bracket = _bracketed(holds, start, least, most)
    low, high = bracket.holds, bracket.fails
    while low is not None and high is not None and high > low * (1 + precision):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return Bracket(low, high)


def _bracketed(holds: Callable[[float], bool], start: float, least: float, most: float) -> Bracket:
    rate = min(max(start, least), most)
    if holds(rate):
        while rate < most:
            low, rate = rate, min(rate * 2, most)
            if not holds(rate):
                return Bracket(low, rate)
        return Bracket(rate, None)
    while rate > least:
        high, rate = rate, max(rate / 2, least)
        if holds(rate):
            return Bracket(rate, high)
    return Bracket(None, rate)
