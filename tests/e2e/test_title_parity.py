"""The title form: stock vLLM and our engine rank what offline PEFT ranks, adapter by adapter, as the gateway asks.

Runs two real servers, one after the other (about a minute).
"""

import asyncio
import sys
from collections.abc import Iterator

import aiohttp
import numpy as np
import pytest
import torch
from support.backbones import write_backbone
from support.processes import free_port
from support.servers import ROOT, server
from support.titles import HISTORY_LENGTH, TitleFiles, title_bundle, write_title_files

from models.contract.bundle import Bundle
from models.contract.index import top_n
from models.contract.prompts import load_prompts
from models.contract.types import Ints, RankedList, item_numbers
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.types import Sequences
from service.workers.client import WorkerClient
from service.workers.types import Completion, OutcomeKind

pytestmark = pytest.mark.vllm

N_ITEMS, N_BEST = 300, 10
ADAPTERS = ("global", "c00", "c01")
TOLERANCE = 2e-4  # as in test_worker_parity
EXCLUDED = item_numbers(range(0, N_ITEMS, 7))
SERVE = """
import sys
from pathlib import Path
from service.engine.serve import serve
serve(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TitleFiles:
    root = tmp_path_factory.mktemp("title-parity")
    return write_title_files(root / "t-1", write_backbone(root / "backbone"), N_ITEMS, ADAPTERS)


@pytest.fixture(scope="module")
def bundle(files: TitleFiles) -> Bundle:
    return title_bundle(files)


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


async def ask(url: str, bundle: Bundle, adapter: str, rows: list[Ints]) -> list[RankedList]:
    """What the gateway's own client makes of a worker's answers."""
    prompts = load_prompts(bundle)
    async with aiohttp.ClientSession() as session:
        client = WorkerClient(session, url)
        await client.load_adapter(bundle.adapter_name(adapter), str(bundle.adapter_path(adapter)))
        asked = [Completion(prompts.prompt(h), N_BEST, EXCLUDED, N_ITEMS, prompts.item_offset) for h in rows]
        outcomes = [await client.complete(bundle.adapter_name(adapter), completion) for completion in asked]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.OK}, outcomes
    return [outcome.ranking for outcome in outcomes]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_ten_best_items_are_those_of_offline_peft(url: str, bundle: Bundle, files: TitleFiles, adapter: str) -> None:
    served = asyncio.run(ask(url, bundle, adapter, histories()))
    model = TitleModel.load(files.checkpoint, files.adapter(adapter))
    scores = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu")).scores(Sequences.of(histories()))
    for ranking, values in zip(served, scores, strict=True):
        expected = top_n(values, N_BEST, EXCLUDED)
        assert len(ranking) == N_BEST
        gaps = np.abs(np.diff(expected.scores)) > TOLERANCE
        if gaps.all():  # no two neighbours are as good as equal
            assert ranking.items.tolist() == expected.items.tolist()
        np.testing.assert_allclose(values[ranking.items], expected.scores, atol=TOLERANCE)


def test_adapters_differ(url: str, bundle: Bundle) -> None:
    lists = [asyncio.run(ask(url, bundle, adapter, histories()))[2].items.tolist() for adapter in ADAPTERS]
    assert len({tuple(items) for items in lists}) == len(ADAPTERS)
