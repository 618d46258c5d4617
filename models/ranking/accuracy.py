"""How well each local model served each user so far: the weights of wRRF(LLM) (L3Rec, section 5.5.1).

The paper weights a user's local models by NDCG@5 on the user's held-out interactions. Held out are two items, so:

- for **test** examples, and for the profiles that are published, models are judged on the user's validation items;
- for **validation** examples that would be judging by the answer. There, models are judged one item earlier, on the
  last item before the validation target, from what came before it. The models have seen that item in training, so the
  judgement is a worse one than test examples get. What wRRF(LLM) shows on validation is honest, but rather too little.

With one item a user an accuracy is 0 more often than not, and the weights of a user's models are then equal. Between a
model that hit and one that missed, the softmax makes a factor of at most e.
"""

from collections.abc import Sequence

import numpy as np

from models.contract.types import Floats
from models.evaluation.metrics import ndcg, ranks_in_lists
from models.ranking.answers import VoterLists
from models.types import Examples, Sequences

CUTOFF = 5


def one_item_earlier(examples: Examples) -> Examples:
    """The examples whose target is the last item of the given ones' histories; without those of empty histories."""
    rows = np.flatnonzero(np.diff(examples.histories.offsets) > 0).astype(np.int64)
    histories = [examples.histories[row] for row in rows.tolist()]
    targets = np.asarray([history[-1] for history in histories], dtype=np.int32)
    return Examples(examples.users[rows], Sequences.of([history[:-1] for history in histories]), targets)


def judge(lists: VoterLists, communities: Sequence[str], examples: Examples, n_users: int) -> Floats:
    """Mean NDCG@5 of every community's lists for every user's examples.

    Args:
        lists: the voters' lists for the n examples.
        communities: (q,) names of the communities' voters.
        examples: what the lists were made for.
        n_users: users of the data set.

    Returns:
        (n_users, q) float32; 0 for users without an example, and for models that were not asked.
    """
    sums = np.zeros((n_users, len(communities)))
    for community, name in enumerate(communities):
        values = ndcg(ranks_in_lists(lists.best(name, CUTOFF), examples.targets), CUTOFF)
        sums[:, community] = np.bincount(examples.users, weights=values, minlength=n_users)
    counts = np.bincount(examples.users, minlength=n_users)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
