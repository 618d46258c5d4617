"""Training L2Rec: experts, routers, projector and fusion on a frozen backbone, end to end."""

from dataclasses import dataclass
from pathlib import Path

from models.contract.cf import CFModel
from models.contract.prompts import TitlePrompts
from models.contract.types import Floats, Ints
from models.llm.training import FitState
from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.data import L2RecData
from models.types import Report, Sequences


@dataclass(frozen=True)
class L2RecModel:
    """A trained model; see ``models.types.Scorer``.

    Args:
        network: models.networks.l2rec.L2RecNetwork, where it was trained.
        prompts: how it reads histories.
        cf: who a user is.
        item_rows: (n_items, d) float32 of length 1.
        state: of its training.
    """

    network: object
    prompts: TitlePrompts
    cf: CFModel
    item_rows: Floats
    state: FitState

    def scores(self, histories: Sequences) -> Floats:
        """(n, n_items) scores of the item after each history."""
        raise NotImplementedError

    def base_scores(self, history: Ints) -> Floats:
        """(n_items,) scores of the base model, without any expert."""
        raise NotImplementedError


def fit_l2rec(config: L2RecConfig, data: L2RecData, directory: Path, report: Report) -> L2RecModel:
    """Train; an interrupted call goes on where it was, another one only reads it, until ``fit``'s files are forgotten.

    Args:
        config: see :class:`L2RecConfig`.
        data: see :class:`L2RecData`.
        directory: where everything is written.
        report: told one line at every look at validation.

    Raises:
        ConfigError: layers or prompts do not fit the backbone, or ``initial`` does not fit.
        TrainingError: the loss is NaN or infinite.
    """
    raise NotImplementedError
