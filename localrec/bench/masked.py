"""``localrec bench masked``: HatLLM's masked layers against plain causal attention, on the same layers and prompts.

In turn in one run: the decoder as it is, under masks with everything computed (the reference), and computing only what
is asked for. Once where every item's last token is asked for, as in training, and once where the prompt's last is, as
in serving. Also what a cache of items' states after the intra-item layers could save, and when it is exact.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM

from localrec.bench.report import report
from localrec.bench.targets import Target, print_targets
from models.contract.errors import ConfigError
from models.contract.hatllm import HatLayout, Mask, Segments
from models.contract.prompts import TitleTokens
from models.llm.backbone import Backbone, load_backbone
from models.llm.item_token import lora_config
from models.papers.hatllm.attention import masked_states, segments_of
from models.papers.hatllm.model import HatModel
from models.papers.hatllm.prompts import layout_of
from models.training.device import training_device

WORDS = 4_096  # of the random backbone
TARGETS = (
    Target("train_fast_over_plain", 1.10, False, "training pass, every item's last token: fast over plain attention"),
    Target("serve_fast_over_plain", 1.10, False, "serving pass, the prompt's last token: fast over plain attention"),
    Target("unskipped_over_plain", 1.10, False, "training pass where nothing can be skipped (CR-pre): over plain"),
)


@dataclass(frozen=True)
class MaskedBenchOptions:
    """What is measured.

    Args:
        backbone: hub id, directory or .gguf file; empty: SmolLM2-135M's shape with random weights and 4,096 words.
        layers: of the backbone that are used.
        intra_layers, cross_layers: the first and the last of them; those between attend as ever.
        batch_size: prompts.
        history_length: items of a prompt.
        title_tokens: of an item at most; lengths are drawn from a quarter of that on.
        instruction_tokens: at the start of each prompt.
        n_items: size of the catalogue.
        rounds: of all measurements in turn; the first is for warming up.
        seed: of weights and titles.
    """

    backbone: str = ""
    layers: int = 6
    intra_layers: int = 2
    cross_layers: int = 2
    batch_size: int = 16
    history_length: int = 10
    title_tokens: int = 16
    instruction_tokens: int = 36
    n_items: int = 500
    rounds: int = 8
    seed: int = 0


def run(options: MaskedBenchOptions) -> dict[str, Any]:
    """Measure, print a table and targets, and return ``{"bench", "commit", "hardware", "metrics", "targets"}``."""
    torch.manual_seed(options.seed)
    backbone = load_backbone(options.backbone) if options.backbone else random_backbone(options.layers)
    titles = _titles(options, int(backbone.model.get_input_embeddings().weight.shape[0]))
    bench = _Bench(options, backbone, titles)
    passes = bench.passes()
    rounds = [{name: _seconds(run_once) for name, run_once in passes.items()} for _ in range(options.rounds)][1:]
    metrics = {f"{name}_ms": 1e3 * median(r[name] for r in rounds) for name in passes}
    metrics |= {f"{a}_over_plain": median(r[a] / r[b] for r in rounds) for a, b in _ratios(passes)}
    metrics |= bench.cache()
    record = report("masked", metrics)
    print_targets(TARGETS, metrics)
    return record | {"targets": [target.record(metrics) for target in TARGETS]}


def random_backbone(layers: int) -> Backbone:
    """SmolLM2-135M's shape, with random weights."""
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return Backbone("", LlamaForCausalLM(config).eval().requires_grad_(False), None)


class _Bench:
    """One batch of prompts, and a model a layout over the same layers."""

    def __init__(self, options: MaskedBenchOptions, backbone: Backbone, titles: TitleTokens) -> None:
        self._options, self._device = options, training_device()
        self._titles, self._layout = titles, layout_of(titles, _masks(options, "cross"))
        lora = lora_config(8, 16.0, 0.0, ("q_proj", "v_proj"))
        self._model = HatModel(backbone, self._layout, titles, nn.Identity(), lora).to(self._device).eval()
        self._tokens, self._every, self._last = (each.to(self._device) for each in _prompts(options, titles))

    def passes(self) -> dict[str, Callable[[], None]]:
        """What is timed, by name: ``serve`` is a forward, ``train`` a forward and a backward pass.

        ``unmasked`` is plain attention that computes only what is asked for, as ``fast`` does.
        """
        unskipped = replace(self._layout, masks=_masks(self._options, "cross-pre"))
        causal: Mask = "causal"
        unmasked = replace(self._layout, masks=(causal,) * self._options.layers)
        every, last = self._every, self._last
        return {
            "serve_plain": self._forward(self._plain, last),
            "serve_reference": self._forward(self._of(self._layout, False), last),
            "serve_fast": self._forward(self._of(self._layout, True), last),
            "serve_unmasked": self._forward(self._of(unmasked, True), last),
            "train_plain": self._both(self._plain, every),
            "train_reference": self._both(self._of(self._layout, False), every),
            "train_fast": self._both(self._of(self._layout, True), every),
            "train_unmasked": self._both(self._of(unmasked, True), every),
            "unskipped": self._both(self._of(unskipped, True), every),
        }

    def cache(self) -> dict[str, float]:
        """Tokens a prompt that the intra-item layers read, and those that a cache of items' states cannot save; and
        how far an item's state after them differs between the first and the last place of a history, as a share of it:
        as the paper has it, where every item's places begin behind the instruction, and where items do not see it.
        """
        lengths = self._last.int().argmax(dim=1) + 1
        first, last = self._moved()
        found = [segments_of(tokens, self._layout) for tokens in (first, last)]
        start = self._layout.instruction_tokens
        variants: dict[str, Callable[[Segments], Segments]] = {
            "paper": lambda found: found,
            "places_restarted": lambda found: replace(found, places=_restarted(found, start)),
            "without_instruction": lambda found: replace(found, sequences=found.items),
        }
        apart = {
            name: _apart(*(self._state_of_moved(t, variant(f)) for t, f in zip((first, last), found, strict=True)))
            for name, variant in variants.items()
        }
        return {
            "intra_tokens_per_prompt": float(lengths.float().mean()),
            "intra_item_tokens_share": 1 - start / float(lengths.float().mean()),
            **{f"moved_item_apart_{name}": value for name, value in apart.items()},
        }

    def _plain(self, where: Tensor) -> Tensor:
        decoder = self._model.decoder
        states: Tensor = decoder(inputs_embeds=self._model.embedded(self._tokens), use_cache=False).last_hidden_state
        return states[where]

    def _of(self, layout: HatLayout, fast: bool) -> Callable[[Tensor], Tensor]:
        def states(where: Tensor) -> Tensor:
            self._model.layout, self._model.fast = layout, fast
            return self._model.states(self._tokens, where)

        return states

    def _forward(self, states: Callable[[Tensor], Tensor], where: Tensor) -> Callable[[], None]:
        @torch.inference_mode()
        def once() -> None:
            states(where)

        return once

    def _both(self, states: Callable[[Tensor], Tensor], where: Tensor) -> Callable[[], None]:
        def once() -> None:
            self._model.zero_grad()
            states(where).square().sum().backward()  # type: ignore[no-untyped-call]

        return once

    def _moved(self) -> tuple[Tensor, Tensor]:
        """Prompts (1, n) of the same items, one of them at the first place, then at the last."""
        history = list(range(self._options.history_length))
        prompts = (self._titles.prompt(items) for items in (history, [*history[1:], history[0]]))
        first, last = (torch.from_numpy(prompt.astype(np.int64))[None].to(self._device) for prompt in prompts)
        return first, last

    @torch.inference_mode()
    def _state_of_moved(self, tokens: Tensor, found: Segments) -> Tensor:
        """(hidden,) the moved item's state after the intra-item layers."""
        layers = self._model.decoder.layers
        kept: list[Tensor] = []
        hook = layers[self._options.intra_layers - 1].register_forward_hook(lambda _, __, states: kept.append(states))
        try:
            masked_states(self._model.decoder, self._model.embedded(tokens), found, self._layout)
        finally:
            hook.remove()
        start, length = self._layout.instruction_tokens, int(self._titles.offsets[1])
        is_first = tokens[0, start : start + length].tolist() == self._titles.ids[:length].tolist()
        return kept[0][0, start + length - 1 if is_first else -1]


def _masks(options: MaskedBenchOptions, deep: Mask) -> tuple[Mask, ...]:
    middle = options.layers - options.intra_layers - options.cross_layers
    if middle < 0 or options.intra_layers < 1:
        raise ConfigError(
            f"{options.intra_layers} intra-item and {options.cross_layers} cross-item layers of {options.layers};"
            " expected at least one intra-item layer, and no more than there are"
        )
    intra: Mask = "intra"
    causal: Mask = "causal"
    return (*[intra] * options.intra_layers, *[causal] * middle, *[deep] * options.cross_layers)


def _titles(options: MaskedBenchOptions, n_words: int) -> TitleTokens:
    """Random titles; token 1 is the separator."""
    rng = np.random.default_rng(options.seed)
    lengths = rng.integers(max(options.title_tokens // 4, 1), options.title_tokens + 1, size=options.n_items)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(2, n_words, size=offsets[-1]).astype(np.int32)
    ids[offsets[1:] - 1] = 1
    start = rng.integers(2, n_words, size=options.instruction_tokens)
    return TitleTokens(tuple(start.tolist()), offsets, ids, n_words)


def _prompts(options: MaskedBenchOptions, titles: TitleTokens) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (b, n) of random histories, where all ends are, and where the last one is."""
    rng = np.random.default_rng([options.seed, 1])
    histories = rng.integers(titles.n_items, size=(options.batch_size, options.history_length))
    tokens = pad_sequence([torch.from_numpy(titles.prompt(h).astype(np.int64)) for h in histories], batch_first=True)
    every, last = torch.zeros(tokens.shape, dtype=torch.bool), torch.zeros(tokens.shape, dtype=torch.bool)
    for row, history in enumerate(histories):
        ends = titles.ends(history)
        every[row, ends] = True
        last[row, ends[-1]] = True
    return tokens, every, last


def _restarted(found: Segments, start: int) -> Tensor:
    """Places as if every item were the first one."""
    places: Tensor = found.places.clone()
    for item in range(int(found.items.max()) + 1):
        own = found.items == item
        places[own] = torch.arange(start, start + int(own.sum()), device=places.device)
    return places


def _apart(state: Tensor, other: Tensor) -> float:
    return float((state - other).abs().max() / state.abs().max())


def _ratios(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What is compared with which plain pass."""
    for name in names:
        if not name.endswith("_plain"):
            yield name, "serve_plain" if name.startswith("serve") else "train_plain"


def _seconds(once: Callable[[], None]) -> float:
    _finish()
    start = time.perf_counter()
    once()
    _finish()
    return time.perf_counter() - start


def _finish() -> None:
    """Wait for what a GPU still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
