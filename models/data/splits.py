"""Train, valid and test: every split labels interactions, and marks those that are targets of evaluation examples.

Input is always :func:`models.data.filters.chronological` order. Output is the same rows with LABEL (int8: TRAIN, VALID
or TEST) and TARGET (bool). In every split a user's labels never decrease along the user's sequence: train comes first,
then valid, then test. So the history before any target holds only what came before it, and the train part of a
sequence holds nothing from after a target of that user.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contract.errors import DataError
from models.data.canonical import SPLIT_NAMES
from models.data.columns import LABEL, POSITION, SPLIT, TARGET, TIMESTAMP, USER

TRAIN, VALID, TEST = range(3)
_MIN_LEAVE_ONE_OUT = 3
_VALID_FROM, _TEST_FROM = 0.8, 0.9  # of the windows


def leave_one_out(ordered: pl.DataFrame) -> pl.DataFrame:
    """Each user's last item is test, the last but one valid. Users with fewer than 3 interactions are all train."""
    length, index = _lengths(ordered), _index_in_user(ordered)
    labels = np.full(ordered.height, TRAIN, np.int8)
    long_enough = length >= _MIN_LEAVE_ONE_OUT
    labels[long_enough & (index == length - 2)] = VALID
    labels[long_enough & (index == length - 1)] = TEST
    return _labelled(ordered, labels, labels != TRAIN)


def by_window(ordered: pl.DataFrame, window: int) -> pl.DataFrame:
    """HatLLM's protocol, after BIGRec: windows of ``window`` items, the last one the target, 8:1:1 by target time.

    A user with fewer items has one window of all of them. Windows are sorted by the time of their target; interactions
    that are no target (the first of each user) get the label of their own time. Users without time are all train.
    """
    length, index = _lengths(ordered), _index_in_user(ordered)
    rank = _rank_in_time(ordered)
    target = (index >= np.minimum(window, length) - 1) & (index >= 1) & (rank >= 0)
    ranks = np.sort(rank[target])
    if not len(ranks):
        raise DataError(f"{TIMESTAMP}: a split by windows needs users with at least 2 interactions of known time")
    valid_from, test_from = (ranks[int(share * len(ranks))] for share in (_VALID_FROM, _TEST_FROM))
    labels = _label_from(rank, valid_from, test_from)
    return _labelled(ordered, labels, target & (labels != TRAIN))


def by_time(ordered: pl.DataFrame, valid_from: float, test_from: float) -> pl.DataFrame:
    """Everything at or after ``valid_from`` is valid, at or after ``test_from`` test, the rest train.

    Args:
        ordered: interactions; users without time are all train.
        valid_from: seconds since 1970, or a quantile of all timestamps where not above 1.
        test_from: likewise.
    """
    timed = ~_untimed(ordered)
    seconds = ordered[TIMESTAMP].fill_null(0).to_numpy()
    if not timed.any():
        raise DataError(f"{TIMESTAMP}: a split by time needs timestamps, and no user's are all known")
    valid_second, test_second = (_second(seconds[timed], bound) for bound in (valid_from, test_from))
    labels = _label_from(np.where(timed, seconds, -1), valid_second, test_second)
    return _labelled(ordered, labels, (labels != TRAIN) & (_index_in_user(ordered) >= 1))


def given(ordered: pl.DataFrame) -> pl.DataFrame:
    """The split that came with the data, in column SPLIT. Raises DataError where it is missing or not in time order."""
    if ordered[SPLIT].null_count():
        raise DataError(f"{SPLIT}: the split is to be taken from the data, but the table has no such column")
    codes = pl.col(SPLIT).replace_strict(SPLIT_NAMES, range(len(SPLIT_NAMES)), return_dtype=pl.Int8)
    labels = ordered.select(codes).to_series().to_numpy()
    index = _index_in_user(ordered)
    backwards = np.flatnonzero((np.diff(labels, prepend=labels[:1]) < 0) & (index >= 1))
    if len(backwards):
        user, split = ordered.row(int(backwards[0]), named=True)[USER], SPLIT_NAMES[labels[backwards[0]]]
        raise DataError(
            f"{SPLIT}: {len(backwards):,} interactions come after a later split of the same user, first a {split} one"
            f" of user {user!r}: histories would hold what is to be predicted. Is {TIMESTAMP} or {POSITION} missing?"
        )
    return _labelled(ordered, labels, (labels != TRAIN) & (index >= 1))


def _labelled(ordered: pl.DataFrame, labels: NDArray[np.int8], targets: NDArray[np.bool_]) -> pl.DataFrame:
    return ordered.with_columns(pl.Series(LABEL, labels, dtype=pl.Int8), pl.Series(TARGET, targets))


def _label_from(values: NDArray[np.int64], valid_from: float, test_from: float) -> NDArray[np.int8]:
    return np.where(values < valid_from, TRAIN, np.where(values < test_from, VALID, TEST)).astype(np.int8)


def _second(seconds: NDArray[np.int64], bound: float) -> float:
    return float(np.quantile(seconds, bound)) if bound <= 1 else bound


def _rank_in_time(ordered: pl.DataFrame) -> NDArray[np.int64]:
    """Place of each interaction in the order of time, -1 for those of users without time.

    The sort is stable and the input is in each user's order, so ties do not swap a user's own interactions.
    """
    rows = np.flatnonzero(~_untimed(ordered))
    seconds = ordered[TIMESTAMP].fill_null(0).to_numpy()
    rank = np.full(ordered.height, -1, np.int64)
    rank[rows[np.argsort(seconds[rows], kind="stable")]] = np.arange(len(rows))
    return rank


def _untimed(ordered: pl.DataFrame) -> NDArray[np.bool_]:
    return ordered.select(pl.col(TIMESTAMP).is_null().any().over(USER)).to_series().to_numpy()


def _lengths(ordered: pl.DataFrame) -> NDArray[np.int64]:
    return ordered.select(pl.len().over(USER).cast(pl.Int64)).to_series().to_numpy()


def _index_in_user(ordered: pl.DataFrame) -> NDArray[np.int64]:
    return ordered.select(pl.int_range(pl.len(), dtype=pl.Int64).over(USER)).to_series().to_numpy()
