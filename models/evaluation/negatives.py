"""Sampled candidates: the protocol in which a target is ranked among some items that its user never met.

Papers of the top-N task rank 1 + 99 (L3Rec, Table 4). What such a table says of two models may differ from what full
ranking says (Krichene and Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020), so the two are never mixed.
"""

import numpy as np

from models.contract.errors import DataError
from models.contract.types import Ints
from models.types import Examples


def candidates(examples: Examples, n_items: int, n_negatives: int, seed: int) -> Ints:
    """The items that each target is ranked among, itself included.

    An example's negatives depend on the seed, its user's row, its target and what is known of its user: not on the
    other examples or their order, so that every model, run and part of the examples sees the same ones. They are drawn
    uniformly, without replacement, from what the user's histories and targets among ``examples`` do not hold. The order
    within a row is random: a target's place says nothing.

    Args:
        examples: what is evaluated.
        n_items: size of the catalogue.
        n_negatives: items beside the target.
        seed: of the drawing.

    Returns:
        (n_examples, 1 + n_negatives) int32 item numbers.

    Raises:
        DataError: a user has met so much of the catalogue that too few items are left.
    """
    drawn = np.empty((len(examples), 1 + n_negatives), np.int32)
    known = _known(examples)
    for row, (user, target) in enumerate(zip(examples.users.tolist(), examples.targets.tolist(), strict=True)):
        rng = np.random.default_rng([seed, user, target])
        drawn[row, 0] = target
        drawn[row, 1:] = _draw(rng, known[user], n_items, n_negatives)
        rng.shuffle(drawn[row])
    return drawn


def _known(examples: Examples) -> dict[int, Ints]:
    """Items of the histories and targets of each user row, ascending, each once."""
    items: dict[int, list[Ints]] = {}
    for row, user in enumerate(examples.users.tolist()):
        items.setdefault(user, []).extend((examples.histories[row], examples.targets[row : row + 1]))
    return {user: np.unique(np.concatenate(parts)) for user, parts in items.items()}


def _draw(rng: np.random.Generator, known: Ints, n_items: int, n: int) -> Ints:
    """``n`` different items, none of ``known`` (ascending, each once)."""
    n_free = n_items - len(known)
    if n_free < n:
        raise DataError(f"sampled protocol: a user has not met {n_free} of {n_items} items; expected at least {n}")
    places = rng.choice(n_free, n, replace=False)  # among the free items in ascending order
    skipped = np.searchsorted(known - np.arange(len(known)), places, side="right")
    return (places + skipped).astype(np.int32)
