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
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.types import Examples, Score, Sequences, by_history

VALIDATION_EXAMPLES = 5_000


@dataclass(frozen=True)
class TrainingData:
    """What a baseline may look at. ``item_text`` is (n_items, k), the whitened texts that the language models see."""

    dataset: Dataset
    item_text: Floats | None = None

    @property
    def train(self) -> Sequences:
        return self.dataset.train

    @property
    def valid(self) -> Examples:
        """Some of the validation examples where there are many: they are looked at after every epoch."""
        return self.dataset.examples("valid").sample(VALIDATION_EXAMPLES, seed=0)

    @property
    def n_items(self) -> int:
        return len(self.dataset.catalogue)


@dataclass(frozen=True)
class Baseline:
    """A model of the table that is no language model.

    Args:
        name: its row in the table.
        section: its section of :class:`models.run.RunConfig`.
        version: raised by whoever changes what training computes.
        train: trains with the section's configuration; models trained in epochs tell their progress.
        reads_text: needs the items' texts.
        sequential: reads a history's order, and so has no place in the top-n task.
    """

    name: str
    section: str
    version: int
    train: Callable[[TrainingData, Any, Progress], Score]
    reads_text: bool = False
    sequential: bool = False


def _popularity(data: TrainingData, config: PopularityConfig, _: Progress) -> Score:
    times = data.dataset.train_timestamps
    counts = recency_popularity(data.train.items, times, data.n_items, config.half_life_days)
    return by_history(PopularityScorer(counts))


def _item_knn(data: TrainingData, config: ItemKNNConfig, _: Progress) -> Score:
    return by_history(train_item_knn(data.train, data.n_items, config))


def _ease(data: TrainingData, config: EASEConfig, _: Progress) -> Score:
    return by_history(train_ease(data.train, data.valid, data.n_items, config))


def _mf_bpr(data: TrainingData, config: MFBPRConfig, progress: Progress) -> Score:
    return train_mf_bpr(data.train, data.valid, data.n_items, config, progress)


def _lightgcn(data: TrainingData, config: LightGCNConfig, progress: Progress) -> Score:
    return train_lightgcn(data.train, data.valid, data.n_items, config, progress)


def _multvae(data: TrainingData, config: MultVAEConfig, progress: Progress) -> Score:
    model = train_multvae(data.train, data.valid, data.n_items, config, progress)
    return by_history(MultVAEScorer(model))


def _gru4rec(data: TrainingData, config: GRU4RecConfig, progress: Progress) -> Score:
    return by_history(train_gru4rec(data.train, data.valid, data.n_items, config, progress))


def _sasrec(data: TrainingData, config: SASRecConfig, progress: Progress) -> Score:
    return by_history(train_sasrec(data.train, data.valid, data.n_items, config, progress))


def _sasrec_with_text(data: TrainingData, config: SASRecConfig, progress: Progress) -> Score:
    text = data.item_text
    return by_history(train_sasrec(data.train, data.valid, data.n_items, config, progress, item_text=text))


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        baseline.name: baseline
        for baseline in (
            Baseline("popularity", "popularity", 1, _popularity),
            Baseline("item-kNN", "item_knn", 1, _item_knn),
            Baseline("EASE", "ease", 3, _ease),
            Baseline("MF-BPR", "mf_bpr", 1, _mf_bpr),
            Baseline("LightGCN", "lightgcn", 1, _lightgcn),
            Baseline("MultVAE", "cf", 1, _multvae),
            Baseline("GRU4Rec", "gru4rec", 2, _gru4rec, sequential=True),
            Baseline("SASRec", "sasrec", 3, _sasrec, sequential=True),
            Baseline("SASRec + text", "sasrec_text", 1, _sasrec_with_text, reads_text=True, sequential=True),
        )
    }
)
