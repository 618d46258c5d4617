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
from service.workers.types import Completion, OutcomeKind

N_ITEMS, N_BEST = 300, 10
EXCLUDED = item_numbers(range(0, N_ITEMS, 7))
TOLERANCE = 2e-4  # log-probabilities, float32 on both sides: differences up to 2e-5 were seen


@contextmanager
def serving(kind: WorkerKind, bundle: Bundle) -> Iterator[str]:
    """URL of a worker that serves the bundle's checkpoint, no adapter loaded yet. Its log lies beside the bundle."""
    port, logs = free_port(), bundle.directory.parent / kind
    logs.mkdir()
    with running_worker(bundle, logs, kind, port):
        yield f"http://127.0.0.1:{port}"


async def ask(
    url: str, bundle: Bundle, adapters: Sequence[str], histories: Sequence[Ints]
) -> dict[str, list[RankedList]]:
    """What the gateway's own client makes of a worker's answers when all adapters are asked at once."""
    prompts = load_prompts(bundle)
    asked = [Completion(prompts.prompt(h), N_BEST, EXCLUDED, N_ITEMS, prompts.item_offset) for h in histories]
    async with aiohttp.ClientSession() as session:
        client = WorkerClient(session, url)
        for adapter in adapters:
            await client.load_adapter(bundle.adapter_name(adapter), str(bundle.adapter_path(adapter)))
        calls = [client.complete(bundle.adapter_name(adapter), each) for adapter in adapters for each in asked]
        outcomes = await asyncio.gather(*calls)
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.OK}, outcomes
    rankings = [outcome.ranking for outcome in outcomes]
    return {adapter: rankings[n * len(asked) : (n + 1) * len(asked)] for n, adapter in enumerate(adapters)}


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
