"""Bundles that have CoLLM and HatLLM beside the local models, all of them the stub worker's."""

import json
from pathlib import Path

import msgspec
import numpy as np
from support.bundles import make_bundle

from localrec.bench.stub_worker import STATE_SIZE, stub_logit, stub_state
from models.contract.bundle import Bundle, CoLLMSpec, HatLLMSpec, Part, ServedModel, hash_files, write_manifest
from models.contract.collm import TEXTS, CoLLMPrompts
from models.contract.hatllm import ITEM_ROWS
from models.contract.index import top_n
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.redis_schema import item_hash
from models.contract.types import Ints, RankedList, item_numbers

N_WORDS = 500
HISTORY_LENGTH = 10
KNOWN_USERS = 30  # u0 … of those who are published
UNKNOWN_ITEMS = 7  # every seventh item was not there at training
_PROBED = item_numbers(range(5))
_SPECS = {
    "collm": CoLLMSpec("synthetic", "mf", 4, 400, "ĠYes", 3),
    "hatllm": HatLLMSpec("synthetic", HISTORY_LENGTH, 4, 100),
}


def make_bundle_with(root: Path, *parts: Part, name: str = "parts", n_items: int = 200, seed: int = 0) -> Bundle:
    """A synthetic bundle with these parts."""
    bundle = make_bundle(root, name=f"{name}-{'-'.join(parts)}", n_items=n_items, seed=seed)
    specs = {part: _SPECS[part] for part in parts}
    bundle = Bundle(bundle.directory, msgspec.structs.replace(bundle.manifest, **specs))
    for part in parts:
        _write(bundle.served(part), n_items)
    return write_manifest(
        bundle.directory, msgspec.structs.replace(bundle.manifest, files=hash_files(bundle.directory))
    )


def collm_prompts(n_items: int) -> CoLLMPrompts:
    """Prompts in which every title is one word and its quotes."""
    pieces = {text: item_numbers([10 + at, 20 + at]) for at, text in enumerate(TEXTS)}
    titles = np.stack([np.full(n_items, 1), np.arange(n_items) + 50, np.full(n_items, 2)], axis=1)
    users = np.asarray([item_hash(f"u{row}") for row in range(KNOWN_USERS)], np.uint64)
    known = np.arange(n_items) % UNKNOWN_ITEMS != 0
    offsets = np.arange(n_items + 1, dtype=np.int64) * 3
    return CoLLMPrompts(pieces, offsets, titles.astype(np.int32).ravel(), N_WORDS, users, known, HISTORY_LENGTH)


def title_tokens(n_items: int) -> TitleTokens:
    """Prompts of an instruction of three words; every title is one word and the separator."""
    ids = np.stack([np.arange(n_items) + 50, np.full(n_items, 4)], axis=1).astype(np.int32).ravel()
    return TitleTokens((7, 8, 9), np.arange(n_items + 1, dtype=np.int64) * 2, ids, N_WORDS)


def item_rows(n_items: int) -> np.ndarray:
    """(n_items, STATE_SIZE) float32."""
    return np.random.default_rng(n_items).standard_normal((n_items, STATE_SIZE), dtype=np.float32)


def collm_ranking(name: str, prompts: CoLLMPrompts, history: Ints, items: Ints, user: int | None) -> RankedList:
    """What a stub's CoLLM makes of candidates."""
    asked = prompts.prompts(history, items, user)
    scores = np.asarray([stub_logit(name, tuple(prompt.tolist())) for prompt in asked], np.float32)
    order = np.lexsort((items, -scores))
    return RankedList(items[order], scores[order])


def hatllm_ranking(name: str, history: Ints, n_items: int, n: int, excluded: Ints) -> RankedList:
    """What a stub's HatLLM ranks after a history."""
    prompt = TitlePrompts(title_tokens(n_items), HISTORY_LENGTH).prompt(history)
    return top_n(item_rows(n_items) @ stub_state(name, tuple(prompt)), n, excluded)


def _write(model: ServedModel, n_items: int) -> None:
    for path, document in (
        (model.checkpoint / "config.json", {"part": model.part}),
        (model.adapter_path(model.part) / "adapter_config.json", {}),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    names = {BASE: "", model.part: model.adapter_name(model.part)}
    if model.part == "collm":
        prompts, items = collm_prompts(n_items), item_numbers(range(5, 25))
        prompts.save(model.directory)
        lists = {key: collm_ranking(name, prompts, _PROBED, items, 1) for key, name in names.items()}
        Probe(_PROBED, item_numbers([]), lists, user=1).save(model.directory)
    else:
        titles = title_tokens(n_items)
        titles.save(model.directory)
        np.save(model.directory / ITEM_ROWS, item_rows(n_items))
        lists = {key: hatllm_ranking(name, _PROBED, n_items, PROBED_ITEMS, _PROBED) for key, name in names.items()}
        Probe(_PROBED, titles.prompt(_PROBED), lists).save(model.directory)
