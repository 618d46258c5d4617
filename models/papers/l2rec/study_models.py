"""The language models of a study: trained, or as they are, and what is told of them."""

from pathlib import Path

import msgspec
import numpy as np
import torch

from models.contract.types import Floats
from models.networks.l2rec_statistics import RouterStatistics
from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.scoring import READING_BATCH, L2RecScorer, padded
from models.papers.l2rec.training import fit_l2rec, new_reader
from models.training.device import mixed_precision
from models.types import Examples, Report, Score, Sequences, by_history

ROUTED_EXAMPLES, ROUTED_SEED = 512, 0  # validation examples by whose tokens routers are judged


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
    histories = data.dataset.examples("valid").sample(ROUTED_EXAMPLES, ROUTED_SEED).histories
    routing = routing_of(model.scorer, histories)
    return by_history(model), Facts(model.state.parameters, model.state.best, config.initial, routing)


def unadapted_model(config: L2RecConfig, data: L2RecData) -> tuple[Score, Facts]:
    """The frozen backbone, both of whose views are read without any expert."""
    reader = new_reader(config, data.dataset.catalogue.items, data.cf.embedding_size)
    item_rows = reader.base_item_rows()

    def score(examples: Examples) -> Floats:
        scores: Floats = reader.base_vectors(examples.histories) @ item_rows.T
        return scores

    return score, Facts()


@torch.inference_mode()
def routing_of(scorer: L2RecScorer, histories: Sequences) -> tuple[Routing, ...]:
    """What routers choose for the tokens of histories, none of them empty; nothing where there is no router."""
    reader, users, found = scorer.reader, scorer.users(histories), dict[str, RouterStatistics]()
    device = next(reader.network.parameters()).device
    for rows in np.array_split(np.arange(len(histories)), -(-len(histories) // READING_BATCH)):
        tokens, lengths = padded([reader.prompts.prompt(histories[row]) for row in rows.tolist()])
        with mixed_precision(device):
            views = reader.network(tokens.to(device), lengths.to(device), torch.from_numpy(users[rows]).to(device))
        for statistics in RouterStatistics.of(views.routes):
            before = found.get(statistics.view)
            found[statistics.view] = statistics if before is None else before + statistics
    return tuple(_routing(statistics) for statistics in found.values())


def _routing(statistics: RouterStatistics) -> Routing:
    return Routing(
        statistics.view,
        tuple(statistics.utilisation.mean(dim=0).tolist()),
        statistics.token_entropy,
        statistics.load_entropy,
        tuple(f"block {block} expert {expert}" for block, expert in statistics.silent),
    )
