"""What less effort means for a plan, and what the caller is told of it."""

from collections.abc import Sequence
from math import ceil

from models.contract.types import Membership
from service.gateway.types import Effort, Reason

MODELS_SKIPPED = Reason("models_skipped", degrades=True)
NARROWED, FEWER_CANDIDATES = "narrowed", "fewer_candidates"
SAVING_CODES = frozenset({MODELS_SKIPPED.code, NARROWED, FEWER_CANDIDATES})


def nearest(memberships: Sequence[Membership], effort: Effort) -> Sequence[Membership]:
    """The share of a user's communities that is asked, the nearest first; never none of some."""
    return memberships[: max(1, ceil(len(memberships) * effort.width))]


def fewer(candidates: int, effort: Effort) -> int:
    """The share of the items that each voter is asked for."""
    return max(1, ceil(candidates * effort.candidates))


def savings(communities: tuple[int, int], candidates: tuple[int, int]) -> tuple[Reason, ...]:
    """What was saved, as (asked, of) pairs. Communities left out degrade an answer; shorter lists of all do not."""
    (asked, members), (length, full) = communities, candidates
    found = [Reason(NARROWED, f"{asked}/{members}", degrades=True)] if asked < members else []
    return (*found, Reason(FEWER_CANDIDATES, f"{length}/{full}")) if length < full else tuple(found)
