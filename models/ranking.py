"""The `local` pipeline offline: profiles, lists, fusion and fallback chain as in the gateway, for many histories."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.config import option
from models.contract.bundle import (
    CF_MODEL,
    CHECKPOINT,
    COMMUNITIES,
    GLOBAL_ADAPTER,
    POPULARITY,
    Bundle,
    community_adapter,
)
from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.index import top_n
from models.contract.profile import build_profile
from models.contract.selection import FusionSettings, Voter, fuse_voters, select
from models.contract.types import Floats, Ints, Profile, RankedList
from models.llm.device import training_device
from models.llm.item_token import CatalogueModel
from models.llm.next_item import NextItemScorer
from models.metrics import NO_ITEM, ndcg, ranks_in_lists
from models.types import Examples, Sequences

CHUNK = 512  # examples whose score matrices are held at once
FUSIONS = (FusionMethod.COUNT, FusionMethod.RRF, FusionMethod.WRRF_CF)


@dataclass(frozen=True)
class ServingConfig:
    """Fusion settings that are tried on validation examples; the best become the bundle's."""

    candidates: int = option(100, "Items asked of each community.", low=10, high=1000)
    dampings: tuple[float, ...] = option(
        (0.0, 10.0, 40.0, 100.0), "Values of k of equations 5 and 6 that are tried.", low=0
    )


@dataclass(frozen=True)
class LocalSystem:
    """All that the `local` pipeline needs, from a run or a bundle on disk.

    Args:
        cf: the global CF model.
        anchors: (q, d).
        bandwidth: h of equation 2.
        popularity: (n_items,).
        checkpoint: directory of the compiled base model.
        adapters: PEFT directories by name, ``global`` and ``c00`` ….
        history_length: items that a prompt holds.
    """

    cf: CFModel
    anchors: Floats
    bandwidth: float
    popularity: Floats
    checkpoint: Path
    adapters: Mapping[str, Path]
    history_length: int

    def profile(self, history: Ints) -> Profile:
        """Profile of a history, as the gateway folds it in."""
        return build_profile(self.cf, self.anchors, self.bandwidth, history)


@dataclass(frozen=True)
class Answers:
    """The communities' answers for one history, before fusion."""

    history: Ints
    profile: Profile
    voters: tuple[Voter, ...]


def open_system(bundle: Bundle) -> LocalSystem:
    """What a bundle holds: exactly what is served."""
    return LocalSystem(
        cf=CFModel.load(bundle.path(CF_MODEL)),
        anchors=load_file(bundle.path(COMMUNITIES))["anchors"],
        bandwidth=bundle.manifest.bandwidth,
        popularity=np.load(bundle.path(POPULARITY), allow_pickle=False),
        checkpoint=bundle.path(CHECKPOINT),
        adapters={name: bundle.adapter_path(name) for name in bundle.manifest.model.adapters},
        history_length=bundle.manifest.model.history_length,
    )


class LocalRanker:
    """Ranks with the compiled checkpoint and its adapters, in float32."""

    def __init__(self, system: LocalSystem, candidates: int) -> None:
        self._system = system
        self._candidates = candidates
        device = training_device()
        self._model = CatalogueModel.load(system.checkpoint, system.adapters[GLOBAL_ADAPTER]).to(device)
        self._scorer = NextItemScorer(self._model, system.history_length, device)

    def global_scores(self, histories: Sequences) -> Floats:
        """Scores (n, n_items) under the global adapter."""
        return self._adapter_scores(GLOBAL_ADAPTER, histories)

    def answers(self, histories: Sequences) -> list[Answers]:
        """The lists of every community that each history belongs to, nearest community first."""
        profiles = [self._system.profile(histories[row]) for row in range(len(histories))]
        rankings: dict[tuple[int, int], RankedList] = {}
        for community in range(len(self._system.anchors)):
            rows = np.asarray(
                [r for r, p in enumerate(profiles) if any(m.community == community for m in p.memberships)]
            )
            if len(rows):
                scores = self._adapter_scores(community_adapter(community), histories.take(rows))
                for row, values in zip(rows.tolist(), scores, strict=True):
                    rankings[row, community] = top_n(values, self._candidates, np.unique(histories[row]))
        return [
            Answers(histories[row], profile, tuple(Voter(m, rankings[row, m.community]) for m in profile.memberships))
            for row, profile in enumerate(profiles)
        ]

    def _adapter_scores(self, adapter: str, histories: Sequences) -> Floats:
        self._model.use_adapter(adapter, self._system.adapters[adapter])
        return self._scorer.scores(histories)


def recommend(system: LocalSystem, answers: Answers, settings: FusionSettings, n: int) -> Ints:
    """The list that the service would send: fused, seen items removed, filled from `cf` and `popular`."""
    excluded = np.unique(answers.history)
    fused = fuse_voters(answers.voters, excluded, settings)
    fallbacks = (
        ("cf", lambda missing, out: system.cf.recommend(answers.profile.embedding, missing, out)),
        ("popular", lambda missing, out: top_n(system.popularity, missing, out)),
    )
    return select(fused, "local", excluded, n, fallbacks).items


def recommend_all(
    system: LocalSystem, answers: Sequence[Answers], settings: FusionSettings, n: int
) -> NDArray[np.int32]:
    """(n_answers, n) served lists, filled up with ``NO_ITEM`` where the catalogue ends."""
    lists = np.full((len(answers), n), NO_ITEM, np.int32)
    for row, answer in enumerate(answers):
        items = recommend(system, answer, settings, n)
        lists[row, : len(items)] = items
    return lists


def chunks(examples: Examples) -> Iterator[Examples]:
    """The examples, a bounded number at a time."""
    rows = np.arange(len(examples))
    return (examples.take(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK))


@dataclass(frozen=True)
class Tried:
    """Fusion settings and the NDCG@10 that they gave on validation examples."""

    settings: FusionSettings
    ndcg: float


def try_fusions(system: LocalSystem, valid: Examples, config: ServingConfig) -> list[Tried]:
    """NDCG@10 on validation examples of every fusion method with every k."""
    grid = [
        FusionSettings(method, k, config.candidates)
        for method in FUSIONS
        for k in (config.dampings if method is not FusionMethod.COUNT else (0.0,))
    ]
    ranker = LocalRanker(system, config.candidates)
    values: dict[FusionSettings, list[NDArray[np.float64]]] = {settings: [] for settings in grid}
    for part in chunks(valid):
        answers = ranker.answers(part.histories)
        for settings in grid:
            lists = recommend_all(system, answers, settings, 10)
            values[settings].append(ndcg(ranks_in_lists(lists, part.targets), 10))
    return [Tried(settings, float(np.concatenate(parts).mean())) for settings, parts in values.items()]


def best_fusion(tried: Sequence[Tried], method: FusionMethod | None = None) -> FusionSettings:
    """The settings with the highest NDCG@10, of one method or of all; of equals the one that was tried first."""
    return max((t for t in tried if method in (None, t.settings.method)), key=lambda t: t.ndcg).settings
