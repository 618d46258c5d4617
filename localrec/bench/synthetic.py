"""A valid bundle without any training, and users for it: for benchmarks and tests. The base install will do.

Its language model is the stub worker's, whose rankings are a function of names, unless another one is written.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from redis import Redis
from safetensors.numpy import load_file, save_file

from localrec.bench.stub_worker import stub_scores
from models.contract.affinity import affinities, arccos_distance, memberships
from models.contract.bundle import (
    CATALOGUE,
    CF_MODEL,
    CHECKPOINT,
    COMMUNITIES,
    GLOBAL_ADAPTER,
    POPULARITY,
    SCHEMA_VERSION,
    Bundle,
    CommunitySpec,
    Manifest,
    ServingSpec,
    community_adapter,
    hash_files,
    write_manifest,
)
from models.contract.catalogue import Catalogue, Item
from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.index import top_n
from models.contract.probe import BASE, PROBED_ITEMS, Probe
from models.contract.profile import half
from models.contract.prompts import item_prompt
from models.contract.redis_schema import (
    encode_events,
    encode_profile,
    encode_seen,
    history_digest,
    history_key,
    profile_key,
    seen_key,
)
from models.contract.specs import ModelSpec
from models.contract.types import Floats, HistoryEvent, Ints, ItemId, Profile, RankedList, item_numbers
from models.pointer import activate, mark_published

HISTORY_EVENTS = 20


@dataclass(frozen=True)
class SyntheticUsers:
    """Users ``u0`` …: their histories (item numbers, oldest first) and (n, d) embeddings."""

    histories: tuple[Ints, ...]
    embeddings: Floats

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"u{row}" for row in range(len(self.histories)))


@dataclass(frozen=True)
class Parts:
    """What a language model is written for: directory and id of a bundle, catalogue size, names of the adapters."""

    directory: Path
    bundle_id: str
    n_items: int
    adapters: tuple[str, ...]


WriteModel = Callable[[Parts], ModelSpec]


def make_bundle(
    root: Path,
    *,
    n_items: int = 200,
    n_users: int = 50,
    communities: int = 4,
    seed: int = 0,
    embedding_size: int = 16,
    name: str = "synthetic",
    write_model: WriteModel | None = None,
) -> Bundle:
    """Write a bundle of random parameters to ``root/<id>``. The same arguments give the same bundle.

    The first users are the anchors, and the bandwidth lets in half of all pairs of user and community. ``write_model``
    writes checkpoint, adapters and probe; by default they are the stub worker's, and bundles of as many items have the
    same base model.
    """
    rng = np.random.default_rng(seed)
    cf = _random_cf(n_items, embedding_size, rng)
    users = _draw_users(cf, n_users, seed)
    anchors = users.embeddings[:communities]
    bundle_id = f"{name}-{n_items}-{n_users}-{communities}-{embedding_size}-{seed}"
    adapters = tuple(community_adapter(number) for number in range(communities))
    directory = root / bundle_id
    _write_files(directory, cf, anchors)
    parts = Parts(directory, bundle_id, n_items, (GLOBAL_ADAPTER, *adapters))
    model = (write_model or write_stub_model)(parts)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id=bundle_id,
        created_at="2025-01-01T00:00:00Z",
        embedding_size=embedding_size,
        bandwidth=float(np.median(arccos_distance(anchors, users.embeddings))),
        kernel="epanechnikov",
        model=model,
        serving=ServingSpec(FusionMethod.RRF, 10.0, 100),
        communities=tuple(CommunitySpec(name, n_users, f"community {at}") for at, name in enumerate(adapters)),
        files=hash_files(directory),
        config={"n_users": n_users, "seed": seed},
        data_statistics={},
        metrics={},
    )
    return write_manifest(directory, manifest)


def users_of(bundle: Bundle) -> SyntheticUsers:
    """The users that the bundle was made for."""
    cf = CFModel.load(bundle.path(CF_MODEL))
    return _draw_users(cf, bundle.manifest.config["n_users"], bundle.manifest.config["seed"])


def write_stub_model(parts: Parts) -> ModelSpec:
    """The stub worker's: empty files, and a probe that says what the stub ranks."""
    (parts.directory / CHECKPOINT).mkdir(exist_ok=True)
    document = json.dumps({"vocab_size": parts.n_items + 1})
    (parts.directory / CHECKPOINT / "config.json").write_text(document + "\n")
    for adapter in parts.adapters:
        path = parts.directory / "adapters" / adapter / "adapter_config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    _stub_probe(parts).save(parts.directory)
    return ModelSpec("item-token", HISTORY_EVENTS, parts.n_items, 4, parts.adapters, "synthetic")


def _write_files(directory: Path, cf: CFModel, anchors: Floats) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    numbers = range(cf.n_items)
    Catalogue(map(_item, numbers)).save(directory / CATALOGUE)
    np.save(directory / POPULARITY, np.asarray([1_000 / (1 + number) for number in numbers], dtype=np.float32))
    cf.save(directory / CF_MODEL)
    save_file({"anchors": np.ascontiguousarray(anchors)}, directory / COMMUNITIES)


def _item(number: int) -> Item:
    """Brands, categories and prices in turn. Every tenth item is of no brand, the price of every 13th is no number."""
    return Item(
        f"i{number}",
        title=f"Item {number}",
        brand=f"brand {number % 7}" if number % 10 else None,
        categories=(f"category {number % 5}", f"category {5 + number % 3}"),
        attributes={
            "price": f"{1 + number * 37 % 200}.50" if number % 13 else "on request",
            "year": str(1990 + number % 30),
        },
    )


def _stub_probe(parts: Parts) -> Probe:
    history = item_numbers(range(min(HISTORY_EVENTS, parts.n_items // 2)))
    prompt = item_prompt(history, parts.n_items, HISTORY_EVENTS)
    names = {BASE: ""} | {adapter: f"{parts.bundle_id}-{adapter}" for adapter in parts.adapters}
    lists = {adapter: _stub_list(name, prompt, parts.n_items, history) for adapter, name in names.items()}
    return Probe(history, item_numbers(prompt), lists)


def _stub_list(model: str, prompt: list[int], n_items: int, excluded: Ints) -> RankedList:
    return top_n(stub_scores(model, tuple(prompt), n_items)[:n_items], PROBED_ITEMS, excluded)


def _random_cf(n_items: int, embedding_size: int, rng: np.random.Generator) -> CFModel:
    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, dtype=np.float32)

    return CFModel(
        normal(n_items, embedding_size), normal(embedding_size), normal(n_items, embedding_size), normal(n_items)
    )


def _draw_users(cf: CFModel, n_users: int, seed: int) -> SyntheticUsers:
    rng = np.random.default_rng([seed, 1])
    length = min(HISTORY_EVENTS, cf.n_items // 2)
    histories = tuple(rng.choice(cf.n_items, length, replace=False).astype(np.int32) for _ in range(n_users))
    return SyntheticUsers(histories, np.stack([cf.fold_in(history) for history in histories]))


def publish(redis_url: str, bundle: Bundle, users: SyntheticUsers) -> None:
    """Write profiles, histories and seen sets of all users, then the pointer."""
    with Redis.from_url(redis_url) as redis:
        write_users(redis, bundle, users)
        activate(bundle.id, redis)


def write_users(redis: Redis, bundle: Bundle, users: SyntheticUsers) -> None:
    """Write profiles, histories and seen sets of all users."""
    values: dict[str, bytes] = {}
    for row, user_id in enumerate(users.ids):
        values |= user_values(bundle, user_id, users.histories[row], users.embeddings[row])
    redis.mset(values)
    mark_published(bundle.id, redis)


def user_values(bundle: Bundle, user_id: str, history: Ints, embedding: Floats) -> Mapping[str, bytes]:
    """The three Redis values of one user: numbers rounded, then ranked, as :func:`build_profile` does it."""
    anchors = load_file(bundle.path(COMMUNITIES))["anchors"]
    manifest = bundle.manifest
    rounded = half(embedding)
    weights = half(affinities(anchors, rounded[None, :], manifest.bandwidth, manifest.kernel)[0])
    item_ids = [f"i{number}" for number in history.tolist()]
    events = encode_events(HistoryEvent(ItemId(i), 1_700_000_000 + at) for at, i in enumerate(item_ids))
    profile = Profile(rounded, memberships(weights), history_digest(events))
    return {
        profile_key(user_id, bundle.id): encode_profile(profile),
        history_key(user_id): events,
        seen_key(user_id): encode_seen(item_ids),
    }
