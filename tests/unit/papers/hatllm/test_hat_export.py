"""From training to a bundle's part, and what the part scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from support.backbones import LAYERS, N_ITEMS, walk_dataset, write_backbone
from transformers import AutoModelForCausalLM

from models.contract.errors import BundleError
from models.contract.hatllm import CONFIG_KEY, ITEM_ROWS, HatLayout
from models.contract.index import top_n
from models.contract.probe import load_probe
from models.contract.prompts import TitleTokens
from models.contract.specs import HatLLMSpec
from models.llm.backbone import load_backbone
from models.papers.hatllm.config import HatLLMConfig
from models.papers.hatllm.data import WindowedData
from models.papers.hatllm.export import export_part
from models.papers.hatllm.model import HatModel
from models.papers.hatllm.scoring import HatScorer, last_tokens
from models.papers.hatllm.training import Prepared, fit_hatllm, load_hatllm, train_hatllm
from models.types import Sequences

HISTORY_LENGTH = 4
HISTORIES = [[0, 1, 2], [11, 12, 13, 14, 15, 16], [], [5]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[HatModel, Path, HatLLMSpec]:
    """A model of a few updates, the directory of its part, and its specification."""
    directory = tmp_path_factory.mktemp("hatllm")
    config = _config(directory)
    (directory / "trained").mkdir()
    train_hatllm(config, WindowedData.of(walk_dataset()), directory / "trained", lambda _: None)
    spec = export_part(directory / "trained", directory / "part")
    return load_hatllm(config, directory / "trained", load_backbone(config.backbone)), directory / "part", spec


@torch.no_grad()
def test_the_part_scores_as_the_model_does(exported: tuple[HatModel, Path, HatLLMSpec]) -> None:
    model, part, _ = exported
    tokens, where = last_tokens([model.titles.prompt(history[-HISTORY_LENGTH:]) for history in HISTORIES])
    scores = HatScorer.load(part).scores(Sequences.of([np.asarray(history, np.int32) for history in HISTORIES]))

    np.testing.assert_allclose(scores, model.logits(tokens, where).numpy(), atol=1e-5)


def test_the_specification(exported: tuple[HatModel, Path, HatLLMSpec]) -> None:
    model, _, spec = exported
    longest = len(model.titles.start) + HISTORY_LENGTH * model.titles.longest

    assert spec == HatLLMSpec("backbone", HISTORY_LENGTH, 8, longest)


def test_the_checkpoint_is_an_ordinary_one_with_a_layout(exported: tuple[HatModel, Path, HatLLMSpec]) -> None:
    model, part, _ = exported
    described = json.loads((part / "checkpoint/config.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(part / "checkpoint")

    assert HatLayout.of_config(described[CONFIG_KEY], LAYERS - 1) == model.layout
    assert described["architectures"] == ["LlamaForCausalLM"]
    assert base.config.vocab_size == model.titles.n_words
    assert base.get_output_embeddings().weight is base.get_input_embeddings().weight
    assert len(PeftModel.from_pretrained(base, str(part / "adapters/hatllm")).peft_config) == 1
    assert TitleTokens.load(part).start == model.titles.start
    assert np.load(part / ITEM_ROWS).shape == (N_ITEMS, base.config.hidden_size)


def test_the_probe_tells_adapter_and_base_model_apart(exported: tuple[HatModel, Path, HatLLMSpec]) -> None:
    _, part, _ = exported
    probe, scorer = load_probe(part, ["hatllm"]), HatScorer.load(part)
    adapted = top_n(scorer.scores(Sequences.of([probe.history]))[0], probe.n, probe.history)
    base = top_n(scorer.base_scores(probe.history), probe.n, probe.history)

    assert probe.prompt.tolist() == scorer.prompts.prompt(probe.history)
    assert not set(probe.history.tolist()) & set(adapted.items.tolist())
    assert probe.complaint("hatllm", adapted) == ""
    assert "the base model" in probe.complaint("hatllm", base)


def test_what_is_no_part_is_refused(tmp_path: Path, exported: tuple[HatModel, Path, HatLLMSpec]) -> None:
    exported[0].titles.save(tmp_path)
    with pytest.raises(BundleError, match="no HatLLM"):
        HatScorer.load(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/config.json").write_text("{}")
    with pytest.raises(BundleError, match="hatllm"):
        HatScorer.load(tmp_path)


def _config(directory: Path) -> HatLLMConfig:
    return HatLLMConfig(
        backbone=str(write_backbone(directory / "backbone")),
        layers=LAYERS - 1,
        intra_layers=1,
        cross_layers=1,
        title_tokens=4,
        history_length=HISTORY_LENGTH,
        text_layers=2,
        text_size=8,
        embedding_size=8,
        steps=2,
        evaluate_every=2,
        batch_size=8,
        learning_rate=0.1,
    )


def test_an_unfinished_training_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no HatLLM that is trained"):
        export_part(tmp_path, tmp_path / "part")


def test_a_model_with_item_vectors_is_not_exported(tmp_path: Path) -> None:
    config, data = _config(tmp_path), WindowedData.of(walk_dataset())
    vectors = np.eye(N_ITEMS, 3, dtype=np.float32)
    (tmp_path / "llara").mkdir()
    fit_hatllm(config, data, tmp_path / "llara", lambda _: None, Prepared.of(config, data.catalogue), vectors)
    with pytest.raises(BundleError, match=r"title_tokens\.safetensors"):
        export_part(tmp_path / "llara", tmp_path / "part")
    assert not (tmp_path / "part").exists()
