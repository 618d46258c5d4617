"""What the gateway needs of a bundle's models beside the local ones: how they are asked, and their items."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.contract import hatllm, l2rec
from models.contract.bundle import Bundle, ServedModel
from models.contract.collm import PROMPTS, CoLLMPrompts
from models.contract.errors import BundleError
from models.contract.index import ItemIndex, build_index
from models.contract.probe import load_probe
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.specs import CoLLMSpec, HatLLMSpec, L2RecSpec, Part, ULMRecSpec
from models.contract.types import Floats, Ints
from models.contract.ulmrec import ULMRecPrompts
from models.contract.user_index import INDEXER, UserIndexer


@dataclass(frozen=True)
class StateModel:
    """A model that reads a history into a state, which ranks all items by their rows: HatLLM, L2Rec.

    Args:
        prompts: how it reads histories.
        index: of the items' rows.
        size: numbers of a row, and of a state.
    """

    prompts: TitlePrompts
    index: ItemIndex
    size: int


@dataclass(frozen=True)
class ULMRec:
    """What is known here of ULMRec.

    Args:
        prompts: how candidates and histories become prompts, and the known users' indices.
        indexer: gives the others one.
    """

    prompts: ULMRecPrompts
    indexer: UserIndexer

    def index_of(self, user_id: str | None, history: Ints) -> tuple[Ints, bool]:
        """A user's index (levels,), and whether it was made just now, of a history with at least one item."""
        known = None if user_id is None else self.prompts.user_index(user_id)
        return (self.indexer.index(user_id, history), True) if known is None else (known, False)


@dataclass(frozen=True)
class Parts:
    """The models that pipelines need; None: none does."""

    collm: CoLLMPrompts | None = None
    hatllm: StateModel | None = None
    ulmrec: ULMRec | None = None
    l2rec: StateModel | None = None


NO_PARTS = Parts()


def load_parts(bundle: Bundle, needs: Mapping[str, Part]) -> Parts:
    """Load what pipelines need.

    Args:
        bundle: verified.
        needs: models by the names of the pipelines that ask them.

    Raises:
        BundleError: the bundle lacks a model, or has one that does not fit its catalogue.
    """
    for pipeline, part in needs.items():
        if part not in bundle.manifest.parts:
            raise BundleError(
                f"{bundle.id}: pipeline {pipeline} needs the model {part}, which the bundle does not have; "
                f"it has {', '.join(bundle.manifest.parts)}"
            )
    manifest, needed = bundle.manifest, set(needs.values())
    return Parts(
        collm=_collm(bundle, manifest.collm) if manifest.collm and "collm" in needed else None,
        hatllm=_hatllm(bundle, manifest.hatllm) if manifest.hatllm and "hatllm" in needed else None,
        ulmrec=_ulmrec(bundle, manifest.ulmrec) if manifest.ulmrec and "ulmrec" in needed else None,
        l2rec=_l2rec(bundle, manifest.l2rec) if manifest.l2rec and "l2rec" in needed else None,
    )


def _collm(bundle: Bundle, spec: CoLLMSpec) -> CoLLMPrompts:
    model, n_items = bundle.served("collm"), bundle.manifest.model.n_items
    prompts = CoLLMPrompts.load(model.directory)
    if prompts.n_items != n_items or prompts.longest > spec.max_tokens:
        raise BundleError(
            f"{bundle.id}: collm/{PROMPTS} is of {prompts.n_items} items and up to {prompts.longest} tokens a prompt, "
            f"expected {n_items} and up to {spec.max_tokens}"
        )
    load_probe(model.directory, model.adapters)  # without one, the adapter could not be trusted
    return prompts


def _hatllm(bundle: Bundle, spec: HatLLMSpec) -> StateModel:
    return _state_model(bundle.served(hatllm.PART), spec, hatllm.ITEM_ROWS)


def _l2rec(bundle: Bundle, spec: L2RecSpec) -> StateModel:
    if spec.user_size != bundle.manifest.embedding_size:
        raise BundleError(
            f"{bundle.id}: l2rec is routed by {spec.user_size} numbers of a user, user_size; "
            f"the CF model's embeddings have {bundle.manifest.embedding_size}, embedding_size"
        )
    return _state_model(bundle.served(l2rec.PART), spec, l2rec.ITEM_ROWS)


def _state_model(model: ServedModel, spec: HatLLMSpec | L2RecSpec, item_rows: str) -> StateModel:
    n_items = model.bundle.manifest.model.n_items
    titles = TitleTokens.load(model.directory)
    longest = len(titles.start) + spec.history_length * titles.longest
    if titles.n_items != n_items or longest > spec.max_tokens:
        raise BundleError(
            f"{model.id}: {model.part}'s titles are of {titles.n_items} items and up to {longest} tokens a prompt, "
            f"expected {n_items} and up to {spec.max_tokens}"
        )
    load_probe(model.directory, model.adapters)
    rows = _item_rows(model.directory / item_rows, n_items)
    return StateModel(TitlePrompts(titles, spec.history_length), build_index(rows), rows.shape[1])


def _ulmrec(bundle: Bundle, spec: ULMRecSpec) -> ULMRec:
    model, n_items = bundle.served("ulmrec"), bundle.manifest.model.n_items
    prompts, indexer = ULMRecPrompts.load(model.directory), UserIndexer.load(model.directory)
    found = (prompts.n_items, prompts.candidates)
    if found != (n_items, spec.candidates) or prompts.longest > spec.max_tokens:
        raise BundleError(
            f"{bundle.id}: ulmrec's prompts are of {found[0]} items, {found[1]} candidates and up to {prompts.longest} "
            f"tokens, expected {n_items}, {spec.candidates} and up to {spec.max_tokens}"
        )
    made = (len(indexer.item_vectors), *indexer.codebooks.shape[:2])
    if made != (n_items, prompts.levels, prompts.codes):
        raise BundleError(
            f"{bundle.id}: ulmrec/{INDEXER} is of (items, levels, codes) {made}, "
            f"expected {(n_items, prompts.levels, prompts.codes)}"
        )
    load_probe(model.directory, model.adapters)
    _try(indexer, bundle.id)
    return ULMRec(prompts, indexer)


def _try(indexer: UserIndexer, bundle_id: str) -> None:
    """Give somebody an index now, not while the first request waits. Raises BundleError where none is free."""
    try:
        indexer.index(None, [0])
    except ValueError as exc:
        raise BundleError(f"{bundle_id}: ulmrec/{INDEXER}: {exc}") from exc


def _item_rows(path: Path, n_items: int) -> Floats:
    """(n_items, size) float32, checked. Raises BundleError."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise BundleError(f"{path}: {exc}") from exc
    if rows.ndim != 2 or len(rows) != n_items or rows.dtype != np.float32:
        raise BundleError(f"{path}: {rows.dtype} of shape {rows.shape}, expected float32 of ({n_items}, size)")
    if not np.isfinite(rows).all():
        raise BundleError(f"{path}: not all numbers are finite")
    return np.asarray(rows, np.float32)
