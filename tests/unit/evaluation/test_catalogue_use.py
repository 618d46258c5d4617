"""Coverage and popularity bias, by hand."""

import math

import numpy as np
import pytest

from models.evaluation.catalogue_use import catalogue_use, gini
from models.evaluation.metrics import NO_ITEM

COUNTS = np.asarray([100, 10, 1, 0])


def test_only_the_first_places_count() -> None:
    lists = np.asarray([[0, 1, 3], [0, 2, 3]], np.int32)

    use = catalogue_use(lists, 2, COUNTS)

    assert use.coverage == 3 / 4
    assert use.mean_log_popularity == pytest.approx((2 * math.log(101) + math.log(11) + math.log(2)) / 4)


def test_places_that_are_not_filled_show_nothing() -> None:
    use = catalogue_use(np.asarray([[1, NO_ITEM], [NO_ITEM, NO_ITEM]], np.int32), 2, COUNTS)

    assert use.coverage == 1 / 4
    assert use.mean_log_popularity == pytest.approx(math.log(11))


def test_no_lists() -> None:
    use = catalogue_use(np.empty((0, 5), np.int32), 5, COUNTS)

    assert (use.coverage, use.gini, use.mean_log_popularity) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([5, 5, 5, 5], 0.0), ([0, 0, 0, 8], 3 / 4), ([8, 0, 0, 0], 3 / 4), ([1, 3], 1 / 4), ([0, 0], 0.0)],
)
def test_gini(counts: list[int], expected: float) -> None:
    assert gini(np.asarray(counts)) == pytest.approx(expected)
