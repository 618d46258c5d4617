"""The list that the service would send where a model re-ranks the CF model's candidates: `collm` and `ulmrec`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.selection import select
from models.contract.types import Floats, Ints, Profile, by_score
from models.evaluation.metrics import NO_ITEM
from models.ranking.recommend import NO_RANKING, best, cf_list
from models.ranking.system import LocalSystem
from models.types import Sequences

RERANKED = 50  # candidates, as the service has it by default

Rate = Callable[[Ints, Ints, str | None], Floats]
"""Scores of candidates (m,) for a history (h,), oldest first, of a user by id; None: one that the model never met."""


@dataclass(frozen=True)
class Reranker:
    """Re-ranks what the CF model finds.

    Args:
        system: for the CF model, and what is popular.
        rate: the model that ranks.
        candidates: of the CF model.
    """

    system: LocalSystem
    rate: Rate
    candidates: int = RERANKED

    def lists(self, histories: Sequences, users: Sequence[str | None], n: int, allowed: Ints | None = None) -> Ints:
        """Re-ranked candidates, filled up in the CF model's order, none of the history.

        Args:
            histories: m sequences.
            users: m ids, see :data:`Rate`.
            n: length of the lists.
            allowed: (m, c) item numbers, the only ones listed; None for the whole catalogue.

        Returns:
            (m, n) int32 item numbers, filled up with ``NO_ITEM`` where the catalogue, or what is allowed of it, ends.
        """
        lists = np.full((len(users), n), NO_ITEM, np.int32)
        for row, profile in enumerate(self.system.profiles(histories)):
            found = self._list(profile, histories[row], users[row], n, None if allowed is None else allowed[row])
            lists[row, : len(found)] = found
        return lists

    def _list(self, profile: Profile, history: Ints, user: str | None, n: int, allowed: Ints | None) -> Ints:
        excluded = np.unique(history)
        popular = ("popular", lambda missing, out: best(self.system.popularity, missing, out, allowed))
        cf = ("cf", lambda missing, out: cf_list(self.system, profile, missing, out, allowed))
        if not len(history):  # of such a user the service knows nothing
            return select(NO_RANKING, "reranker", excluded, n, [popular]).items
        found = cf_list(self.system, profile, self.candidates, excluded, allowed)
        ranked = by_score(found.items, self.rate(history, found.items, user))
        return select(ranked, "reranker", excluded, n, [cf, popular]).items
