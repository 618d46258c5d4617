"""Re-ranking candidates with CoLLM: plain passes of transformers, our engine and stock vLLM behind HTTP, in one run.

All of them score the same prompts: a history that nobody asked about before, and so many candidates, with the features
of user and items. The engine also scores the text-only prompts of the first tuning step, which TALLRec's are.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from localrec.bench.random_collm import CoLLMShape, random_collm_bundle
from localrec.bench.report import report
from localrec.bench.targets import Target, print_targets
from localrec.processes import free_port, get, post, server
from localrec.stack import ROOT, WorkerKind
from models.contract.bundle import Bundle, ServedModel, open_bundle
from models.contract.collm import PART, CoLLMPrompts
from models.contract.errors import LocalRecError
from models.contract.specs import CoLLMSpec
from models.contract.types import Floats, Ints
from service.engine.serve import default_threads

START_SECONDS = 300.0
TIMEOUT_SECONDS = 120.0
WARM_UP = 2  # rounds
COMPARED = 10  # candidates of a plain comparison of CoLLM's prompts and text-only ones
TARGETS = (
    Target("naive_collm_over_tallrec", 1.125, at_least=False, words="CoLLM's time over TALLRec's, plain (Table VI)"),
    Target("collm_over_tallrec", 1.125, at_least=False, words="CoLLM's time over TALLRec's, engine"),
    Target("spearman_engine_naive", 0.999, at_least=True, words="Spearman, engine's scores and plain passes'"),
    Target("spearman_engine_vllm", 0.999, at_least=True, words="Spearman, engine's scores and vLLM's"),
)
_COUNTED: Mapping[WorkerKind, tuple[str, str]] = {
    "engine": ("localrec_engine_tokens_in_prompts_total", "localrec_engine_tokens_computed_total"),
    "vllm": ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"),
}

Score = Callable[[Sequence[Ints]], Floats]


@dataclass(frozen=True)
class RerankBenchOptions:
    """What is measured.

    Args:
        candidates: of one request.
        rounds: requests that count, each of another history; ``WARM_UP`` more come before.
        vllm: whether stock vLLM is measured too.
        seed: of model, histories and candidates.
    """

    candidates: int = 50
    rounds: int = 8
    vllm: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """Prompts of one user's candidates: as CoLLM reads them, and with text alone."""

    features: list[Ints]
    text: list[Ints]

    def first(self, n: int) -> "Request":
        """Of so many candidates only."""
        return Request(self.features[:n], self.text[:n])


@dataclass(frozen=True)
class Measured:
    """Milliseconds and scores (candidates,) of each round."""

    ms: list[float]
    scores: list[Floats]


def run(bundle: Path | None, options: RerankBenchOptions) -> dict[str, Any]:
    """Measure, print the figures and the table of targets, and return the record.

    Args:
        bundle: one that has a CoLLM model; None: random weights.
        options: see there.
    """
    with tempfile.TemporaryDirectory(prefix="lr-") as temporary:
        root = Path(temporary)
        opened = open_bundle(bundle) if bundle else random_collm_bundle(root, CoLLMShape(), seed=options.seed)
        metrics = measure(opened, options, root)
    record = report("rerank", metrics)
    print_targets(TARGETS, metrics)
    return record


def measure(bundle: Bundle, options: RerankBenchOptions, logs: Path) -> dict[str, float]:
    """All figures. Servers' logs go to ``logs``."""
    model = bundle.served(PART)
    asked = _requests(CoLLMPrompts.load(model.directory), options)
    warm_up, requests = asked[:WARM_UP], asked[WARM_UP:]
    metrics = {
        "tokens_in_prompts": float(np.mean([sum(map(len, request.features)) for request in requests])),
        "tokens_in_text_prompts": float(np.mean([sum(map(len, request.text)) for request in requests])),
    }
    plain = Plain.load(model)
    _measured(plain.batch, warm_up[:1])
    measured = {"naive": _measured(plain.loop, requests), "naive_batch": _measured(plain.batch, requests)}
    metrics["naive_collm_over_tallrec"] = _over_text(plain.loop, [request.first(COMPARED) for request in requests])
    kinds: list[WorkerKind] = ["engine", "vllm"] if options.vllm else ["engine"]
    for kind in kinds:
        with _worker(kind, model, logs) as port:
            score = _served(port, model)
            _measured(score, warm_up)
            before = _counts(port, kind)
            measured[kind] = _measured(score, requests)
            metrics[f"{kind}_tokens_computed"] = _computed(kind, before, _counts(port, kind)) / options.rounds
            if kind == "engine":
                metrics["collm_over_tallrec"] = _over_text(score, requests)
    for name, each in measured.items():
        metrics[f"{name}_p50_ms"] = median(each.ms)
        metrics[f"{name}_candidates_per_second"] = options.candidates / median(each.ms) * 1e3
    return metrics | _agreement(measured)


def _requests(prompts: CoLLMPrompts, options: RerankBenchOptions) -> list[Request]:
    rng = np.random.default_rng(options.seed)
    known = np.flatnonzero(prompts.known_items)
    requests = []
    for number in range(options.rounds + WARM_UP):
        items = rng.choice(known, prompts.history_length + options.candidates, replace=False)
        history, candidates = np.split(items.astype(np.int32), [prompts.history_length])
        user = number % len(prompts.users)
        features, text = (prompts.prompts(history, candidates, row) for row in (user, None))
        requests.append(Request(features, text))
    return requests


@dataclass(frozen=True)
class Plain:
    """Hugging Face's model with the adapter merged into it, and the token whose logit is the score."""

    model: Any
    answer: int

    @classmethod
    def load(cls, served: ServedModel) -> Self:
        """In float32, with as many threads as the engine takes."""
        torch.set_num_threads(default_threads())
        base = AutoModelForCausalLM.from_pretrained(served.checkpoint, dtype=torch.float32, local_files_only=True)
        model: Any = PeftModel.from_pretrained(base, str(served.adapter_path(PART)))
        return cls(model.merge_and_unload().eval(), _answer_token(served))

    @torch.inference_mode()
    def loop(self, prompts: Sequence[Ints]) -> Floats:
        """A pass a prompt."""
        passes = (self.model(input_ids=_ids(tokens)[None], logits_to_keep=1) for tokens in prompts)
        return np.asarray([float(each.logits[0, -1, self.answer]) for each in passes], np.float32)

    @torch.inference_mode()
    def batch(self, prompts: Sequence[Ints]) -> Floats:
        """One pass, padded on the right."""
        ids = pad_sequence([_ids(tokens) for tokens in prompts], batch_first=True)
        lengths = torch.tensor([len(tokens) for tokens in prompts])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        states = self.model.model(input_ids=ids, attention_mask=mask).last_hidden_state
        last = states[torch.arange(len(prompts)), lengths - 1]
        scores: Floats = (last @ self.model.get_output_embeddings().weight[self.answer]).numpy()
        return scores


def _ids(tokens: Ints) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64))


def _answer_token(model: ServedModel) -> int:
    spec = model.spec
    if not isinstance(spec, CoLLMSpec):
        raise LocalRecError(f"{model.id}: its {model.part} model has no answer token")
    return spec.answer_token


def _measured(score: Score, requests: Sequence[Request]) -> Measured:
    taken = [_timed(score, request.features) for request in requests]
    return Measured([ms for ms, _ in taken], [scores for _, scores in taken])


def _over_text(score: Score, requests: Sequence[Request]) -> float:
    """Median of CoLLM's time over that of the text-only prompts, the two in turn."""
    pairs = [(_timed(score, request.features)[0], _timed(score, request.text)[0]) for request in requests]
    return median(features / text for features, text in pairs)


def _timed(score: Score, prompts: Sequence[Ints]) -> tuple[float, Floats]:
    started = time.perf_counter()
    scores = score(prompts)
    return (time.perf_counter() - started) * 1e3, scores


@contextmanager
def _worker(kind: WorkerKind, model: ServedModel, logs: Path) -> Iterator[int]:
    """The port of a worker with the model's adapter loaded."""
    port, directory = free_port(), str(model.bundle.directory)
    command = {
        "engine": [sys.executable, "-m", "localrec", "serve", "engine", "--bundle", directory],
        "vllm": [str(ROOT / "scripts" / "vllm"), directory],
    }[kind]
    command += ["--model", PART, "--port", str(port), "--dtype", "float32"]
    with server(command, port, ready_path="/health", start_seconds=START_SECONDS, log=logs / f"{kind}.log"):
        body = {"lora_name": model.adapter_name(PART), "lora_path": str(model.adapter_path(PART))}
        status, answer = post(port, "/v1/load_lora_adapter", body)
        if status != 200:
            raise LocalRecError(f"{PART}: not loaded by {kind}: status {status}: {answer[:200]!r}")
        yield port


def _served(port: int, model: ServedModel) -> Score:
    def score(prompts: Sequence[Ints]) -> Floats:
        body = {"model": model.adapter_name(PART), "input": [p.tolist() for p in prompts], "use_activation": False}
        status, answer = post(port, "/classify", body, timeout_seconds=TIMEOUT_SECONDS)
        if status != 200:
            raise LocalRecError(f"/classify: status {status}: {answer[:200]!r}")
        data = sorted(json.loads(answer)["data"], key=lambda each: each["index"])
        return np.asarray([each["probs"][0] for each in data], np.float32)

    return score


def _counts(port: int, kind: WorkerKind) -> list[float]:
    lines = get(port, "/metrics")[1].decode()
    return [_count(lines, name) for name in _COUNTED[kind]]


def _count(lines: str, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", lines, re.MULTILINE)
    if not found:
        raise LocalRecError(f"no metric {name}")
    return sum(map(float, found))


def _computed(kind: WorkerKind, before: Sequence[float], after: Sequence[float]) -> float:
    """Tokens that were computed: the engine says so, vLLM says how many were asked for and found in its cache."""
    first, second = (late - early for early, late in zip(before, after, strict=True))
    return second if kind == "engine" else first - second


def _agreement(measured: Mapping[str, Measured]) -> dict[str, float]:
    """The lowest rank correlation of a round, for each pair of which one is not a plain pass."""
    pairs = [("engine", "naive"), ("vllm", "naive"), ("engine", "vllm")]
    return {
        f"spearman_{one}_{other}": min(map(_spearman, measured[one].scores, measured[other].scores))
        for one, other in pairs
        if one in measured and other in measured
    }


def _spearman(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1])
