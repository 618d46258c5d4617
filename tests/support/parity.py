"""Both kinds of worker as real servers, what they rank, and whether that is what offline scores say."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import aiohttp
import numpy as np

from localrec.processes import free_port
from localrec.stack import WorkerKind, running_worker
from models.contract.bundle import Bundle
from models.contract.index import top_n
from models.contract.prompts import load_prompts
from models.contract.types import Floats, Ints, RankedList, item_numbers
from service.workers.client import WorkerClient
from service.workers.completion import Completion
from service.workers.types import OutcomeKind

N_ITEMS, N_BEST = 300, 10
EXCLUDED = item_numbers(range(0, N_ITEMS, 7))
TOLERANCE = 2e-4  # log-probabilities, float32 on both sides: differences up to 2e-5 were seen


@contextmanager
def serving(kind: WorkerKind, bundle: Bundle) -> Iterator[str]:
    """URL of a worker that serves the bundle's checkpoint, no adapter loaded yet. Its log lies beside the bundle."""
    port, logs = free_port(), bundle.directory.parent / kind
    logs.mkdir(exist_ok=True)
    with running_worker(bundle, logs, kind, port):
        yield f"http://127.0.0.1:{port}"


async def ask(
    url: str, bundle: Bundle, adapters: Sequence[str], histories: Sequence[Ints]
) -> dict[str, list[RankedList]]:
    """What the gateway's own client makes of a worker's answers when all adapters are asked at once."""
    asked = completions(bundle, histories)
    async with aiohttp.ClientSession() as session:
        client = WorkerClient(session, url)
        await load(client, bundle, adapters)
        calls = [client.ask(bundle.adapter_name(adapter), each) for adapter in adapters for each in asked]
        outcomes = await asyncio.gather(*calls)
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.OK}, outcomes
    rankings = [outcome.ranking for outcome in outcomes]
    return {adapter: rankings[n * len(asked) : (n + 1) * len(asked)] for n, adapter in enumerate(adapters)}


async def fan_out(
    url: str, bundle: Bundle, adapters: Sequence[str], histories: Sequence[Ints]
) -> dict[str, list[RankedList]]:
    """The same from one call a history: all histories at once."""
    names = [bundle.adapter_name(adapter) for adapter in adapters]
    async with aiohttp.ClientSession() as session:
        client = WorkerClient(session, url)
        await load(client, bundle, adapters)
        calls = [client.fan_out(names, each, timeout_seconds=60) for each in completions(bundle, histories)]
        answers = await asyncio.gather(*calls)
    assert {outcome.kind for outcomes in answers for outcome in outcomes} == {OutcomeKind.OK}, answers
    return {adapter: [outcomes[n].ranking for outcomes in answers] for n, adapter in enumerate(adapters)}


def check_fan_out(bundle: Bundle, adapters: Sequence[str], histories: Sequence[Ints]) -> None:
    """Fail unless the engine's fan-outs give every adapter the list that its single calls give it."""
    with serving("engine", bundle) as url:
        single = asyncio.run(ask(url, bundle, adapters, histories))
        together = asyncio.run(fan_out(url, bundle, adapters, histories))
    for adapter in adapters:
        for one, other in zip(single[adapter], together[adapter], strict=True):
            np.testing.assert_allclose(one.scores, other.scores, atol=TOLERANCE)
            if (np.abs(np.diff(one.scores)) > TOLERANCE).all():  # no two neighbours are as good as equal
                assert one.items.tolist() == other.items.tolist()


def completions(bundle: Bundle, histories: Sequence[Ints]) -> list[Completion]:
    """What the gateway asks for these histories."""
    prompts = load_prompts(bundle)
    n_items = bundle.manifest.model.n_items
    return [Completion(prompts.prompt(h), N_BEST, EXCLUDED, n_items, prompts.item_offset) for h in histories]


async def load(client: WorkerClient, bundle: Bundle, adapters: Sequence[str]) -> None:
    """Load adapters; those that are there already count as loaded."""
    for adapter in adapters:
        await client.load_adapter(bundle.adapter_name(adapter), str(bundle.adapter_path(adapter)))


def random_histories(longest_read: int) -> list[Ints]:
    """Histories of ``N_ITEMS`` items, short ones, one as long as is read, and a longer one."""
    rng = np.random.default_rng(7)
    return [item_numbers(rng.integers(0, N_ITEMS, length)) for length in (1, 2, 5, longest_read, 30)]


def check_best(ranking: RankedList, scores: Floats) -> None:
    """Fail unless a worker's ranking holds the ``N_BEST`` items of the best scores (n_items,) without ``EXCLUDED``."""
    expected = top_n(scores, N_BEST, EXCLUDED)
    assert len(ranking) == N_BEST
    if (np.abs(np.diff(expected.scores)) > TOLERANCE).all():  # no two neighbours are as good as equal
        assert ranking.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(scores[ranking.items], expected.scores, atol=TOLERANCE)
