"""Communities to be shown: random ones, and a bundle that brings a portrait of its own."""

import numpy as np
import polars as pl
from msgspec.structs import replace as restructured
from safetensors.numpy import load_file
from support.bundles import user_values, users_of

from models.communities.portrait import Portrait, of_profiles, portrait_file
from models.contract.affinity import affinities
from models.contract.bundle import CATALOGUE, COMMUNITIES, Bundle, hash_files, write_manifest
from models.contract.catalogue import Catalogue, Item
from models.contract.redis_schema import history_key, profile_key
from models.contract.types import Floats
from models.types import Sequences


def portrait(q: int = 3, n: int = 60, d: int = 5, title: str = "Lamp") -> Portrait:
    """Random users, the first of whom are the anchors, and four items."""
    rng = np.random.default_rng(0)
    users: Floats = rng.normal(size=(n, d)).astype(np.float32)
    return Portrait(
        name="shop-1",
        bandwidth=0.8,
        kernel="epanechnikov",
        user_ids=[f"user {row}" for row in range(n)],
        embeddings=users,
        anchors=users[:q],
        weights=affinities(users[:q], users, 0.8, "epanechnikov"),
        item_weights=None,
        histories=Sequences.of([np.asarray([row % 4], np.int32) for row in range(n)]),
        catalogue=Catalogue([Item("a", title=title), Item("b", title="Chair"), Item("c"), Item("d", title="Desk")]),
    )


def with_portrait(bundle: Bundle) -> Bundle:
    """A synthetic bundle that shows its communities, from now on."""
    users = users_of(bundle)
    rows = []
    for row, user_id in enumerate(users.ids):
        values = user_values(bundle, user_id, users.histories[row], users.embeddings[row])
        rows.append((user_id, values[profile_key(user_id, bundle.id)], values[history_key(user_id)]))
    shown = of_profiles(
        pl.DataFrame(rows, schema=["user_id", "profile", "history"], orient="row"),
        name=bundle.id,
        bandwidth=bundle.manifest.bandwidth,
        kernel=bundle.manifest.kernel,
        anchors=load_file(bundle.path(COMMUNITIES))["anchors"],
        item_weights=None,
        catalogue=Catalogue.load(bundle.path(CATALOGUE)),
    )
    portrait_file(shown).save(bundle.directory)
    return write_manifest(bundle.directory, restructured(bundle.manifest, files=hash_files(bundle.directory)))
