"""HatLLM's local models, as in L3Rec: communities of users, and for each an adapter of its own.

An adapter begins as the one that was trained for everyone; the head is shared and frozen. Each train sequence counts as
a user. Which communities answer for a history follows from the history alone, folded in as the service does it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from peft import set_peft_model_state_dict
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors

from models.cf.multvae import MultVAEConfig, embed, train_multvae
from models.cf.training import Progress
from models.communities.anchors import CommunityConfig, find_anchors
from models.contract.affinity import affinities
from models.contract.bundle import CF_MODEL, COMMUNITIES, community_adapter
from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.index import top_n
from models.contract.profile import build_profile
from models.contract.selection import GLOBAL_VOTER, FusionSettings, fuse_voters
from models.contract.types import Floats, Profile
from models.evaluation.metrics import ndcg, ranks_of_targets
from models.llm.item_token import ADAPTER_WEIGHTS, save_adapter
from models.llm.training import FitConfig, FitState, fit
from models.papers.hatllm.config import HatLLMConfig, LocalConfig
from models.papers.hatllm.data import WindowedData
from models.papers.hatllm.model import HatModel
from models.papers.hatllm.training import ADAPTER, WindowTask, scores_of
from models.papers.l3rec.training_set import members_of
from models.ranking.answers import Answers, VoterLists
from models.ranking.fusion_search import ServingConfig, Tried
from models.ranking.recommend import NOTHING
from models.training.device import training_device
from models.types import Examples, Report, Sequences, chunks_of

_ANCHORS = "anchors"
METHODS = (FusionMethod.RRF, FusionMethod.WRRF_CF)
Admits = Callable[[FusionSettings], bool]


@dataclass(frozen=True)
class Communities:
    """Who belongs where.

    Args:
        cf: the global CF model.
        anchors: (q, d).
        config: bandwidth and kernel of equation 2.
    """

    cf: CFModel
    anchors: Floats
    config: CommunityConfig

    @classmethod
    def load(cls, directory: Path, config: CommunityConfig) -> Self:
        """What :func:`find_communities` has written."""
        return cls(CFModel.load(directory / CF_MODEL), load_file(directory / COMMUNITIES)[_ANCHORS], config)

    def affinities(self, sequences: Sequences) -> Floats:
        """(n, q) weights of train sequences."""
        return affinities(self.anchors, embed(self.cf, sequences), self.config.bandwidth, self.config.kernel)

    def profiles(self, histories: Sequences) -> list[Profile]:
        """Profiles of n histories, as the service folds them in."""
        bandwidth, kernel = self.config.serving_bandwidth, self.config.kernel
        return [
            build_profile(self.cf, self.anchors, bandwidth, kernel, histories[row]) for row in range(len(histories))
        ]


def find_communities(
    data: WindowedData,
    valid: Examples,
    multvae: MultVAEConfig,
    config: CommunityConfig,
    directory: Path,
    progress: Progress,
) -> None:
    """Train the global CF model on the train sequences, find anchors among them, and write both.

    Args:
        data: the train part is used.
        valid: decides when the CF model's training stops.
        multvae, config: see there.
        directory: where everything is written.
        progress: told of every epoch.

    Raises:
        ConfigError: there are fewer sequences than communities.
    """
    cf = train_multvae(data.train, valid, len(data.catalogue), multvae, progress)
    embeddings = embed(cf, data.train.take(np.flatnonzero(np.diff(data.train.offsets))))
    cf.save(directory / CF_MODEL)
    save_file({_ANCHORS: embeddings[find_anchors(embeddings, config)]}, directory / COMMUNITIES)


def part_of(data: WindowedData, communities: Communities, number: int) -> tuple[WindowedData, Floats]:
    """The train sequences and validation examples of a community's members, and (n_train,) affinities of the former.

    Raises:
        ConfigError: nobody belongs to the community.
    """
    weights = communities.affinities(data.train)[:, number]
    members = np.flatnonzero(members_of(weights))
    valid = asked_rows(communities.profiles(data.valid.histories), number)
    return data.part(members, valid), weights[members]


def train_local(
    config: HatLLMConfig,
    local: LocalConfig,
    model: HatModel,
    data: WindowedData,
    weights: Floats,
    directory: Path,
    report: Report,
) -> FitState:
    """Train an adapter on weighted windows (L3Rec, equation 3).

    Args:
        config: of ``model``.
        local: how long, and how fast.
        model: HatLLM with a fixed head, and its adapter to begin with; it is trained in place.
        data: train part and validation examples are used, see :func:`part_of`.
        weights: (n_train,) of the train sequences.
        directory: the adapter is written to ``adapter`` in it; an interrupted call goes on where it was.
        report: told one line at every look at validation.
    """
    settings = replace(
        config,
        steps=local.steps,
        evaluate_every=local.evaluate_every,
        learning_rate=local.learning_rate,
        train_windows=None,
    )
    torch.manual_seed(config.seed)
    task = WindowTask(settings, model, data, weights)
    looks = math.ceil(local.steps / local.evaluate_every)
    state = fit(model, task, FitConfig(looks, local.patience, config.seed), directory, report)
    save_adapter(model.language_model, directory / ADAPTER)
    return state


def use_adapter(model: HatModel, directory: Path) -> None:
    """Give a model the adapter that :func:`train_local` or ``train_hatllm`` has left in a directory."""
    set_peft_model_state_dict(model.language_model, load_tensors(directory / ADAPTER / ADAPTER_WEIGHTS))


def asked_rows(profiles: Sequence[Profile], community: int) -> NDArray[np.int64]:
    """Rows of those who belong to a community."""
    belongs = [any(m.community == community for m in profile.memberships) for profile in profiles]
    return np.flatnonzero(belongs).astype(np.int64)


@dataclass(frozen=True)
class Answered:
    """What all adapters say of n examples.

    Args:
        examples: the n examples.
        answers: the lists of each one's communities, and of the adapter that was trained for everyone.
        scores: (n, n_items) of that adapter.
    """

    examples: Examples
    answers: Answers
    scores: Floats

    def fused(self, settings: FusionSettings) -> Floats:
        """(n, n_items) scores that rank fused items as they are fused, and below them the others as for everyone.

        Who belongs to no community gets what is for everyone.
        """
        scores = self.scores.copy()
        for row, answer in enumerate(self.answers):
            ranking = fuse_voters(answer.voters, NOTHING, settings)
            scores[row, ranking.items] = scores[row].max() + np.arange(len(ranking), 0, -1, dtype=np.float32)
        return scores


@dataclass(frozen=True)
class LocalModels:
    """One HatLLM with an adapter for everyone and one a community.

    Args:
        model: on the device that it is asked on.
        history_length: items of a prompt at most.
        communities: see :class:`Communities`.
        adapters: directories that hold an adapter each: ``global``, and ``c00`` … in the order of the communities.
        candidates: items of each list that is fused.
    """

    model: HatModel
    history_length: int
    communities: Communities
    adapters: Mapping[str, Path]
    candidates: int

    def answered(self, examples: Examples) -> Iterator[Answered]:
        """What the adapters say, a bounded number of examples at a time."""
        for rows in chunks_of(np.arange(len(examples))):
            yield self._answered(examples.take(rows))

    def _answered(self, examples: Examples) -> Answered:
        names = tuple(community_adapter(number) for number in range(len(self.communities.anchors)))
        profiles = self.communities.profiles(examples.histories)
        lists = VoterLists.empty((*names, GLOBAL_VOTER), len(examples), min(self.candidates, self.model.n_items))
        for number, name in enumerate(names):
            rows = asked_rows(profiles, number)
            self._put(lists, name, rows, self._scores(name, examples.take(rows)), examples)
        everybody = self._scores(GLOBAL_VOTER, examples)
        self._put(lists, GLOBAL_VOTER, np.arange(len(examples)), everybody, examples)
        return Answered(examples, Answers(examples.histories, names, profiles, lists), everybody)

    def _scores(self, name: str, examples: Examples) -> Floats:
        use_adapter(self.model, self.adapters[name])
        return scores_of(self.model, self.history_length, training_device())(examples)

    def _put(self, lists: VoterLists, name: str, rows: NDArray[np.int64], scores: Floats, examples: Examples) -> None:
        column, candidates = lists.names.index(name), lists.items.shape[2]
        for row, values in zip(rows.tolist(), scores, strict=True):
            lists.put(row, column, top_n(values, candidates, np.unique(examples.histories[row])))


def try_fusions(answered: Sequence[Answered], cutoff: int | None) -> list[Tried]:
    """NDCG of validation examples by both methods with every k, without and with a vote for the adapter for everyone.

    Args:
        answered: validation examples.
        cutoff: of the NDCG; None: none, which is less noisy.
    """
    serving = ServingConfig()
    return [
        Tried(settings, _value(answered, settings, cutoff))
        for method in METHODS
        for k in serving.dampings
        for weight in serving.voter_weights
        for settings in (FusionSettings(method, k, serving.candidates, ((GLOBAL_VOTER, weight),) if weight else ()),)
    ]


def best_of(tried: Sequence[Tried], admits: Admits) -> FusionSettings:
    """The settings with the highest NDCG among those that are admitted; of equals the first."""
    return max((t for t in tried if admits(t.settings)), key=lambda t: t.ndcg).settings


def _value(answered: Sequence[Answered], settings: FusionSettings, cutoff: int | None) -> float:
    ranks = [ranks_of_targets(a.fused(settings), a.examples.targets, a.examples.histories) for a in answered]
    return float(ndcg(np.concatenate(ranks), np.inf if cutoff is None else cutoff).mean()) if ranks else 0.0
