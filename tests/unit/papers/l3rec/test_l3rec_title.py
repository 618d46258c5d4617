import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.backbones import tiny_config, walk_dataset, walks
from torch import Tensor

from models.contract.errors import ConfigError, DataError
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.evaluation.metrics import mean_ndcg
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.llm.training import FitState
from models.papers.l3rec.config import L3RecConfig
from models.papers.l3rec.files import ADAPTER, CHECKPOINT
from models.papers.l3rec.item_vectors import embed_items
from models.papers.l3rec.title import cache_trunk, train_global, train_local
from models.types import Sequences, by_history

RED, BLUE = ((np.arange(40) % 2 == colour).astype(np.float32) for colour in (0, 1))


@dataclass(frozen=True)
class Trained:
    """Item vectors, trunk states and global model on disk, and how training went."""

    config: L3RecConfig
    dataset: Dataset
    root: Path
    state: FitState
    reports: list[str]

    @property
    def directory(self) -> Path:
        return self.root / "global"


def silent(line: str) -> None:
    pass


def prepare(config: L3RecConfig, dataset: Dataset, root: Path) -> None:
    for name in ("items", "trunk", "global"):
        (root / name).mkdir(parents=True)
    embed_items(config, dataset, root / "items")
    cache_trunk(config, dataset, root / "trunk", silent)


def train(config: L3RecConfig, dataset: Dataset, root: Path) -> Trained:
    reports: list[str] = []
    prepare(config, dataset, root)
    state = train_global(config, dataset, root / "items", root / "trunk", root / "global", reports.append)
    return Trained(config, dataset, root, state, reports)


@pytest.fixture(scope="module")
def trained(backbone_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    config = replace(tiny_config(backbone_directory), form="title", epochs=3, local_epochs=2)
    return train(config, walk_dataset(), tmp_path_factory.mktemp("l3rec_title"))


def local_tensors(
    trained: Trained, affinity: Floats, directory: Path, config: L3RecConfig | None = None
) -> dict[str, Tensor]:
    directory.mkdir()
    inputs = (affinity, trained.root / "trunk", trained.directory, directory)
    train_local(config or trained.config, trained.dataset, *inputs, report=silent)
    return adapter_tensors(directory)


def adapter_tensors(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / ADAPTER / "adapter_model.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def scorer(trained: Trained, adapter: Path) -> NextItemScorer:
    model = TitleModel.load(trained.directory / CHECKPOINT, adapter / ADAPTER)
    return NextItemScorer(model, trained.config.history_length, torch.device("cpu"))


def test_global_training_learns_what_follows_what(trained: Trained) -> None:
    untrained = float(trained.reports[0].split()[-1])
    assert trained.state.best > untrained + 0.2
    assert mean_ndcg(by_history(scorer(trained, trained.directory)), trained.dataset.examples("test")) > 0.6


def test_what_is_served_is_what_was_validated(trained: Trained) -> None:
    """From text through all layers in float32, and from bfloat16 states of the trunk: the same, but for rounding."""
    valid = trained.dataset.examples("valid")
    saved = mean_ndcg(by_history(scorer(trained, trained.directory)), valid, n=None)
    assert saved == pytest.approx(trained.state.best, abs=0.03)


def test_the_run_leaves_what_a_bundle_needs(trained: Trained) -> None:
    assert {p.name for p in trained.directory.iterdir()} == {
        CHECKPOINT,
        ADAPTER,
        "title_tokens.safetensors",
    }
    checkpoint = {path.name for path in (trained.directory / CHECKPOINT).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= checkpoint


def test_the_same_seed_gives_the_same_model(trained: Trained, tmp_path: Path) -> None:
    torch.manual_seed(54321)
    again = train(trained.config, trained.dataset, tmp_path / "again")
    assert same(adapter_tensors(again.directory), adapter_tensors(trained.directory))
    checkpoints = (load_file(each.directory / CHECKPOINT / "model.safetensors") for each in (again, trained))
    assert same(*checkpoints)


def test_local_training_changes_the_adapter_and_nothing_else(trained: Trained, tmp_path: Path) -> None:
    before = (trained.directory / CHECKPOINT / "model.safetensors").read_bytes()
    start = adapter_tensors(trained.directory)
    red, blue = (local_tensors(trained, a, tmp_path / name) for name, a in (("red", RED), ("blue", BLUE)))
    assert (trained.directory / CHECKPOINT / "model.safetensors").read_bytes() == before
    assert red.keys() == blue.keys() == start.keys()
    assert not any(torch.equal(red[name], other[name]) for name in red for other in (blue, start))
    assert {path.name for path in (tmp_path / "red").iterdir()} == {ADAPTER}


def test_adapters_are_in_the_last_layers_that_are_asked_for(trained: Trained, tmp_path: Path) -> None:
    some = train(replace(trained.config, adapted_layers=1, epochs=1), trained.dataset, tmp_path / "some")
    local = local_tensors(some, RED, tmp_path / "red")
    assert local.keys() == adapter_tensors(some.directory).keys()
    assert {name.split(".layers.")[1].split(".")[0] for name in local} == {"3"}  # counted from the first of the trunk
    settings = json.loads((tmp_path / "red" / ADAPTER / "adapter_config.json").read_text())
    assert settings["layers_to_transform"] == [3]
    valid = trained.dataset.examples("valid")
    assert mean_ndcg(by_history(scorer(some, some.directory)), valid, n=None) == pytest.approx(
        some.state.best, abs=0.03
    )


def test_a_local_adapter_is_no_worse_on_its_own_users(trained: Trained, tmp_path: Path) -> None:
    local_tensors(trained, RED, tmp_path / "red")
    valid = trained.dataset.examples("valid")
    members = valid.take(np.flatnonzero(RED[valid.users] > 0))
    best, start = (
        mean_ndcg(by_history(scorer(trained, where)), members, n=None)
        for where in (tmp_path / "red", trained.directory)
    )
    assert best > start - 0.01


def test_members_count_by_their_affinity(trained: Trained, tmp_path: Path) -> None:
    uneven = RED * np.linspace(0.01, 1.0, len(RED)).astype(np.float32)
    assert not same(local_tensors(trained, uneven, tmp_path / "a"), local_tensors(trained, RED, tmp_path / "b"))
    plain = replace(trained.config, affinity_weighted=False)
    assert same(*(local_tensors(trained, a, tmp_path / f"{a.sum()}", plain) for a in (uneven, RED)))


def test_a_community_without_users_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no users; expected a larger bandwidth"):
        local_tensors(trained, np.zeros(40, np.float32), tmp_path / "empty")


def test_states_of_other_histories_are_refused(trained: Trained, tmp_path: Path) -> None:
    full = walks()
    other = walk_dataset(Sequences.of([full[user][::-1] for user in range(len(full))]))
    with pytest.raises(DataError, match="no finished trunk states"):
        train_global(trained.config, other, trained.root / "items", trained.root / "trunk", tmp_path, silent)


def test_histories_beyond_the_backbones_context_are_refused(trained: Trained, tmp_path: Path) -> None:
    config = replace(trained.config, history_length=21)  # of three tokens each, and the backbone reads 64
    with pytest.raises(ConfigError, match=r"local.history_length: 21 items of up to 3 tokens make prompts of 65"):
        cache_trunk(config, trained.dataset, tmp_path, silent)
