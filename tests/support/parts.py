"""Bundles that have further models beside the local ones, all of them the stub worker's."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from support.bundles import make_bundle

from localrec.bench.stub_worker import STATE_SIZE, stub_logit, stub_scores, stub_state
from models.contract.bundle import (
    Bundle,
    CoLLMSpec,
    HatLLMSpec,
    L2RecSpec,
    Part,
    ServedModel,
    ULMRecSpec,
    hash_files,
    write_manifest,
)
from models.contract.collm import TEXTS, CoLLMPrompts
from models.contract.hatllm import ITEM_ROWS
from models.contract.index import top_n
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.redis_schema import item_hash
from models.contract.types import Floats, Ints, RankedList, item_numbers
from models.contract.ulmrec import CODES, LEVELS, ULMRecPrompts, UserIndexer
from models.contract.ulmrec import TEXTS as ULMREC_TEXTS

N_WORDS = 500
HISTORY_LENGTH = 10
LETTERS = 20  # of ULMRec's prompts
KNOWN_USERS = 30  # u0 … of those who are published
UNKNOWN_ITEMS = 7  # every seventh item was not there at training
_PROBED = item_numbers(range(5))
_SPECS = {
    "collm": CoLLMSpec("synthetic", "mf", 4, 400, "ĠYes", 3),
    "hatllm": HatLLMSpec("synthetic", HISTORY_LENGTH, 4, 100),
    "ulmrec": ULMRecSpec("synthetic", LETTERS, 4, 400),
    "l2rec": L2RecSpec("synthetic", HISTORY_LENGTH, STATE_SIZE, 4, 100),
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


def ulmrec_prompts(n_items: int) -> ULMRecPrompts:
    """Prompts in which every title is one word; letters' tokens are among the stub's, which has one an item."""
    pieces = {text: item_numbers([10 + at]) for at, text in enumerate((*ULMREC_TEXTS, "after_index"))}
    numbers = tuple(item_numbers([300 + at]) for at in range(HISTORY_LENGTH))
    letters = tuple(item_numbers([400 + at]) for at in range(LETTERS))
    users = np.asarray([item_hash(f"u{row}") for row in range(KNOWN_USERS)], np.uint64)
    indices = np.random.default_rng(1).integers(CODES, size=(KNOWN_USERS, LEVELS), dtype=np.int32)
    offsets, ids = np.arange(n_items + 1, dtype=np.int64), np.arange(n_items, dtype=np.int32) + 50
    answers = np.arange(60, 60 + LETTERS, dtype=np.int32)
    return ULMRecPrompts(pieces, numbers, letters, answers, offsets, ids, N_WORDS, CODES, users, indices)


def user_indexer(n_items: int) -> UserIndexer:
    """One layer, and texts' vectors of eight numbers."""
    rng = np.random.default_rng(2)

    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, dtype=np.float32)

    taken = ulmrec_prompts(n_items).indices
    return UserIndexer(normal(n_items, 8), normal(8, 8), (normal(4, 8),), (normal(4),), normal(LEVELS, CODES, 4), taken)


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


def ulmrec_ranking(name: str, history: Ints, items: Ints, index: Ints, n_items: int) -> RankedList:
    """What a stub's ULMRec makes of candidates."""
    prompts = ulmrec_prompts(n_items)
    scores = stub_scores(name, tuple(prompts.prompt(history, items, index).tolist()), n_items)
    scores = scores[prompts.answers[: len(items)]]
    order = np.lexsort((items, -scores))
    return RankedList(items[order], scores[order])


def l2rec_ranking(name: str, history: Ints, embedding: Floats, n_items: int, n: int, excluded: Ints) -> RankedList:
    """What a stub's L2Rec ranks after a history."""
    prompt = TitlePrompts(title_tokens(n_items), HISTORY_LENGTH).prompt(history)
    user = base64.b64encode(embedding.astype("<f4").tobytes()).decode()
    return top_n(item_rows(n_items) @ stub_state(name, tuple(prompt), user), n, excluded)


def _write(model: ServedModel, n_items: int) -> None:
    for path, document in (
        (model.checkpoint / "config.json", {"part": model.part}),
        (model.adapter_path(model.part) / "adapter_config.json", {}),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    names = {BASE: "", model.part: model.adapter_name(model.part)}
    _WRITERS[model.part](model.directory, names, n_items)


def _write_collm(directory: Path, names: Mapping[str, str], n_items: int) -> None:
    prompts, items = collm_prompts(n_items), item_numbers(range(5, 25))
    prompts.save(directory)
    lists = {key: collm_ranking(name, prompts, _PROBED, items, 1) for key, name in names.items()}
    Probe(_PROBED, item_numbers([]), lists, user=1).save(directory)


def _write_hatllm(directory: Path, names: Mapping[str, str], n_items: int) -> None:
    lists = {key: hatllm_ranking(name, _PROBED, n_items, PROBED_ITEMS, _PROBED) for key, name in names.items()}
    Probe(_PROBED, _write_items(directory, n_items), lists).save(directory)


def _write_ulmrec(directory: Path, names: Mapping[str, str], n_items: int) -> None:
    prompts, items = ulmrec_prompts(n_items), item_numbers(range(5, 25))
    prompts.save(directory)
    user_indexer(n_items).save(directory)
    index = prompts.indices[1]
    lists = {key: ulmrec_ranking(name, _PROBED, items, index, n_items) for key, name in names.items()}
    Probe(_PROBED, item_numbers([]), lists, user=1).save(directory)


def _write_l2rec(directory: Path, names: Mapping[str, str], n_items: int) -> None:
    user = item_rows(n_items)[0]
    lists = {key: l2rec_ranking(name, _PROBED, user, n_items, PROBED_ITEMS, _PROBED) for key, name in names.items()}
    Probe(_PROBED, _write_items(directory, n_items), lists, embedding=user).save(directory)


def _write_items(directory: Path, n_items: int) -> Ints:
    """Titles and rows; returns the probe's prompt."""
    titles = title_tokens(n_items)
    titles.save(directory)
    np.save(directory / ITEM_ROWS, item_rows(n_items))
    return titles.prompt(_PROBED)


_WRITERS: Mapping[Part, Callable[[Path, Mapping[str, str], int], None]] = {
    "collm": _write_collm,
    "hatllm": _write_hatllm,
    "ulmrec": _write_ulmrec,
    "l2rec": _write_l2rec,
}
