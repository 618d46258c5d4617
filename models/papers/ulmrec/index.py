"""The user index: texts → vectors → RQ-VAE → codes, all different (section 4.1), and what indexes users to come.

Left in the directory: ``vectors.safetensors`` (of titles and further texts), ``indices.safetensors``,
``indexer.safetensors``, ``index.json`` (what was made), and the stage's record.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

import msgspec
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch.nn import functional as F

from models.contract.errors import DataError
from models.contract.types import Array, Floats, Ints
from models.contract.user_index import UserIndexer, free_codes, id_vector
from models.data.columns import USER_NUMBER
from models.data.dataset import Dataset
from models.llm.items import sentence_states
from models.llm.source import local_files
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.rqvae import RQVAE, RQVAEConfig, TextsOfUsers, latents, perplexity, train_rqvae
from models.papers.ulmrec.texts import USER_INDEX, UserTexts, read_users, user_texts
from models.stage import run_stage
from models.types import Report

VERSION = 1  # raise when an index is made otherwise from the same inputs
_VECTORS, _INDICES, _DESCRIPTION = "vectors.safetensors", "indices.safetensors", "index.json"
_SETTINGS = ("text_encoder", "user_texts", "title_tokens", "text_tokens", "commitment", "seed")  # and all of index_


class IndexDescription(msgspec.Struct, frozen=True):
    """What an index is made of, and how its codes are used. Contents of ``index.json``.

    Args:
        source: where the users' texts come from.
        users: that have an index.
        silent: those of them who have no text: they are indexed as if by the mean of all titles.
        used: share of the codes of each level that the nearest codes of users are.
        perplexity: of these, by level.
        moved: users who had the nearest codes of somebody nearer, and got the nearest free ones.
        moved_up: those of them who share fewer than all codes but the last with the nearest ones.
    """

    source: str
    users: int
    silent: int
    used: tuple[float, ...]
    perplexity: tuple[float, ...]
    moved: int
    moved_up: int

    def __str__(self) -> str:
        levels = ", ".join(f"{used:.0%} ({n:.0f})" for used, n in zip(self.used, self.perplexity, strict=True))
        return (
            f"{self.users:,} users by {self.source}; codes used by level (perplexity): {levels};"
            f" moved {self.moved:,} ({self.moved / self.users:.1%}), {self.moved_up:,} of them above the last level;"
            f" {self.silent:,} without text"
        )


@dataclass(frozen=True)
class UserIndex:
    """The index of every user of a data set.

    Args:
        indices: (n_users, levels) int32, by row, all different.
        indexer: of users to come.
        description: see there.
    """

    indices: Ints
    indexer: UserIndexer
    description: IndexDescription

    def save(self, directory: Path) -> None:
        """Write it into a directory."""
        save_file({"indices": self.indices}, directory / _INDICES)
        self.indexer.save(directory)
        (directory / _DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(self.description)))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What :func:`build_index` has left."""
        description = msgspec.json.decode((directory / _DESCRIPTION).read_bytes(), type=IndexDescription)
        return cls(load_file(directory / _INDICES)["indices"], UserIndexer.load(directory), description)


def build_index(config: ULMRecConfig, dataset: Dataset, directory: Path, report: Report) -> UserIndex:
    """Index the users of a data set; where ``directory`` holds the result already, it is only read.

    Args:
        config: the fields of the user index and of its texts.
        dataset: of which the train part is read.
        directory: of this index alone; vectors that were made before an interruption are kept.
        report: told one line a step.

    Raises:
        ConfigError: the text encoder cannot be loaded.
        DataError: the table of users' texts cannot be used.
        TrainingError: the loss is NaN or infinite.
    """
    named = [name for name in config.__dataclass_fields__ if name.startswith("index_")]
    settings = {name: getattr(config, name) for name in named if name != "index_learning_rate"}  # which is tuning's
    settings |= {name: getattr(config, name) for name in _SETTINGS} | {"data": _digest(dataset)}
    inputs = local_files("text_encoder", config.text_encoder) | local_files("user_texts", config.user_texts)

    def work(target: Path) -> None:
        _make(config, dataset, target, report).save(target)

    run_stage(directory, name="user-index", version=VERSION, config=settings, inputs=inputs, work=work, resumable=True)
    index = UserIndex.load(directory)
    report(f"user index: {index.description}")
    return index


def index_words(kind: Literal["numerical", "original"], user_ids: Sequence[str]) -> tuple[str, ...]:
    """What stands in the place of the index in the variants of figure 9, to be tokenized as words.

    The number of the user's row, from 1, or the user's id as it is.
    """
    return tuple(user_ids) if kind == "original" else tuple(str(row + 1) for row in range(len(user_ids)))


def published_indices(path: Path, dataset: Dataset, codes: int) -> Ints:
    """(n_users, levels) int32 that a table of users has in its column user_index, such as ``<a_58> <b_207>``.

    Raises:
        DataError: the table cannot be used, a user of the data set has none there, or two the same.
    """
    table = read_users(path, dataset.user_ids)
    if USER_INDEX not in table.columns:
        raise DataError(f"{path}: column {USER_INDEX!r} not found; the file has {', '.join(table.columns)}")
    numbers = [[int(part) for part in re.findall(r"\d+", text or "")] for text in table[USER_INDEX]]
    levels = max(map(len, numbers))
    found = np.full((len(dataset.user_ids), levels), -1, np.int32)
    for user, parts in zip(table[USER_NUMBER], numbers, strict=True):
        found[user, : len(parts)] = parts
    if levels == 0 or found.min() < 0 or found.max() >= codes:
        raise DataError(f"{path}: column {USER_INDEX!r}: not every user has {levels} codes from 0 to {codes - 1}")
    if len(np.unique(found, axis=0)) < len(found):
        raise DataError(f"{path}: column {USER_INDEX!r}: two users have the same index")
    return found


def unique_indices(codebooks: Floats, latent: Floats) -> tuple[Ints, Ints]:
    """Indices of users, all different, and the nearest codes, which need not be.

    Of users with the same nearest codes the one whose vector they are nearest to has them. The others, in the order of
    this distance too, have the nearest ones that are free, see :func:`models.contract.user_index.free_codes`.

    Args:
        codebooks: (levels, codes, size).
        latent: z (n_users, size).

    Raises:
        DataError: there are more users than indices.
    """
    levels, codes = codebooks.shape[:2]
    if codes**levels < len(latent):
        raise DataError(f"index_codes, index_levels: {codes}^{levels} indices for {len(latent)} users")
    nearest, distances = nearest_codes(codebooks, latent)
    indices, taken, waiting = nearest.copy(), set[tuple[int, ...]](), []
    for row in np.argsort(distances, kind="stable").tolist():
        wanted = tuple(nearest[row].tolist())
        if wanted in taken:
            waiting.append(row)
        taken.add(wanted)
    for row in waiting:
        free = free_codes(codebooks, latent[row], taken)
        if free is None:
            raise DataError(f"user {row}: all indices are taken")
        indices[row] = free
        taken.add(free)
    return indices, nearest


def nearest_codes(codebooks: Floats, latent: Floats) -> tuple[Ints, Floats]:
    """Equations 2 and 3: codes (n, levels) int32 of z (n, size), and what is left of z, (n,) squared lengths."""
    residual, found = latent.astype(np.float32), []
    for codebook in codebooks:
        codes = ((codebook**2).sum(axis=1) - 2 * residual @ codebook.T).argmin(axis=1)
        found.append(codes)
        residual = residual - codebook[codes]
    return np.stack(found, axis=1).astype(np.int32), (residual**2).sum(axis=1)


def text_vectors(config: ULMRecConfig, texts: UserTexts, directory: Path) -> tuple[Array, Array]:
    """Vectors of length 1 (n, d) float16 of the titles and of the further texts; kept in a directory."""
    path = directory / _VECTORS
    if not path.exists():
        vectors = {"titles": _encoded(config.text_encoder, texts.titles, config.title_tokens)}
        vectors["further"] = _encoded(config.text_encoder, texts.further, config.text_tokens)
        if not len(texts.further):
            vectors["further"] = vectors["titles"][:0]
        temporary = path.with_suffix(".tmp")
        save_file(vectors, temporary)
        temporary.rename(path)
    found = load_file(path)
    return found["titles"], found["further"]


def _encoded(encoder: str, texts: Sequence[str], max_tokens: int) -> Array:
    if not texts:
        return np.empty((0, 0), np.float16)
    distinct = sorted(set(texts))
    rows = {text: row for row, text in enumerate(distinct)}
    vectors = F.normalize(sentence_states(encoder, distinct, max_tokens)).half().numpy()
    return np.asarray(vectors[[rows[text] for text in texts]])


def _make(config: ULMRecConfig, dataset: Dataset, directory: Path, report: Report) -> UserIndex:
    texts = user_texts(config, dataset)
    report(f"reading {len(texts.titles):,} titles and {len(texts.further):,} further texts")
    titles, further = text_vectors(config, texts, directory)
    of_users = texts_of_users(texts, titles, further, dataset)
    model = train_rqvae(rqvae_config(config), of_users, report)
    latent = latents(model, of_users)
    indices, nearest = unique_indices(model.codebooks.detach().cpu().numpy(), latent)
    silent = int((of_users.of_users.items == len(of_users.vectors) - 1).sum())
    description = _describe(texts.source, silent, indices, nearest, config.index_codes)
    return UserIndex(indices, indexer_of(model, titles, indices), description)


def rqvae_config(config: ULMRecConfig) -> RQVAEConfig:
    """The settings of RQ-VAE among ULMRec's."""
    return RQVAEConfig(
        hidden=config.index_hidden,
        size=config.index_size,
        levels=config.index_levels,
        codes=config.index_codes,
        commitment=config.commitment,
        epochs=config.index_epochs,
        batch=config.index_batch,
        step=config.index_step,
        seed=config.seed,
        by_id=config.index_id,
    )


def texts_of_users(texts: UserTexts, titles: Array, further: Array, dataset: Dataset) -> TextsOfUsers:
    """What RQ-VAE is trained on. The last vector is the mean of all titles, of users without text."""
    read = torch.from_numpy(np.concatenate([titles, further])).float()
    vectors = torch.cat([read, read[: len(titles)].mean(dim=0, keepdim=True)])
    ids = torch.from_numpy(np.stack([id_vector(user, vectors.shape[1]) for user in dataset.user_ids]))
    return TextsOfUsers(vectors, texts.of_users(dataset.train), ids)


def indexer_of(model: RQVAE, titles: Array, taken: Ints) -> UserIndexer:
    """A trained RQ-VAE for use without torch."""
    linear = [layer for layer in model.encoder if isinstance(layer, torch.nn.Linear)]
    return UserIndexer(
        item_vectors=titles,
        attention=_array(model.attention),
        weights=tuple(_array(layer.weight) for layer in linear),
        biases=tuple(_array(layer.bias) for layer in linear),
        codebooks=_array(model.codebooks),
        taken=taken,
    )


def _array(parameter: torch.Tensor) -> Floats:
    values: Floats = parameter.detach().cpu().numpy()
    return values


def _describe(source: str, silent: int, indices: Ints, nearest: Ints, codes: int) -> IndexDescription:
    return IndexDescription(
        source=source,
        users=len(indices),
        silent=silent,
        used=tuple(len(np.unique(level)) / codes for level in nearest.T),
        perplexity=tuple(perplexity(level, codes) for level in nearest.T),
        moved=int((indices != nearest).any(axis=1).sum()),
        moved_up=int((indices != nearest)[:, :-1].any(axis=1).sum()),
    )


def _digest(dataset: Dataset) -> str:
    """Of all that an index is made of: users, what they have, and what these items are."""
    found = sha256("\n".join(dataset.user_ids).encode())
    found.update(msgspec.json.encode(dataset.catalogue.items))
    for part in (dataset.train.offsets, dataset.train.items):
        found.update(part.tobytes())
    return found.hexdigest()
