"""The loss of every model that predicts the next item of a sequence."""

import torch
from torch import Tensor
from torch.nn import functional as F


def next_item_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each target over the catalogue, but for the items that its sequence has shown before.

    Seen items are never recommended, so they take no part in the softmax either: a state need not learn to avoid the
    items that it has just read, which in a table that is tied at input and output are the nearest to it. A target that
    repeats an earlier item keeps its own place.

    Args:
        logits: (m, n_items), one row for every target, row by row of ``targets``.
        targets: (b, length) item numbers; a number that is no item's stands where nothing is predicted.

    Returns:
        (m,) float32.
    """
    n_items = logits.shape[1]
    items = torch.where((targets >= 0) & (targets < n_items), targets, n_items)
    rows, places = (items < n_items).nonzero(as_tuple=True)
    wanted = items[rows, places]
    shown = items[rows]  # (m, length)
    later = torch.arange(items.shape[1], device=items.device) >= places.unsqueeze(1)
    shown = shown.masked_fill(later | (shown == wanted.unsqueeze(1)), n_items)
    seen = torch.zeros(len(wanted), n_items + 1, dtype=torch.bool, device=items.device).scatter_(1, shown, True)
    return F.cross_entropy(logits.float().masked_fill(seen[:, :n_items], -torch.inf), wanted, reduction="none")
