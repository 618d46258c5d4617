"""Which items may be shown at all: neither seen nor excluded nor hidden, among the candidates, passing the filters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from models.contract.catalogue import Catalogue
from models.contract.types import Ints, item_numbers
from service.gateway.bundles.item_set import ItemSet
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.types import Query, Reason

NAMED_UNKNOWN_ITEMS = 5


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many of the catalogue's items each rule keeps from being shown. An item may be counted by several.

    Args:
        seen: seen by the user, or in the history that was sent.
        excluded: by the request.
        hidden: by operators.
        filtered: by the request's filters.
        not_candidates: none of the request's candidates.
    """

    seen: int = 0
    excluded: int = 0
    hidden: int = 0
    filtered: int = 0
    not_candidates: int = 0


NOTHING_LEFT_OUT = LeftOut()


@dataclass(frozen=True, slots=True)
class Constraints:
    """What may be shown in one answer.

    Args:
        excluded: (m,) item numbers that must not be shown: seen ones, and those that the request names.
        allowed: the items that alone may be shown; None: all.
        left_out: how many are not, and why; counted where the request asks for explanations.
        reasons: candidates that the bundle does not know.
    """

    excluded: Ints
    allowed: ItemSet | None
    left_out: LeftOut
    reasons: tuple[Reason, ...]


def constrain(query: Query, seen: Ints, history: Ints, snapshot: Snapshot, hidden: frozenset[str]) -> Constraints:
    """The constraints of a query. Raises ApiError where its filters are not possible with this bundle.

    Args:
        query: what is asked.
        seen: (n,) item numbers of what the user has seen.
        history: (m,) item numbers of the history that counts.
        snapshot: the bundle that answers.
        hidden: ids of items that must not be shown to anybody.
    """
    watched = [seen, history] if query.exclude_seen else []
    named = [snapshot.catalogue.numbers(query.exclude_items)] if query.exclude_items else []
    excluded = np.concatenate([*watched, *named]) if watched or named else item_numbers([])
    if not (query.filters or query.candidates is not None or hidden or query.explain):  # most requests
        return Constraints(excluded, None, NOTHING_LEFT_OUT, ())
    rules = _Rules(
        shown=snapshot.shown(hidden),
        passing=snapshot.filters.passing(query.filters),
        candidates=_candidates(query.candidates, snapshot.catalogue),
    )
    unknown = unknown_ids("unknown_candidate", query.candidates or (), snapshot.catalogue)
    left_out = _count(watched, named, rules) if query.explain else NOTHING_LEFT_OUT
    return Constraints(excluded, rules.allowed(), left_out, tuple(unknown))


def unknown_ids(code: str, item_ids: Sequence[str], catalogue: Catalogue) -> list[Reason]:
    """The ids that a bundle does not know, each as a reason; of many the first, and how many more there are."""
    unknown = [item_id for item_id in item_ids if catalogue.number(item_id) is None]
    named = [Reason(code, item_id) for item_id in unknown[:NAMED_UNKNOWN_ITEMS]]
    more = len(unknown) - len(named)
    return [*named, Reason(code, f"and {more} more")] if more else named


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is allowed by each rule alone; None: all."""

    shown: ItemSet | None
    passing: ItemSet | None
    candidates: ItemSet | None

    def allowed(self) -> ItemSet | None:
        """What is allowed by all of them."""
        rules = [rule for rule in (self.candidates, self.passing, self.shown) if rule is not None]
        return reduce(ItemSet.within, rules) if rules else None


def _candidates(item_ids: Sequence[str] | None, catalogue: Catalogue) -> ItemSet | None:
    if item_ids is None:
        return None
    mask = np.zeros(len(catalogue), bool)
    mask[catalogue.numbers(item_ids)] = True
    return ItemSet(mask)


def _count(watched: list[Ints], named: list[Ints], rules: _Rules) -> LeftOut:
    return LeftOut(
        seen=_distinct(watched),
        excluded=_distinct(named),
        hidden=_forbidden(rules.shown),
        filtered=_forbidden(rules.passing),
        not_candidates=_forbidden(rules.candidates),
    )


def _distinct(parts: list[Ints]) -> int:
    return len(np.unique(np.concatenate(parts))) if parts else 0


def _forbidden(rule: ItemSet | None) -> int:
    return 0 if rule is None else len(rule.mask) - rule.size
