"""``localrec bench experts``: L2Rec's DPMoE against a single LoRA of the same targets and rank, and the plain decoder.

In turn in one run, on the same prompts: the decoder alone, with PEFT's LoRA, with routed experts (both read the prompts
once: the semantic view), and the whole network of two views, with routed experts and with one LoRA in their place. Once
forward, as in serving, once forward and backward, as in training. Also the product of all experts against one that
gathers the chosen ones' factors, and what the routers make of the prompts.

On a CPU what counts is the processor's time, of one thread unless told otherwise: other processes then disturb less.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

from localrec.bench.masked import random_backbone
from localrec.bench.report import report
from localrec.bench.targets import Target, print_targets
from models.contract.errors import ConfigError
from models.contract.l2rec import L2RecLayout
from models.llm.backbone import first_layers, load_backbone
from models.llm.item_token import lora_config
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_config import ExpertsConfig
from models.networks.l2rec_experts import Experts
from models.networks.l2rec_statistics import RouterStatistics
from models.training.device import mixed_precision, training_device

START, SEPARATOR = 0, 1  # tokens before the items; the token that ends each
DEEP = 0.02  # standard deviation of the experts' B, which begin at zero: as if trained
TARGETS = (
    Target("dpmoe_forward_over_lora", 1.5, False, "forward: routed experts over a single LoRA"),
    Target("dpmoe_train_over_lora", 1.5, False, "forward and backward: routed experts over a single LoRA"),
    Target("network_forward_over_lora_network", 1.5, False, "both views, forward: routed experts over a single LoRA"),
    Target("network_train_over_lora_network", 1.5, False, "both views, forward and backward: the same"),
)
_RATIOS = (
    ("lora", "plain"),
    ("dpmoe", "plain"),
    ("dpmoe", "lora"),
    ("network", "lora"),
    ("network", "lora_network"),
)


@dataclass(frozen=True)
class ExpertsBenchOptions:
    """What is measured.

    Args:
        backbone: hub id, directory or .gguf file; empty: SmolLM2-135M's shape with random weights and 4,096 words.
        layers: of the backbone, its first ones.
        batch_size: prompts.
        tokens: of a prompt, in items of ``item_tokens``.
        item_tokens: see ``tokens``.
        rank: of an expert, and of the single LoRA.
        shared, experts, top_k: see ExpertsConfig.
        user_size: of a user's embedding.
        threads: of the processor.
        rounds: of all measurements in turn; the first is for warming up.
        seed: of weights, prompts and users.
    """

    backbone: str = ""
    layers: int = 6
    batch_size: int = 16
    tokens: int = 96
    item_tokens: int = 12
    rank: int = 8
    shared: int = 1
    experts: int = 8
    top_k: int = 2
    user_size: int = 64
    threads: int = 1
    rounds: int = 6
    seed: int = 0


def run(options: ExpertsBenchOptions) -> dict[str, Any]:
    """Measure, print a table and targets, and return ``{"bench", "commit", "hardware", "metrics", "targets"}``.

    Raises:
        ConfigError: the backbone has fewer layers, or a prompt no whole item.
    """
    if options.tokens % options.item_tokens:
        raise ConfigError(f"tokens: {options.tokens}; expected whole items of {options.item_tokens} tokens")
    torch.manual_seed(options.seed)
    with _threads(options.threads):
        bench = _Bench(options)
        passes = bench.passes() | bench.products()
        rounds = [{name: bench.seconds(once) for name, once in passes.items()} for _ in range(options.rounds)][1:]
        statistics = bench.statistics()
    metrics = {f"{name}_ms": 1e3 * median(r[name] for r in rounds) for name in passes}
    for kind in ("forward", "train"):
        for a, b in _RATIOS:
            metrics[f"{a}_{kind}_over_{b}"] = median(r[f"{a}_{kind}"] / r[f"{b}_{kind}"] for r in rounds)
    metrics["gathered_over_dense"] = median(r["gathered"] / r["dense"] for r in rounds)
    metrics |= {name: value for view in statistics for name, value in _figures(view).items()}
    record = report("experts", metrics)
    print("\n".join(line for view in statistics for line in view.lines()))
    print_targets(TARGETS, metrics)
    return record | {"targets": [target.record(metrics) for target in TARGETS]}


class _Bench:
    """One batch of prompts, and every model that reads them."""

    def __init__(self, options: ExpertsBenchOptions) -> None:
        self._options, self._device = options, training_device()
        backbone = load_backbone(options.backbone) if options.backbone else random_backbone(options.layers)
        self._decoder = first_layers(backbone, options.layers).model.to(self._device)
        config = ExpertsConfig(
            size=backbone.hidden_size,
            user_size=options.user_size,
            rank=options.rank,
            alpha=2.0 * options.rank,
            shared=options.shared,
            experts=options.experts,
            top_k=options.top_k,
        )
        self._config = config
        self._network = self._of(config)
        self._pathway = self._of(replace(config, views=("semantic",)))
        self._lora_network = self._of(replace(config, shared=1, experts=0, top_k=0))
        adapted = get_peft_model(
            first_layers(backbone, options.layers), lora_config(options.rank, config.alpha, 0.0, config.targets)
        )
        self._lora = adapted.get_base_model().model.to(self._device)
        shape = (options.batch_size, options.tokens)
        self._tokens = torch.randint(SEPARATOR + 1, backbone.model.config.vocab_size, shape, device=self._device)
        self._tokens[:, options.item_tokens - 1 :: options.item_tokens] = SEPARATOR
        self._lengths = torch.full(shape[:1], options.tokens, device=self._device)
        self._users = torch.randn(options.batch_size, options.user_size, device=self._device)

    def passes(self) -> dict[str, Callable[[], None]]:
        """What is timed, by name: ``forward``, or ``train`` for forward and backward."""
        models: dict[str, Callable[[], Tensor]] = {
            "plain": lambda: self._last(self._decoder),
            "lora": lambda: self._last(self._lora),
            "dpmoe": lambda: self._fused(self._pathway),
            "network": lambda: self._fused(self._network),
            "lora_network": lambda: self._fused(self._lora_network),
        }
        forward = {f"{name}_forward": self._forward(model) for name, model in models.items()}
        return forward | {f"{name}_train": self._both(model) for name, model in models.items()}

    def products(self) -> dict[str, Callable[[], None]]:
        """One layer's experts for all tokens: all of them, ``dense``, and the chosen ones, ``gathered``."""
        config = self._config
        own: Experts = self._pathway.blocks[0].experts[config.targets[0]]  # type: ignore[index,assignment]
        x = torch.randn(self._tokens.numel(), own.a.shape[1], device=self._device)
        chosen = torch.rand(len(x), config.experts, device=self._device).topk(config.top_k).indices
        weights = torch.zeros(len(x), config.experts, device=self._device).scatter(1, chosen, 1.0)
        columns = F.pad(weights, (0, config.shared), value=1.0).repeat_interleave(config.rank, dim=1)
        y = x.new_zeros(len(x), own.b.shape[1])
        return {
            "dense": torch.inference_mode()(lambda: _ignore(own(y, x, "semantic", columns))),
            "gathered": torch.inference_mode()(lambda: _ignore(gathered(own, x, chosen, weights, config))),
        }

    @torch.inference_mode()
    def statistics(self) -> tuple[RouterStatistics, ...]:
        """Of the whole network's routers."""
        return RouterStatistics.of(self._network(self._tokens, self._lengths, self._users).routes)

    def seconds(self, once: Callable[[], None]) -> float:
        """What some work takes."""
        clock = time.perf_counter if self._device.type == "cuda" else time.process_time
        self._finish()
        started = clock()
        once()
        self._finish()
        return clock() - started

    def _of(self, config: ExpertsConfig) -> L2RecNetwork:
        network = L2RecNetwork(self._decoder, L2RecLayout(START, SEPARATOR), config)
        for module in network.modules():
            if isinstance(module, Experts):
                nn.init.normal_(module.b, std=DEEP)
        return network.to(self._device)

    def _last(self, decoder: Any) -> Tensor:
        """The last token's state; backwards, as far as the embeddings where nothing else is trained."""
        words = self._decoder.embed_tokens(self._tokens).detach()
        words.requires_grad_(decoder is self._decoder and torch.is_grad_enabled())
        states: Tensor = decoder(inputs_embeds=words, use_cache=False).last_hidden_state
        return states[:, -1]

    def _fused(self, network: L2RecNetwork) -> Tensor:
        fused: Tensor = network(self._tokens, self._lengths, self._users).fused
        return fused

    def _forward(self, model: Callable[[], Tensor]) -> Callable[[], None]:
        @torch.no_grad()
        def once() -> None:
            with mixed_precision(self._device):
                model()

        return once

    def _both(self, model: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            with mixed_precision(self._device):
                states = model()
            states.float().square().sum().backward()  # type: ignore[no-untyped-call]

        return once

    def _finish(self) -> None:
        """Wait for what a GPU still has to do."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def gathered(own: Experts, x: Tensor, chosen: Tensor, weights: Tensor, config: ExpertsConfig) -> Tensor:
    """ΔW x of the semantic view, α / r left out, with a pair of matrices a token and chosen expert.

    Args:
        own: of a layer.
        x: (n, n_in).
        chosen: (n, top_k) experts.
        weights: (n, experts).
        config: of the experts.
    """
    n, rank, end = len(x), config.rank, config.experts * config.rank
    a, b = (factor[:end].view(config.experts, rank, -1) for factor in (own.a, own.b))
    inner = torch.einsum("nkri,ni->nkr", a[chosen], x) * weights.gather(1, chosen)[:, :, None]
    shared = F.linear(x, own.a[end : end + config.shared * rank]) @ own.b[end : end + config.shared * rank]
    routed = torch.bmm(inner.reshape(n, 1, -1), b[chosen].reshape(n, config.top_k * rank, -1))
    return shared + routed[:, 0]


def _ignore(_: Tensor) -> None:
    """The result of what is timed."""


def _figures(statistics: RouterStatistics) -> dict[str, float]:
    used = statistics.utilisation
    return {
        f"{statistics.view}_token_entropy": statistics.token_entropy,
        f"{statistics.view}_load_entropy": statistics.load_entropy,
        f"{statistics.view}_least_used": float(used.min()),
        f"{statistics.view}_most_used": float(used.max()),
        f"{statistics.view}_silent_experts": float(len(statistics.silent)),
    }


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
