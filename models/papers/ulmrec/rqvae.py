"""The RQ-VAE that makes codes of users' texts, and the attention over these texts (section 4.1, equations 1 to 6).

What A of equation 1 learns from. The paper reconstructs x_u, which A itself makes: A could then make the task easy by
always choosing the text that all users have in common. Here the target is the mean of *all* texts of a user, which A
has no say in, and what is pooled with A is a random part of them: A learns which texts tell of those that are hidden.
And users are learned as they come at run time, by few texts or many. At the end all texts are pooled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import faiss
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models.cf.training import seeded
from models.contract.types import Floats
from models.training.device import training_device
from models.training.divergence import check_loss
from models.types import Report, Sequences

FIRST_BATCH = 20  # users for each code, on whose residuals k-means starts the codebooks
SHOWN = 0.5  # share of a user's texts that are pooled in an update
START = 0.1  # standard deviation of A at the start: all texts count about the same
_REPORTS = 5  # of training


@dataclass(frozen=True)
class RQVAEConfig:
    """How it is built and trained.

    Args:
        hidden: widths of the encoder's inner layers, the decoder's in the opposite order.
        size: width of the codebooks.
        levels, codes: of an index, p and K.
        commitment: β of equation 5.
        epochs, batch, step: of training; users in a batch, step size of Adam.
        seed: of weights, order, hidden texts and k-means.
        by_id: whether A is there; else all texts count the same.
    """

    hidden: tuple[int, ...]
    size: int
    levels: int
    codes: int
    commitment: float
    epochs: int
    batch: int
    step: float
    seed: int
    by_id: bool


@dataclass(frozen=True)
class TextsOfUsers:
    """What it is trained on.

    Args:
        vectors: (n_texts, d) of length 1.
        of_users: each user's texts by number, at least one.
        ids: (n_users, d) the users' id vectors, e_o.
    """

    vectors: Tensor
    of_users: Sequences
    ids: Tensor

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The texts of some users: numbers (n,), and (n,) which of the rows each belongs to."""
        found = self.of_users.take(rows.numpy())
        owners = np.repeat(np.arange(len(rows)), np.diff(found.offsets))
        return torch.from_numpy(found.items.astype(np.int64)), torch.from_numpy(owners)


@dataclass(frozen=True)
class Quantized:
    """z (b, size) as codes.

    Args:
        codes: (b, levels) int64, equation 2.
        vectors: (b, size) ẑ, the sum of the codes' vectors.
        residuals: (levels, b, size) r_i, equation 3.
        loss: equation 5, mean over the users.
    """

    codes: Tensor
    vectors: Tensor
    residuals: Tensor
    loss: Tensor


class RQVAE(nn.Module):
    """Attention, encoder, codebooks, decoder.

    Args:
        size: d of the texts' vectors.
        config: see there.
    """

    def __init__(self, size: int, config: RQVAEConfig) -> None:
        super().__init__()
        self.config = config
        start = torch.randn(size, size) * START if config.by_id else torch.zeros(size, size)
        self.attention = nn.Parameter(start, requires_grad=config.by_id)
        self.encoder = _layers((size, *config.hidden, config.size))
        self.decoder = _layers((config.size, *reversed(config.hidden), size))
        self.codebooks = nn.Parameter(torch.zeros(config.levels, config.codes, config.size))

    def pooled(self, texts: Tensor, owners: Tensor, ids: Tensor) -> Tensor:
        """x_u (b, d) of equation 1.

        Args:
            texts: (n, d) vectors.
            owners: (n,) which row of ``ids`` each is of; every row has one.
            ids: (b, d) e_o.
        """
        asked = (texts * (ids @ self.attention.T)[owners]).sum(dim=1)  # (n,)
        highest = asked.new_full((len(ids),), -torch.inf).scatter_reduce(0, owners, asked.detach(), "amax")
        weights = (asked - highest[owners]).exp()
        totals = weights.new_zeros(len(ids)).index_add(0, owners, weights)
        return _summed(texts * (weights / totals[owners])[:, None], owners, len(ids))

    def quantize(self, latent: Tensor) -> Quantized:
        """Equations 2, 3 and 5 of z (b, size)."""
        residual, loss = latent, latent.new_zeros(())
        codes, residuals, total = [], [], torch.zeros_like(latent)
        for codebook in self.codebooks:
            code = _nearest(residual.detach(), codebook.detach())
            chosen = codebook[code]
            to_codes = (residual.detach() - chosen).square().sum(dim=1).mean()
            to_latents = (residual - chosen.detach()).square().sum(dim=1).mean()
            loss = loss + to_codes + self.config.commitment * to_latents
            codes.append(code)
            residuals.append(residual.detach())
            total = total + chosen.detach()
            residual = residual - chosen.detach()
        return Quantized(torch.stack(codes, dim=1), total, torch.stack(residuals), loss)

    def forward(self, pooled: Tensor, target: Tensor) -> tuple[Tensor, Quantized]:
        """Loss of equation 6, a mean over users (b, d), and what they were quantized to.

        The gradient goes past the codes as if ẑ were z (straight-through).
        """
        latent = self.encoder(pooled)
        found = self.quantize(latent)
        rebuilt = self.decoder(latent + (found.vectors - latent).detach())
        return (rebuilt - target).square().sum(dim=1).mean() + found.loss, found


def train_rqvae(config: RQVAEConfig, texts: TextsOfUsers, report: Report) -> RQVAE:
    """Train on all users, a fixed number of epochs.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    device = training_device()
    texts = TextsOfUsers(texts.vectors.to(device), texts.of_users, texts.ids.to(device))
    with seeded(config.seed):
        model = RQVAE(texts.vectors.shape[1], config).to(device)
        means = _means(texts)
        first = torch.randperm(len(means))[: FIRST_BATCH * config.codes]
        with torch.no_grad():
            _start_codebooks(model, model.encoder(means[first.to(device)]))
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.step)
        for epoch in tqdm(range(config.epochs), "RQ-VAE", unit="epoch", leave=False, disable=None):
            loss, dead = _train_epoch(model, texts, means, optimizer, last=epoch == config.epochs - 1)
            if (epoch + 1) % max(1, config.epochs // _REPORTS) == 0:
                report(f"RQ-VAE epoch {epoch + 1}/{config.epochs}  loss {loss:.4f}  dead codes {dead}")
    return model.eval()


@torch.inference_mode()
def latents(model: RQVAE, texts: TextsOfUsers) -> Floats:
    """z (n_users, size) float32 of all users, by all of their texts."""
    device = model.attention.device
    found = []
    for rows in torch.split(torch.arange(len(texts.of_users)), model.config.batch):
        numbers, owners = texts.batch(rows)
        pooled = model.pooled(texts.vectors[numbers].to(device), owners.to(device), texts.ids[rows].to(device))
        found.append(model.encoder(pooled).cpu())
    return torch.cat(found).numpy()


def perplexity(codes: np.ndarray, n_codes: int) -> float:
    """exp of the entropy of how often codes (n,) of ``n_codes`` are used: how many there would be, all used alike."""
    shares = np.bincount(codes, minlength=n_codes) / len(codes)
    used = shares[shares > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


def _train_epoch(
    model: RQVAE, texts: TextsOfUsers, means: Tensor, optimizer: torch.optim.Optimizer, *, last: bool
) -> tuple[float, int]:
    """Mean loss, and how many codes nobody had; these are replaced, unless the epoch is the last one."""
    device = means.device
    counts = torch.zeros(model.config.levels, model.config.codes, device=device)
    batches = torch.split(torch.randperm(len(means)), model.config.batch)
    total = 0.0
    for number, rows in enumerate(batches):
        numbers, owners = _shown(*texts.batch(rows))
        rows = rows.to(device)  # noqa: PLW2901 - the same rows
        pooled = model.pooled(texts.vectors[numbers.to(device)], owners.to(device), texts.ids[rows])
        loss, found = model(pooled, means[rows])
        check_loss(loss.item(), f"batch {number + 1}", {"pooled": pooled.detach()})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
        for level in range(model.config.levels):
            counts[level] += torch.bincount(found.codes[:, level], minlength=model.config.codes)
    dead = counts == 0
    if not last:
        _revive(model, dead, found)
    return total / len(means), int(dead.sum())


def _shown(numbers: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """A random part of the texts, at least one of each user's."""
    drawn = torch.rand(len(numbers))
    lowest = torch.ones(int(owners[-1]) + 1).scatter_reduce(0, owners, drawn, "amin")
    kept = (drawn < SHOWN) | (drawn == lowest[owners])
    return numbers[kept], owners[kept]


@torch.no_grad()
def _revive(model: RQVAE, dead: Tensor, found: Quantized) -> None:
    """Put codes that nobody has onto those residuals of a batch that lie farthest from their codes."""
    for level, codebook in enumerate(model.codebooks):
        residuals = found.residuals[level]
        distances = (residuals - codebook[found.codes[:, level]]).square().sum(dim=1)
        unused = dead[level].nonzero()[:, 0][: len(residuals)]
        codebook[unused] = residuals[distances.topk(len(unused)).indices]


def _start_codebooks(model: RQVAE, latent: Tensor) -> None:
    """k-means, level by level, of the residuals that z (n, size) leaves."""
    residual = latent
    for codebook in model.codebooks:
        codebook.copy_(_centroids(residual, len(codebook), model.config.seed))
        residual = residual - codebook[_nearest(residual, codebook)]


def _centroids(points: Tensor, n: int, seed: int) -> Tensor:
    """(n, size) centroids of points (m, size); where these are fewer, they are their own, and the others at random."""
    if len(points) < n:
        spread = points.std(dim=0, correction=0) + 1e-3
        further = torch.randn(n - len(points), points.shape[1]).to(points) * spread + points.mean(dim=0)
        return torch.cat([points, further])
    means = faiss.Kmeans(points.shape[1], n, niter=20, seed=seed, min_points_per_centroid=1)
    means.train(np.ascontiguousarray(points.cpu().numpy(), np.float32))
    return torch.from_numpy(means.centroids).to(points)


def _nearest(residuals: Tensor, codebook: Tensor) -> Tensor:
    """Equation 2: (b,) of residuals (b, size) and vectors (codes, size)."""
    return (codebook.square().sum(dim=1) - 2 * residuals @ codebook.T).argmin(dim=1)


def _means(texts: TextsOfUsers) -> Tensor:
    """(n_users, d) of each user's texts."""
    numbers, owners = (part.to(texts.vectors.device) for part in texts.batch(torch.arange(len(texts.of_users))))
    counts = torch.bincount(owners, minlength=len(texts.of_users))
    total = torch.zeros_like(texts.ids)
    for part, owner in zip(torch.split(numbers, 65_536), torch.split(owners, 65_536), strict=True):
        total.index_add_(0, owner, texts.vectors[part])
    return total / counts[:, None]


def _summed(values: Tensor, owners: Tensor, n: int) -> Tensor:
    """(n, d) sums of values (m, d) by owner."""
    return values.new_zeros(n, values.shape[1]).index_add(0, owners, values)


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])
