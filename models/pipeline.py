"""The offline pipeline of one run directory: data → cf → communities → items → global → local → serving → bundle.

Each stage is a directory of its own and runs once per content of its configuration and inputs (``models.stage``).

```
<run>/data  cf  communities  items  [trunk]  global  local/c00 …  rankings/valid …  serving  bundles/<id>
bundle.json: id of the newest bundle
```
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import save_file
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from models import communities as discovery
from models import further
from models.assembly import bundle_parts
from models.cf.baselines import BASELINES
from models.cf.multvae import embed, train_multvae
from models.cf.training import epoch_bar
from models.contract.affinity import affinities
from models.contract.bundle import CF_MODEL, COMMUNITIES, Bundle, CommunitySpec, community_adapter
from models.contract.errors import DataError
from models.contract.specs import FurtherPart
from models.contract.types import Floats
from models.data import prepare
from models.data.dataset import Dataset
from models.data.statistics import Statistics
from models.export import build_bundle
from models.llm.source import absolute, local_files
from models.llm.training import FitState
from models.llm.training_cost import save_cost
from models.papers.l3rec import forms
from models.papers.l3rec.config import check_backbone
from models.papers.l3rec.item_vectors import embed_items
from models.papers.l3rec.title import cache_trunk
from models.ranking.accuracy import CUTOFF as JUDGED_ITEMS
from models.ranking.fusion_search import in_words, leaders, try_fusions
from models.ranking.probing import make_probe
from models.ranking.ranker import LocalRanker
from models.results import AFFINITIES, ITEM_AFFINITIES, Ranked, Results
from models.run import RunConfig
from models.stage import NEWEST, run_stage
from models.training.divergence import failed_batch_kept
from models.training.jobs import Job, OpenExecutor, do_all, in_process
from models.types import Report

LISTED_ITEMS = 100  # kept of each voter's list at least, so that fewer candidates need no other scoring pass
NAMING_ITEMS = 3  # characteristic titles that name a community


class Pipeline:
    """The stages of one run directory. Every method runs its stage where needed and says what it did.

    Args:
        directory: the run directory.
        config: see :class:`RunConfig`.
        report: told one line a step.
        bundles: directory that bundles are written to; default: ``bundles`` in the run directory.
        open_executor: where the communities' adapters are trained; default: in this process, one after the other.
    """

    def __init__(
        self,
        directory: Path,
        config: RunConfig,
        report: Report = print,
        *,
        bundles: Path | None = None,
        open_executor: OpenExecutor | None = None,
    ) -> None:
        self.directory = directory
        self.bundles = bundles or directory / "bundles"
        self.config = config
        self.results = Results(directory, config)
        self._report = report
        self._open_executor = open_executor or in_process(report)
        disable_progress_bar()  # transformers' own, which says nothing that the stages do not say
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # PEFT asks by the old name

    def run(self) -> Bundle:
        """All stages, in order. Raises as :meth:`run_until` does."""
        prepare.input_files(self.config.data)
        further.check(self.config)
        self.run_until(self.serving)
        further.train(self, further.wanted(self.config), self._report)
        return self.bundle()

    def further(self, part: FurtherPart) -> None:
        """Train one of the further models, see :mod:`models.further`. Raises as :meth:`run_until` does."""
        prepare.input_files(self.config.data)
        further.check(self.config)
        self.run_until(self.cf if "cf" in further.MODELS[part].stages else self.data)
        further.train(self, (part,), self._report)

    def run_until(self, last: Callable[[], None]) -> None:
        """The stages up to ``last``, so that none is built on what has changed since.

        Raises:
            ConfigError, DataError: something that they need is missing or does not fit, before any of them starts.
        """
        prepare.input_files(self.config.data)
        if last not in (self.data, self.cf, self.communities):
            check_backbone(self.config.local)
        before_training = (self.data, self.cf, self.communities, self.items, self.trunk)
        for stage in (*before_training, self.global_model, self.local, self.serving):
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
            data = self.results.training_data(BASELINES["MultVAE"])
            with epoch_bar("MultVAE", self.config.cf.epochs) as progress:
                model = train_multvae(data.train, data.valid, data.n_items, self.config.cf, progress)
            model.save(directory / CF_MODEL)

        self.stage("cf", 2, self.config.cf, {"data": self.directory / "data"}, work)

    def communities(self) -> None:
        """Find anchors, describe the communities."""
        config = self.config.communities

        def work(directory: Path) -> None:
            dataset = self.results.dataset()
            cf = self.results.cf_model()
            embeddings = embed(cf, dataset.train)
            anchors = embeddings[discovery.find_anchors(embeddings, config)]
            save_file({"anchors": anchors}, directory / COMMUNITIES)
            weights = affinities(anchors, embeddings, config.bandwidth, config.kernel)
            np.save(directory / AFFINITIES, weights)
            if config.assignment == "user-item":
                np.save(directory / ITEM_AFFINITIES, discovery.item_members(anchors, cf.item_factors, config))
            specs = self._community_specs(dataset, weights)
            document = {"communities": specs, "statistics": discovery.describe(weights)}
            (directory / "communities.json").write_bytes(msgspec.json.format(msgspec.json.encode(document)))

        inputs = {"data": self.directory / "data", "cf": self.directory / "cf"}
        found_with = msgspec.to_builtins(config)
        del found_with["inference_bandwidth"]  # decides who answers, not who is trained on
        self.stage("communities", 2, found_with, inputs, work)
        statistics = json.loads((self.directory / "communities" / "communities.json").read_text())["statistics"]
        self._report(
            f"  {len(statistics['sizes'])} communities of {min(statistics['sizes'])} to {max(statistics['sizes'])}"
            f" users ({statistics['mean_size']:.0f} on average, {statistics['mean_share']:.1%} of all);"
            f" {statistics['coverage']:.1%} of users covered, {statistics['mean_memberships']:.1f} communities a user"
        )

    def items(self) -> None:
        """Read the items' texts with the backbone's shallow layers."""
        local = self.config.local
        keys = ("backbone", "text_encoder", "trunk_layers", "title_tokens", "text_size")

        def work(directory: Path) -> None:
            embed_items(local, self.results.dataset(), directory)

        inputs = self._backbone_inputs() | local_files("text_encoder", local.text_encoder)
        self.stage("items", 2, {key: getattr(local, key) for key in keys}, inputs, work)

    def trunk(self) -> None:
        """Title form: read the histories' titles with the backbone's shallow layers, once for all adapters."""
        local = self.config.local
        keys = (
            "backbone",
            "trunk_layers",
            "title_tokens",
            "history_length",
            "newest_windows",
            "valid_examples",
            "seed",
        )

        def work(directory: Path) -> None:
            cache_trunk(local, self.results.dataset(), directory, self._prefixed("trunk"))

        if forms.reads_trunk(local):
            config = {key: getattr(local, key) for key in keys}
            self.stage("trunk", 2, config, self._backbone_inputs(), work, resumable=True)

    def global_model(self) -> None:
        """Train the item table and the global adapter."""

        def work(directory: Path) -> None:
            local, dataset, report = self.config.local, self.results.dataset(), self._prefixed("global")
            state = forms.train_global(local, dataset, self._made(), directory, ordered=self._ordered, report=report)
            _write_training(directory, state)

        inputs = self._backbone_inputs() | {"items": self.directory / "items"} | self._trunk_input()
        self.stage("global", 4, self._global_config() | {"ordered": self._ordered}, inputs, work, resumable=True)

    def local(self) -> None:
        """Train one adapter per community, each a stage of its own; for failures see :func:`do_all`."""
        sizes = (self.results.affinities() > 0).sum(axis=0).tolist()
        train = partial(train_community, self.directory.resolve(), self.config, absolute(self.config.local.backbone))
        jobs = [
            Job(f"local/{community_adapter(number)}", size, partial(train, number)) for number, size in enumerate(sizes)
        ]
        with self._open_executor(len(jobs)) as executor:
            do_all(jobs, executor, self._report)

    def serving(self) -> None:
        """Choose fusion settings on validation examples."""

        def work(directory: Path) -> None:
            targets = self.results.examples("valid").targets
            tried = try_fusions(self.results.system(), self.results.answers("valid"), targets, self.config.serving)
            (directory / "tried.json").write_bytes(msgspec.json.format(msgspec.json.encode(tried)))

        rankings = {f"rankings/{ranked}": self.rank(ranked) for ranked in ("before", "valid")}
        shared = {name: self.directory / name for name in ("data", "cf", "communities")}
        config = {"serving": self.config.serving, "bandwidth": self.config.communities.serving_bandwidth}
        self.stage("serving", 6, config, shared | rankings, work)
        for tried in leaders(self.results.tried_fusions()):
            self._report(f"  validation NDCG@10 {tried.ndcg:.4f}  {in_words(tried.settings)}")

    def rank(self, ranked: Ranked) -> Path:
        """The scoring pass over some examples: every voter's lists, in a directory, for all that fuses them."""
        n = JUDGED_ITEMS if ranked == "before" else max(LISTED_ITEMS, self.config.serving.candidates)

        def work(directory: Path) -> None:
            LocalRanker(self.results.system(), n).answers(self.results.examples(ranked).histories).lists.save(directory)

        config = {"n": n, "bandwidth": self.config.communities.serving_bandwidth}
        version = 1 if self.config.communities.assignment == "user" else 2  # a list holds its community's items only
        self.stage(f"rankings/{ranked}", version, config, self.ranking_inputs(), work)
        return self.directory / "rankings" / ranked

    def bundle(self) -> Bundle:
        """Put the bundle together; its id follows from its content, so unchanged stages give the same bundle."""
        system = self.results.system()
        self.stage("probe", 1, {}, self.ranking_inputs(), lambda directory: make_probe(system).save(directory))
        parts = bundle_parts(
            self.results, system, [further.exported(self.directory, part) for part in further.wanted(self.config)]
        )
        bundle = build_bundle(
            parts,
            self.bundles,
            lambda rows: tqdm(rows, "profiles", unit="user", leave=False, disable=None),
        )
        (self.directory / NEWEST).write_text(json.dumps({"bundle_id": bundle.id}) + "\n")
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
    ) -> bool:
        """Run one stage in the directory ``name``, see :func:`models.stage.run_stage`, and report what was done.

        Raises:
            TrainingError: the work diverged; the batch is saved in the stage's directory.
        """
        directory = self.directory / name
        with failed_batch_kept(directory):
            ran = run_stage(
                directory,
                name=name,
                version=version,
                config=config,
                inputs=inputs,
                work=work,
                resumable=resumable,
            )
        self._say(name, ran)
        return ran

    def ranking_inputs(self) -> dict[str, Path]:
        """The stages that :meth:`models.results.Results.system` reads, as inputs of a stage that ranks."""
        shared = {name: self.directory / name for name in ("data", "cf", "communities", "global")}
        return shared | {name: self.directory / "local" / name for name in self.results.community_names()}

    def local_adapter(self, community: int, backbone: str) -> bool:
        """The stage of one community's adapter. False where it was done before.

        Args:
            community: its number.
            backbone: where this process finds the backbone. The record has it as it was configured: what counts is
                which one it is.
        """
        name, local = community_adapter(community), self.config.local
        found = replace(local, backbone=backbone)

        def work(directory: Path) -> None:
            who, dataset, report = self.results.community(community), self.results.dataset(), self._prefixed(name)
            state = forms.train_local(
                found, dataset, who, self._made(), directory, ordered=self._ordered, report=report
            )
            _write_training(directory, state)

        inputs = {n: self.directory / n for n in ("data", "communities", "items", "global")} | self._trunk_input()
        config = {"community": community, "local": local, "ordered": self._ordered}
        return self.stage(f"local/{name}", 3, config, inputs, work, resumable=True)

    @property
    def _ordered(self) -> bool:
        return self.config.task == "sequential"

    def _made(self) -> forms.Made:
        root = self.directory
        return forms.Made(items=root / "items", trunk=root / "trunk", global_model=root / "global")

    def _trunk_input(self) -> dict[str, Path]:
        return {"trunk": self.directory / "trunk"} if forms.reads_trunk(self.config.local) else {}

    def _prefixed(self, name: str) -> Report:
        return lambda line: self._report(f"  {name}: {line}")

    def _say(self, name: str, ran: bool) -> None:
        self._report(f"{name}: {'done' if ran else 'unchanged, reused'}")

    def _backbone_inputs(self) -> dict[str, Path]:
        """The data, and every file of a backbone on this machine; a hub's is known by its id."""
        return {"data": self.directory / "data"} | local_files("backbone", self.config.local.backbone)

    def _global_config(self) -> dict[str, Any]:
        config: dict[str, Any] = msgspec.to_builtins(self.config.local)
        locals_only = ("local_epochs", "local_patience", "local_learning_rate", "affinity_weighted")
        return {key: value for key, value in config.items() if key not in locals_only}

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


def train_community(directory: Path, config: RunConfig, backbone: str, community: int, report: Report) -> bool:
    """:meth:`Pipeline.local_adapter` in any process that sees the run directory, whatever its working directory.

    Raises:
        DataError: it does not see it.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: is not on {gethostname()}; expected the run directory on storage that all share")
    return Pipeline(directory, config, report).local_adapter(community, backbone)


def _write_training(directory: Path, state: FitState) -> None:
    document = {"epochs": state.epoch, "best_epoch": state.best_epoch, "validation_ndcg": state.best}
    (directory / "training.json").write_text(json.dumps(document) + "\n")
    save_cost(state, directory)
