"""What every voter says of many histories, from one scoring pass: kept on disk, and fused as often as one likes.

On disk::

    voters.json    names of the voters
    items.npy      (n, v, c) int32
    scores.npy     (n, v, c) float32
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from models.contract.selection import Voter
from models.contract.types import Floats, Ints, Profile, RankedList
from models.evaluation.metrics import NO_ITEM
from models.types import Sequences

_NAMES, _ITEMS, _SCORES = "voters.json", "items.npy", "scores.npy"


@dataclass(frozen=True)
class VoterLists:
    """The best items of v voters for n histories, items of the history left out.

    Args:
        names: (v,) names of the voters.
        items: (n, v, c) int32 item numbers, best first, ``NO_ITEM`` where a list ends or the voter was not asked.
        scores: (n, v, c) float32, higher is better.
    """

    names: tuple[str, ...]
    items: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def empty(cls, names: Sequence[str], n: int, candidates: int) -> Self:
        """Lists of up to ``candidates`` items that nobody has filled yet."""
        shape = (n, len(names), candidates)
        return cls(tuple(names), np.full(shape, NO_ITEM, np.int32), np.zeros(shape, np.float32))

    def put(self, row: int, column: int, ranking: RankedList) -> None:
        """Write one voter's list for one history; it is cut where the arrays end."""
        n = min(len(ranking), self.items.shape[2])
        self.items[row, column, :n] = ranking.items[:n]
        self.scores[row, column, :n] = ranking.scores[:n]

    def get(self, row: int, name: str) -> RankedList:
        """One voter's list for one history."""
        column = self.names.index(name)
        n = int((self.items[row, column] != NO_ITEM).sum())
        return RankedList(self.items[row, column, :n], self.scores[row, column, :n])

    def best(self, name: str, m: int) -> Ints:
        """(n, m) best items of one voter, filled up with ``NO_ITEM``."""
        best = np.full((len(self), m), NO_ITEM, np.int32)
        kept = self.items[:, self.names.index(name), :m]
        best[:, : kept.shape[1]] = kept
        return best

    def joined(self, other: "VoterLists") -> "VoterLists":
        """These voters' lists and other ones' for the same histories, cut to the shorter lists of the two."""
        c = min(self.items.shape[2], other.items.shape[2])
        return VoterLists(
            self.names + other.names,
            np.concatenate([self.items[:, :, :c], other.items[:, :, :c]], axis=1),
            np.concatenate([self.scores[:, :, :c], other.scores[:, :, :c]], axis=1),
        )

    def save(self, directory: Path) -> None:
        """Write the lists into an existing directory."""
        np.save(directory / _ITEMS, self.items)
        np.save(directory / _SCORES, self.scores)
        (directory / _NAMES).write_text(json.dumps(self.names) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Lists that were saved, read from the disk as they are needed."""
        # A plain view of the map: each slice of the map itself would carry its bookkeeping along.
        items, scores = (
            np.asarray(np.load(directory / name, mmap_mode="r", allow_pickle=False)) for name in (_ITEMS, _SCORES)
        )
        return cls(tuple(json.loads((directory / _NAMES).read_text())), items, scores)


@dataclass(frozen=True)
class Answer:
    """The voters' answers for one history. ``allowed`` holds the only items that may be ranked; None: all."""

    history: Ints
    profile: Profile
    voters: tuple[Voter, ...]
    allowed: Ints | None = None


@dataclass(frozen=True)
class Answers:
    """The voters' answers for n histories, before fusion.

    Args:
        histories: n sequences.
        communities: (q,) names of the communities' voters, in the order of their numbers.
        profiles: n profiles: who belongs to which community, and with what weights.
        lists: every voter's lists; those of communities that a user does not belong to do not count.
        allowed: (n, m) the only items that were ranked for each history; None: all.
    """

    histories: Sequences
    communities: tuple[str, ...]
    profiles: Sequence[Profile]
    lists: VoterLists
    allowed: Ints | None = None

    def __len__(self) -> int:
        return len(self.profiles)

    def __iter__(self) -> Iterator[Answer]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> Answer:
        """One history's answers: its communities' nearest first, then everybody else's, as in the gateway."""
        profile = self.profiles[row]
        members = [(m, self.communities[m.community]) for m in profile.memberships]
        others = [name for name in self.lists.names if name not in self.communities]
        voters = (
            *(Voter(member, self.lists.get(row, name), name) for member, name in members),
            *(Voter(None, self.lists.get(row, name), name) for name in others),
        )
        return Answer(self.histories[row], profile, voters, None if self.allowed is None else self.allowed[row])

    def with_voters(self, lists: VoterLists) -> "Answers":
        """The same with more voters, such as a baseline whose lists are at hand."""
        return replace(self, lists=self.lists.joined(lists))
