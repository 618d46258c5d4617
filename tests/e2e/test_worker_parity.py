"""Our engine and a stock vLLM server give the same answers to the same requests, adapter by adapter.

Runs two real servers (about 40 s to start).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from support.checkpoints import write_bundle
from support.parity import TOLERANCE, check_fan_out, serving
from support.servers import post, status

from localrec.stack import WorkerKind
from models.contract.bundle import Bundle
from models.contract.prompts import item_prompt
from models.contract.types import item_numbers

pytestmark = pytest.mark.vllm

N_ITEMS = 1500
ADAPTERS = ("global", "c00", "c01", "c02")

NOT_ALLOWED = -9999.0  # vLLM's word for minus infinity

Ranking = dict[str, float]


class Worker:
    """A worker at ``url`` that serves the base model ``base_id``."""

    def __init__(self, url: str, base_id: str) -> None:
        self.url = url
        self.base_id = base_id

    def load(self, bundle: Bundle, *adapters: str) -> None:
        """Load adapters at run time, as the gateway does."""
        for adapter in adapters:
            body = {"lora_name": bundle.adapter_name(adapter), "lora_path": str(bundle.adapter_path(adapter))}
            post(f"{self.url}/v1/load_lora_adapter", body)

    def ranked(
        self,
        model: str,
        history: list[int],
        n: int = 10,
        excluded: list[int] | None = None,
        allowed: list[int] | None = None,
    ) -> Ranking:
        """The ranked tokens after a history."""
        body: dict[str, Any] = {
            "model": model,
            "prompt": item_prompt(history, N_ITEMS, 20),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": n,
            "return_tokens_as_token_ids": True,
            "logit_bias": {str(item): -100.0 for item in excluded or []},
            "allowed_token_ids": allowed,
        }
        answer = post(f"{self.url}/v1/completions", body)
        ranked: Ranking = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        return ranked

    def status(self, **changes: Any) -> int:
        """Status of the answer to a completion."""
        return status(f"{self.url}/v1/completions", {"model": self.base_id, "prompt": [1], "max_tokens": 1} | changes)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("parity") / "b-1"
    return write_bundle(directory, N_ITEMS, ADAPTERS, rank=8, hidden=128, last_only=("c02",))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Worker]:
    with _worker("engine", bundle) as worker:
        yield worker


@pytest.fixture(scope="module")
def vllm(bundle: Bundle) -> Iterator[Worker]:
    with _worker("vllm", bundle) as worker:
        yield worker


@contextmanager
def _worker(kind: WorkerKind, bundle: Bundle) -> Iterator[Worker]:
    with serving(kind, bundle) as url:
        worker = Worker(url, bundle.base_id)
        worker.load(bundle, *ADAPTERS)
        yield worker


def histories(n: int) -> list[list[int]]:
    """Random histories of 0 to 25 items."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, N_ITEMS, length).tolist() for length in rng.integers(0, 26, n)]


def same_ranking(ours: Ranking, theirs: Ranking) -> None:
    """Equal lists, but for neighbours whose scores are closer than the tolerance."""
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), atol=TOLERANCE)
    for item in ours.keys() | theirs.keys():
        last = min(*ours.values(), *theirs.values())  # an item in one list only is tied with the last
        assert abs(ours.get(item, last) - theirs.get(item, last)) < 2 * TOLERANCE


@pytest.mark.parametrize("adapter", [None, *ADAPTERS])
def test_same_top_ten(engine: Worker, vllm: Worker, bundle: Bundle, adapter: str | None) -> None:
    model = bundle.base_id if adapter is None else bundle.adapter_name(adapter)
    for history in histories(25):
        same_ranking(engine.ranked(model, history), vllm.ranked(model, history))


def test_adapters_are_applied(engine: Worker, vllm: Worker, bundle: Bundle) -> None:
    models = [bundle.base_id, *map(bundle.adapter_name, ADAPTERS)]
    for worker in (engine, vllm):
        assert len({tuple(worker.ranked(model, [1, 2, 3])) for model in models}) == len(models)


def test_same_list_without_hundreds_of_excluded_items(engine: Worker, vllm: Worker, bundle: Bundle) -> None:
    model = bundle.adapter_name("c01")
    best = [int(name.removeprefix("token_id:")) for name in engine.ranked(model, [5, 6], 700)]
    excluded = [item for item in best[::2] if item < N_ITEMS] + best[1:200:2]
    ours = engine.ranked(model, [5, 6], 100, excluded)
    same_ranking(ours, vllm.ranked(model, [5, 6], 100, excluded))
    assert not {f"token_id:{item}" for item in excluded} & ours.keys()


def test_what_is_allowed_alone_is_the_full_list_restricted_to_it(engine: Worker, vllm: Worker, bundle: Bundle) -> None:
    """Also where fewer tokens are allowed than log-probabilities were asked for: vLLM fills up, the client drops."""
    model = bundle.adapter_name("c01")
    full = [int(name.removeprefix("token_id:")) for name in engine.ranked(model, [5, 6], 700)]
    allowed = [item for item in full[::9] if item < N_ITEMS]
    for n in (20, len(allowed) + 15):
        best = [f"token_id:{item}" for item in allowed[:n]]
        ours = engine.ranked(model, [5, 6], n, allowed=allowed)
        assert list(ours) == best
        theirs = vllm.ranked(model, [5, 6], n, allowed=allowed)
        others = {score for token, score in theirs.items() if token not in best}
        assert others <= {NOT_ALLOWED}
        same_ranking(ours, {token: score for token, score in theirs.items() if token in best})


def test_same_answers_to_concurrent_calls(engine: Worker, vllm: Worker, bundle: Bundle) -> None:
    calls = [(bundle.adapter_name(adapter), history) for history in histories(8) for adapter in ADAPTERS]
    with ThreadPoolExecutor(16) as users:
        ours = list(users.map(lambda call: engine.ranked(*call), calls))
        theirs = list(users.map(lambda call: vllm.ranked(*call), calls))
    for one, other in zip(ours, theirs, strict=True):
        same_ranking(one, other)


def test_same_refusals(engine: Worker, vllm: Worker) -> None:
    cases: list[dict[str, Any]] = [
        {"model": "nobody"},
        {"prompt": []},
        {"prompt": [N_ITEMS + 1]},
        {"prompt": [1] * 22},
        {"logprobs": 1025},
        {"logit_bias": {str(N_ITEMS + 1): -100.0}},
        {"temperature": "cold"},
    ]
    for case in cases:
        assert engine.status(**case) == vllm.status(**case) != 200, case


def test_unload_and_load_again(engine: Worker, vllm: Worker, bundle: Bundle) -> None:
    model = bundle.adapter_name("c02")
    for worker in (engine, vllm):
        before = worker.ranked(model, [9, 8, 7])
        post(f"{worker.url}/v1/unload_lora_adapter", {"lora_name": model})
        assert worker.status(model=model) == 404
        worker.load(bundle, "c02")
        same_ranking(worker.ranked(model, [9, 8, 7]), before)


def test_a_fan_out_gives_the_lists_of_single_calls(bundle: Bundle) -> None:
    check_fan_out(bundle, ADAPTERS, [item_numbers(history) for history in histories(25)])
