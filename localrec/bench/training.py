"""``localrec bench train``: the offline half's two loops that cost, each beside a plain forward of the same layers.

Reading the items' texts with the trunk, and training an adapter in the top layers, as ``localrec train local`` does
both; the plain forwards get the same tokens in the same batches. In turn in one run, so that the ratios do not hang on
the machine.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from localrec.bench.report import report
from models.llm.backbone import Backbone, load_backbone, top_model, trunk
from models.llm.item_token import CatalogueModel, lora_config
from models.llm.items import BATCH_SIZE, item_states
from models.llm.next_item import NextItemTask, WindowConfig
from models.llm.training import FitConfig, fit
from models.training.device import mixed_precision, peak_memory_bytes, training_device
from models.types import Sequences

WORDS = 1_000  # of the random backbone
RANDOM_LAYERS = 12


@dataclass(frozen=True)
class TrainingBenchOptions:
    """What is measured.

    Args:
        backbone: hub id, directory or .gguf file; empty: a small Llama of 12 layers with random weights.
        trunk_layers: that read the items' texts.
        top_layers: after those, which read histories and carry the adapter.
        n_items: size of the catalogue; each item's text has ``title_words`` words.
        title_words: see ``n_items``.
        n_windows: histories that one round trains on, each of ``history_length`` items.
        history_length: see ``n_windows``.
        batch_size: histories in an update.
        lora_rank: of the adapter, on all projections.
        rounds: of all measurements in turn; the first is for warming up.
        seed: of weights, texts and histories.
    """

    backbone: str = ""
    trunk_layers: int = 9
    top_layers: int = 3
    n_items: int = 500
    title_words: int = 16
    n_windows: int = 128
    history_length: int = 50
    batch_size: int = 32
    lora_rank: int = 16
    rounds: int = 4
    seed: int = 0


def run(options: TrainingBenchOptions) -> dict[str, Any]:
    """Measure, print a table, and return ``{"bench", "commit", "hardware", "metrics"}``."""
    torch.manual_seed(options.seed)
    backbone = load_backbone(options.backbone) if options.backbone else random_backbone()
    measured = _reading(backbone, options) | _training(backbone, options)
    rounds = [{name: rate() for name, rate in measured.items()} for _ in range(options.rounds)][1:]
    metrics = {f"{name}_tokens_per_second": median([r[name] for r in rounds]) for name in measured}
    for name in ("text", "training"):
        metrics[f"{name}_over_forward"] = median([r[name] / r[f"{name}_forward"] for r in rounds])
    metrics["peak_memory_mib"] = peak_memory_bytes(training_device()) / 2**20
    return report("train", metrics)


def random_backbone() -> Backbone:
    """A Llama of 12 layers, 128 wide, with random weights, and a tokenizer of the words ``w0 w1 …``."""
    special = ["<pad>", "<unk>", "<eos>"]
    words = {word: number for number, word in enumerate([*special, *(f"w{n}" for n in range(WORDS))])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))  # noqa: S106 - a word
    tokenizer.pre_tokenizer = Whitespace()
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<eos>"}
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=RANDOM_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    return Backbone("random", model, PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names))


def _reading(backbone: Backbone, options: TrainingBenchOptions) -> dict[str, Callable[[], float]]:
    """Tokens per second of reading the items' texts, and of the trunk alone on the same tokens."""
    rng = np.random.default_rng(options.seed)
    drawn = rng.integers(WORDS, size=(options.n_items, options.title_words))
    texts = [" ".join(f"w{word}" for word in words) for words in drawn.tolist()]
    max_tokens = 4 * options.title_words  # real tokenizers cut such words in pieces
    device, layers = training_device(), trunk(backbone, options.trunk_layers).to(training_device())
    batches = [
        backbone.tokenizer(
            texts[s : s + BATCH_SIZE], return_tensors="pt", padding=True, truncation=True, max_length=max_tokens
        ).to(device)
        for s in range(0, len(texts), BATCH_SIZE)
    ]
    n_tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)

    @torch.inference_mode()
    def forward() -> None:
        for batch in batches:
            layers(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)

    return {
        "text_forward": lambda: n_tokens / _seconds(forward),
        "text": lambda: n_tokens / _seconds(lambda: item_states(backbone, texts, options.trunk_layers, max_tokens)),
    }


def _training(backbone: Backbone, options: TrainingBenchOptions) -> dict[str, Callable[[], float]]:
    """Positions per second of the training loop, and of the top layers alone on the same batches."""
    device = training_device()
    plain = _top(backbone, options).to(device)
    adapted = get_peft_model(_top(backbone, options), lora_config(options.lora_rank, 2.0 * options.lora_rank, 0.05))
    model = CatalogueModel(adapted, dropout=0.2).to(device)
    task = _task(model, options)
    inputs = [batch["tokens"].to(device) for batch in task.batches(0)]

    @torch.inference_mode()
    def forward() -> None:
        for tokens in inputs:
            with mixed_precision(device):
                plain.model(input_ids=tokens, use_cache=False)

    return {
        "training_forward": lambda: sum(tokens.numel() for tokens in inputs) / _seconds(forward),
        "training": lambda: _epoch_rate(model, task, options.seed),
    }


def _top(backbone: Backbone, options: TrainingBenchOptions) -> Any:
    last = options.trunk_layers + options.top_layers
    top = top_model(backbone, options.trunk_layers, last, vocab_size=options.n_items + 1)
    for vocabulary in (top.get_input_embeddings(), top.get_output_embeddings()):
        nn.init.normal_(vocabulary.weight, std=0.02)
    return top


def _task(model: CatalogueModel, options: TrainingBenchOptions) -> NextItemTask:
    rng = np.random.default_rng(options.seed)
    length = options.history_length
    histories = rng.integers(options.n_items, size=(options.n_windows, length), dtype=np.int32)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return NextItemTask(
        model=model,
        groups=[{"params": parameters, "lr": 1e-4, "weight_decay": 0.0}],
        sequences=Sequences.of(list(histories)),
        user_weights=np.ones(options.n_windows, np.float32),
        config=WindowConfig(length, options.batch_size, options.seed),
        validate=lambda: 0.0,
    )


def _epoch_rate(model: CatalogueModel, task: NextItemTask, seed: int) -> float:
    """One epoch of the real loop, its files included."""
    with tempfile.TemporaryDirectory(prefix="lr-") as directory:
        state = fit(model, task, FitConfig(epochs=1, patience=1, seed=seed), Path(directory), lambda line: None)
    return state.tokens / state.seconds


def _seconds(work: Callable[[], Tensor | None]) -> float:
    """What some work takes; a GPU is waited for."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
