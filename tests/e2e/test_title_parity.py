"""The title form: stock vLLM and our engine rank what offline PEFT ranks, adapter by adapter, as the gateway asks.

Runs two real servers, one after the other (about a minute).
"""

import asyncio
from collections.abc import Iterator

import pytest
import torch
from support.backbones import write_backbone
from support.parity import N_ITEMS, ask, check_best, check_fan_out, random_histories, serving
from support.titles import HISTORY_LENGTH, TitleFiles, title_bundle, write_title_files

from models.contract.bundle import Bundle
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.types import Sequences

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
    with serving(request.param, bundle) as url:
        yield url


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_ten_best_items_are_those_of_offline_peft(url: str, bundle: Bundle, files: TitleFiles, adapter: str) -> None:
    served = asyncio.run(ask(url, bundle, [adapter], HISTORIES))[adapter]
    model = TitleModel.load(files.checkpoint, files.adapter(adapter))
    scores = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu")).scores(Sequences.of(HISTORIES))
    for ranking, values in zip(served, scores, strict=True):
        check_best(ranking, values)


def test_adapters_differ(url: str, bundle: Bundle) -> None:
    served = asyncio.run(ask(url, bundle, ADAPTERS, HISTORIES))
    assert len({tuple(rankings[2].items.tolist()) for rankings in served.values()}) == len(ADAPTERS)


def test_a_fan_out_gives_the_lists_of_single_calls(bundle: Bundle) -> None:
    check_fan_out(bundle, ADAPTERS, HISTORIES)
