"""CoLLM of random weights in the size of a real one, as a bundle's part: what workers need of it, and prompts.

Extra: train.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from peft import PeftModel, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import nn
from transformers import PreTrainedTokenizerFast

from localrec.bench.random_model import LORA_STD, Shape, llama
from localrec.bench.synthetic import make_bundle
from models.contract.bundle import CHECKPOINT, Bundle, hash_files, write_manifest
from models.contract.collm import PART, CoLLMPrompts
from models.contract.redis_schema import item_hash
from models.contract.specs import CoLLMSpec
from models.contract.types import Ints
from models.llm.item_token import lora_config, save_adapter

WORDS = 8_192  # SmolLM2 has 49,152; a word's vector is read for its id only
ANSWER, ANSWER_TOKEN = "Yes", 0
UNKNOWN, UNKNOWN_TOKEN = "<unk>", 1
# Tokens of the template's pieces and of a title, about as many as SmolLM2's tokenizer makes of the paper's.
PIECE_TOKENS = {"opening": 14, "nothing": 1, "comma": 1, "user": 12, "question": 18, "item": 3, "closing": 13}
TITLE_TOKENS = 11
SIX_LAYERS = Shape(n_items=2_000, layers=6, adapted_layers=6, lora_rank=8)


@dataclass(frozen=True)
class CoLLMShape:
    """Size of a model.

    Args:
        layers: its layers, all of which carry the adapter. The catalogue is theirs too.
        n_users: users with a feature token.
        history_length: titles of a history at most.
    """

    layers: Shape = SIX_LAYERS
    n_users: int = 500
    history_length: int = 10


def random_collm_bundle(root: Path, shape: CoLLMShape, *, seed: int = 0) -> Bundle:
    """A bundle below ``root`` with a CoLLM model; its local models are the stub worker's."""
    bundle = make_bundle(root, n_items=shape.layers.n_items, n_users=8, seed=seed, name="rerank")
    directory = bundle.directory / PART
    directory.mkdir()
    prompts = _prompts(shape, seed)
    prompts.save(directory)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        _write_model(directory, shape.layers, prompts.vocabulary_size)
    spec = CoLLMSpec("random", "random", shape.layers.lora_rank, prompts.longest, ANSWER, ANSWER_TOKEN)
    files = hash_files(bundle.directory)
    return write_manifest(bundle.directory, msgspec.structs.replace(bundle.manifest, collm=spec, files=files))


def _prompts(shape: CoLLMShape, seed: int) -> CoLLMPrompts:
    rng, n_items = np.random.default_rng(seed), shape.layers.n_items
    return CoLLMPrompts(
        pieces={name: _words(rng, n) for name, n in PIECE_TOKENS.items()},
        offsets=np.arange(n_items + 1, dtype=np.int64) * TITLE_TOKENS,
        ids=_words(rng, n_items * TITLE_TOKENS),
        n_words=WORDS,
        users=np.asarray([item_hash(f"u{row}") for row in range(shape.n_users)], np.uint64),
        known_items=np.ones(n_items, np.bool_),
        history_length=shape.history_length,
    )


def _words(rng: np.random.Generator, n: int) -> Ints:
    return rng.integers(UNKNOWN_TOKEN + 1, WORDS, n).astype(np.int32)


def _write_model(directory: Path, shape: Shape, vocabulary_size: int) -> None:
    base = llama(shape, vocabulary_size, tied=True)
    model: PeftModel = get_peft_model(base, lora_config(shape.lora_rank, 2.0 * shape.lora_rank, 0.0))
    for parameter in (p for p in model.parameters() if p.requires_grad):
        nn.init.normal_(parameter, std=LORA_STD)
    save_adapter(model, directory / "adapters" / PART)
    model.unload().save_pretrained(str(directory / CHECKPOINT))
    vocabulary = {f"w{number}": number for number in range(vocabulary_size)}
    del vocabulary[f"w{ANSWER_TOKEN}"], vocabulary[f"w{UNKNOWN_TOKEN}"]
    vocabulary |= {ANSWER: ANSWER_TOKEN, UNKNOWN: UNKNOWN_TOKEN}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN).save_pretrained(directory / CHECKPOINT)
