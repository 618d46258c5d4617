"""A valid bundle without any training, and users for it: for benchmarks and tests. Needs numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from redis import Redis
from safetensors.numpy import save_file

from models.contract.affinity import affinities, memberships
from models.contract.bundle import (
    SCHEMA_VERSION,
    Bundle,
    CommunitySpec,
    Manifest,
    ModelSpec,
    ServingSpec,
    community_adapter,
    hash_files,
    write_manifest,
)
from models.contract.catalogue import Catalogue, Item
from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.redis_schema import (
    BUNDLE_CHANNEL,
    CURRENT_BUNDLE,
    PUBLISHED_BUNDLES,
    encode_events,
    encode_profile,
    encode_seen,
    history_key,
    profile_key,
    seen_key,
)
from models.contract.types import Floats, HistoryEvent, Ints, Profile

HISTORY_EVENTS = 20
DISTANCE_QUANTILE = 0.5  # the bandwidth lets in half of all pairs of user and community


@dataclass(frozen=True)
class SyntheticUsers:
    """Users ``u0`` … with their histories (item numbers, oldest first) and (n, d) embeddings."""

    histories: tuple[Ints, ...]
    embeddings: Floats
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(f"u{row}" for row in range(len(self.histories))))


def make_bundle(
    root: Path, n_items: int = 200, n_users: int = 50, communities: int = 4, seed: int = 0, embedding_size: int = 16
) -> tuple[Bundle, SyntheticUsers]:
    """Write a bundle of random parameters to ``root/<id>``, and draw users for it. The same seed gives the same bundle."""
    rng = np.random.default_rng(seed)
    cf = _random_cf(n_items, embedding_size, rng)
    users = _random_users(cf, n_users, rng)
    anchors = users.embeddings[:communities]
    bundle_id = f"synthetic-{n_items}-{n_users}-{communities}-{embedding_size}-{seed}"
    directory = root / bundle_id
    adapters = tuple(community_adapter(j) for j in range(communities))
    _write_files(directory, cf, anchors, adapters, rng)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id=bundle_id,
        created_at="2025-01-01T00:00:00Z",
        embedding_size=embedding_size,
        bandwidth=_bandwidth(anchors, users.embeddings),
        model=ModelSpec("item-token", HISTORY_EVENTS, n_items, 4, ("global", *adapters), "synthetic"),
        serving=ServingSpec(FusionMethod.RRF, 10.0, 100),
        communities=tuple(CommunitySpec(a, n_users, f"community {j}") for j, a in enumerate(adapters)),
        files=hash_files(directory),
        config={},
        data_statistics={},
        metrics={},
    )
    return write_manifest(directory, manifest), users


def publish(redis_url: str, bundle: Bundle, users: SyntheticUsers) -> None:
    """Write profiles, histories and seen sets of all users, then the pointer."""
    values: dict[str, bytes] = {}
    for row, user_id in enumerate(users.ids):
        values |= user_values(bundle, user_id, users.histories[row], users.embeddings[row])
    with Redis.from_url(redis_url) as redis:
        redis.mset(values)  # type: ignore[arg-type] # redis-py's Mapping is invariant in its key
        activate(redis, bundle.id)


def activate(redis: "Redis", bundle_id: str) -> None:
    """Make a bundle the current one."""
    redis.sadd(PUBLISHED_BUNDLES, bundle_id)
    redis.set(CURRENT_BUNDLE, bundle_id)
    redis.publish(BUNDLE_CHANNEL, bundle_id)


def user_values(bundle: Bundle, user_id: str, history: Ints, embedding: Floats) -> Mapping[str, bytes]:
    """The three Redis values of one user."""
    anchors = _anchors(bundle)
    weights = affinities(anchors, embedding[None, :], bundle.manifest.bandwidth)[0]
    item_ids = [item_id_of(number) for number in history.tolist()]
    events = [HistoryEvent(item_id, 1_700_000_000 + at) for at, item_id in enumerate(item_ids)]
    return {
        profile_key(user_id, bundle.id): encode_profile(Profile(embedding, memberships(weights))),
        history_key(user_id): encode_events(events),
        seen_key(user_id): encode_seen(item_ids),
    }
