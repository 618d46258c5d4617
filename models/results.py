"""What the stages of a run have left on disk, read back; made by :class:`models.pipeline.Pipeline`."""

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from safetensors.numpy import load_file

from models.cf.baselines import Baseline, TrainingData
from models.cf.multvae import embed
from models.cf.popularity import recency_popularity
from models.communities.portrait import Portrait
from models.contract.bundle import CF_MODEL, COMMUNITIES, GLOBAL_ADAPTER, community_adapter
from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.types import Floats
from models.data.dataset import Dataset
from models.papers.l3rec.files import ADAPTER, CHECKPOINT, ITEM_VECTORS
from models.papers.l3rec.forms import Community
from models.ranking.accuracy import judge, one_item_earlier
from models.ranking.answers import Answers, VoterLists
from models.ranking.fusion_search import Tried, best_fusion
from models.ranking.system import LocalSystem
from models.run import RunConfig
from models.types import Examples

AFFINITIES, ITEM_AFFINITIES = "affinities.npy", "item_affinities.npy"

Ranked = Literal["before", "valid", "test"]


class Results:
    """The results of a run's stages. A method finds its stages finished.

    Args:
        directory: the run directory.
        config: what it was made with.
    """

    def __init__(self, directory: Path, config: RunConfig) -> None:
        self.directory = directory
        self.config = config

    def dataset(self) -> Dataset:
        """The prepared data set."""
        return Dataset.load(self.directory / "data")

    def cf_model(self) -> CFModel:
        """The trained global CF model."""
        return CFModel.load(self.directory / "cf" / CF_MODEL)

    def training_data(self, baseline: Baseline) -> TrainingData:
        """What a baseline is trained on."""
        path = self.directory / "items" / ITEM_VECTORS
        return TrainingData(self.dataset(), load_file(path)["text"] if baseline.reads_text else None)

    def affinities(self) -> Floats:
        """(n_users, q) training affinities."""
        weights: Floats = np.load(self.directory / "communities" / AFFINITIES, allow_pickle=False)
        return weights

    def item_affinities(self) -> Floats | None:
        """(n_items, q) affinities of items to communities, 0 outside V_j; None with user assignment."""
        if self.config.communities.assignment == "user":
            return None
        weights: Floats = np.load(self.directory / "communities" / ITEM_AFFINITIES, allow_pickle=False)
        return weights

    def portrait(self) -> Portrait:
        """What there is to show of the communities, over the users' train part."""
        config, dataset = self.config.communities, self.dataset()
        return Portrait(
            name=self.config.name,
            bandwidth=config.bandwidth,
            kernel=config.kernel,
            user_ids=dataset.user_ids,
            embeddings=embed(self.cf_model(), dataset.train),
            anchors=load_file(self.directory / "communities" / COMMUNITIES)["anchors"],
            weights=self.affinities(),
            item_weights=self.item_affinities(),
            histories=dataset.train,
            catalogue=dataset.catalogue,
        )

    def examples(self, ranked: Ranked) -> Examples:
        """The validation or the test examples, or those one item before the validation ones."""
        dataset = self.dataset()
        return one_item_earlier(dataset.examples("valid")) if ranked == "before" else dataset.examples(ranked)

    def answers(self, ranked: Literal["valid", "test"]) -> Answers:
        """Every voter's answers for the validation or the test examples.

        They are ranked before, by :meth:`models.pipeline.Pipeline.rank`.
        """
        system, examples = self.system(), self.examples(ranked)
        accuracies = self.accuracies("before" if ranked == "valid" else "valid")
        profiles = system.profiles(examples.histories, accuracies[examples.users])
        lists = VoterLists.load(self.directory / "rankings" / ranked)
        return Answers(examples.histories, system.communities, profiles, lists)

    def accuracies(self, ranked: Ranked) -> Floats:
        """(n_users, q) accuracy of the local models on ranked examples, see :mod:`models.ranking.accuracy`."""
        dataset, lists = self.dataset(), VoterLists.load(self.directory / "rankings" / ranked)
        return judge(lists, self.community_names(), self.examples(ranked), len(dataset.user_ids))

    def tried_fusions(self) -> list[Tried]:
        """What the fusion settings that were tried gave on validation examples."""
        return msgspec.json.decode((self.directory / "serving" / "tried.json").read_bytes(), type=list[Tried])

    def fusion_settings(self, method: FusionMethod | None = None) -> FusionSettings:
        """The best fusion settings on validation examples: those that are served, or a method's own best."""
        return best_fusion(self.tried_fusions(), method)

    def system(self) -> LocalSystem:
        """Everything that ranking needs, as the stages left it."""
        dataset, item_affinities = self.dataset(), self.item_affinities()
        adapters = {GLOBAL_ADAPTER: self.directory / "global" / ADAPTER}
        adapters |= {name: self.directory / "local" / name / ADAPTER for name in self.community_names()}
        return LocalSystem(
            cf=self.cf_model(),
            anchors=load_file(self.directory / "communities" / COMMUNITIES)["anchors"],
            bandwidth=self.config.communities.serving_bandwidth,
            kernel=self.config.communities.kernel,
            popularity=self.popularity(dataset),
            checkpoint=self.directory / "global" / CHECKPOINT,
            adapters=adapters,
            history_length=self.config.local.history_length,
            form=self.config.local.form,
            items=None if item_affinities is None else item_affinities > 0,
        )

    def popularity(self, dataset: Dataset) -> Floats:
        """(n_items,) recency-weighted counts of the train part: the last fallback, and the first baseline."""
        train, times = dataset.train, dataset.train_timestamps
        return recency_popularity(train.items, times, len(dataset.catalogue), self.config.popularity.half_life_days)

    def community(self, number: int) -> Community:
        """Who and what belongs to a community."""
        item_affinities = self.item_affinities()
        of_items = None if item_affinities is None else item_affinities[:, number]
        return Community(number, self.affinities()[:, number], of_items)

    def community_names(self) -> list[str]:
        """Names of the communities' adapters."""
        return [community_adapter(number) for number in range(self.config.communities.n_communities)]
