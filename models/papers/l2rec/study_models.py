"""The language models of a study: trained, or as they are, and what is told of them."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.training import fit_l2rec
from models.types import Report, Score, by_history


class Routing(msgspec.Struct, frozen=True):
    """What a view's routers chose, over all blocks and tokens of some histories.

    Args:
        view: whose.
        utilisation: share of the choices by expert.
        entropy: of these shares over that of an even choice, mean over the blocks: 1 is even, 0 a collapse.
        never: experts that no token of these chose, ``block 3, expert 5``.
    """

    view: str
    utilisation: tuple[float, ...]
    entropy: float
    never: tuple[str, ...]


class Facts(msgspec.Struct, frozen=True):
    """What is told of a row.

    Args:
        parameters: numbers that were trained.
        valid_ndcg: the best one on validation, by which training stopped; 0 where that was not kept.
        initial: the earlier training that this one began with; empty: it was not pre-trained.
        routing: one a view; of a model without routers, none.
    """

    parameters: int = 0
    valid_ndcg: float = 0.0
    initial: str = ""
    routing: tuple[Routing, ...] = ()


def trained_model(config: L2RecConfig, data: L2RecData, directory: Path, report: Report) -> tuple[Score, Facts]:
    """Train one, resumably, until ``models.llm.training.forget`` is called."""
    model = fit_l2rec(config, data, directory, report)
    return by_history(model), Facts(model.state.parameters, model.state.best, config.initial)
