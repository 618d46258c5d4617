"""What the gateway needs of a bundle's models beside the local ones: CoLLM's prompts, HatLLM's and its items."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.contract.bundle import Bundle, CoLLMSpec, HatLLMSpec, Part
from models.contract.collm import PROMPTS, CoLLMPrompts
from models.contract.errors import BundleError
from models.contract.hatllm import ITEM_ROWS
from models.contract.index import ItemIndex, build_index
from models.contract.probe import load_probe
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.types import Floats


@dataclass(frozen=True)
class HatLLM:
    """What is known here of HatLLM.

    Args:
        prompts: how it reads histories.
        index: of the items' rows.
        size: numbers of a row, and of a state.
    """

    prompts: TitlePrompts
    index: ItemIndex
    size: int


@dataclass(frozen=True)
class Parts:
    """The models that pipelines need; None: none does."""

    collm: CoLLMPrompts | None = None
    hatllm: HatLLM | None = None


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


def _hatllm(bundle: Bundle, spec: HatLLMSpec) -> HatLLM:
    model, n_items = bundle.served("hatllm"), bundle.manifest.model.n_items
    titles = TitleTokens.load(model.directory)
    longest = len(titles.start) + spec.history_length * titles.longest
    if titles.n_items != n_items or longest > spec.max_tokens:
        raise BundleError(
            f"{bundle.id}: hatllm's titles are of {titles.n_items} items and up to {longest} tokens a prompt, "
            f"expected {n_items} and up to {spec.max_tokens}"
        )
    load_probe(model.directory, model.adapters)
    rows = _item_rows(model.directory / ITEM_ROWS, n_items)
    return HatLLM(TitlePrompts(titles, spec.history_length), build_index(rows), rows.shape[1])


def _item_rows(path: Path, n_items: int) -> Floats:
    """(n_items, hidden) float32, checked. Raises BundleError."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise BundleError(f"{path}: {exc}") from exc
    if rows.ndim != 2 or len(rows) != n_items or rows.dtype != np.float32:
        raise BundleError(f"{path}: {rows.dtype} of shape {rows.shape}, expected float32 of ({n_items}, hidden size)")
    if not np.isfinite(rows).all():
        raise BundleError(f"{path}: not all numbers are finite")
    return np.asarray(rows, np.float32)
