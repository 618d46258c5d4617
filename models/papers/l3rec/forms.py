"""The local models in the form that the configuration asks for: the one place that tells the forms apart."""

from dataclasses import dataclass
from pathlib import Path

from models.contract.prompts import TitleTokens
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.llm.training import FitState
from models.papers.l3rec import item_token, title
from models.papers.l3rec.config import L3RecConfig
from models.papers.l3rec.training_set import TrainingSet
from models.types import Report


@dataclass(frozen=True)
class Made:
    """Directories of what is made once for all adapters.

    Args:
        items: of :func:`models.papers.l3rec.item_vectors.embed_items`.
        trunk: of :func:`models.papers.l3rec.title.cache_trunk`; read where :func:`reads_trunk`.
        global_model: of :func:`train_global`.
    """

    items: Path
    trunk: Path
    global_model: Path


@dataclass(frozen=True)
class Community:
    """Who and what belongs to a community.

    Args:
        number: its number.
        affinity: (n_users,) w_u^(j) of equation 2; users with 0 are not in the community.
        item_affinity: (n_items,), 0 outside V_j; None takes all items, as the title form always does.
    """

    number: int
    affinity: Floats
    item_affinity: Floats | None = None


def reads_trunk(config: L3RecConfig) -> bool:
    """Whether adapters are trained on cached states of the trunk over whole histories."""
    return config.form == "title"


def train_global(
    config: L3RecConfig, dataset: Dataset, made: Made, directory: Path, *, ordered: bool, report: Report
) -> FitState:
    """Train the global model into ``directory``. Histories that are not ``ordered`` are sets (the top-n task)."""
    if config.form == "title":
        return title.train_global(config, dataset, made.items, made.trunk, directory, report)
    data = TrainingSet.of_all(dataset, ordered=ordered)
    return item_token.train_global(config, data, made.items, directory, report)


def train_local(
    config: L3RecConfig,
    dataset: Dataset,
    community: Community,
    made: Made,
    directory: Path,
    *,
    ordered: bool,
    report: Report,
) -> FitState:
    """Train a community's adapter into ``directory``; see :func:`train_global`.

    Raises:
        ConfigError: nobody belongs to the community; or it has no validation example and starts from scratch.
    """
    if config.form == "title":
        return title.train_local(
            config, dataset, community.affinity, made.trunk, made.global_model, directory, report=report
        )
    data = TrainingSet.of_community(
        dataset, community.affinity, community.item_affinity, weighted=config.affinity_weighted, ordered=ordered
    )
    return item_token.train_local(
        config, data, made.items, made.global_model, directory, community=community.number, report=report
    )


def tokens_per_item(config: L3RecConfig, global_model: Path) -> int:
    """Tokens that an item of the history takes in a prompt, at most."""
    return TitleTokens.load(global_model).longest if config.form == "title" else 1
