from pathlib import Path

import numpy as np
import pytest

from models.contract.errors import BundleError
from models.contract.index import top_n
from models.contract.probe import BASE, Probe, distance, load_probe
from models.contract.types import Floats, RankedList, item_numbers

N_ITEMS, N = 300, 100
ADAPTERS = ("global", "c00", "c01")
HISTORY = item_numbers([4, 2, 9])


def scores(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=N_ITEMS).astype(np.float32)


def best(values: Floats) -> RankedList:
    return top_n(values, N, HISTORY)


SCORES = {name: scores(seed) for seed, name in enumerate((BASE, *ADAPTERS))}
PROBE = Probe(HISTORY, item_numbers([300, 4, 2, 9]), {name: best(values) for name, values in SCORES.items()})


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_adapters_own_answer_passes(adapter: str):
    assert PROBE.complaint(adapter, best(SCORES[adapter])) == ""


def test_another_normaliser_and_rounding_pass():
    rounded = (SCORES["c00"] - 3.7 + np.random.default_rng(9).normal(size=N_ITEMS) * 0.02).astype(np.float32)
    assert PROBE.complaint("c00", best(rounded)) == ""


def test_an_adapter_that_was_not_applied_is_told():
    assert "like the base model" in PROBE.complaint("c00", best(SCORES[BASE]))


def test_another_bundles_adapter_is_nobodys():
    assert "is the limit" in PROBE.complaint("c00", best(scores(55)))


def test_scores_that_are_no_numbers_are_refused():
    answer = RankedList(PROBE.lists["c00"].items, np.full(N, np.nan, np.float32))
    assert "is the limit" in PROBE.complaint("c00", answer)


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_an_adapter_that_was_trained_again_is_another_one(noise: float):
    again = (SCORES["c00"] + np.random.default_rng(5).normal(size=N_ITEMS) * noise).astype(np.float32)
    assert "is the limit" in PROBE.complaint("c00", best(again))


def near(values: Floats, by: float) -> Floats:
    """Scores that differ by a little, as those of adapters that start from the same one."""
    return (values + by * scores(77)).astype(np.float32)


@pytest.mark.parametrize(("given", "like"), [("global", "like global"), (BASE, "like the base model")])
def test_a_near_relative_is_told_by_who_is_nearer(given: str, like: str):
    values = {BASE: SCORES[BASE], "global": near(SCORES[BASE], 0.05), "c00": near(SCORES[BASE], 0.1)}
    probe = Probe(HISTORY, PROBE.prompt, {name: best(v) for name, v in values.items()})
    assert like in probe.complaint("c00", best(values[given]))
    assert probe.complaint("c00", best(values["c00"])) == ""


def logits(values: Floats) -> RankedList:
    """Of candidates, the same in every list."""
    return top_n(values[:N], N, item_numbers([]))


def test_a_classifiers_logits_may_hardly_differ_between_candidates():
    """As large as in a CoLLM on ML-1M: bfloat16 moves its logits by a sixth of what its candidates differ by."""
    own, base = SCORES["c00"] * 0.044, SCORES[BASE] * 0.051
    probe = Probe(HISTORY, item_numbers([]), {BASE: logits(base), "collm": logits(own)})
    for moved, passes in ((0.01, True), (0.06, False)):
        answer = logits((own + moved * scores(78)).astype(np.float32))
        assert (probe.complaint("collm", answer) == "") == passes
    assert "like the base model" in probe.complaint("collm", logits(base))
    assert "is the limit" in probe.complaint("collm", logits(SCORES["c01"] * 0.05))


def test_twins_cannot_be_told_apart_and_both_pass():
    probe = Probe(HISTORY, PROBE.prompt, {BASE: PROBE.lists[BASE]} | dict.fromkeys(("c00", "c01"), PROBE.lists["c00"]))
    assert probe.complaint("c01", PROBE.lists["c00"]) == ""


def test_an_answer_without_items_is_refused():
    nothing = RankedList(item_numbers([]), np.empty(0, np.float32))
    assert PROBE.complaint("c00", nothing) == "it ranks nothing"


def test_distance_counts_items_that_are_missing():
    expected = RankedList(item_numbers([1, 2, 3]), np.asarray([3, 2, 1], np.float32))
    answer = RankedList(item_numbers([1, 3]), np.asarray([3, 1], np.float32))
    assert distance(expected, answer) == pytest.approx((1 / 3 + 2 / 3 + 1 / 3) / 3)
    assert distance(expected, expected) == 0


def test_saved_and_loaded(tmp_path: Path):
    PROBE.save(tmp_path)
    loaded = load_probe(tmp_path, ADAPTERS)
    assert (loaded.history.tolist(), loaded.prompt.tolist(), loaded.n) == ([4, 2, 9], [300, 4, 2, 9], N)
    for name, ranking in PROBE.lists.items():
        np.testing.assert_array_equal(loaded.lists[name].items, ranking.items)
        np.testing.assert_array_equal(loaded.lists[name].scores, ranking.scores)


def test_an_adapter_without_a_list_is_named(tmp_path: Path):
    PROBE.save(tmp_path)
    with pytest.raises(BundleError, match="no list of c07"):
        load_probe(tmp_path, ("c00", "c07"))


def test_a_list_that_says_nothing_is_refused(tmp_path: Path):
    short = RankedList(item_numbers([1, 2]), np.asarray([1, 0], np.float32))
    Probe(HISTORY, PROBE.prompt, {**PROBE.lists, "c01": short}).save(tmp_path)
    with pytest.raises(BundleError, match="fewer than 3 items in the list of c01"):
        load_probe(tmp_path, ADAPTERS)


def test_a_damaged_file_is_named(tmp_path: Path):
    (tmp_path / "probe.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"probe\.safetensors"):
        load_probe(tmp_path, ())
