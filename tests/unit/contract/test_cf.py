"""The global model as the service reads it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.contract.cf import CFModel
from models.contract.errors import BundleError
from models.contract.types import Floats, item_numbers


def floats(values: object) -> Floats:
    return np.asarray(values, np.float32)


@pytest.fixture
def model() -> CFModel:
    """Three items in two dimensions."""
    return CFModel(
        encoder_weight=floats([[2, 0], [0, 4], [6, 6]]),
        encoder_bias=floats([1, -1]),
        item_factors=floats([[1, 0], [0, 1], [1, 1]]),
        item_bias=floats([0, 0.5, 0]),
    )


def test_sizes_are_read_off_the_item_factors(model: CFModel) -> None:
    assert (model.n_items, model.embedding_size) == (3, 2)


def test_fold_in_sums_the_rows_of_an_l2_normalised_history(model: CFModel) -> None:
    expected = [2 / np.sqrt(2) + 1, 4 / np.sqrt(2) - 1]
    np.testing.assert_allclose(model.fold_in(item_numbers([0, 1])), expected, rtol=1e-6)


def test_fold_in_knows_neither_order_nor_repetition(model: CFModel) -> None:
    once = model.fold_in(item_numbers([0, 2]))
    np.testing.assert_array_equal(model.fold_in(item_numbers([2, 0, 2, 2])), once)


def test_empty_history_folds_in_to_the_bias(model: CFModel) -> None:
    np.testing.assert_array_equal(model.fold_in(item_numbers([])), model.encoder_bias)


def test_score_is_inner_product_plus_bias_for_one_user_and_for_many(model: CFModel) -> None:
    one = model.scores(floats([2, 3]))
    np.testing.assert_array_equal(one, floats([2, 3.5, 5]))
    np.testing.assert_array_equal(model.scores(floats([[2, 3], [0, 0]])), floats([[2, 3.5, 5], [0, 0.5, 0]]))


def test_recommend_ranks_by_score_and_leaves_out_the_excluded(model: CFModel) -> None:
    ranked = model.recommend(floats([2, 3]), 2, excluded=item_numbers([2]))
    assert ranked.items.tolist() == [1, 0]
    np.testing.assert_allclose(ranked.scores, [3.5, 2.0])


def test_recommend_ranks_what_is_allowed_alone(model: CFModel) -> None:
    ranked = model.recommend(floats([2, 3]), 3, item_numbers([0]), np.asarray([True, False, True]))
    assert ranked.items.tolist() == [2]
    np.testing.assert_allclose(ranked.scores, [5.0])


def test_similar_items_are_the_nearest_by_cosine_whatever_their_length(model: CFModel) -> None:
    longer = replace(model, item_factors=floats([[1, 0], [0, 7], [3, 3], [0, 0]]))
    ranked = longer.similar(0, 10, item_numbers([]))
    assert ranked.items.tolist() == [2, 1, 3]
    np.testing.assert_allclose(ranked.scores, [np.sqrt(0.5), 0, 0], atol=1e-6)
    assert longer.similar(0, 1, item_numbers([2])).items.tolist() == [1]
    assert longer.similar(3, 3, item_numbers([]), np.asarray([True, False, False, True])).items.tolist() == [0]


def test_saved_model_is_loaded_unchanged(model: CFModel, tmp_path: Path) -> None:
    model.save(tmp_path / "cf.safetensors")
    loaded = CFModel.load(tmp_path / "cf.safetensors")
    for name in ("encoder_weight", "encoder_bias", "item_factors", "item_bias"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))


def test_missing_tensor_is_named(model: CFModel, tmp_path: Path) -> None:
    path = tmp_path / "cf.safetensors"
    model.save(path)
    tensors = load_file(path)
    del tensors["item_bias"]
    save_file(tensors, path)
    with pytest.raises(BundleError, match="tensors missing: item_bias"):
        CFModel.load(path)


def test_wrong_shape_is_named(model: CFModel, tmp_path: Path) -> None:
    path = tmp_path / "cf.safetensors"
    model.save(path)
    save_file(load_file(path) | {"encoder_bias": floats([1, 2, 3])}, path)
    with pytest.raises(BundleError, match=r"encoder_bias has shape \(3,\), expected \(2,\)"):
        CFModel.load(path)
