"""A tiny language model that reads ULMRec's prompts, and users to rank for."""

import re
from pathlib import Path

import numpy as np
from support.backbones import titles, walk_dataset, write_llama

from models.contract.types import Ints
from models.contract.ulmrec import LETTERS, TEXTS
from models.contract.user_index import UserIndexer
from models.data.dataset import Dataset
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.data import Candidates, RankingData
from models.papers.ulmrec.index import IndexDescription, UserIndex
from models.papers.ulmrec.tasks import INSTRUCTIONS
from models.papers.ulmrec.texts import Preferences

LEVELS, CODES, LATENT, TEXT_SIZE = 2, 8, 3, 4
N_LETTERS = 8
MARKS = ["(", ")", ");", ";", ".", "####", "Preference", "Rating", "prefers", *map(str, range(10))]


def write_ranker(directory: Path, context: int = 512) -> Path:
    """A random Llama checkpoint of 3 layers whose tokenizer knows every word of titles and prompts."""
    texts = [*TEXTS.values(), *INSTRUCTIONS.values(), *titles()]
    words = [word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)]
    known = list(dict.fromkeys([*words, *LETTERS[:N_LETTERS], *MARKS]))
    return write_llama(directory, known, 64, 3, context, pads=True)  # heads of 32: vLLM has no smaller ones on a CPU


def tiny_ulmrec(backbone: Path) -> ULMRecConfig:
    """Settings under which something moves in a second."""
    return ULMRecConfig(
        backbone=str(backbone),
        text_encoder=str(backbone),
        layers=2,
        history_length=3,
        title_tokens=4,
        candidates=6,
        lora_rank=2,
        learning_rate=1e-2,
        index_learning_rate=1e-2,
        batch_size=4,
        steps=6,
        evaluate_every=2,
        patience=5,
        valid_examples=10,
        index_levels=LEVELS,
        index_codes=CODES,
        index_size=LATENT,
        index_hidden=(8,),
        index_epochs=2,
        index_batch=16,
    )


def ranking_data(dataset: Dataset | None = None) -> RankingData:
    """The walks' users, each with a random index, and the next items of both colours as candidates."""
    dataset = walk_dataset() if dataset is None else dataset
    valid, users = dataset.examples("valid"), range(len(dataset.user_ids))
    return RankingData(
        dataset=dataset,
        index=random_index(len(dataset.user_ids), len(dataset.catalogue)),
        preferences=Preferences(tuple("" if u == 3 else f"user prefers {_colour(u)}" for u in users), "colours"),
        valid=Candidates(np.arange(len(valid)), np.stack([_around(target) for target in valid.targets.tolist()])),
    )


def random_index(n_users: int, n_items: int) -> UserIndex:
    """Indices that say nothing, all different, and an indexer of random weights."""
    rng = np.random.default_rng(0)
    places = rng.permutation(CODES**LEVELS)[:n_users]
    indices = np.stack([places // CODES, places % CODES], axis=1).astype(np.int32)
    floats = [
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((n_items, TEXT_SIZE), (TEXT_SIZE, TEXT_SIZE), (LATENT, TEXT_SIZE), (LATENT,))
    ]
    vectors, attention, weight, bias = floats
    codebooks = rng.standard_normal((LEVELS, CODES, LATENT)).astype(np.float32)
    indexer = UserIndexer(vectors, attention, (weight,), (bias,), codebooks, indices)
    return UserIndex(indices, indexer, IndexDescription("nothing", n_users, 0, (), (), 0, 0))


def _colour(user: int) -> str:
    return "blue" if user % 2 else "red"


def _around(target: int, n: int = 6) -> Ints:
    """Items of both colours, the target among them."""
    return np.asarray([(target + 3 * step) % 20 for step in range(-2, n - 2)], np.int32)
