"""Bundles whose parts are small and untrained: for servers of further models."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from support.backbones import COLOURS, HIDDEN, LAYERS, THINGS, write_backbone, write_llama
from support.bundles import worker_bundle
from support.checkpoints import write_adapter
from support.masked_states import masked_state
from support.small_l2rec import write_l2rec
from transformers import AutoModelForCausalLM, PreTrainedModel

from models.contract import ulmrec
from models.contract.bundle import MANIFEST, Bundle, ServedModel, write_manifest
from models.contract.hatllm import CONFIG_KEY, HatLayout
from models.contract.probe import BASE, Probe
from models.contract.redis_schema import item_hash
from models.contract.specs import CoLLMSpec, HatLLMSpec, ModelSpec, ULMRecSpec
from models.contract.types import Ints, by_score, item_numbers
from models.contract.ulmrec import ULMRecPrompts

N_FEATURES = 30  # users and items of CoLLM's vocabulary
MAX_TOKENS = 63
RANK = 4
ANSWER, ANSWER_TOKEN = "fish", 14  # a word of the tiny backbone
N_ITEMS, N_USERS = 40, 30  # of ULMRec's catalogue
LETTERS, HISTORY_LENGTH, TITLE_TOKENS = 20, 20, 32  # of its prompts, as in the paper
LEVELS, CODES = 4, 8
ULMREC_WORDS = 3 + LETTERS + len(COLOURS) + len(THINGS)
LAYOUT = HatLayout(("intra", "causal", "cross-pre", "cross"), instruction_tokens=3, separator=2)


def write_parts(directory: Path) -> Bundle:
    """A bundle with all further models on tiny backbones, and with nothing of the local models but their name."""
    _write_collm(directory / "collm")
    _write_hatllm(directory / "hatllm")
    prompts = _write_ulmrec(directory / "ulmrec")
    l2rec = write_l2rec(directory / "l2rec", N_ITEMS)
    bundle = worker_bundle(directory, ModelSpec("title", 6, N_ITEMS, RANK, ("global",), "random"))
    parts = {
        "collm": CoLLMSpec("random", "mf", RANK, MAX_TOKENS, ANSWER, ANSWER_TOKEN),
        "hatllm": HatLLMSpec("random", 6, RANK, MAX_TOKENS),
        "ulmrec": ULMRecSpec("random", LETTERS, RANK, prompts.longest),
        "l2rec": l2rec,
    }
    (directory / MANIFEST).unlink()
    return write_manifest(directory, msgspec.structs.replace(bundle.manifest, **parts))


def _write_collm(directory: Path) -> None:
    _add_rows(write_backbone(directory / "checkpoint"), N_FEATURES)
    _write_adapter(directory, "collm")


def _add_rows(checkpoint: Path, n: int) -> None:
    """Random rows of the tied embedding behind the words'."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.resize_token_embeddings(model.config.vocab_size + n, mean_resizing=False)
    model.save_pretrained(checkpoint)


def _write_hatllm(directory: Path) -> None:
    path = write_backbone(directory / "checkpoint") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {CONFIG_KEY: LAYOUT.as_config()}))
    _write_adapter(directory, "hatllm")


def _write_ulmrec(directory: Path) -> ULMRecPrompts:
    words, prompts = [*ulmrec.LETTERS[:LETTERS], *COLOURS, *THINGS], ulmrec_prompts()
    _add_rows(write_llama(directory / "checkpoint", words, HIDDEN, LAYERS, context=2048), LEVELS * CODES)
    _write_adapter(directory, "ulmrec")
    prompts.save(directory)
    history, candidates = item_numbers(range(5)), item_numbers(range(5, 5 + LETTERS))
    prompt = prompts.prompt(history, candidates, prompts.indices[1])
    lists = {}
    for name, adapter in ((BASE, None), ("ulmrec", directory / "adapters/ulmrec")):
        scores = letters_scores(load_checkpoint(directory / "checkpoint", adapter), prompt, prompts.answers)
        lists[name] = by_score(candidates, scores)
    Probe(history, item_numbers([]), lists, user=1).save(directory)
    return prompts


def ulmrec_prompts() -> ULMRecPrompts:
    """Prompts of random words: an instruction of 40, titles of up to TITLE_TOKENS; the letters are words, too."""
    rng = np.random.default_rng(5)

    def words(n: int) -> Ints:
        return rng.integers(3 + LETTERS, ULMREC_WORDS, n).astype(np.int32)

    answers = item_numbers(range(3, 3 + LETTERS))
    lengths = rng.integers(1, TITLE_TOKENS + 1, N_ITEMS)
    lengths[:2] = 1, TITLE_TOKENS
    indices = np.arange(N_USERS)[:, None] // CODES ** np.arange(LEVELS)[::-1] % CODES
    return ULMRecPrompts(
        pieces={name: words(40 if name == "opening" else 2) for name in (*ulmrec.TEXTS, "after_index")},
        numbers=tuple(words(2) for _ in range(HISTORY_LENGTH)),
        letters=tuple(np.append(words(1), answer).astype(np.int32) for answer in answers),
        answers=answers,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        ids=words(int(lengths.sum())),
        n_words=ULMREC_WORDS,
        codes=CODES,
        users=np.asarray([item_hash(f"u{row}") for row in range(N_USERS)], np.uint64),
        indices=indices.astype(np.int32),
    )


@torch.no_grad()
def letters_scores(model: PreTrainedModel, prompt: Ints, answers: Ints) -> NDArray[np.float32]:
    """ULMRec's (letters,) log-probabilities among letters alone, by a plain forward pass."""
    logits = model(torch.from_numpy(prompt).long()[None]).logits[0, -1]
    return logits[torch.from_numpy(answers).long()].log_softmax(0).numpy()


def _write_adapter(directory: Path, name: str) -> None:
    write_adapter(directory / "adapters" / name, directory / "checkpoint", seed=1, rank=RANK)


def load(model: ServedModel, adapted: bool) -> PreTrainedModel:
    """A part's model by transformers and PEFT, with its adapter merged or without."""
    return load_checkpoint(model.checkpoint, model.adapter_path(model.part) if adapted else None)


def load_checkpoint(checkpoint: Path, adapter: Path | None) -> PreTrainedModel:
    """A checkpoint by transformers and PEFT, with an adapter merged or without."""
    base = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    if adapter is None:
        return base
    return PeftModel.from_pretrained(base, str(adapter)).eval().merge_and_unload()


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
