"""L2Rec on the walks of ``support.backbones``: tiny settings, and the collaborative model of their users."""

from pathlib import Path

import numpy as np

from models.contract.cf import CFModel
from models.papers.l2rec.config import L2RecConfig

USER_SIZE = 6


def small_l2rec(backbone: Path) -> L2RecConfig:
    """Settings under which the walks are learned in seconds."""
    return L2RecConfig(
        backbone=str(backbone),
        layers=2,
        instruction="red",
        history_length=4,
        title_tokens=4,
        view_experts=3,
        router_size=4,
        lora_rank=4,
        negatives=1,
        batch_size=8,
        steps=48,
        evaluate_every=16,
        learning_rate=1e-2,
    )


def random_cf(n_items: int, seed: int = 0, user_size: int = USER_SIZE) -> CFModel:
    """A collaborative model that knows nothing."""
    rng = np.random.default_rng(seed)
    shapes = ((n_items, user_size), (user_size,), (n_items, user_size), (n_items,))
    return CFModel(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def silent(line: str) -> None:
    """Hears nothing."""
