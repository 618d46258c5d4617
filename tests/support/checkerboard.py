"""Data whose right answer is known (after the test of the `implicit` library): users like the items of one colour."""

from dataclasses import dataclass

import numpy as np

from models.contract.catalogue import Catalogue, Item
from models.data.dataset import Dataset
from models.data.splits import TRAIN, VALID
from models.evaluation.metrics import rank_scores
from models.types import Examples, Score, Scorer, Sequences, by_history


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
    return share_of_users_right(by_history(scorer), board)


def share_of_users_right(score: Score, board: Checkerboard) -> float:
    """As :func:`share_of_right_colour`, for a model that may know its users by row."""
    lists = rank_scores(score(board.valid), board.train, 2)
    colours = np.arange(len(lists))[:, None] % 2
    return float((lists % 2 == colours).mean())


def as_dataset(board: Checkerboard) -> Dataset:
    """The board as a prepared data set, whose users' last items are the validation targets."""
    n_users = len(board.train)
    rows = [np.append(board.train[user], board.valid.targets[user]) for user in range(n_users)]
    full = Sequences.of(rows)
    last = full.offsets[1:] - 1
    targets = np.zeros(len(full.items), dtype=np.bool_)
    targets[last] = True
    return Dataset(
        user_ids=tuple(f"u{user:03}" for user in range(n_users)),
        catalogue=Catalogue(Item(f"i{number:03}") for number in range(board.n_items)),
        full=full,
        full_timestamps=np.arange(len(full.items), dtype=np.int64),
        labels=np.where(targets, VALID, TRAIN).astype(np.int8),
        targets=targets,
    )
