"""The `local` pipeline offline: profiles, lists, fusion and fallback chain as in the gateway, for many histories."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.config import option
from models.contract.affinity import Kernel
from models.contract.bundle import (
    CF_MODEL,
    CHECKPOINT,
    COMMUNITIES,
    GLOBAL_ADAPTER,
    POPULARITY,
    Bundle,
    Form,
    community_adapter,
)
from models.contract.cf import CFModel
from models.contract.index import top_n
from models.contract.profile import build_profile
from models.contract.prompts import above_words
from models.contract.selection import CF_VOTER, MAX_VOTER_WEIGHT, FusionSettings, ServedVoter, fuse_voters, select
from models.contract.types import Floats, Ints, Profile, RankedList, item_numbers
from models.evaluation.metrics import NO_ITEM
from models.llm.item_token import CatalogueModel
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.ranking.answers import Answer, Answers, VoterLists
from models.training.device import training_device
from models.types import Examples, Score, Sequences

CHUNK = 512  # histories whose score matrices are held at once
NOTHING = item_numbers([])
NO_RANKING = RankedList(NOTHING, np.empty(0, np.float32))

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ServingConfig:
    """Fusion settings that are tried on validation examples; the best become the bundle's."""

    candidates: int = option(100, "Items asked of each voter", low=10, high=1000)
    dampings: tuple[float, ...] = option((0.0, 10.0, 40.0, 100.0), "Values of k of equations 5 and 6 tried", low=0)
    voters: tuple[ServedVoter, ...] = option(
        ("global", "cf"), "Who may vote beside the communities; each request asks the global adapter once more for it"
    )
    voter_weights: tuple[float, ...] = option(
        (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
        "Weights tried of another voter; 1 is as much as a user's communities together",
        low=0,
        high=MAX_VOTER_WEIGHT,
    )


@dataclass(frozen=True)
class LocalSystem:
    """All that the `local` pipeline needs, from a run or a bundle on disk.

    Args:
        cf: the global CF model.
        anchors: (q, d).
        bandwidth, kernel: h and K of equation 2.
        popularity: (n_items,).
        checkpoint: directory of the compiled base model.
        adapters: PEFT directories by name, ``global`` and ``c00`` ….
        history_length: items that a prompt holds.
        form: of the local models.
    """

    cf: CFModel
    anchors: Floats
    bandwidth: float
    kernel: Kernel
    popularity: Floats
    checkpoint: Path
    adapters: Mapping[str, Path]
    history_length: int
    form: Form = "item-token"

    @property
    def communities(self) -> tuple[str, ...]:
        """Names of the communities' adapters, in the order of their numbers."""
        return tuple(community_adapter(number) for number in range(len(self.anchors)))

    def profiles(self, histories: Sequences, accuracies: Floats | None = None) -> list[Profile]:
        """Profiles of n histories: as published with ``accuracies`` (n, q), as the gateway folds them in without."""
        return [
            build_profile(
                self.cf,
                self.anchors,
                self.bandwidth,
                self.kernel,
                histories[row],
                None if accuracies is None else accuracies[row],
            )
            for row in range(len(histories))
        ]


def open_system(bundle: Bundle) -> LocalSystem:
    """What a bundle holds: exactly what is served."""
    return LocalSystem(
        cf=CFModel.load(bundle.path(CF_MODEL)),
        anchors=load_file(bundle.path(COMMUNITIES))["anchors"],
        bandwidth=bundle.manifest.bandwidth,
        kernel=bundle.manifest.kernel,
        popularity=np.load(bundle.path(POPULARITY), allow_pickle=False),
        checkpoint=bundle.path(CHECKPOINT),
        adapters={name: bundle.adapter_path(name) for name in bundle.manifest.model.adapters},
        history_length=bundle.manifest.model.history_length,
        form=bundle.manifest.model.form,
    )


class LocalRanker:
    """Ranks with the compiled checkpoint and its adapters, in float32.

    Args:
        system: what is ranked with.
        candidates: items of each voter's list.
    """

    def __init__(self, system: LocalSystem, candidates: int) -> None:
        self._system = system
        self._candidates = min(candidates, system.cf.n_items)
        device = training_device()
        form = TitleModel if system.form == "title" else CatalogueModel
        self._model = form.load(system.checkpoint, system.adapters[GLOBAL_ADAPTER]).to(device)
        self._scorer = NextItemScorer(self._model, system.history_length, device)

    def global_scores(self, histories: Sequences) -> Floats:
        """Scores (n, n_items) under the global adapter."""
        return self._adapter_scores(GLOBAL_ADAPTER, histories)

    def answers(self, histories: Sequences, allowed: Ints | None = None, accuracies: Floats | None = None) -> Answers:
        """What the communities of each history, the global adapter and the CF model answer.

        Args:
            histories: n sequences.
            allowed: (n, m) the only items to rank; None: all.
            accuracies: (n, q) accuracy of each local model for each user, see :func:`judge`; None: as of users of whom
                only the history is known, whose models are not judged.
        """
        profiles = self._system.profiles(histories, accuracies)
        return Answers(histories, self._system.communities, profiles, self.lists(histories, profiles, allowed), allowed)

    def lists(self, histories: Sequences, profiles: list[Profile], allowed: Ints | None = None) -> VoterLists:
        """The lists of every voter; see :meth:`answers`."""
        communities = self._system.communities
        names = (*communities, GLOBAL_ADAPTER, CF_VOTER)
        lists = VoterLists.empty(names, len(histories), self._candidates)
        everybody = np.arange(len(histories))
        for column, adapter in enumerate(names[:-1]):
            asked = _members(profiles, column) if adapter in communities else everybody
            for rows in chunks_of(asked):
                part = histories.take(rows)
                scores = self._adapter_scores(adapter, part)
                if self._system.form == "title" and allowed is None:  # what a worker's answer can name
                    scores = above_words(scores)
                _put_best(lists, column, rows, scores, part, allowed)
        for row, profile in enumerate(profiles):
            only = None if allowed is None else allowed[row]
            ranking = _cf_list(self._system, profile, self._candidates, np.unique(histories[row]), only)
            lists.put(row, names.index(CF_VOTER), ranking)
        return lists

    def _adapter_scores(self, adapter: str, histories: Sequences) -> Floats:
        self._model.use_adapter(adapter, self._system.adapters[adapter])
        return self._scorer.scores(histories)


def voter_lists(
    name: str, score: Score, examples: Examples, candidates: int, allowed: Ints | None = None
) -> VoterLists:
    """Lists of any other model, to let it vote: see :meth:`models.ranking.answers.Answers.with_voters`.

    Args:
        name: the voter's name.
        score: the model.
        examples: the n examples that the other voters' lists are for.
        candidates: items of each list.
        allowed: (n, m) the only items to rank; None: all.
    """
    lists: VoterLists | None = None
    for rows in chunks_of(np.arange(len(examples))):
        part = examples.take(rows)
        scores = score(part)
        if lists is None:
            lists = VoterLists.empty((name,), len(examples), min(candidates, scores.shape[1]))
        _put_best(lists, 0, rows, scores, part.histories, allowed)
    return lists or VoterLists.empty((name,), 0, candidates)


def recommend(system: LocalSystem, answer: Answer, settings: FusionSettings, n: int) -> Ints:
    """The list that the service would send: fused, seen items removed, filled from `cf` and `popular`."""
    excluded, allowed = np.unique(answer.history), answer.allowed
    popular = ("popular", lambda missing, out: _best(system.popularity, missing, out, allowed))
    cf = ("cf", lambda missing, out: _cf_list(system, answer.profile, missing, out, allowed))
    if not len(answer.history):  # of such a user the service knows nothing
        return select(NO_RANKING, "local", excluded, n, [popular]).items
    fused = fuse_voters(answer.voters, NOTHING, settings)  # no list holds an item of the history
    return select(fused, "local", excluded, n, [cf, popular]).items


def recommend_all(system: LocalSystem, answers: Answers | Sequence[Answer], settings: FusionSettings, n: int) -> Ints:
    """(n_answers, n) served lists, filled up with ``NO_ITEM`` where the catalogue, or what is allowed of it, ends."""
    lists = np.full((len(answers), n), NO_ITEM, np.int32)
    for row, answer in enumerate(answers):
        items = recommend(system, answer, settings, n)
        lists[row, : len(items)] = items
    return lists


def chunks_of(rows: Rows) -> Iterator[Rows]:
    """The rows, a bounded number at a time."""
    return (rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK))


def _members(profiles: list[Profile], community: int) -> Rows:
    return np.asarray(
        [row for row, p in enumerate(profiles) if any(m.community == community for m in p.memberships)], dtype=np.int64
    )


def _put_best(
    lists: VoterLists, column: int, rows: Rows, scores: Floats, histories: Sequences, allowed: Ints | None
) -> None:
    """Write one voter's lists for some rows, from the scores (len(rows), n_items) and the histories of these rows."""
    n = lists.items.shape[2]
    for at, row in enumerate(rows.tolist()):
        only = None if allowed is None else allowed[row]
        lists.put(row, column, _best(scores[at], n, np.unique(histories[at]), only))


def _cf_list(system: LocalSystem, profile: Profile, n: int, excluded: Ints, allowed: Ints | None) -> RankedList:
    if allowed is None:
        return system.cf.recommend(profile.embedding, n, excluded)
    return _best(system.cf.scores(profile.embedding), n, excluded, allowed)


def _best(scores: Floats, n: int, excluded: Ints, allowed: Ints | None) -> RankedList:
    """The ``n`` best of ``scores`` (n_items,), none of ``excluded``, all of ``allowed``."""
    if allowed is not None:
        kept = np.full_like(scores, -np.inf)
        kept[allowed] = scores[allowed]
        scores = kept
    return top_n(scores, n, excluded)
