"""HatLLM learns the walks, where the next item follows from the last one alone; see ``support.backbones``."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.backbones import LAYERS, N_ITEMS, walk_dataset, write_backbone
from support.hats import small_hatllm

from models.contract.errors import ConfigError
from models.evaluation.metrics import mean_ndcg
from models.llm.training import IGNORED, TARGETS
from models.papers.hatllm.config import HatLLMConfig
from models.papers.hatllm.data import WindowedData, cut
from models.papers.hatllm.training import (
    Prepared,
    WindowTask,
    fit_hatllm,
    load_hatllm,
    new_model,
    scores_of,
    train_hatllm,
)

CPU = torch.device("cpu")


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> HatLLMConfig:
    return small_hatllm(write_backbone(tmp_path_factory.mktemp("backbone")))


@pytest.fixture(scope="module")
def data() -> WindowedData:
    return WindowedData.of(walk_dataset())


@pytest.fixture(scope="module")
def prepared(config: HatLLMConfig, data: WindowedData) -> Prepared:
    return Prepared.of(config, data.catalogue)


def task_of(config: HatLLMConfig, data: WindowedData, prepared: Prepared) -> WindowTask:
    return WindowTask(config, new_model(config, prepared, data.catalogue), data)


def targets_of(task: WindowTask, epochs: range) -> Counter[int]:
    found = [batch[TARGETS] for epoch in epochs for batch in task.batches(epoch)]
    return Counter(int(item) for targets in found for item in targets[targets != IGNORED])


def test_the_walks_are_learned_and_the_files_hold_the_model(
    config: HatLLMConfig, data: WindowedData, prepared: Prepared, tmp_path: Path
) -> None:
    model, state = fit_hatllm(config, data, tmp_path, silent, prepared)
    assert mean_ndcg(scores_of(model, 4, CPU), data.test, 10) > 0.9
    assert state.best > 0.9
    loaded = load_hatllm(config, tmp_path, prepared.backbone)
    ours, read = (scores_of(m, 4, CPU, exact=True)(data.test) for m in (model, loaded))
    np.testing.assert_allclose(ours, read, atol=1e-3)


def test_each_item_is_a_target_once_a_pass(config: HatLLMConfig, data: WindowedData, prepared: Prepared) -> None:
    n_batches = -(-len(cut(data.train, 5, overlapping=False)) // config.batch_size)
    task = task_of(replace(config, steps=n_batches, evaluate_every=n_batches), data, prepared)
    assert targets_of(task, range(1)) == Counter(data.train.items.tolist())


def test_looks_at_validation_do_not_change_what_is_trained_on(
    config: HatLLMConfig, data: WindowedData, prepared: Prepared
) -> None:
    seldom = task_of(replace(config, steps=30, evaluate_every=30), data, prepared)
    often = task_of(replace(config, steps=30, evaluate_every=7), data, prepared)
    assert targets_of(seldom, range(1)) == targets_of(often, range(5))


def test_only_the_last_item_is_a_target_where_the_paper_is_followed(
    config: HatLLMConfig, data: WindowedData, prepared: Prepared
) -> None:
    windows = cut(data.train, 5, overlapping=True)
    n_batches = -(-len(windows) // config.batch_size)
    settings = replace(config, answers="last", steps=n_batches, evaluate_every=n_batches)
    found = targets_of(task_of(settings, data, prepared), range(1))
    assert found == Counter(int(window[-1]) for window in windows)


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    config: HatLLMConfig, data: WindowedData, prepared: Prepared, tmp_path: Path
) -> None:
    short = replace(config, steps=8, evaluate_every=4)
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    for directory in (whole, interrupted):
        directory.mkdir()

    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    expected = fit_hatllm(short, data, whole, silent, prepared)[1]
    with pytest.raises(KeyboardInterrupt):
        fit_hatllm(short, data, interrupted, stop, prepared)
    assert fit_hatllm(short, data, interrupted, silent, prepared)[1] == expected
    for name in ("head.safetensors", "hatllm.json", "adapter/adapter_model.safetensors"):
        assert (whole / name).read_bytes() == (interrupted / name).read_bytes()


def test_item_vectors_stand_in_the_prompts(config: HatLLMConfig, data: WindowedData, prepared: Prepared) -> None:
    vectors = np.eye(N_ITEMS, 3, dtype=np.float32)
    model = new_model(config, prepared, data.catalogue, vectors)
    plain = new_model(config, prepared, data.catalogue)
    assert len(model.titles.ids) == len(plain.titles.ids) + N_ITEMS
    groups = WindowTask(config, model, data).parameter_groups()
    assert len(groups[1]["params"]) == len(WindowTask(config, plain, data).parameter_groups()[1]["params"]) + 4


def test_prompts_that_the_backbone_cannot_read_are_refused(
    config: HatLLMConfig, data: WindowedData, prepared: Prepared
) -> None:
    with pytest.raises(ConfigError, match="history_length: 60 items of up to 3 tokens"):
        new_model(replace(config, history_length=60), prepared, data.catalogue)


def test_servers_count_a_token_behind_the_prompt(
    config: HatLLMConfig, data: WindowedData, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = new_model(config, prepared, data.catalogue).titles
    longest = len(titles.start) + config.history_length * titles.longest
    monkeypatch.setattr(prepared.backbone.model.config, "max_position_embeddings", longest)
    with pytest.raises(ConfigError, match=f"prompts of {longest}"):
        new_model(config, prepared, data.catalogue)


def test_more_layers_than_the_backbone_has_are_refused(
    config: HatLLMConfig, data: WindowedData, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"layers: 9 is out of range; expected at most {LAYERS}"):
        train_hatllm(replace(config, layers=9), data, tmp_path, silent)
