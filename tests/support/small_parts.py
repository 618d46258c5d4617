"""Bundles whose parts are small and untrained: for servers of CoLLM and HatLLM."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from support.backbones import write_backbone
from support.bundles import worker_bundle
from support.checkpoints import write_adapter
from support.masked_states import masked_state
from transformers import AutoModelForCausalLM, PreTrainedModel

from models.contract.bundle import MANIFEST, Bundle, CoLLMSpec, HatLLMSpec, ModelSpec, ServedModel, write_manifest
from models.contract.hatllm import CONFIG_KEY, HatLayout
from models.contract.types import Ints

N_FEATURES = 30  # users and items of CoLLM's vocabulary
MAX_TOKENS = 63
RANK = 4
ANSWER, ANSWER_TOKEN = "fish", 14  # a word of the tiny backbone
LAYOUT = HatLayout(("intra", "causal", "cross-pre", "cross"), instruction_tokens=3, separator=2)


def write_parts(directory: Path) -> Bundle:
    """A bundle with CoLLM and HatLLM on the tiny backbone, and with nothing of the local models but their name."""
    _write_collm(directory / "collm")
    _write_hatllm(directory / "hatllm")
    bundle = worker_bundle(directory, ModelSpec("title", 6, 20, RANK, ("global",), "random"))
    parts = {
        "collm": CoLLMSpec("random", "mf", RANK, MAX_TOKENS, ANSWER, ANSWER_TOKEN),
        "hatllm": HatLLMSpec("random", 6, RANK, MAX_TOKENS),
    }
    (directory / MANIFEST).unlink()
    return write_manifest(directory, msgspec.structs.replace(bundle.manifest, **parts))


def _write_collm(directory: Path) -> None:
    checkpoint = write_backbone(directory / "checkpoint")
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.resize_token_embeddings(model.config.vocab_size + N_FEATURES, mean_resizing=False)
    model.save_pretrained(checkpoint)
    _write_adapter(directory, "collm")


def _write_hatllm(directory: Path) -> None:
    path = write_backbone(directory / "checkpoint") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {CONFIG_KEY: LAYOUT.as_config()}))
    _write_adapter(directory, "hatllm")


def _write_adapter(directory: Path, name: str) -> None:
    write_adapter(directory / "adapters" / name, directory / "checkpoint", seed=1, rank=RANK)


def load(model: ServedModel, adapted: bool) -> PreTrainedModel:
    """A part's model by transformers and PEFT, with its adapter merged or without."""
    base = AutoModelForCausalLM.from_pretrained(model.checkpoint, attn_implementation="eager").eval()
    if not adapted:
        return base
    return PeftModel.from_pretrained(base, str(model.adapter_path(model.part))).eval().merge_and_unload()


@torch.no_grad()
def answers(model: PreTrainedModel, prompts: Sequence[Ints]) -> NDArray[np.float32]:
    """CoLLM's scores (prompts,) by plain forward passes, one a prompt."""
    tokens = (torch.from_numpy(prompt).long()[None] for prompt in prompts)
    return np.asarray([float(model(each).logits[0, -1, ANSWER_TOKEN]) for each in tokens], np.float32)


def states(model: PreTrainedModel, prompts: Sequence[Ints]) -> NDArray[np.float32]:
    """HatLLM's states (prompts, hidden), one pass a prompt, each layer with its mask."""
    return np.stack([masked_state(model.model, prompt, LAYOUT) for prompt in prompts])


def random_prompts(n: int, n_tokens: int, seed: int = 0) -> list[Ints]:
    """HatLLM's prompts: an instruction, then 1 to 8 items of 0 to 4 words, each ended by the separator."""
    rng = np.random.default_rng(seed)
    prompts = []
    for _ in range(n):
        items = [
            np.append(rng.integers(3, n_tokens, rng.integers(0, 5)), LAYOUT.separator)
            for _ in range(rng.integers(1, 9))
        ]
        instruction = rng.integers(3, n_tokens, LAYOUT.instruction_tokens)
        prompts.append(np.concatenate([instruction, *items]).astype(np.int32))
    return prompts
