"""Labelled pairs whose answer is known, and a tiny language model that reads CoLLM's prompts."""

from pathlib import Path

import numpy as np
from support.backbones import COLOURS, THINGS, titles, write_llama

from models.contract.catalogue import Catalogue, Item
from models.data.labelled import LabelledData, LabelledPairs
from models.papers.collm.config import CoLLMConfig
from models.types import Sequences

N_USERS, PAIRS_A_USER = 12, 14


def colour_data() -> LabelledData:
    """Even users like what is red, odd ones what is blue; the last user, and the last item, are not in training."""
    rng = np.random.default_rng(0)
    n_items = len(titles())
    items = rng.integers(n_items, size=(PAIRS_A_USER, N_USERS)).tolist()
    pairs = [(user, item) for round_ in items for user, item in enumerate(round_)]
    return LabelledData(
        user_ids=tuple(f"u{user}" for user in range(N_USERS)),
        catalogue=Catalogue(Item(f"item {number}", title) for number, title in enumerate(titles())),
        train=_pairs(pairs, [p for p in pairs if p[0] < N_USERS - 1 and p[1] < n_items - 1]),
        valid=_pairs(pairs, pairs[-3 * N_USERS :]),
        test=_pairs(pairs, [*pairs[-2 * N_USERS :], (0, n_items - 1), (N_USERS - 1, 0)]),
    )


def write_reader(directory: Path) -> Path:
    """A random Llama checkpoint of 3 layers whose tokenizer knows the words of the titles, and the answer."""
    words = ["Yes", "No", "user", "feature", ",", "?", '"', "none", *COLOURS, *THINGS]
    return write_llama(directory, words, hidden=32, layers=3, context=256, pads=True)


def tiny_collm(backbone: Path) -> CoLLMConfig:
    """Settings under which something moves in a second."""
    return CoLLMConfig(
        backbone=str(backbone),
        layers=2,
        embedding_size=8,
        mapping_factor=2,
        lora_rank=2,
        history_length=3,
        title_tokens=6,
        learning_rate=1e-2,
        feature_learning_rate=1e-2,
        batch_size=8,
        iterations=3,
        warmup_iterations=1,
        text_epochs=2,
        feature_epochs=2,
        patience=2,
        valid_pairs=20,
    )


def _pairs(every: list[tuple[int, int]], chosen: list[tuple[int, int]]) -> LabelledPairs:
    users, items = np.asarray(chosen, np.int64).T
    labels = np.asarray([_likes(user, item) for user, item in chosen], np.int8)
    histories = [
        np.asarray([i for u, i in every[: 5 * N_USERS] if u == user and _likes(u, i)], np.int32) for user in users
    ]
    return LabelledPairs(users, items.astype(np.int32), labels, Sequences.of(histories))


def _likes(user: int, item: int) -> bool:
    return user % 2 == item // len(THINGS)
