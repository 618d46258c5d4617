"""How workers are told which items they may rank: in the shortest words, or not at all where all would be too long."""

from dataclasses import replace

from service.gateway.bundles.item_set import ItemSet
from service.workers.completion import Completion

# Beyond it a request's items cost a worker more to read than the rest of the request does: it is asked for more items
# instead, and those that may not be shown are left out here.
MAX_NAMED_ITEMS = 20_000
MAX_CANDIDATES = 1_000  # log-probabilities that workers give at most


def narrowed(completion: Completion, allowed: ItemSet | None) -> Completion | None:
    """The same question about the items that are allowed and not excluded; None where none is left.

    What comes back may still hold others: it is to be filtered.
    """
    if allowed is None:
        return completion
    left = allowed.without(completion.excluded)
    n_others = completion.n_items - left.size
    if not left.size:
        return None
    if min(left.size, n_others) > MAX_NAMED_ITEMS:
        # As many more as it takes for the allowed ones among them to be enough, were they spread evenly.
        widened = completion.candidates * completion.n_items // left.size + 1
        return replace(completion, candidates=min(widened, max(MAX_CANDIDATES, completion.candidates)))
    candidates = min(completion.candidates, left.size)
    if left.size <= n_others:
        return replace(completion, candidates=candidates, allowed=left.numbers())
    return replace(completion, candidates=candidates, excluded=left.others())
