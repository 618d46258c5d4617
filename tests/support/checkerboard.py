"""Data whose right answer is known (after the test of the `implicit` library): users like the items of one colour."""

from dataclasses import dataclass

import numpy as np

from models.metrics import rank_scores
from models.types import Examples, Scorer, Sequences


@dataclass(frozen=True)
class Checkerboard:
    """Users and items of two colours; every user met all but two items of the user's colour, in random order."""

    n_items: int
    train: Sequences
    valid: Examples


def checkerboard(n_users: int = 40, n_items: int = 20, seed: int = 0) -> Checkerboard:
    """Even users like even items, odd users odd ones. One of the two items left is the validation target."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.arange(user % 2, n_items, 2)).astype(np.int32) for user in range(n_users)]
    train = Sequences.of([order[:-2] for order in orders])
    targets = np.asarray([order[-2] for order in orders], dtype=np.int32)
    return Checkerboard(n_items, train, Examples(np.arange(n_users), train, targets))


def share_of_right_colour(scorer: Scorer, board: Checkerboard) -> float:
    """Share of the first two unseen items that have their user's colour: 1 for a model that has understood."""
    lists = rank_scores(scorer.scores(board.train), board.train, 2)
    colours = np.arange(len(lists))[:, None] % 2
    return float((lists % 2 == colours).mean())
