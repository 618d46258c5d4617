"""Instruction tuning of ULMRec (sections 4.2 and 4.3)."""

from pathlib import Path

from models.llm.backbone import Backbone
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.data import RankingData
from models.papers.ulmrec.model import ULMRec
from models.types import Report


def fit_ulmrec(
    config: ULMRecConfig, data: RankingData, directory: Path, report: Report, backbone: Backbone | None = None
) -> ULMRec:
    """Tune adapter and index tokens, unless the directory has the result; an interrupted call goes on.

    Args:
        config: see :class:`ULMRecConfig`.
        data: see :class:`RankingData`; its index is read where ``config.index`` is ``"personal"``.
        directory: where everything is written.
        report: told which tasks are left out, then one line at every look at validation.
        backbone: ``config.backbone``, where somebody has loaded it already.

    Returns:
        The model after its best look at validation, on the device that it was trained on, in evaluation mode.

    Raises:
        ConfigError: layers, letters or prompts do not fit the backbone.
        TrainingError: the loss is NaN or infinite.
    """
    raise NotImplementedError
