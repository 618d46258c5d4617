"""Adapters with item tables of their own: stock vLLM and our engine rank what offline PEFT ranks, as the gateway asks.

Runs two real servers, one after the other (about a minute).
"""

import asyncio
from collections.abc import Iterator

import pytest
import torch
from support.parity import N_ITEMS, ask, check_best, check_fan_out, random_histories, serving
from support.tables import write_table_bundle

from models.contract.bundle import CHECKPOINT, Bundle
from models.contract.types import Floats
from models.llm.item_token import CatalogueModel
from models.llm.next_item import NextItemScorer
from models.types import Sequences

pytestmark = pytest.mark.vllm

HISTORY_LENGTH = 20
HISTORIES = random_histories(HISTORY_LENGTH)
ADAPTERS = ("global", "c00", "c01", "c02")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_table_bundle(tmp_path_factory.mktemp("table-parity") / "b-1", N_ITEMS, ADAPTERS, last_only=("c02",))


@pytest.fixture(scope="module")
def scores(bundle: Bundle) -> dict[str, Floats]:
    """What offline PEFT gives each item after each history, by adapter: (histories, n_items)."""
    model = CatalogueModel.load(bundle.path(CHECKPOINT), bundle.adapter_path(ADAPTERS[0]))
    scorer = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu"))
    scores = {}
    for adapter in ADAPTERS:
        model.use_adapter(adapter, bundle.adapter_path(adapter))
        scores[adapter] = scorer.scores(Sequences.of(HISTORIES))
    return scores


@pytest.fixture(scope="module", params=["engine", "vllm"])
def url(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[str]:
    with serving(request.param, bundle) as url:
        yield url


def test_ten_best_items_are_those_of_offline_peft(url: str, bundle: Bundle, scores: dict[str, Floats]) -> None:
    served = asyncio.run(ask(url, bundle, ADAPTERS, HISTORIES))
    for adapter in ADAPTERS:
        for ranking, values in zip(served[adapter], scores[adapter], strict=True):
            check_best(ranking, values)
    assert len({tuple(rankings[2].items.tolist()) for rankings in served.values()}) == len(ADAPTERS)


def test_a_fan_out_gives_the_lists_of_single_calls(bundle: Bundle) -> None:
    check_fan_out(bundle, ADAPTERS, HISTORIES)
