"""The offline pipeline of one run directory: data → cf → communities → items → global → local → serving → bundle.

Each stage is a directory of its own and runs once per content of its configuration and inputs (``models.stage``).

```
<run>/data  cf  communities  items  global  local/c00 …  serving  bundles/<id>   bundle.json: id of the newest bundle
```
"""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load_file, save_file
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from models import communities as discovery
from models.cf.multvae import embed, train_multvae
from models.cf.popularity import recency_popularity
from models.contract.affinity import affinities
from models.contract.bundle import (
    CF_MODEL,
    COMMUNITIES,
    GLOBAL_ADAPTER,
    Bundle,
    CommunitySpec,
    ModelSpec,
    ServingSpec,
    community_adapter,
)
from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.types import Floats
from models.data import prepare
from models.data.dataset import Dataset
from models.data.statistics import Statistics
from models.export import BundleParts, adapter_names, build_bundle
from models.llm.training import FitState
from models.papers import l3rec
from models.ranking import LocalSystem, Tried, best_fusion, try_fusions
from models.run import RunConfig
from models.stage import run_stage

Report = Callable[[str], None]

POPULARITY_HALF_LIFE_DAYS = 30.0
NAMING_ITEMS = 3  # characteristic titles that name a community


class Pipeline:
    """The stages of one run directory. Every method runs its stage where needed and says what it did.

    Args:
        directory: the run directory.
        config: see :class:`RunConfig`.
        report: told one line a step.
        bundles: directory that bundles are written to; default: ``bundles`` in the run directory.
    """

    def __init__(
        self, directory: Path, config: RunConfig, report: Report = print, *, bundles: Path | None = None
    ) -> None:
        self.directory = directory
        self.bundles = bundles or directory / "bundles"
        self.config = config
        self._report = report
        disable_progress_bar()  # transformers' own, which says nothing that the stages do not say
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # PEFT asks by the old name

    def run(self) -> Bundle:
        """All stages, in order."""
        self.run_until(self.serving)
        return self.bundle()

    def run_until(self, last: Callable[[], None]) -> None:
        """The stages up to ``last``, so that none is built on what has changed since."""
        for stage in (self.data, self.cf, self.communities, self.items, self.global_model, self.local, self.serving):
            stage()
            if stage == last:
                return

    def data(self) -> None:
        """Read, filter and split the interactions."""
        self._say("data", prepare.run(self.config.data, self.directory / "data"))
        self._report(Statistics.load(self.directory / "data").as_text())

    def cf(self) -> None:
        """Train the global CF model."""

        def work(directory: Path) -> None:
            dataset = self.dataset()
            valid, n_items = dataset.examples("valid"), len(dataset.catalogue)
            with epoch_bar("MultVAE", self.config.cf.epochs) as progress:
                model = train_multvae(dataset.train, valid, n_items, self.config.cf, progress)
            model.save(directory / CF_MODEL)

        self.stage("cf", 1, self.config.cf, {"data": self.directory / "data"}, work)

    def communities(self) -> None:
        """Find anchors, describe the communities."""
        config = self.config.communities

        def work(directory: Path) -> None:
            dataset = self.dataset()
            embeddings = embed(self.cf_model(), dataset.train)
            anchors = embeddings[discovery.find_anchors(embeddings, config)]
            save_file({"anchors": anchors}, directory / COMMUNITIES)
            weights = affinities(anchors, embeddings, config.bandwidth)
            np.save(directory / "affinities.npy", weights)
            specs = self._community_specs(dataset, weights)
            statistics = discovery.describe(weights)
            document = {"communities": specs, "statistics": statistics}
            (directory / "communities.json").write_bytes(msgspec.json.format(msgspec.json.encode(document)))

        inputs = {"data": self.directory / "data", "cf": self.directory / "cf"}
        self.stage("communities", 1, config, inputs, work)
        statistics = json.loads((self.directory / "communities" / "communities.json").read_text())["statistics"]
        self._report(
            f"  {len(statistics['n_users'])} communities of {min(statistics['n_users'])} to"
            f" {max(statistics['n_users'])} users; {statistics['coverage']:.1%} of users covered,"
            f" {statistics['mean_memberships']:.1f} communities a user"
        )

    def items(self) -> None:
        """Read the items' texts with the backbone's shallow layers."""
        local = self.config.local
        keys = ("backbone", "trunk_layers", "title_tokens", "text_size")

        def work(directory: Path) -> None:
            l3rec.embed_items(local, self.dataset(), directory)

        self.stage("items", 1, {key: getattr(local, key) for key in keys}, self._backbone_inputs(), work)

    def global_model(self) -> None:
        """Train the item table and the global adapter."""

        def work(directory: Path) -> None:
            state = l3rec.train_global(
                self.config.local, self.dataset(), self.directory / "items", directory, self._prefixed("global")
            )
            _write_training(directory, state)

        inputs = self._backbone_inputs() | {"items": self.directory / "items"}
        self.stage("global", 3, self._global_config(), inputs, work, resumable=True)

    def local(self) -> None:
        """Train one adapter per community, each a stage of its own."""
        weights = self.affinities()
        for community in range(weights.shape[1]):
            self._local(community, weights[:, community])

    def serving(self) -> None:
        """Choose fusion settings on validation examples."""

        def work(directory: Path) -> None:
            tried = try_fusions(self.system(), self.dataset().examples("valid"), self.config.serving)
            (directory / "tried.json").write_bytes(msgspec.json.format(msgspec.json.encode(tried)))

        self.stage("serving", 2, self.config.serving, self.ranking_inputs(), work)
        for tried in self.tried_fusions():
            self._report(f"  validation NDCG@10 {tried.ndcg:.4f}  {tried.settings.method}, k = {tried.settings.k:g}")

    def bundle(self) -> Bundle:
        """Put the bundle together; its id follows from its content, so unchanged stages give the same bundle."""
        dataset, system, served = self.dataset(), self.system(), self.fusion_settings()
        document = json.loads((self.directory / "communities" / "communities.json").read_text())
        statistics = Statistics.load(self.directory / "data").as_dict()  # its samples of the files' rows stay here
        parts = BundleParts(
            name=self.config.name,
            dataset=dataset,
            cf=system.cf,
            anchors=system.anchors,
            bandwidth=system.bandwidth,
            popularity=system.popularity,
            communities=msgspec.convert(document["communities"], list[CommunitySpec]),
            checkpoint=system.checkpoint,
            adapters=system.adapters,
            model=self._model_spec(len(dataset.catalogue)),
            serving=ServingSpec(served.method, served.k, served.candidates),
            config=msgspec.to_builtins(self.config),
            data_statistics={key: value for key, value in statistics.items() if key != "files"},
            metrics={"fusion on validation, NDCG@10": msgspec.to_builtins(self.tried_fusions())},
        )
        bundle = build_bundle(
            parts,
            self.bundles,
            lambda rows: tqdm(rows, "profiles", unit="user", leave=False, disable=None),
        )
        (self.directory / "bundle.json").write_text(json.dumps({"bundle_id": bundle.id}) + "\n")
        self._report(f"bundle {bundle.id}")
        return bundle

    def stage(
        self,
        name: str,
        version: int,
        config: Any,
        inputs: dict[str, Path],
        work: Callable[[Path], None],
        *,
        resumable: bool = False,
    ) -> None:
        """Run one stage in the directory ``name``, see :func:`models.stage.run_stage`, and report what was done."""
        ran = run_stage(
            self.directory / name,
            name=name,
            version=version,
            config=config,
            inputs=inputs,
            work=work,
            resumable=resumable,
        )
        self._say(name, ran)

    def dataset(self) -> Dataset:
        """The prepared data set."""
        return Dataset.load(self.directory / "data")

    def cf_model(self) -> CFModel:
        """The trained global CF model."""
        return CFModel.load(self.directory / "cf" / CF_MODEL)

    def affinities(self) -> Floats:
        """(n_users, q) training affinities."""
        weights: Floats = np.load(self.directory / "communities" / "affinities.npy", allow_pickle=False)
        return weights

    def tried_fusions(self) -> list[Tried]:
        """What the fusion settings that were tried gave on validation examples."""
        return msgspec.json.decode((self.directory / "serving" / "tried.json").read_bytes(), type=list[Tried])

    def ranking_inputs(self) -> dict[str, Path]:
        """The stages that :meth:`system` reads, as inputs of a stage that ranks."""
        shared = {name: self.directory / name for name in ("data", "cf", "communities", "global")}
        return shared | {name: self.directory / "local" / name for name in self._community_names()}

    def fusion_settings(self, method: FusionMethod | None = None) -> FusionSettings:
        """The best fusion settings on validation examples: those that are served, or a method's own best."""
        return best_fusion(self.tried_fusions(), method)

    def system(self) -> LocalSystem:
        """Everything that ranking needs, as the stages left it."""
        dataset = self.dataset()
        adapters = {GLOBAL_ADAPTER: self.directory / "global" / l3rec.ADAPTER}
        adapters |= {name: self.directory / "local" / name / l3rec.ADAPTER for name in self._community_names()}
        return LocalSystem(
            cf=self.cf_model(),
            anchors=load_file(self.directory / "communities" / COMMUNITIES)["anchors"],
            bandwidth=self.config.communities.bandwidth,
            popularity=self.popularity(dataset),
            checkpoint=self.directory / "global" / l3rec.CHECKPOINT,
            adapters=adapters,
            history_length=self.config.local.history_length,
        )

    def popularity(self, dataset: Dataset) -> Floats:
        """(n_items,) recency-weighted counts of the train part: the last fallback, and the first baseline."""
        train, times = dataset.train, dataset.train_timestamps
        return recency_popularity(train.items, times, len(dataset.catalogue), POPULARITY_HALF_LIFE_DAYS)

    def _local(self, community: int, affinity: Floats) -> None:
        name = community_adapter(community)

        def work(directory: Path) -> None:
            state = l3rec.train_local(
                self.config.local,
                self.dataset(),
                affinity,
                self.directory / "global",
                directory,
                report=self._prefixed(name),
            )
            _write_training(directory, state)

        inputs = {n: self.directory / n for n in ("data", "communities", "global")}
        self.stage(
            f"local/{name}", 2, {"community": community, "local": self.config.local}, inputs, work, resumable=True
        )

    def _prefixed(self, name: str) -> Report:
        return lambda line: self._report(f"  {name}: {line}")

    def _say(self, name: str, ran: bool) -> None:
        self._report(f"{name}: {'done' if ran else 'unchanged, reused'}")

    def _backbone_inputs(self) -> dict[str, Path]:
        """The data, and every file of a backbone on this machine; a hub's is known by its id."""
        path = Path(self.config.local.backbone)
        files = [path] if path.is_file() else [p for p in path.glob("*") if p.is_file()]
        return {"data": self.directory / "data"} | {f"backbone/{file.name}": file for file in files}

    def _global_config(self) -> dict[str, Any]:
        config: dict[str, Any] = msgspec.to_builtins(self.config.local)
        return {
            key: value for key, value in config.items() if not key.startswith("local_") and key != "affinity_weighted"
        }

    def _community_names(self) -> list[str]:
        return [community_adapter(number) for number in range(self.config.communities.n_communities)]

    def _model_spec(self, n_items: int) -> ModelSpec:
        local = self.config.local
        return ModelSpec(
            form="item-token",
            history_length=local.history_length,
            n_items=n_items,
            lora_rank=local.lora_rank,
            adapters=adapter_names(self.config.communities.n_communities),
            base_model=Path(local.backbone).name,
        )

    def _community_specs(self, dataset: Dataset, weights: Floats) -> list[CommunitySpec]:
        named = discovery.characteristic_items(weights, dataset.train, len(dataset.catalogue), NAMING_ITEMS)
        sizes = (weights > 0).sum(axis=0)
        return [
            CommunitySpec(
                adapter=community_adapter(number),
                n_users=int(sizes[number]),
                name=" · ".join(
                    dataset.catalogue.items[c.item].title or dataset.catalogue.ids[c.item] for c in characteristic
                ),
            )
            for number, characteristic in enumerate(named)
        ]


@contextmanager
def epoch_bar(name: str, epochs: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar for a trainer that tells epoch and validation NDCG@10."""
    with tqdm(total=epochs, desc=name, unit="epoch", leave=False, disable=None) as bar:

        def progress(epoch: int, ndcg: float) -> None:
            bar.set_postfix_str(f"validation NDCG@10 {ndcg:.4f}")
            bar.update()

        yield progress


def _write_training(directory: Path, state: FitState) -> None:
    document = {"epochs": state.epoch, "best_epoch": state.best_epoch, "validation_log_likelihood": state.best}
    (directory / "training.json").write_text(json.dumps(document) + "\n")
