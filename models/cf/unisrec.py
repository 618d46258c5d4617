"""UniSRec (Hou et al., "Towards Universal Sequence Representation Learning for Recommender Systems", KDD 2022).

https://arxiv.org/abs/2206.05941, fine-tuned on one domain without its pre-training: an item is its text, through the
mixture-of-experts adaptor of equations 1 to 3; a Transformer reads the items; scores are cosines (section 2.3.3). Two
departures: the text vectors are whitened beforehand and the experts project them, and the Transformer is that of
:mod:`models.cf.sasrec`, which normalises before each layer. Windows and stopping are SASRec's, too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.cf.sasrec import SASRec, SASRecConfig
from models.cf.training import Progress, seeded, silent
from models.cf.windows import NextItemScorer, train_network
from models.config import option
from models.contract.types import Floats
from models.types import Examples, Sequences

_LEAST_NOISE = 1e-2  # standard deviation of the gate's noise, as in the published code


@dataclass(frozen=True)
class UniSRecConfig(SASRecConfig):
    """How UniSRec is built and trained: SASRec's settings, the adaptor's, and the temperature."""

    experts: int = option(8, "Experts of the adaptor.", low=1)
    adaptor_dropout: float = option(0.2, "Share of a text vector dropped before an expert.", low=0.0, high=0.95)
    item_ids: bool = option(True, "Add a learned vector to an item's text (transductive); else text alone (inductive).")
    temperature: float = option(0.07, "By which cosines are divided in the loss.", low=1e-4)


def train_unisrec(
    train: Sequences,
    valid: Examples,
    item_text: Floats,
    config: UniSRecConfig,
    progress: Progress = silent,
) -> NextItemScorer:
    """Train on the users' sequences, stop early on the validation examples. The same seed gives the same model.

    Args:
        train: item numbers of every user, oldest first.
        valid: what decides when to stop.
        item_text: (n_items, k) whitened text vectors.
        config: see :class:`UniSRecConfig`.
        progress: told of every epoch.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    with seeded(config.seed):
        network = UniSRec(item_text, config)
        return train_network(network, train, valid, config, progress)


class UniSRec(SASRec):
    """SASRec's Transformer over items that are adapted texts."""

    def __init__(self, item_text: Floats, config: UniSRecConfig) -> None:
        super().__init__(len(item_text), config)
        self.temperature = config.temperature
        self.item_ids = config.item_ids
        self.register_buffer("item_text", torch.from_numpy(item_text), persistent=False)
        self.adaptor = Adaptor(item_text.shape[1], config)

    def table(self) -> Tensor:
        """Embeddings (n_items + 1, d): the start token's is learned, the items' are their texts and what is learned."""
        learned: Tensor = self.items.weight
        texts = self.adaptor(self.item_text)
        items = texts + learned[: self.n_items] if self.item_ids else texts
        return torch.cat([items, learned[self.n_items :]])

    def logits(self, states: Tensor) -> Tensor:
        """Scores (…, n_items): cosines of states (…, d) and items, over the temperature."""
        items = F.normalize(self.table()[: self.n_items], dim=-1)
        return F.normalize(states, dim=-1) @ items.T / self.temperature


class Adaptor(nn.Module):
    """Equations 1 to 3: experts project a text, a gate that reads the text, with noise while training, mixes them.

    Args:
        size: of a text vector, k.
        config: number of experts, embedding size d, dropout.
    """

    def __init__(self, size: int, config: UniSRecConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.adaptor_dropout)
        self.experts = nn.Parameter(torch.empty(config.experts, size, config.embedding_size))
        self.shift = nn.Parameter(torch.zeros(config.experts, size))
        self.gate = nn.Parameter(torch.zeros(size, config.experts))
        self.noise = nn.Parameter(torch.zeros(size, config.experts))
        nn.init.normal_(self.experts, std=0.02)

    def forward(self, texts: Tensor) -> Tensor:
        """(n, k) → (n, d)."""
        gates = torch.softmax(self._gate_logits(texts), dim=-1)  # (n, experts)
        shifted = self.dropout(texts) @ self.experts - torch.einsum("ek,ekd->ed", self.shift, self.experts)[:, None]
        return torch.einsum("ne,end->nd", gates, shifted)

    def _gate_logits(self, texts: Tensor) -> Tensor:
        clean = texts @ self.gate
        if not self.training:
            return clean
        return clean + torch.randn_like(clean) * (F.softplus(texts @ self.noise) + _LEAST_NOISE)
