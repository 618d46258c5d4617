"""ULMRec: a causal language model whose vocabulary goes on with the tokens of user indices."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models.contract.types import Floats, Ints
from models.types import Sequences


class ULMRec(nn.Module):
    """A ranker of candidates."""

    def letter_scores(self, histories: Sequences, candidates: Ints, users: NDArray[np.int64] | None) -> Floats:
        """Scores of candidates by the logits of their letters.

        Args:
            histories: k sequences, oldest first. Empty ones make prompts of index and candidates alone (Table 4).
            candidates: (k, m) item numbers, m at most ``config.candidates``; ``NO_ITEM`` at a row's end: fewer.
            users: (k,) rows of the data set that it was tuned on; None: nobody has an index.

        Returns:
            (k, m) float32, higher is better, -inf where there is no candidate.
        """
        raise NotImplementedError
