"""Both kinds of worker as real servers, and whether what they rank is what offline scores say."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from support.processes import free_port
from support.servers import ROOT, server

from models.contract.bundle import Bundle
from models.contract.index import top_n
from models.contract.types import Floats, Ints, RankedList, item_numbers

N_ITEMS, N_BEST = 300, 10
EXCLUDED = item_numbers(range(0, N_ITEMS, 7))
TOLERANCE = 2e-4  # log-probabilities, float32 on both sides: differences up to 2e-5 were seen
SERVE = """
import sys
from pathlib import Path
from service.engine.serve import serve
serve(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""


@contextmanager
def running_worker(kind: str, bundle: Bundle) -> Iterator[str]:
    """URL of an ``engine`` or a ``vllm`` that serves the bundle's checkpoint, no adapter loaded yet."""
    port = free_port()
    commands = {
        "engine": [sys.executable, "-c", SERVE, str(bundle.directory), str(port)],
        "vllm": [str(ROOT / "scripts" / "vllm-cpu"), str(bundle.directory), "--port", str(port)],
    }
    url = f"http://127.0.0.1:{port}"
    with server(commands[kind], url, bundle.directory.parent / f"{kind}.log", start_seconds=400):
        yield url


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
