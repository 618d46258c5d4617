"""The list that the service would send for an answer: fusion, seen items, fallback chain as in the gateway."""

from collections.abc import Sequence

import numpy as np

from models.contract.index import top_n
from models.contract.selection import FusionSettings, fuse_voters, select
from models.contract.types import Floats, Ints, Profile, RankedList, item_numbers
from models.evaluation.metrics import NO_ITEM
from models.ranking.answers import Answer, Answers
from models.ranking.system import LocalSystem

NOTHING = item_numbers([])
NO_RANKING = RankedList(NOTHING, np.empty(0, np.float32))


def recommend(system: LocalSystem, answer: Answer, settings: FusionSettings, n: int) -> Ints:
    """The list that the service would send: fused, seen items removed, filled from `cf` and `popular`."""
    excluded, allowed = np.unique(answer.history), answer.allowed
    popular = ("popular", lambda missing, out: best(system.popularity, missing, out, allowed))
    cf = ("cf", lambda missing, out: cf_list(system, answer.profile, missing, out, allowed))
    if not len(answer.history):  # of such a user the service knows nothing
        return select(NO_RANKING, "local", excluded, n, [popular]).items
    fused = fuse_voters(answer.voters, NOTHING, settings)  # no list holds an item of the history
    return select(fused, "local", excluded, n, [cf, popular]).items


def recommend_all(system: LocalSystem, answers: Answers | Sequence[Answer], settings: FusionSettings, n: int) -> Ints:
    """(n_answers, n) served lists, filled up with ``NO_ITEM`` where the catalogue, or what is allowed of it, ends."""
    lists = np.full((len(answers), n), NO_ITEM, np.int32)
    for row, answer in enumerate(answers):
        items = recommend(system, answer, settings, n)
        lists[row, : len(items)] = items
    return lists


def cf_list(system: LocalSystem, profile: Profile, n: int, excluded: Ints, allowed: Ints | None) -> RankedList:
    """The CF model's list for a profile; ``excluded`` and ``allowed`` as in :func:`best`."""
    if allowed is None:
        return system.cf.recommend(profile.embedding, n, excluded)
    return best(system.cf.scores(profile.embedding), n, excluded, allowed)


def best(scores: Floats, n: int, excluded: Ints, allowed: Ints | None) -> RankedList:
    """The ``n`` best of ``scores`` (n_items,), none of ``excluded``, all of ``allowed``, None: whatever."""
    if allowed is not None:
        kept = np.full_like(scores, -np.inf)
        kept[allowed] = scores[allowed]
        scores = kept
    return top_n(scores, n, excluded)
