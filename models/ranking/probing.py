"""The probe of a bundle: what each adapter, and the base model, rank for the history of the most popular items."""

import numpy as np

from models.contract.bundle import GLOBAL_ADAPTER
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.prompts import ItemPrompts, Prompts, TitlePrompts, TitleTokens, above_words
from models.contract.types import Ints, RankedList, item_numbers
from models.ranking.ranker import LocalRanker
from models.ranking.recommend import best
from models.ranking.system import LocalSystem
from models.types import Sequences

PROBED_HISTORY = 20  # items, at most


def make_probe(system: LocalSystem) -> Probe:
    """Rank with every adapter as the evaluation does, see :class:`LocalRanker`."""
    ranker = LocalRanker(system, PROBED_ITEMS)
    history = _popular(system)

    def ranked(adapter: str | None) -> RankedList:
        scores = ranker.scores(adapter, Sequences.of([history]))
        if system.form == "title":  # what a worker's answer can name
            scores = above_words(scores)
        return best(scores[0], min(PROBED_ITEMS, system.cf.n_items), history, None)

    lists = {BASE: ranked(None), GLOBAL_ADAPTER: ranked(GLOBAL_ADAPTER)}
    lists |= {name: ranked(name) for name in system.communities}
    return Probe(history, item_numbers(_prompts(system).prompt(history)), lists)


def _popular(system: LocalSystem) -> Ints:
    """At most a quarter of the catalogue, so that items are left to rank."""
    n = min(PROBED_HISTORY, system.history_length, system.cf.n_items // 4)
    return item_numbers(np.argsort(-system.popularity, kind="stable")[:n])


def _prompts(system: LocalSystem) -> Prompts:
    if system.form == "title":
        return TitlePrompts(TitleTokens.load(system.checkpoint.parent), system.history_length)
    return ItemPrompts(system.cf.n_items, system.history_length)
