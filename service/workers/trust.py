"""Whether an adapter that a worker has loaded is the one that was meant: it is asked its bundle's probe."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.contract.bundle import ServedModel
from models.contract.collm import CoLLMPrompts
from models.contract.errors import BundleError
from models.contract.hatllm import ITEM_ROWS
from models.contract.index import top_n
from models.contract.probe import Probe, load_probe
from models.contract.prompts import load_prompts
from models.contract.specs import Part
from models.contract.types import Array, Floats, Ints, RankedList, item_numbers
from models.contract.ulmrec import ULMRecPrompts
from service.workers.classification import Classification
from service.workers.completion import Completion
from service.workers.embedding import Embedding
from service.workers.letters import Letters
from service.workers.types import Inquiry, Outcome


@dataclass(frozen=True)
class Exam:
    """A model's probe as a question to workers."""

    probe: Probe
    inquiry: Inquiry

    def complaint(self, adapter: str, answer: Outcome) -> str:
        """Why an answer is not the adapter's; empty where it is."""
        return self.probe.complaint(adapter, answer.ranking)


class Examiner:
    """Reads each bundle's probe once, from the gateway's own disk. Its models are all of one part."""

    def __init__(self) -> None:
        self._exams: dict[str, Exam] = {}

    async def exam(self, model: ServedModel) -> Exam:
        """The exam of a bundle's model. Raises BundleError where its files do not give one."""
        exam = self._exams.get(model.id)
        if exam is None:
            exam = self._exams[model.id] = await asyncio.to_thread(read_exam, model)
        return exam

    def keep(self, bundle_ids: set[str]) -> None:
        """Forget the exams of all other bundles."""
        self._exams = {bundle_id: exam for bundle_id, exam in self._exams.items() if bundle_id in bundle_ids}


def read_exam(model: ServedModel) -> Exam:
    """The exam of a bundle's model, from its files. Raises BundleError."""
    probe = load_probe(model.directory, model.adapters)
    return Exam(probe, _INQUIRE[model.part](model, probe))


def _completion(model: ServedModel, probe: Probe) -> Inquiry:
    return Completion(
        prompt=probe.prompt.tolist(),
        candidates=probe.n,
        excluded=probe.history,
        n_items=model.bundle.manifest.model.n_items,
        item_offset=load_prompts(model.bundle).item_offset,
    )


def _classification(model: ServedModel, probe: Probe) -> Inquiry:
    items = _probed(model, probe)
    return Classification(CoLLMPrompts.load(model.directory).prompts(probe.history, items, probe.user), items)


def _letters(model: ServedModel, probe: Probe) -> Inquiry:
    items, prompts = _probed(model, probe), ULMRecPrompts.load(model.directory)
    try:
        index = None if probe.user is None else prompts.indices[probe.user]
        prompt = prompts.prompt(probe.history, items, index)
    except (IndexError, ValueError) as exc:
        raise BundleError(f"{model.id}: {model.part}: its probe does not fit its prompts: {exc}") from exc
    return Letters(prompt, items, prompts.answers[: len(items)])


def _embedding(model: ServedModel, probe: Probe) -> Inquiry:
    items, path = _probed(model, probe), model.directory / ITEM_ROWS
    try:
        rows = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)[items])
    except (OSError, ValueError, IndexError) as exc:
        raise BundleError(f"{path}: {exc}") from exc
    nothing, index = item_numbers([]), _FewItems(items, rows)
    return Embedding(probe.prompt.tolist(), len(items), nothing, index, rows.shape[-1], user=probe.embedding)


def _probed(model: ServedModel, probe: Probe) -> Ints:
    """The items of all lists of a probe, sorted. Raises BundleError where the catalogue has no such items."""
    items = np.unique(np.concatenate([ranking.items for ranking in probe.lists.values()])).astype(np.int32)
    if items[0] < 0 or items[-1] >= model.bundle.manifest.model.n_items:
        raise BundleError(f"{model.id}: {model.part}: the probe has items that the catalogue lacks")
    return items


_INQUIRE: Mapping[Part, Callable[[ServedModel, Probe], Inquiry]] = MappingProxyType(
    {
        "local": _completion,
        "collm": _classification,
        "hatllm": _embedding,
        "ulmrec": _letters,
        "l2rec": _embedding,
    }
)


@dataclass(frozen=True)
class _FewItems:
    """An index of a probe's items, so that not all rows are kept for it. ``rows`` is (len(items), d)."""

    items: Ints
    rows: Floats

    def search(self, query: Floats, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
        """See :class:`models.contract.index.ItemIndex`; nothing is excluded from a probe, all its items are allowed."""
        found = top_n(self.rows @ query, n, excluded, allowed)
        return RankedList(self.items[found.items], found.scores)
