"""The gateway's pool before real workers of ULMRec and L2Rec: adapters prove themselves, every list is the network's.

Starts a server for each case (vLLM: 20 to 40 s).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.pools import ask, make_ready, metric, pool_of
from support.processes import free_port
from support.servers import ROOT, server
from support.small_l2rec import HISTORY_LENGTH, random_users, reference, title_tokens, vectors
from support.small_parts import LETTERS, N_ITEMS, letters_scores, load, ulmrec_prompts, write_parts

from models.contract.bundle import Bundle
from models.contract.index import build_index
from models.contract.l2rec import ITEM_ROWS
from models.contract.specs import Part
from models.contract.types import Floats, Ints, RankedList, item_numbers
from service.gateway.telemetry import Telemetry
from service.workers.embedding import Embedding
from service.workers.letters import Letters
from service.workers.types import WorkerKind

START_SECONDS = 240.0
PATIENCE_SECONDS = 180.0  # of a busy machine
TOLERANCE = 1e-4
NOTHING = item_numbers([])
KINDS = [("ulmrec", "engine"), ("l2rec", "engine"), pytest.param("ulmrec", "vllm", marks=pytest.mark.vllm)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_parts(tmp_path_factory.mktemp("bundles") / "small-parts")


@contextmanager
def serving(bundle: Bundle, part: Part, kind: WorkerKind, log: Path) -> Iterator[str]:
    port = free_port()
    engine = [sys.executable, "-m", "localrec", "serve", "engine", "--bundle", str(bundle.directory)]
    command = engine if kind == "engine" else [str(ROOT / "scripts/vllm"), str(bundle.directory), "--device", "cpu"]
    url = f"http://127.0.0.1:{port}"
    with server([*command, "--model", part, "--port", str(port)], url, log, START_SECONDS):
        yield url


def histories() -> list[Ints]:
    rng = np.random.default_rng(4)
    return [rng.integers(N_ITEMS, size=length).astype(np.int32) for length in (1, 2, 5, 20, 25)]


def letters_cases(bundle: Bundle) -> Iterator[tuple[Letters, Floats]]:
    """Questions to ULMRec, with fewer and fewer candidates, and (n_items,) scores by transformers and PEFT."""
    prompts, network = ulmrec_prompts(), load(bundle.served("ulmrec"), adapted=True)
    for n, history in zip((LETTERS, LETTERS, 7, 2, 1), histories(), strict=True):
        items = np.random.default_rng(n).permutation(N_ITEMS)[:n].astype(np.int32)
        prompt, answers = prompts.prompt(history, items, prompts.indices[n]), prompts.answers[:n]
        scores = np.full(N_ITEMS, -np.inf, np.float32)
        scores[items] = letters_scores(network, prompt, answers)
        yield Letters(prompt, items, answers), scores


def embedding_cases(bundle: Bundle) -> Iterator[tuple[Embedding, Floats]]:
    """Questions to L2Rec, of users each with an embedding of their own, and (n_items,) scores by the network."""
    network, titles = reference(bundle.directory, "l2rec"), title_tokens(N_ITEMS)
    rows = np.load(bundle.served("l2rec").directory / ITEM_ROWS)
    for history, user in zip(histories(), random_users(5), strict=True):
        prompt = titles.prompt(history[-HISTORY_LENGTH:])
        state = vectors(network, [prompt], user[None])[0]
        yield Embedding(prompt.tolist(), 10, NOTHING, build_index(rows), rows.shape[1], user=user), rows @ state


def check_best(ranking: RankedList, scores: Floats) -> None:
    """Fail unless these are the best items; titles may be alike, and their items' scores equal but for rounding."""
    best = np.sort(scores[np.isfinite(scores)])[::-1][: len(ranking)]
    np.testing.assert_allclose(ranking.scores, scores[ranking.items], atol=TOLERANCE)
    np.testing.assert_allclose(ranking.scores, best, atol=TOLERANCE)
    assert len(set(ranking.items.tolist())) == len(ranking)


@pytest.mark.parametrize(("part", "kind"), KINDS)
async def test_adapter_proves_itself_and_ranks_what_the_network_does(
    bundle: Bundle, part: Part, kind: WorkerKind, tmp_path: Path
) -> None:
    telemetry, root = Telemetry(), bundle.directory.parent
    cases = letters_cases(bundle) if part == "ulmrec" else embedding_cases(bundle)
    with serving(bundle, part, kind, tmp_path / "worker.log") as url:
        async with pool_of(url, part=part, kind=kind, bundle_root=root, telemetry=telemetry) as pool:
            await make_ready(pool, bundle, seconds=PATIENCE_SECONDS)
            for inquiry, scores in cases:
                [outcome] = await ask(pool, bundle, part, seconds=PATIENCE_SECONDS, inquiry=inquiry)
                assert (outcome.kind, outcome.detail) == ("ok", "")
                assert len(outcome.ranking) == (10 if part == "l2rec" else len(inquiry.candidates))
                check_best(outcome.ranking, scores)
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="passed",pool="p"}') == 1
