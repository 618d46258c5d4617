"""What each adapter of a bundle must answer to one prompt, so that a worker's word need not be taken for it.

A server may say that an adapter is loaded and go on answering with the base model's weights, or with another adapter's
(vLLM issues 34186, 42125, 47724). So a bundle carries the base model's and every adapter's best items for one history,
ranked offline by PEFT in float32, and whoever has an adapter loaded asks for that history's list and compares.

Servers normalise over different vocabularies and compute in different number formats. Scores are therefore compared
less their mean over the items compared, and an answer passes where it is as near to what is expected as number formats
allow, and nobody else's list is clearly nearer. What differs less than that cannot be told apart: an adapter that was
trained again from the same start, say, and hardly moved.

Where candidates are ranked, the scores are logits that may hardly differ from one to the next: what bfloat16 makes of
them was up to 0.18 standard deviations away. There an answer passes that is clearly nearest to what is expected.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.contract.bundle import PROBE
from models.contract.errors import BundleError
from models.contract.types import Floats, Ints, RankedList

BASE = ""  # among the names of lists: the base model's, without an adapter
PROBED_ITEMS = 100  # of a list, at most
FEWEST_ITEMS = 3  # of a list: fewer say nothing about an adapter
TOLERANCE = 0.06  # of a list's standard deviation: bfloat16 makes a difference of up to 0.03, float32 of 1e-5
CANDIDATES_TOLERANCE = 1 / 3  # of the way to the nearest other list: nobody else's is less than twice as far
_USER, _EMBEDDING = "user", "embedding"
ROUNDING = 1e-3  # log-probabilities; below it, adapters are twins


@dataclass(frozen=True)
class Probe:
    """One history and the lists for it.

    Args:
        history: (h,) item numbers, oldest first. None of them is in a list.
        prompt: (t,) token ids of that history; of a model that ranks candidates, empty: these are the items of all
            lists, in the order of their numbers.
        lists: best items by adapter name, and the base model's under ``BASE``.
        user: row of the user whose history it is, where a model knows users by row; None: nobody's in particular.
        embedding: (d,) of the user, where a model is told it.
    """

    history: Ints
    prompt: Ints
    lists: Mapping[str, RankedList]
    user: int | None = None
    embedding: Floats | None = None

    @property
    def n(self) -> int:
        """Items to ask for."""
        return max((len(ranking) for ranking in self.lists.values()), default=0)

    def complaint(self, adapter: str, answer: RankedList) -> str:
        """Why an answer is not this adapter's; empty where it is.

        Args:
            adapter: name of the adapter that was asked.
            answer: its ranking of ``n`` items, the history's left out.
        """
        if not len(answer):
            return "it ranks nothing"
        others = {name: distance(ranking, answer) for name, ranking in self.lists.items()}
        own = others.pop(adapter)
        nearest = min(others, key=others.__getitem__)
        if others[nearest] < own / 2 - ROUNDING:
            return f"it answers like {nearest or 'the base model'} ({others[nearest]:.4f} away, {own:.4f} from its own)"
        limit = self._limit(adapter)
        return "" if own <= limit else f"its scores are {own:.4f} from what is expected, {limit:.4f} is the limit"

    def _limit(self, adapter: str) -> float:
        """How far an answer may be from an adapter's list."""
        expected = self.lists[adapter]
        limit = max(TOLERANCE * float(expected.scores.std()), ROUNDING)
        if len(self.prompt):
            return limit
        others = [distance(ranking, expected) for name, ranking in self.lists.items() if name != adapter]
        return max(limit, CANDIDATES_TOLERANCE * min(others))

    def save(self, directory: Path) -> None:
        """Write ``probe.safetensors``."""
        tensors = {"history": self.history, "prompt": self.prompt}
        if self.user is not None:
            tensors[_USER] = np.asarray([self.user], np.int32)
        if self.embedding is not None:
            tensors[_EMBEDDING] = self.embedding  # type: ignore[assignment] # floats
        for name, ranking in self.lists.items():
            tensors |= {f"items/{name}": ranking.items, f"scores/{name}": ranking.scores}  # type: ignore[dict-item] # floats
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, directory / PROBE)


def load_probe(directory: Path, adapters: Iterable[str]) -> Probe:
    """Read ``probe.safetensors``.

    Raises BundleError where it is malformed, or one of ``adapters`` has no list, or one that is too short.
    """
    path = directory / PROBE
    try:
        tensors = load_file(path)
        names = [name.removeprefix("items/") for name in tensors if name.startswith("items/")]
        lists = {name: RankedList(tensors[f"items/{name}"], tensors[f"scores/{name}"]) for name in names}
        user = int(tensors[_USER][0]) if _USER in tensors else None
        probe = Probe(tensors["history"], tensors["prompt"], lists, user, tensors.get(_EMBEDDING))
    except (OSError, KeyError, ValueError, SafetensorError) as exc:
        raise BundleError(f"{path}: {exc}") from exc
    if missing := {BASE, *adapters} - lists.keys():
        raise BundleError(f"{path}: no list of {_named(missing)}")
    if short := {name for name, ranking in lists.items() if len(ranking) < FEWEST_ITEMS}:
        raise BundleError(f"{path}: fewer than {FEWEST_ITEMS} items in the list of {_named(short)}")
    return probe


def _named(adapters: Iterable[str]) -> str:
    return ", ".join(sorted(name or "the base model" for name in adapters))


def distance(expected: RankedList, answer: RankedList) -> float:
    """Mean absolute difference of the expected items' scores, each list's less its mean over these items.

    An item that the answer lacks has the score of its last one there: it can be no better.
    """
    given = _scores_of(expected.items, answer)
    return float(np.abs(_centred(given) - _centred(expected.scores)).mean())


def _scores_of(items: Ints, answer: RankedList) -> Floats:
    known = dict(zip(answer.items.tolist(), answer.scores.tolist(), strict=True))
    last = float(answer.scores.min())
    return np.asarray([known.get(item, last) for item in items.tolist()], np.float32)


def _centred(scores: Floats) -> Floats:
    return np.asarray(scores - scores.mean(), np.float32)
