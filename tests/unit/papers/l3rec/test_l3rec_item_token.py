import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.backbones import N_ITEMS, tiny_config, walk_dataset, walks
from torch import Tensor

from models.contract.errors import ConfigError
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.evaluation.metrics import mean_ndcg
from models.llm.backbone import load_backbone
from models.llm.item_token import LORA_TARGETS, CatalogueModel
from models.llm.next_item import NextItemScorer
from models.llm.training import FitState
from models.papers.l3rec.config import L3RecConfig
from models.papers.l3rec.files import ADAPTER, CHECKPOINT, ITEM_VECTORS
from models.papers.l3rec.item_token import train_global, train_local
from models.papers.l3rec.item_vectors import embed_items
from models.papers.l3rec.training_set import TrainingSet
from models.types import Sequences, by_history

RED, BLUE = ((np.arange(40) % 2 == colour).astype(np.float32) for colour in (0, 1))


@dataclass(frozen=True)
class Trained:
    """Item vectors and global model, on disk, and how training went."""

    config: L3RecConfig
    dataset: Dataset
    items: Path
    directory: Path
    state: FitState
    reports: list[str]


def train(config: L3RecConfig, dataset: Dataset, root: Path) -> Trained:
    items, directory, reports = root / "items", root / "global", []
    items.mkdir(parents=True)
    directory.mkdir()
    embed_items(config, dataset, items)
    state = train_global(config, TrainingSet.of_all(dataset), items, directory, reports.append)
    return Trained(config, dataset, items, directory, state, reports)


@pytest.fixture(scope="module")
def trained(backbone_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tiny_config(backbone_directory), walk_dataset(), tmp_path_factory.mktemp("l3rec"))


@pytest.fixture(scope="module")
def young(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A global model that leaves its communities something to learn."""
    return train(replace(trained.config, epochs=2), trained.dataset, tmp_path_factory.mktemp("young"))


def local_tensors(
    trained: Trained,
    affinity: Floats,
    directory: Path,
    dataset: Dataset | None = None,
    config: L3RecConfig | None = None,
) -> dict[str, Tensor]:
    directory.mkdir()
    config = config or trained.config
    data = TrainingSet.of_community(dataset or trained.dataset, affinity, weighted=config.affinity_weighted)
    train_local(config, data, trained.items, trained.directory, directory, community=0, report=lambda line: None)
    return adapter_tensors(directory)


def adapter_tensors(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / ADAPTER / "adapter_model.safetensors")


def adapter_settings(directory: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((directory / ADAPTER / "adapter_config.json").read_text())
    return settings


def checkpoint_tensors(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / CHECKPOINT / "model.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def scorer(checkpoint: Path, adapter: Path, config: L3RecConfig) -> NextItemScorer:
    return NextItemScorer(
        CatalogueModel.load(checkpoint, adapter), config.history_length, torch.device("cpu"), exact=True
    )


def test_item_vectors_are_white_and_one_an_item(trained: Trained) -> None:
    tensors = load_file(trained.items / ITEM_VECTORS)
    text = tensors["text"]
    assert text.shape == (N_ITEMS, trained.config.text_size)
    torch.testing.assert_close(text.T @ text / N_ITEMS, torch.eye(trained.config.text_size), atol=1e-3, rtol=0)
    assert tensors["components"].shape == (64, trained.config.text_size)
    assert tensors["mean"].shape == (64,)


def test_global_training_learns_what_follows_what(trained: Trained) -> None:
    untrained = float(trained.reports[0].split()[-1])
    assert trained.state.best > untrained + 0.1
    assert trained.state.best_epoch > 0


def test_what_was_saved_is_the_best_epoch(trained: Trained) -> None:
    saved = scorer(trained.directory / CHECKPOINT, trained.directory / ADAPTER, trained.config)
    best = mean_ndcg(by_history(saved), trained.dataset.examples("valid"), n=None)
    assert best == pytest.approx(trained.state.best, abs=0.02)  # validation may have rounded to bfloat16


def test_trained_for_long_it_ranks_what_follows_first(trained: Trained, tmp_path: Path) -> None:
    long = train(replace(trained.config, epochs=20, patience=20), trained.dataset, tmp_path / "long")
    saved = scorer(long.directory / CHECKPOINT, long.directory / ADAPTER, long.config)
    assert mean_ndcg(by_history(saved), trained.dataset.examples("test")) > 0.85


def test_the_run_leaves_checkpoint_and_adapter_only(trained: Trained) -> None:
    assert {path.name for path in trained.directory.iterdir()} == {CHECKPOINT, ADAPTER}


def test_the_same_seed_gives_the_same_model(trained: Trained, tmp_path: Path) -> None:
    torch.manual_seed(54321)
    again = train(trained.config, trained.dataset, tmp_path / "again")
    other = train(replace(trained.config, seed=1), trained.dataset, tmp_path / "other")
    assert same(checkpoint_tensors(again.directory), checkpoint_tensors(trained.directory))
    assert same(adapter_tensors(again.directory), adapter_tensors(trained.directory))
    assert not same(checkpoint_tensors(other.directory), checkpoint_tensors(trained.directory))


def test_adapters_are_on_the_projections_that_are_asked_for(trained: Trained, tmp_path: Path) -> None:
    config = replace(trained.config, lora_targets=("q_proj", "v_proj"), epochs=1, local_epochs=1)
    some = train(config, trained.dataset, tmp_path / "some")
    local = local_tensors(some, RED, tmp_path / "red")
    assert local.keys() == adapter_tensors(some.directory).keys()
    assert {name.split(".")[-3] for name in local} == {"q_proj", "v_proj"}


@pytest.fixture(scope="module")
def last_only(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A global model with adapters in the last of its two layers."""
    config = replace(trained.config, adapted_layers=1)
    return train(config, trained.dataset, tmp_path_factory.mktemp("last_only"))


def test_adapters_are_in_the_last_layers_that_are_asked_for(last_only: Trained, tmp_path: Path) -> None:
    local = local_tensors(last_only, RED, tmp_path / "red")
    assert local.keys() == adapter_tensors(last_only.directory).keys()
    assert len(local) == 2 * len(LORA_TARGETS)
    assert all(name.startswith("base_model.model.model.layers.1.") for name in local)
    for directory in (last_only.directory, tmp_path / "red"):
        assert adapter_settings(directory)["layers_to_transform"] == [1]


def test_the_layers_below_keep_the_backbones_weights(last_only: Trained) -> None:
    kept, backbone = checkpoint_tensors(last_only.directory), load_backbone(last_only.config.backbone)
    for name, weight in backbone.model.model.layers[2].state_dict().items():
        assert torch.equal(kept[f"model.layers.0.{name}"], weight)


def test_a_model_with_some_layers_adapted_learns_and_loads(last_only: Trained) -> None:
    saved = scorer(last_only.directory / CHECKPOINT, last_only.directory / ADAPTER, last_only.config)
    best = mean_ndcg(by_history(saved), last_only.dataset.examples("valid"), n=None)
    assert best == pytest.approx(last_only.state.best, abs=0.02)
    assert last_only.state.best > float(last_only.reports[0].split()[-1]) + 0.1


def test_to_adapt_all_layers_is_what_happens_without_the_setting(trained: Trained, tmp_path: Path) -> None:
    every = train(replace(trained.config, adapted_layers=2), trained.dataset, tmp_path / "every")
    assert same(adapter_tensors(every.directory), adapter_tensors(trained.directory))
    assert same(checkpoint_tensors(every.directory), checkpoint_tensors(trained.directory))
    assert adapter_settings(trained.directory)["layers_to_transform"] is None


def test_too_many_layers_are_refused(trained: Trained, tmp_path: Path) -> None:
    config = replace(trained.config, trunk_layers=3, top_layers=2)
    with pytest.raises(ConfigError, match="layers 3 to 5"):
        train_global(config, TrainingSet.of_all(trained.dataset), trained.items, tmp_path, lambda line: None)


@pytest.fixture(scope="module")
def apart(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The global model where every adapter has an item table of its own."""
    config = replace(trained.config, local_start="scratch")
    return train(config, trained.dataset, tmp_path_factory.mktemp("apart"))


def test_a_table_in_the_adapter_scores_as_one_in_the_checkpoint(trained: Trained, apart: Trained) -> None:
    histories = trained.dataset.examples("test").histories
    inside, outside = (
        scorer(t.directory / CHECKPOINT, t.directory / ADAPTER, t.config).scores(histories) for t in (apart, trained)
    )
    np.testing.assert_allclose(inside, outside, atol=1e-4)


def test_so_does_one_with_some_layers_adapted(last_only: Trained, tmp_path: Path) -> None:
    config = replace(last_only.config, local_start="scratch")
    apart = train(config, last_only.dataset, tmp_path / "apart")
    histories = last_only.dataset.examples("test").histories
    inside, outside = (
        scorer(t.directory / CHECKPOINT, t.directory / ADAPTER, t.config).scores(histories) for t in (apart, last_only)
    )
    np.testing.assert_allclose(inside, outside, atol=1e-4)
    written = adapter_settings(apart.directory)
    assert written["layers_to_transform"] is None
    assert len(written["target_modules"]) == len(LORA_TARGETS) + 2
    assert {"embed_tokens", "lm_head", "model.layers.1.self_attn.q_proj"} < set(written["target_modules"])
    assert set(written["rank_pattern"]) == set(LORA_TARGETS)


def test_the_checkpoint_then_has_an_empty_vocabulary(apart: Trained) -> None:
    vocabulary = load_file(apart.directory / CHECKPOINT / "model.safetensors")
    assert not vocabulary["model.embed_tokens.weight"].any()
    assert not vocabulary["lm_head.weight"].any()


def test_all_parts_of_such_an_adapter_have_one_scale(apart: Trained) -> None:
    config = adapter_settings(apart.directory)
    assert config["r"] == apart.config.embedding_size
    scale = config["lora_alpha"] / config["r"]
    assert {name: alpha / config["rank_pattern"][name] for name, alpha in config["alpha_pattern"].items()} == (
        dict.fromkeys(config["rank_pattern"], scale)
    )
    assert set(config["target_modules"]) == {*config["rank_pattern"], "embed_tokens", "lm_head"}


def test_from_scratch_communities_share_nothing_and_learn_their_own(apart: Trained, tmp_path: Path) -> None:
    start = adapter_tensors(apart.directory)
    red, blue = (local_tensors(apart, a, tmp_path / name) for name, a in (("red", RED), ("blue", BLUE)))
    assert red.keys() == blue.keys() == start.keys()
    assert not any(torch.equal(red[name], other[name]) for name in red for other in (blue, start))
    valid = apart.dataset.examples("valid")
    members = valid.take(np.flatnonzero(RED[valid.users] > 0))
    checkpoint = apart.directory / CHECKPOINT
    own, other = (
        mean_ndcg(by_history(scorer(checkpoint, tmp_path / name / ADAPTER, apart.config)), members)
        for name in ("red", "blue")
    )
    assert own > other


def test_from_scratch_a_community_without_validation_examples_is_refused(apart: Trained, tmp_path: Path) -> None:
    data = TrainingSet.of_community(apart.dataset, RED)
    blind = replace(data, valid=data.valid.take(np.arange(0)))
    with pytest.raises(ConfigError, match=r"community c03: none of .*communities\.bandwidth or .*fewer communities"):
        train_local(apart.config, blind, apart.items, apart.directory, tmp_path, community=3, report=lambda line: None)
    assert not list(tmp_path.iterdir())


def test_from_the_global_adapter_such_a_community_keeps_it(trained: Trained, tmp_path: Path) -> None:
    data = TrainingSet.of_community(trained.dataset, RED)
    blind = replace(data, valid=data.valid.take(np.arange(0)))
    config = replace(trained.config, local_epochs=1)
    train_local(config, blind, trained.items, trained.directory, tmp_path, community=3, report=lambda line: None)
    assert same(adapter_tensors(tmp_path), adapter_tensors(trained.directory))


def test_a_communitys_items_are_all_that_it_sees(trained: Trained) -> None:
    items = (np.arange(N_ITEMS) % 2).astype(np.float32)
    data = TrainingSet.of_community(trained.dataset, RED, items)
    assert set(data.sequences.items.tolist()) <= set(range(1, N_ITEMS, 2))
    assert len(data.sequences) == len(data.user_weights) == int((RED > 0).sum())
    assert (data.valid.targets % 2 == 1).all()


def test_a_local_adapter_improves_on_its_own_users(young: Trained, tmp_path: Path) -> None:
    checkpoint, valid = young.directory / CHECKPOINT, young.dataset.examples("valid")
    members = valid.take(np.flatnonzero(RED[valid.users] > 0))
    local_tensors(young, RED, tmp_path / "red")
    ndcg = {
        name: mean_ndcg(by_history(scorer(checkpoint, directory / ADAPTER, young.config)), members)
        for name, directory in (("global", young.directory), ("red", tmp_path / "red"))
    }
    assert ndcg["red"] > ndcg["global"]


def test_local_training_changes_the_adapter_and_nothing_else(young: Trained, tmp_path: Path) -> None:
    before, start = checkpoint_tensors(young.directory), adapter_tensors(young.directory)
    local = local_tensors(young, RED, tmp_path / "red")
    assert same(checkpoint_tensors(young.directory), before)
    assert same(adapter_tensors(young.directory), start)
    assert local.keys() == start.keys()
    assert all("lora_" in name for name in local)
    assert all(not torch.equal(local[name], start[name]) for name in local)
    assert {path.name for path in (tmp_path / "red").iterdir()} == {ADAPTER}


def test_adapters_of_different_communities_differ(trained: Trained, tmp_path: Path) -> None:
    red, blue = (local_tensors(trained, affinity, tmp_path / name) for name, affinity in (("red", RED), ("blue", BLUE)))
    assert not any(torch.equal(red[name], blue[name]) for name in red)


def with_other_walks(users: Floats) -> Dataset:
    """The data set in which the given users walk backwards."""
    full = walks()
    return walk_dataset(Sequences.of([full[u][::-1] if users[u] > 0 else full[u] for u in range(len(full))]))


def test_members_train_and_nobody_else(trained: Trained, tmp_path: Path) -> None:
    red = local_tensors(trained, RED, tmp_path / "red")
    assert same(local_tensors(trained, RED, tmp_path / "others changed", with_other_walks(BLUE)), red)
    assert not same(local_tensors(trained, RED, tmp_path / "members changed", with_other_walks(RED)), red)


def test_members_count_by_their_affinity(young: Trained, tmp_path: Path) -> None:
    uneven = RED * np.linspace(0.01, 1.0, len(RED)).astype(np.float32)
    weighted = local_tensors(young, uneven, tmp_path / "weighted")
    assert not same(weighted, local_tensors(young, RED, tmp_path / "even"))
    plain = replace(young.config, affinity_weighted=False)
    unweighted = [local_tensors(young, a, tmp_path / f"plain {a.sum()}", config=plain) for a in (uneven, RED)]
    assert same(*unweighted)


def test_a_community_without_users_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no users; expected a larger bandwidth"):
        local_tensors(trained, np.zeros(40, np.float32), tmp_path / "empty")
