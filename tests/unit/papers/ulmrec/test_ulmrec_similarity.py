import numpy as np
import pytest

from models.papers.ulmrec.similarity import prefix_similarity, similarity_table
from models.types import Sequences

INDICES = np.asarray([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]], np.int32)
VECTORS = np.asarray([[1, 0], [2, 0], [0, 1], [-1, 0]], np.float32)
HISTORIES = Sequences.of([np.asarray(items, np.int32) for items in ([0, 1], [1, 2, 0], [3], [3])])


def test_pairs_that_share_a_prefix_and_how_alike_they_are() -> None:
    nothing, one, two = prefix_similarity(INDICES, VECTORS, HISTORIES, seed=0)
    assert [(s.shared, s.pairs) for s in (nothing, one, two)] == [(0, 6), (1, 3), (2, 1)]
    assert (two.cosine.mean, two.jaccard.mean, two.met.mean) == (1.0, pytest.approx(2 / 3), 1.0)


def test_every_pair_is_as_likely_as_any_other_and_nobody_is_paired_with_himself() -> None:
    rng = np.random.default_rng(1)
    indices = np.column_stack([rng.integers(0, 3, 60), np.arange(60)]).astype(np.int32)
    vectors = rng.standard_normal((60, 4)).astype(np.float32)
    histories = Sequences.of([np.asarray([user], np.int32) for user in range(60)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = (indices[:, :1] == indices[:, 0]) & ~np.eye(60, dtype=bool)
    drawn = prefix_similarity(np.repeat(indices, 1, axis=0), vectors, histories, seed=0)[1]
    assert drawn.pairs == same.sum() // 2
    assert drawn.cosine.low <= cosines[same].mean() <= drawn.cosine.high
    assert drawn.met.mean == 0.0  # all have met something else; with himself one would have all in common


def test_prefixes_that_nobody_shares_have_no_pairs() -> None:
    found = prefix_similarity(np.asarray([[0, 1], [1, 1]], np.int32), VECTORS[:2], HISTORIES.take(np.arange(2)), seed=0)
    assert found[1].pairs == 0
    assert np.isnan(found[1].cosine.mean)
    assert similarity_table(found).rows[1][:2] == ("1", "0")
