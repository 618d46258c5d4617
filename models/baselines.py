"""The baselines of the evaluation table, in its order: how each is trained on a prepared data set.

Every one is trained on the train part and stops, or chooses, on validation examples. The settings that a run trains it
with are a section of the run's configuration; ``localrec tune`` finds good ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from models.cf.ease import EASEConfig, train_ease
from models.cf.gru4rec import GRU4RecConfig, train_gru4rec
from models.cf.item_knn import ItemKNNConfig, train_item_knn
from models.cf.lightgcn import LightGCNConfig, train_lightgcn
from models.cf.mf_bpr import MFBPRConfig, train_mf_bpr
from models.cf.multvae import MultVAEConfig, MultVAEScorer, train_multvae
from models.cf.popularity import PopularityConfig, PopularityScorer, recency_popularity
from models.cf.sasrec import SASRecConfig, train_sasrec
from models.cf.training import Progress
from models.data.dataset import Dataset
from models.types import Score, by_history


@dataclass(frozen=True)
class Baseline:
    """A model of the table that is no language model.

    Args:
        name: its row in the table.
        section: its section of :class:`models.run.RunConfig`.
        version: raised by whoever changes what training computes.
        train: trains on a data set with the section's configuration; models trained in epochs tell their progress.
    """

    name: str
    section: str
    version: int
    train: Callable[[Dataset, Any, Progress], Score]


def _popularity(dataset: Dataset, config: PopularityConfig, _: Progress) -> Score:
    train, times = dataset.train, dataset.train_timestamps
    counts = recency_popularity(train.items, times, len(dataset.catalogue), config.half_life_days)
    return by_history(PopularityScorer(counts))


def _item_knn(dataset: Dataset, config: ItemKNNConfig, _: Progress) -> Score:
    return by_history(train_item_knn(dataset.train, len(dataset.catalogue), config))


def _ease(dataset: Dataset, config: EASEConfig, _: Progress) -> Score:
    return by_history(train_ease(dataset.train, dataset.examples("valid"), len(dataset.catalogue), config))


def _mf_bpr(dataset: Dataset, config: MFBPRConfig, progress: Progress) -> Score:
    return train_mf_bpr(dataset.train, dataset.examples("valid"), len(dataset.catalogue), config, progress)


def _lightgcn(dataset: Dataset, config: LightGCNConfig, progress: Progress) -> Score:
    return train_lightgcn(dataset.train, dataset.examples("valid"), len(dataset.catalogue), config, progress)


def _multvae(dataset: Dataset, config: MultVAEConfig, progress: Progress) -> Score:
    model = train_multvae(dataset.train, dataset.examples("valid"), len(dataset.catalogue), config, progress)
    return by_history(MultVAEScorer(model))


def _gru4rec(dataset: Dataset, config: GRU4RecConfig, progress: Progress) -> Score:
    return by_history(train_gru4rec(dataset.train, dataset.examples("valid"), len(dataset.catalogue), config, progress))


def _sasrec(dataset: Dataset, config: SASRecConfig, progress: Progress) -> Score:
    return by_history(train_sasrec(dataset.train, dataset.examples("valid"), len(dataset.catalogue), config, progress))


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        baseline.name: baseline
        for baseline in (
            Baseline("popularity", "popularity", 1, _popularity),
            Baseline("item-kNN", "item_knn", 1, _item_knn),
            Baseline("EASE", "ease", 2, _ease),
            Baseline("MF-BPR", "mf_bpr", 1, _mf_bpr),
            Baseline("LightGCN", "lightgcn", 1, _lightgcn),
            Baseline("MultVAE", "cf", 1, _multvae),
            Baseline("GRU4Rec", "gru4rec", 1, _gru4rec),
            Baseline("SASRec", "sasrec", 1, _sasrec),
        )
    }
)
