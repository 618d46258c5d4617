"""What each adapter of a bundle must answer to one prompt, so that a worker's word need not be taken for it.

A server may say that an adapter is loaded and go on answering with the base model's weights, or with another adapter's
(vLLM issues 34186, 42125, 47724). So a bundle carries the base model's and every adapter's best items for one history,
ranked offline by PEFT in float32, and whoever has an adapter loaded asks for that history's list and compares.

Servers normalise over different vocabularies and compute in different number formats. Scores are therefore compared
less their mean over the items compared, and an answer passes where it is less than half as far from what is expected as
the adapter that is most like this one, or within what a number format may do, and nobody else's list is clearly nearer.
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
HALF = 0.5  # of the way to the adapter that is most like it: beyond, an answer is nobody's
BFLOAT16 = 0.05  # mean difference of log-probabilities that a server's number format may make
FLOAT32 = 1e-3  # likewise, with a margin: 1e-5 were seen


@dataclass(frozen=True)
class Probe:
    """One history and the lists for it.

    Args:
        history: (h,) item numbers, oldest first. None of them is in a list.
        prompt: (t,) token ids of that history.
        lists: best items by adapter name, and the base model's under ``BASE``.
    """

    history: Ints
    prompt: Ints
    lists: Mapping[str, RankedList]

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
        if others[nearest] < HALF * own - FLOAT32:
            return f"it answers like {nearest or 'the base model'} ({others[nearest]:.4f} away, {own:.4f} from its own)"
        limit = max(HALF * self._gap(adapter), BFLOAT16)
        return f"its scores are {own:.4f} from what is expected, {limit:.4f} is the limit" if own > limit else ""

    def _gap(self, adapter: str) -> float:
        """How far the list that is most like an adapter's is from it."""
        own = self.lists[adapter]
        return min(distance(own, ranking) for name, ranking in self.lists.items() if name != adapter)

    def save(self, directory: Path) -> None:
        """Write ``probe.safetensors``."""
        tensors = {"history": self.history, "prompt": self.prompt}
        for name, ranking in self.lists.items():
            tensors |= {f"items/{name}": ranking.items, f"scores/{name}": ranking.scores}  # type: ignore[dict-item] # floats
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, directory / PROBE)


def load_probe(directory: Path, adapters: Iterable[str]) -> Probe:
    """Read ``probe.safetensors``. Raises BundleError where it is malformed, or one of ``adapters`` has no list."""
    path = directory / PROBE
    try:
        tensors = load_file(path)
        names = [name.removeprefix("items/") for name in tensors if name.startswith("items/")]
        lists = {name: RankedList(tensors[f"items/{name}"], tensors[f"scores/{name}"]) for name in names}
        probe = Probe(tensors["history"], tensors["prompt"], lists)
    except (OSError, KeyError, ValueError, SafetensorError) as exc:
        raise BundleError(f"{path}: {exc}") from exc
    if missing := {BASE, *adapters} - lists.keys():
        raise BundleError(f"{path}: no list of {', '.join(sorted(name or 'the base model' for name in missing))}")
    return probe


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
