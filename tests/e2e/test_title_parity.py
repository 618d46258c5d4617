"""The title form: stock vLLM and our engine rank what offline PEFT ranks, adapter by adapter, as the gateway asks.

Runs two real servers, one after the other (about a minute).
"""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
import torch
from support.backbones import write_backbone
from support.parity import EXCLUDED, N_BEST, N_ITEMS, check_best, random_histories, running_worker
from support.titles import HISTORY_LENGTH, TitleFiles, title_bundle, write_title_files

from models.contract.bundle import Bundle
from models.contract.prompts import load_prompts
from models.contract.types import Ints, RankedList
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.types import Sequences
from service.workers.client import WorkerClient
from service.workers.types import Completion, OutcomeKind

pytestmark = pytest.mark.vllm

ADAPTERS = ("global", "c00", "c01")
HISTORIES = random_histories(HISTORY_LENGTH)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TitleFiles:
    root = tmp_path_factory.mktemp("title-parity")
    return write_title_files(root / "t-1", write_backbone(root / "backbone"), N_ITEMS, ADAPTERS)


@pytest.fixture(scope="module")
def bundle(files: TitleFiles) -> Bundle:
    return title_bundle(files)


@pytest.fixture(scope="module", params=["engine", "vllm"])
def url(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[str]:
    with running_worker(request.param, bundle) as url:
        yield url


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
    served = asyncio.run(ask(url, bundle, adapter, HISTORIES))
    model = TitleModel.load(files.checkpoint, files.adapter(adapter))
    scores = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu")).scores(Sequences.of(HISTORIES))
    for ranking, values in zip(served, scores, strict=True):
        check_best(ranking, values)


def test_adapters_differ(url: str, bundle: Bundle) -> None:
    lists = [asyncio.run(ask(url, bundle, adapter, HISTORIES))[2].items.tolist() for adapter in ADAPTERS]
    assert len({tuple(items) for items in lists}) == len(ADAPTERS)
