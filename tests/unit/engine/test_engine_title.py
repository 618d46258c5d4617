"""The title form on the engine: all layers run, adapters touch the top ones, items stand behind the words."""

import numpy as np
import pytest
import torch
from support.backbones import write_backbone
from support.titles import HISTORY_LENGTH, RANK, TitleFiles, title_bundle, write_title_files

from models.contract.prompts import load_prompts
from models.contract.types import item_numbers
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.types import Sequences
from service.engine.adapter_files import read_adapter
from service.engine.model import LanguageModel, ModelSettings, Query

pytestmark = pytest.mark.engine

N_ITEMS = 60
HISTORIES = [[7], [3, 1, 4], list(range(20))]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TitleFiles:
    directory = tmp_path_factory.mktemp("title")
    return write_title_files(directory, write_backbone(directory / "backbone"), N_ITEMS, ("c00", "c01"))


@pytest.mark.parametrize("adapter", ["c00", "c01"])
def test_ranking_is_that_of_the_offline_model(files: TitleFiles, adapter: str) -> None:
    prompts = load_prompts(title_bundle(files))
    engine = LanguageModel.load(files.checkpoint, ModelSettings(lora_rank=RANK, device="cpu", dtype="float32"))
    engine.adapters.write(1, read_adapter(files.adapter(adapter), engine.adapters.targets()))
    answers = engine.answer([Query(item_numbers(prompts.prompt(history)), 1, 10) for history in HISTORIES])
    model = TitleModel.load(files.checkpoint, files.adapter(adapter))
    offline = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu"))
    scores = offline.scores(Sequences.of([item_numbers(history) for history in HISTORIES]))
    for answer, values in zip(answers, scores, strict=True):
        items = answer.ranking.items - prompts.item_offset
        assert items.tolist() == np.argsort(-values, kind="stable")[:10].tolist()


def test_fan_out_of_many_users_is_that_of_the_offline_model(files: TitleFiles) -> None:
    """The trunk goes through once for each history, whoever asks; words are never better than an item."""
    prompts = load_prompts(title_bundle(files))
    engine = LanguageModel.load(files.checkpoint, ModelSettings(lora_rank=RANK, device="cpu", dtype="float32"))
    for slot, name in enumerate(files.adapters, start=1):
        engine.adapters.write(slot, read_adapter(files.adapter(name), engine.adapters.targets()))
    asked = [(history, slot) for history in HISTORIES for slot in (2, 1)]
    answers = engine.answer([Query(item_numbers(prompts.prompt(history)), slot, 10) for history, slot in asked])
    model = TitleModel.load(files.checkpoint, files.adapter("c00"))
    for (history, slot), answer in zip(asked, answers, strict=True):
        model.use_adapter(files.adapters[slot - 1], files.adapter(files.adapters[slot - 1]))
        offline = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu"))
        values = offline.scores(Sequences.of([item_numbers(history)]))[0]
        items = answer.ranking.items - prompts.item_offset
        assert items.tolist() == np.argsort(-values, kind="stable")[:10].tolist()


def test_only_the_layers_with_adapters_take_their_memory(files: TitleFiles) -> None:
    engine = LanguageModel.load(files.checkpoint, ModelSettings(lora_rank=RANK, device="cpu", dtype="float32"))
    weights = read_adapter(files.adapter("c00"), engine.adapters.targets())
    assert {name.split(".")[2] for name in weights} == {"2", "3"}
