"""Untrained bundles whose probes hold, and what PEFT ranks with them: for pools before real workers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from support.bundles import worker_bundle
from support.checkpoints import write_adapter, write_checkpoint

from models.contract.bundle import Bundle
from models.contract.index import top_n
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.prompts import item_prompt
from models.contract.specs import ModelSpec
from models.contract.types import Floats, Ints, item_numbers
from models.llm.item_token import CatalogueModel
from models.llm.next_item import NextItemScorer
from models.types import Sequences

HISTORY_LENGTH = 20


class Oracle:
    """Offline scores of a bundle's adapters, in float32 by PEFT."""

    def __init__(self, directory: Path, adapters: Sequence[str]) -> None:
        self._adapters = directory / "adapters"
        self._model = CatalogueModel.load(directory / "checkpoint", self._adapters / adapters[0])
        self._scorer = NextItemScorer(self._model, HISTORY_LENGTH, torch.device("cpu"))

    def scores(self, adapter: str, history: Ints) -> Floats:
        """(n_items,) scores of an adapter, or of the base model where its name is empty."""
        histories = Sequences.of([history])
        if adapter == BASE:
            with self._model.language_model.disable_adapter():
                return self._scorer.scores(histories)[0]
        self._model.use_adapter(adapter, self._adapters / adapter)
        return self._scorer.scores(histories)[0]


def write_probed_bundle(directory: Path, n_items: int, adapters: Sequence[str], rank: int, seed: int = 0) -> Bundle:
    """Checkpoint, adapters, probe, manifest. Bundles that differ in ``seed`` alone have the same base model."""
    checkpoint = write_checkpoint(directory / "checkpoint", n_items)
    for number, name in enumerate(adapters):
        write_adapter(directory / "adapters" / name, checkpoint, 1000 * seed + number, rank)
    oracle, history = Oracle(directory, adapters), item_numbers(range(HISTORY_LENGTH))
    lists = {name: top_n(oracle.scores(name, history), PROBED_ITEMS, history) for name in (BASE, *adapters)}
    Probe(history, item_numbers(item_prompt(history, n_items, HISTORY_LENGTH)), lists).save(directory)
    model = ModelSpec("item-token", HISTORY_LENGTH, n_items, rank, tuple(adapters), "random")
    return worker_bundle(directory, model)
