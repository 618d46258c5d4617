"""Further models over HTTP: stub workers for each, and what a gateway must make of their answers."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from support.bundles import users_of
from support.parts import (
    KNOWN_USERS,
    collm_prompts,
    collm_ranking,
    hatllm_ranking,
    l2rec_ranking,
    ulmrec_prompts,
    ulmrec_ranking,
    user_indexer,
)
from support.stub_worker import StubProcess, stub_process

from models.contract.bundle import Bundle
from models.contract.profile import half
from models.contract.specs import Part
from models.contract.types import Floats, Ints
from service.gateway.bundles.snapshot import load_snapshot

N_ITEMS = 200
N = 10  # items that a request asks for by default
PARTS: tuple[Part, ...] = ("collm", "hatllm", "ulmrec", "l2rec")
CANDIDATES = {"collm": 50, "ulmrec": 20}  # of the CF model, by default
PIPELINES: Mapping[str, dict[str, Any]] = {"cf": {"kind": "cf"}} | {
    part: {"kind": part, "pool": part} for part in PARTS
}


@contextmanager
def part_workers(bundle: Bundle, *parts: Part) -> Iterator[dict[Part, StubProcess]]:
    """A stub worker for each of these models."""
    with ExitStack() as stack:
        n_items = bundle.manifest.model.n_items
        yield {part: stack.enter_context(stub_process(bundle.served(part).base_id, n_items)) for part in parts}


def pools_of(workers: Mapping[Part, StubProcess]) -> list[dict[str, Any]]:
    """Settings of a pool for each worker, with quick background loops."""
    return [
        {"name": part, "urls": [stub.url], "model": part, "probe_interval_ms": 50, "cooldown_ms": 50}
        for part, stub in workers.items()
    ]


def listed(body: Any, source: str) -> list[int]:
    """Item numbers of what a source brought."""
    return [int(item["item_id"][1:]) for item in body["items"] if item["source"] == source]


def expected(bundle: Bundle, pipeline: str, row: int, stored: bool = True) -> list[int]:
    """What a pipeline must bring for a published user; without ``stored``, for somebody who sends that history."""
    users, snapshot = users_of(bundle), load_snapshot(bundle.directory)
    history = users.histories[row]
    embedding = half(users.embeddings[row] if stored else snapshot.cf.fold_in(history))
    candidates = snapshot.cf.recommend(embedding, CANDIDATES.get(pipeline, 0), history).items
    user = row if stored and row < KNOWN_USERS else None
    user_id = f"u{row}" if stored else None
    return _ranked(bundle.adapter_name(pipeline), pipeline, history, candidates, embedding, user, user_id)


def _ranked(
    name: str, pipeline: str, history: Ints, candidates: Ints, embedding: Floats, user: int | None, user_id: str | None
) -> list[int]:
    if pipeline == "collm":
        ranking = collm_ranking(name, collm_prompts(N_ITEMS), history, candidates, user)
    elif pipeline == "ulmrec":
        prompts = ulmrec_prompts(N_ITEMS)
        index = user_indexer(N_ITEMS).index(user_id, history) if user is None else prompts.indices[user]
        ranking = ulmrec_ranking(name, prompts, history, candidates, index)
    elif pipeline == "l2rec":
        ranking = l2rec_ranking(name, history, embedding, N_ITEMS, N, history)
    else:
        ranking = hatllm_ranking(name, history, N_ITEMS, N, history)
    items: list[int] = ranking.items[:N].tolist()
    return items
