"""Every voter's lists for many histories: the communities' models, the global one, the CF model, or any other."""

import numpy as np
from numpy.typing import NDArray

from models.contract.bundle import GLOBAL_ADAPTER
from models.contract.prompts import above_words
from models.contract.selection import CF_VOTER, within
from models.contract.types import Array, Floats, Ints, Profile
from models.llm.item_token import CatalogueModel
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.ranking.answers import Answers, VoterLists
from models.ranking.recommend import best, cf_list
from models.ranking.system import LocalSystem
from models.training.device import training_device
from models.types import Examples, Score, Sequences, chunks_of

Rows = NDArray[np.int64]


class LocalRanker:
    """Ranks with the compiled checkpoint and its adapters, in float32.

    Args:
        system: what is ranked with.
        candidates: items of each voter's list.
    """

    def __init__(self, system: LocalSystem, candidates: int) -> None:
        self._system = system
        self._candidates = min(candidates, system.cf.n_items)
        device = training_device()
        form = TitleModel if system.form == "title" else CatalogueModel
        self._model = form.load(system.checkpoint, system.adapters[GLOBAL_ADAPTER]).to(device)
        self._scorer = NextItemScorer(self._model, system.history_length, device)

    def answers(self, histories: Sequences, allowed: Ints | None = None, accuracies: Floats | None = None) -> Answers:
        """What the communities of each history, the global adapter and the CF model answer.

        Args:
            histories: n sequences.
            allowed: (n, m) the only items to rank; None: all.
            accuracies: (n, q) accuracy of each local model for each user, see :func:`judge`; None: as of users of whom
                only the history is known, whose models are not judged.
        """
        profiles = self._system.profiles(histories, accuracies)
        return Answers(histories, self._system.communities, profiles, self.lists(histories, profiles, allowed), allowed)

    def lists(self, histories: Sequences, profiles: list[Profile], allowed: Ints | None = None) -> VoterLists:
        """The lists of every voter; see :meth:`answers`."""
        communities = self._system.communities
        names = (*communities, GLOBAL_ADAPTER, CF_VOTER)
        lists = VoterLists.empty(names, len(histories), self._candidates)
        everybody = np.arange(len(histories))
        for column, adapter in enumerate(names[:-1]):
            asked = _members(profiles, column) if adapter in communities else everybody
            for rows in chunks_of(asked):
                part = histories.take(rows)
                scores = self.scores(adapter, part)
                if self._system.form == "title" and allowed is None:  # what a worker's answer can name
                    scores = above_words(scores)
                _put_best(lists, column, rows, scores, part, allowed, self._system.own_items(adapter))
        for row, profile in enumerate(profiles):
            only = None if allowed is None else allowed[row]
            ranking = cf_list(self._system, profile, self._candidates, np.unique(histories[row]), only)
            lists.put(row, names.index(CF_VOTER), ranking)
        return lists

    def scores(self, adapter: str | None, histories: Sequences) -> Floats:
        """(n, n_items) scores of one adapter, or of the base model without one, after n histories."""
        if adapter is None:
            with self._model.language_model.disable_adapter():
                return self._scorer.scores(histories)
        self._model.use_adapter(adapter, self._system.adapters[adapter])
        return self._scorer.scores(histories)


def voter_lists(
    name: str, score: Score, examples: Examples, candidates: int, allowed: Ints | None = None
) -> VoterLists:
    """Lists of any other model, to let it vote: see :meth:`models.ranking.answers.Answers.with_voters`.

    Args:
        name: the voter's name.
        score: the model.
        examples: the n examples that the other voters' lists are for.
        candidates: items of each list.
        allowed: (n, m) the only items to rank; None: all.
    """
    lists: VoterLists | None = None
    for rows in chunks_of(np.arange(len(examples))):
        part = examples.take(rows)
        scores = score(part)
        if lists is None:
            lists = VoterLists.empty((name,), len(examples), min(candidates, scores.shape[1]))
        _put_best(lists, 0, rows, scores, part.histories, allowed)
    return lists or VoterLists.empty((name,), 0, candidates)


def _members(profiles: list[Profile], community: int) -> Rows:
    return np.asarray(
        [row for row, p in enumerate(profiles) if any(m.community == community for m in p.memberships)], dtype=np.int64
    )


def _put_best(
    lists: VoterLists,
    column: int,
    rows: Rows,
    scores: Floats,
    histories: Sequences,
    allowed: Ints | None,
    items: Array | None = None,
) -> None:
    """Write one voter's lists for some rows, from the scores (len(rows), n_items) and the histories of these rows.

    ``items`` (n_items,) bool are those of the voter's community. Others are taken out of its best ones, as the gateway
    does it with a worker's answer, so that such a list is shorter.
    """
    n = lists.items.shape[2]
    for at, row in enumerate(rows.tolist()):
        only = None if allowed is None else allowed[row]
        lists.put(row, column, within(best(scores[at], n, np.unique(histories[at]), only), items))
