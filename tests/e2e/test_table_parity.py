"""Adapters with item tables of their own: stock vLLM and our engine rank what offline PEFT ranks, as the gateway asks.

Runs two real servers, one after the other (about a minute).
"""

import asyncio
import sys
from collections.abc import Iterator

import aiohttp
import numpy as np
import pytest
import torch
from support.processes import free_port
from support.servers import ROOT, server
from support.tables import write_table_bundle

from models.contract.bundle import CHECKPOINT, Bundle
from models.contract.index import top_n
from models.contract.prompts import load_prompts
from models.contract.types import Floats, Ints, RankedList, item_numbers
from models.llm.item_token import CatalogueModel
from models.llm.next_item import NextItemScorer
from models.types import Sequences
from service.workers.client import WorkerClient
from service.workers.types import Completion, Outcome, OutcomeKind

pytestmark = pytest.mark.vllm

N_ITEMS, N_BEST, HISTORY_LENGTH = 300, 10, 20
ADAPTERS = ("global", "c00", "c01", "c02")
TOLERANCE = 2e-4  # as in test_worker_parity
EXCLUDED = item_numbers(range(0, N_ITEMS, 7))
SERVE = """
import sys
from pathlib import Path
from service.engine.serve import serve
serve(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_table_bundle(tmp_path_factory.mktemp("table-parity") / "b-1", N_ITEMS, ADAPTERS)


@pytest.fixture(scope="module")
def scores(bundle: Bundle) -> dict[str, Floats]:
    """What offline PEFT gives each item after each history, by adapter: (histories, n_items)."""
    model = CatalogueModel.load(bundle.path(CHECKPOINT), bundle.adapter_path(ADAPTERS[0]))
    scorer = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu"))
    scores = {}
    for adapter in ADAPTERS:
        model.use_adapter(adapter, bundle.adapter_path(adapter))
        scores[adapter] = scorer.scores(Sequences.of(histories()))
    return scores


@pytest.fixture(scope="module", params=["engine", "vllm"])
def url(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[str]:
    port = free_port()
    commands = {
        "engine": [sys.executable, "-c", SERVE, str(bundle.directory), str(port)],
        "vllm": [str(ROOT / "scripts" / "vllm-cpu"), str(bundle.directory), "--port", str(port)],
    }
    where = f"http://127.0.0.1:{port}"
    log = bundle.directory.parent / f"{request.param}.log"
    with server(commands[request.param], where, log, start_seconds=400):
        yield where


def histories() -> list[Ints]:
    rng = np.random.default_rng(7)
    return [item_numbers(rng.integers(0, N_ITEMS, length)) for length in (1, 2, 5, HISTORY_LENGTH, 30)]


async def ask(url: str, bundle: Bundle) -> dict[str, list[RankedList]]:
    """What the gateway's own client makes of a worker's answers when all adapters are asked at once."""
    prompts = load_prompts(bundle)
    async with aiohttp.ClientSession() as session:
        client = WorkerClient(session, url)
        for adapter in ADAPTERS:
            await client.load_adapter(bundle.adapter_name(adapter), str(bundle.adapter_path(adapter)))
        asked = [Completion(prompts.prompt(history), N_BEST, EXCLUDED, N_ITEMS) for history in histories()]
        calls = [client.complete(bundle.adapter_name(adapter), each) for adapter in ADAPTERS for each in asked]
        outcomes: list[Outcome] = await asyncio.gather(*calls)
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.OK}, outcomes
    rankings = [outcome.ranking for outcome in outcomes]
    return {adapter: rankings[n * len(asked) : (n + 1) * len(asked)] for n, adapter in enumerate(ADAPTERS)}


def test_ten_best_items_are_those_of_offline_peft(url: str, bundle: Bundle, scores: dict[str, Floats]) -> None:
    served = asyncio.run(ask(url, bundle))
    for adapter in ADAPTERS:
        for ranking, values in zip(served[adapter], scores[adapter], strict=True):
            expected = top_n(values, N_BEST, EXCLUDED)
            assert len(ranking) == N_BEST
            if (np.abs(np.diff(expected.scores)) > TOLERANCE).all():  # no two neighbours are as good as equal
                assert ranking.items.tolist() == expected.items.tolist()
            np.testing.assert_allclose(values[ranking.items], expected.scores, atol=TOLERANCE)
    assert len({tuple(rankings[2].items.tolist()) for rankings in served.values()}) == len(ADAPTERS)
