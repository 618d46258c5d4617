"""The language models of a study: trained, or as they are, and what is told of them."""

from pathlib import Path

import msgspec

from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.training import fit_l2rec
from models.types import Report, Score, by_history


class Routing(msgspec.Struct, frozen=True):
    """What a view's routers chose, see :class:`models.networks.l2rec_statistics.RouterStatistics`.

    Args:
        view: whose.
        utilisation: share of the choices by expert, mean over the blocks.
        token_entropy: of a token's probabilities over the largest there is: 1 is undecided, 0 sure.
        load_entropy: of the shares of the choices over the largest there is: 1 is even, 0 a collapse.
        silent: experts that were never chosen, ``block 3 expert 5``.
    """

    view: str
    utilisation: tuple[float, ...]
    token_entropy: float
    load_entropy: float
    silent: tuple[str, ...]


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
