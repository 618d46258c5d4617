"""Bundles that have further models beside the local ones, all of them the stub worker's."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from support.bundles import make_bundle

from localrec.bench.stub_worker import STATE_SIZE, stub_logit, stub_scores, stub_state, stub_user_vector
from models.contract import l2rec, ulmrec
from models.contract.bundle import Bundle, ServedModel, hash_files, write_manifest
from models.contract.collm import TEXTS, CoLLMPrompts
from models.contract.hatllm import ITEM_ROWS
from models.contract.index import top_n
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.prompts import TitlePrompts, TitleTokens
from models.contract.redis_schema import item_hash
from models.contract.specs import CoLLMSpec, HatLLMSpec, L2RecSpec, Part, ULMRecSpec
from models.contract.types import Floats, Ints, RankedList, by_score, item_numbers
from models.contract.ulmrec import ULMRecPrompts
from models.contract.user_index import UserIndexer

N_WORDS = 500
HISTORY_LENGTH = 10
KNOWN_USERS = 30  # u0 … of those who are published
UNKNOWN_ITEMS = 7  # every seventh item was not there at training
LETTERS = 20
LEVELS, CODES, LATENT = 4, 8, 3  # of the user index
TEXT_SIZE = 6  # numbers of a text's vector
USER_SIZE = 16  # of a user's embedding
_PROBED = item_numbers(range(5))
_SPECS = {
    "collm": CoLLMSpec("synthetic", "mf", 4, 400, "ĠYes", 3),
    "hatllm": HatLLMSpec("synthetic", HISTORY_LENGTH, 4, 100),
    "ulmrec": ULMRecSpec("synthetic", LETTERS, 4, 100),
    "l2rec": L2RecSpec("synthetic", HISTORY_LENGTH, USER_SIZE, 4, 100),
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
    return by_score(items, scores)


def hatllm_ranking(name: str, history: Ints, n_items: int, n: int, excluded: Ints) -> RankedList:
    """What a stub's HatLLM ranks after a history."""
    prompt = TitlePrompts(title_tokens(n_items), HISTORY_LENGTH).prompt(history)
    return top_n(item_rows(n_items) @ stub_state(name, tuple(prompt)), n, excluded)


def ulmrec_prompts(n_items: int) -> ULMRecPrompts:
    """Prompts in which every title is one word; the letters' tokens are 30 to 49."""
    pieces = {text: item_numbers([10 + at, 20 + at]) for at, text in enumerate((*ulmrec.TEXTS, "after_index"))}
    return ULMRecPrompts(
        pieces=pieces,
        numbers=tuple(item_numbers([400 + place]) for place in range(HISTORY_LENGTH)),
        letters=tuple(item_numbers([420 + place]) for place in range(LETTERS)),
        answers=item_numbers(range(30, 30 + LETTERS)),
        offsets=np.arange(n_items + 1, dtype=np.int64),
        ids=item_numbers(range(50, 50 + n_items)),
        n_words=N_WORDS,
        codes=CODES,
        users=np.asarray([item_hash(f"u{row}") for row in range(KNOWN_USERS)], np.uint64),
        indices=_indices(),
    )


def user_indexer(n_items: int) -> UserIndexer:
    """Random texts and networks; the known users' indices are taken."""
    rng = np.random.default_rng(n_items)

    def drawn(*shape: int) -> Floats:
        return rng.standard_normal(shape, dtype=np.float32)

    return UserIndexer(
        item_vectors=drawn(n_items, TEXT_SIZE),
        attention=drawn(TEXT_SIZE, TEXT_SIZE),
        weights=(drawn(5, TEXT_SIZE), drawn(LATENT, 5)),
        biases=(drawn(5), drawn(LATENT)),
        codebooks=drawn(LEVELS, CODES, LATENT),
        taken=_indices(),
    )


def _indices() -> Ints:
    """(KNOWN_USERS, LEVELS), all different."""
    rows = np.arange(KNOWN_USERS)
    return np.stack([rows % CODES, rows // CODES, (3 * rows) % CODES, (5 * rows) % CODES], axis=1).astype(np.int32)


def ulmrec_ranking(
    name: str, prompts: ULMRecPrompts, history: Ints, candidates: Ints, index: Ints | None
) -> RankedList:
    """What a stub's ULMRec makes of candidates, in the order in which they stand in the prompt."""
    tokens = tuple(prompts.prompt(history, candidates, index).tolist())
    scores = stub_scores(name, tokens, prompts.n_items)[prompts.answers[: len(candidates)]]
    return by_score(candidates, scores)


def unit_rows(n_items: int) -> Floats:
    """(n_items, STATE_SIZE) float32 of length 1: L2Rec's items."""
    rows = item_rows(n_items)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def l2rec_ranking(name: str, history: Ints, embedding: Floats, n_items: int, n: int, excluded: Ints) -> RankedList:
    """What a stub's L2Rec ranks for a user with this embedding (USER_SIZE,)."""
    prompt = TitlePrompts(title_tokens(n_items), HISTORY_LENGTH).prompt(history)
    return top_n(unit_rows(n_items) @ stub_user_vector(name, tuple(prompt), embedding), n, excluded)


def _write(model: ServedModel, n_items: int) -> None:
    for path, document in (
        (model.checkpoint / "config.json", {"part": model.part}),
        (model.adapter_path(model.part) / "adapter_config.json", {}),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    _WRITERS[model.part](model, {BASE: "", model.part: model.adapter_name(model.part)}, n_items)


def _write_collm(model: ServedModel, names: Mapping[str, str], n_items: int) -> None:
    prompts, items = collm_prompts(n_items), item_numbers(range(5, 25))
    prompts.save(model.directory)
    lists = {key: collm_ranking(name, prompts, _PROBED, items, 1) for key, name in names.items()}
    Probe(_PROBED, item_numbers([]), lists, user=1).save(model.directory)


def _write_hatllm(model: ServedModel, names: Mapping[str, str], n_items: int) -> None:
    titles = title_tokens(n_items)
    titles.save(model.directory)
    np.save(model.directory / ITEM_ROWS, item_rows(n_items))
    lists = {key: hatllm_ranking(name, _PROBED, n_items, PROBED_ITEMS, _PROBED) for key, name in names.items()}
    Probe(_PROBED, titles.prompt(_PROBED), lists).save(model.directory)


def _write_ulmrec(model: ServedModel, names: Mapping[str, str], n_items: int) -> None:
    prompts, items = ulmrec_prompts(n_items), item_numbers(range(5, 5 + LETTERS))
    prompts.save(model.directory)
    user_indexer(n_items).save(model.directory)
    lists = {key: ulmrec_ranking(name, prompts, _PROBED, items, prompts.indices[1]) for key, name in names.items()}
    Probe(_PROBED, item_numbers([]), lists, user=1).save(model.directory)


def _write_l2rec(model: ServedModel, names: Mapping[str, str], n_items: int) -> None:
    titles, embedding = title_tokens(n_items), np.linspace(-1, 1, USER_SIZE, dtype=np.float32)
    titles.save(model.directory)
    np.save(model.directory / l2rec.ITEM_ROWS, unit_rows(n_items))
    lists = {
        key: l2rec_ranking(name, _PROBED, embedding, n_items, PROBED_ITEMS, _PROBED) for key, name in names.items()
    }
    Probe(_PROBED, titles.prompt(_PROBED), lists, embedding=embedding).save(model.directory)


_WRITERS: Mapping[Part, Callable[[ServedModel, Mapping[str, str], int], None]] = {
    "collm": _write_collm,
    "hatllm": _write_hatllm,
    "ulmrec": _write_ulmrec,
    "l2rec": _write_l2rec,
}
