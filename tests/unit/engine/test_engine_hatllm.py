"""HatLLM's layers against Hugging Face's with masks that are written out: every family, adapters, mixed batches."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from support.families import FAMILIES, random_backbone
from support.masked_states import masked_state
from torch import nn
from transformers import AutoModelForCausalLM

from models.contract.errors import BundleError
from models.contract.hatllm import CONFIG_KEY, HatLayout, Mask
from models.contract.types import Floats, Ints, item_numbers
from models.llm.item_token import LORA_TARGETS, save_adapter
from service.engine.adapter_files import read_adapter
from service.engine.model import LanguageModel, ModelSettings, Query

pytestmark = pytest.mark.engine

RANK, SEPARATOR, INSTRUCTION = 4, 3, [4, 3, 5]  # the instruction may hold a separator
SETTINGS = ModelSettings(RANK, adapter_capacity=2, device="cpu", dtype="float32")
ORDERS: tuple[tuple[Mask, ...], ...] = (
    ("intra", "causal", "cross", "cross"),
    ("cross", "intra", "causal", "cross-pre"),
    ("intra", "intra", "causal", "causal"),
    ("cross", "cross", "cross", "cross"),
    ("causal", "causal", "causal", "cross"),
    ("causal", "cross-pre", "cross", "intra"),
)
ADAPTERS = (LORA_TARGETS, [0, 1, 2, 3]), (LORA_TARGETS, [3]), (("q_proj", "v_proj"), [1, 2])
HISTORIES = ([[7, 8], [9], [10, 11, 12]], [], [[6]], [[13, 14, 15, 7]] * 3, [[7, 8], [9], [10, 11, 12]])


@dataclass(frozen=True)
class Files:
    """A checkpoint, and adapters ``0`` … beside it."""

    checkpoint: Path

    def adapter(self, number: int) -> Path:
        return self.checkpoint.parent / str(number)


@pytest.fixture(scope="module", params=list(FAMILIES))
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """One family, without a layout."""
    return write_files(tmp_path_factory.mktemp("hat") / "checkpoint", FAMILIES[request.param]())


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """For what does not depend on the family."""
    return write_files(tmp_path_factory.mktemp("hat") / "checkpoint", FAMILIES["llama"]())


def write_files(checkpoint: Path, config: Any) -> Files:
    files = Files(checkpoint)
    random_backbone(config).model.save_pretrained(checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for number, (targets, layers) in enumerate(ADAPTERS):
            base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
            lora = LoraConfig(r=RANK, lora_alpha=8.0, target_modules=list(targets), layers_to_transform=layers)
            model = get_peft_model(base, lora)
            for parameter in (p for p in model.parameters() if p.requires_grad):
                nn.init.normal_(parameter, std=0.2)
            save_adapter(model, files.adapter(number))
    return files


def masked(files: Files, masks: Sequence[Mask]) -> LanguageModel:
    """The engine's model with this layout, adapter ``0`` in slot 1 and so on."""
    write_layout(files.checkpoint, layout(masks).as_config())
    engine = LanguageModel.load(files.checkpoint, SETTINGS)
    for number in range(len(ADAPTERS)):
        engine.adapters.write(number + 1, read_adapter(files.adapter(number), engine.adapters.targets()))
    return engine


def layout(masks: Sequence[Mask]) -> HatLayout:
    return HatLayout(tuple(masks), len(INSTRUCTION), SEPARATOR)


def write_layout(checkpoint: Path, document: Any) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {CONFIG_KEY: document}))


def prompt(history: Sequence[Sequence[int]]) -> Ints:
    return item_numbers([*INSTRUCTION, *(token for title in history for token in (*title, SEPARATOR))])


def literal_states(files: Files, slot: int, prompts: Sequence[Ints], masks: Sequence[Mask]) -> list[Floats]:
    """Hugging Face's last states, each layer with its own 4-D mask."""
    base = AutoModelForCausalLM.from_pretrained(files.checkpoint, dtype=torch.float32)
    with warnings.catch_warnings(action="ignore", category=FutureWarning), torch.inference_mode():
        if slot:
            PeftModel.from_pretrained(base, str(files.adapter(slot - 1)))  # puts the adapter into the base model
        return [masked_state(base.eval().model, tokens, layout(masks)) for tokens in prompts]


@pytest.mark.parametrize("masks", ORDERS[:2], ids=" ".join)
def test_every_family_gives_the_literal_states(files: Files, masks: tuple[Mask, ...]) -> None:
    check(files, masks)


@pytest.mark.parametrize("masks", ORDERS[2:], ids=" ".join)
def test_every_order_gives_the_literal_states(llama: Files, masks: tuple[Mask, ...]) -> None:
    check(llama, masks)


def check(files: Files, masks: Sequence[Mask]) -> None:
    """All histories under all adapters in one batch, and each alone."""
    check_prompts(files, masks, [prompt(history) for history in HISTORIES])


@pytest.mark.parametrize("masks", [ORDERS[0], ORDERS[3]], ids=" ".join)
def test_a_prompt_may_end_inside_an_item_or_the_instruction(llama: Files, masks: tuple[Mask, ...]) -> None:
    whole = prompt(HISTORIES[0])
    check_prompts(llama, masks, [whole[:length] for length in (2, 5, len(whole) - 2)])


def check_prompts(files: Files, masks: Sequence[Mask], prompts: Sequence[Ints]) -> None:
    engine, slots = masked(files, masks), range(len(ADAPTERS) + 1)
    expected = [literal_states(files, slot, prompts, masks) for slot in slots]
    queries = [Query(tokens, slot) for tokens in prompts for slot in slots]
    for number, (query, answer) in enumerate(zip(queries, engine.answer(queries), strict=True)):
        state = expected[query.slot][number // len(slots)]
        np.testing.assert_allclose(answer.state, state, atol=2e-5, rtol=1e-4)
        np.testing.assert_allclose(engine.answer([query])[0].state, state, atol=2e-5, rtol=1e-4)


def test_rows_that_nobody_reads_are_left_behind(llama: Files) -> None:
    costs: list[float] = []
    tokens = prompt(HISTORIES[0])
    for masks in (("causal",) * 4, ORDERS[0], ORDERS[3]):
        engine = masked(llama, masks)  # type: ignore[arg-type] # literals
        engine.watch(lambda cost: costs.append(cost.computed))
        engine.answer([Query(tokens, 1)])
    n, carried = len(tokens), len(INSTRUCTION) + 3
    assert costs == [n, (n + carried) / 2, carried]


def test_shared_beginnings_do_not_disturb_masks(llama: Files) -> None:
    engine = masked(llama, ORDERS[0])
    tokens = [prompt(history) for history in HISTORIES]
    alone = [engine.answer([Query(each, 1)])[0].state for each in tokens]
    together = engine.answer([Query(each, 1, shared=2) for each in tokens])
    np.testing.assert_allclose([answer.state for answer in together], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"masks": ["intra"], "instruction_tokens": 3, "separator": 3}, "1 masks for 4 layers"),
        ({"masks": ["inner"] * 4, "instruction_tokens": 3, "separator": 3}, "masks are of intra"),
        ({"masks": ["intra"] * 4}, "instruction_tokens"),
        ("intra", "expected an object"),
    ],
)
def test_malformed_layout_is_refused(tmp_path: Path, document: Any, reason: str) -> None:
    random_backbone(FAMILIES["llama"]()).model.save_pretrained(tmp_path)
    write_layout(tmp_path, document)
    with pytest.raises(BundleError, match=reason):
        LanguageModel.load(tmp_path, SETTINGS)
