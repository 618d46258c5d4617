"""The user index of users to come."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from support.tensors import change_tensors

from models.contract.errors import BundleError
from models.contract.user_index import INDEXER, UserIndexer, free_codes, id_vector


def random_indexer(n_taken: int = 5, size: int = 6, codes: int = 8, levels: int = 3, hidden: int = 7) -> UserIndexer:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return UserIndexer(
        item_vectors=drawn(10, size).astype(np.float16),
        attention=drawn(size, size),
        weights=(drawn(hidden, size), drawn(4, hidden)),
        biases=(drawn(hidden), drawn(4)),
        codebooks=drawn(levels, codes, 4),
        taken=rng.integers(0, codes, (n_taken, levels)).astype(np.int32),
    )


def literal_index(indexer: UserIndexer, user_id: str, history: list[int]) -> list[int]:
    """Equations 1 to 3, letter by letter, in float64."""
    texts = indexer.item_vectors[history].astype(np.float64)
    query = id_vector(user_id, texts.shape[1]).astype(np.float64)
    asked = [float(text @ indexer.attention.astype(np.float64) @ query) for text in texts]
    weights = np.exp(asked) / np.exp(asked).sum()
    state = sum(weight * text for weight, text in zip(weights, texts, strict=True))
    state = np.maximum(indexer.weights[0].astype(np.float64) @ state + indexer.biases[0], 0)
    residual = indexer.weights[1].astype(np.float64) @ state + indexer.biases[1]
    codes = []
    for codebook in indexer.codebooks:
        codes.append(min(range(len(codebook)), key=lambda code: float(((residual - codebook[code]) ** 2).sum())))
        residual = residual - codebook[codes[-1]]
    return codes


@pytest.mark.parametrize("history", [[3], [0, 1], [9, 2, 2, 5]])
def test_an_index_is_that_of_the_equations(history: list[int]) -> None:
    indexer = random_indexer(n_taken=0)
    for user in ("ann", "bob", "eve"):
        assert indexer.index(user, history).tolist() == literal_index(indexer, user, history)


def test_without_an_id_all_texts_count_the_same() -> None:
    indexer = random_indexer()
    texts = np.asarray(indexer.item_vectors[[1, 4]], np.float32)
    np.testing.assert_allclose(indexer.pooled(None, texts), texts.mean(axis=0), rtol=1e-6)


def test_half_of_an_ids_vector_is_everyones_and_half_its_own() -> None:
    vectors = np.stack([id_vector(f"user {number}", 384) for number in range(50)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    cosines = (vectors @ vectors.T)[np.triu_indices(50, 1)]
    assert 0.45 < cosines.mean() < 0.55
    assert cosines.max() < 0.75
    assert vectors[3].tolist() == id_vector("user 3", 384).tolist()


def test_a_taken_index_is_passed_over_for_the_nearest_of_the_last_level() -> None:
    indexer = random_indexer(n_taken=0)
    first = indexer.index("ann", [1, 2])
    second = replace(indexer, taken=first[None]).index("ann", [1, 2])
    assert second[:-1].tolist() == first[:-1].tolist()
    residual = indexer.encode(indexer.pooled("ann", np.asarray(indexer.item_vectors[[1, 2]], np.float32)))
    for level, code in enumerate(first[:-1]):
        residual = residual - indexer.codebooks[level][code]
    assert second[-1] == np.argsort(((indexer.codebooks[-1] - residual) ** 2).sum(axis=1))[1]


def test_where_a_prefix_is_full_the_level_above_has_its_next_nearest_code() -> None:
    indexer = random_indexer(n_taken=0)
    first = indexer.index("ann", [1])
    full = np.asarray([[*first[:2], code] for code in range(8)], np.int32)
    found = replace(indexer, taken=full).index("ann", [1])
    assert found[0] == first[0]
    assert found[1] != first[1]


def test_all_indices_are_given_before_none_is_left() -> None:
    codebooks = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    taken: set[tuple[int, ...]] = set()
    given = []
    while (free := free_codes(codebooks, np.zeros(3, np.float32), taken)) is not None:
        given.append(free)
        taken.add(free)
    assert sorted(given) == list(product(range(4), range(4)))

    indexer = replace(random_indexer(levels=2), taken=np.asarray(list(product(range(8), range(8))), np.int32))
    with pytest.raises(ValueError, match="all indices are taken"):
        indexer.index("ann", [1])


def test_an_indexer_comes_back_from_its_file(tmp_path: Path) -> None:
    indexer = random_indexer()
    indexer.save(tmp_path)
    loaded = UserIndexer.load(tmp_path)
    for user, history in product(("ann", None), ([0], [3, 9, 1])):
        assert loaded.index(user, history).tolist() == indexer.index(user, history).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"codebooks": None},
        {"weight/00": None},
        {"attention": np.zeros((6, 5), np.float32)},
        {"bias/00": np.zeros(3, np.float32)},
        {"weight/01": np.zeros((3, 7), np.float32)},
        {"codebooks": np.zeros((3, 8, 5), np.float32)},
        {"taken": np.zeros((5, 2), np.int32)},
        {"taken": np.full((5, 3), 8, np.int32)},
        {"taken": np.full((5, 3), 7, np.int32)},
        {"item_vectors": np.zeros(6, np.float16)},
    ],
)
def test_indexers_that_do_not_fit_together_are_refused(tmp_path: Path, change: Mapping[str, np.ndarray | None]) -> None:
    random_indexer().save(tmp_path)
    change_tensors(tmp_path / INDEXER, change)
    with pytest.raises(BundleError, match=INDEXER):
        UserIndexer.load(tmp_path)


def test_a_user_is_indexed_in_no_time_beside_many_known_ones() -> None:
    indexer = random_indexer(n_taken=22_000, size=384, codes=256, levels=4, hidden=256)
    indexer.index("first", [0])
    started = perf_counter()
    for number in range(50):
        indexer.index(f"user {number}", list(range(10)))
    assert (perf_counter() - started) / 50 < 0.02  # a tenth of it on a quiet machine
