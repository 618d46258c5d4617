"""MultVAE, the global model (Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018).

https://arxiv.org/abs/1802.05814. One linear layer on either side, without the paper's tanh layers, so that what is
served is :class:`models.contract.cf.CFModel`: a score is an inner product, and a user is folded in by numpy.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.cf.training import Progress, fit, seeded, silent
from models.config import option
from models.contract.cf import CFModel
from models.contract.types import Floats
from models.evaluation.metrics import mean_ndcg
from models.training.device import training_device
from models.training.divergence import check_loss
from models.types import Examples, Sequences, by_history


@dataclass(frozen=True)
class MultVAEConfig:
    """How the global model is trained."""

    embedding_size: int = option(128, "Dimensions that users and items share", low=1, search=(64, 128, 256))
    dropout: float = option(
        0.2,
        "Share of a user's items hidden from the encoder while training",
        low=0.0,
        high=0.95,
        search=(0.2, 0.35, 0.5, 0.65),
    )
    anneal_cap: float = option(0.2, "Largest weight of the KL term", low=0.0, high=1.0, search=(0.05, 0.1, 0.2, 0.4))
    anneal_steps: int = option(2000, "Updates until the KL term has its largest weight", low=1)
    learning_rate: float = option(1e-3, "Step size of Adam", low=1e-7, high=1.0, search=(3e-4, 1e-3, 3e-3))
    batch_size: int = option(64, "Users in an update", low=1)
    epochs: int = option(200, "Passes over the users, at most", low=1)
    patience: int = option(20, "Epochs without a better validation NDCG@10 after which training stops", low=1)
    seed: int = option(0, "Seed of initial weights, order, dropout and sampling", low=0)


@dataclass(frozen=True)
class MultVAEScorer:
    """The global model as a :class:`models.types.Scorer`."""

    model: CFModel

    def scores(self, histories: Sequences) -> Floats:
        """See :class:`models.types.Scorer`."""
        return self.model.scores(embed(self.model, histories))


def embed(model: CFModel, histories: Sequences) -> Floats:
    """User embeddings (n, d), each folded in from its history as the service does it."""
    if len(histories) == 0:
        return np.empty((0, model.embedding_size), np.float32)
    return np.stack([model.fold_in(histories[row]) for row in range(len(histories))])


def train_multvae(
    train: Sequences, valid: Examples, n_items: int, config: MultVAEConfig, progress: Progress = silent
) -> CFModel:
    """Train on the users' histories, on a GPU where there is one; stop early on the validation examples.

    The same seed gives the same model, but for a GPU's order of addition.

    Args:
        train: item numbers of every user; order and repetition do not matter.
        valid: what decides when to stop.
        n_items: size of the catalogue.
        config: see :class:`MultVAEConfig`.
        progress: told of every epoch.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    users = Sequences.of([np.unique(train[row]) for row in range(len(train)) if len(train[row])])
    with seeded(config.seed):
        network = MultVAE(n_items, config.embedding_size, config.dropout).to(training_device())
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        trainer = _Trainer(network, optimizer, users, config)
        fit(
            network,
            trainer.train_epoch,
            lambda: mean_ndcg(by_history(MultVAEScorer(network.export())), valid),
            epochs=config.epochs,
            patience=config.patience,
            progress=progress,
        )
    return network.export()


class MultVAE(nn.Module):
    """Encoder and decoder of [I, d, I].

    Args:
        n_items: size of the catalogue, I.
        embedding_size: d.
        dropout: share of the input that is hidden while training.
    """

    def __init__(self, n_items: int, embedding_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.mean_weight = nn.Parameter(torch.empty(n_items, embedding_size))
        self.mean_bias = nn.Parameter(torch.zeros(embedding_size))
        self.logvar_weight = nn.Parameter(torch.empty(n_items, embedding_size))
        self.logvar_bias = nn.Parameter(torch.zeros(embedding_size))
        self.decoder = nn.Linear(embedding_size, n_items)
        for weight in (self.mean_weight, self.logvar_weight, self.decoder.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.decoder.bias)

    def tensors(self, users: Sequences) -> tuple[Tensor, Tensor]:
        """Items and offsets of some users as :meth:`encode` takes them, where the parameters are."""
        device = self.mean_bias.device
        return torch.from_numpy(users.items.astype(np.int64)).to(device), torch.from_numpy(users.offsets).to(device)

    def encode(self, items: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (n, d) of q(z | x), section 2.2, for n users' distinct items, one after the other.

        Args:
            items: (total,) int64 item numbers.
            offsets: (n + 1,) int64; user u's are ``items[offsets[u]:offsets[u + 1]]``.
        """
        lengths = offsets.diff()
        weights = F.dropout(lengths.float().rsqrt().repeat_interleave(lengths), self.dropout, self.training)

        def linear(weight: Tensor, bias: Tensor) -> Tensor:
            bags = F.embedding_bag(
                items, weight, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
            )
            return bags + bias

        return linear(self.mean_weight, self.mean_bias), linear(self.logvar_weight, self.logvar_bias)

    def loss(self, items: Tensor, offsets: Tensor, kl_weight: float) -> Tensor:
        """Negative of equation 6, the evidence lower bound with an annealed KL term; mean over the users."""
        mean, logvar = self.encode(items, offsets)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
        log_probabilities = F.log_softmax(self.decoder(z), dim=-1)
        rows = torch.arange(len(mean), device=mean.device).repeat_interleave(offsets.diff())
        likelihood = log_probabilities[rows, items].sum()  # equation 2, the multinomial likelihood
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum()
        return (kl_weight * kl - likelihood) / len(mean)

    def export(self) -> CFModel:
        """What is served: the encoder's mean and the decoder."""
        return CFModel(
            encoder_weight=_copy(self.mean_weight),
            encoder_bias=_copy(self.mean_bias),
            item_factors=_copy(self.decoder.weight),
            item_bias=_copy(self.decoder.bias),
        )


class _Trainer:
    """Counts updates, as the KL weight rises with them."""

    def __init__(
        self, network: MultVAE, optimizer: torch.optim.Optimizer, users: Sequences, config: MultVAEConfig
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._users = users
        self._config = config
        self._updates = 0

    def train_epoch(self, epoch: int) -> None:
        order = torch.randperm(len(self._users)).numpy()
        for at in range(0, len(order), self._config.batch_size):
            self._update(self._users.take(order[at : at + self._config.batch_size]), epoch)

    def _update(self, batch: Sequences, epoch: int) -> None:
        kl_weight = self._config.anneal_cap * min(1.0, self._updates / self._config.anneal_steps)
        items, offsets = self._network.tensors(batch)
        loss = self._network.loss(items, offsets, kl_weight)
        check_loss(loss.item(), f"epoch {epoch} of MultVAE", {"items": items, "offsets": offsets})
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._optimizer.step()
        self._updates += 1


def _copy(parameter: Tensor) -> Floats:
    return np.array(parameter.detach().cpu().numpy(), dtype=np.float32)
