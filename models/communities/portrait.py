"""What there is to show of communities, of a run or a bundle, and the part of it that a bundle brings along."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from models.communities.anchors import CommunityConfig, item_members
from models.communities.plane import main_plane
from models.communities.statistics import Characteristic, characteristic_items, describe
from models.config import make
from models.contract.affinity import Kernel
from models.contract.bundle import CATALOGUE, CF_MODEL, COMMUNITIES, PROFILES, Bundle
from models.contract.catalogue import Catalogue
from models.contract.cf import CFModel
from models.contract.errors import BundleError
from models.contract.portrait import (
    MAPPED_USERS,
    NEAREST_MEMBERS,
    CommunityPortrait,
    PortraitFile,
    TypicalItem,
)
from models.contract.redis_schema import decode_item_ids, decode_profile
from models.contract.types import Floats, Ints, Profile
from models.types import Sequences

SHOWN_ITEMS = 10  # characteristic items of a community
_COLUMNS = ["user_id", "profile", "history"]


@dataclass(frozen=True)
class Portrait:
    """All that a page is made of.

    Args:
        name: of the run or the bundle.
        bandwidth, kernel: h and K of equation 2 that gave the affinities.
        user_ids: the users, in the order of the rows below.
        embeddings: (n_users, d).
        anchors: (q, d).
        weights: (n_users, q) affinities of users.
        item_weights: (n_items, q) affinities of items, None where communities have users only.
        histories: the users' items.
        catalogue: what the items are called.
    """

    name: str
    bandwidth: float
    kernel: Kernel
    user_ids: Sequence[str]
    embeddings: Floats
    anchors: Floats
    weights: Floats
    item_weights: Floats | None
    histories: Sequences
    catalogue: Catalogue


def portrait_of(bundle: Bundle) -> Portrait:
    """The communities as they are served: profiles and histories that the bundle brings to Redis.

    Raises:
        BundleError: the bundle has no profiles, or they cannot be read.
    """
    manifest, cf = bundle.manifest, CFModel.load(bundle.path(CF_MODEL))
    anchors = load_file(bundle.path(COMMUNITIES))["anchors"]
    config = make(CommunityConfig, manifest.config.get("communities", {}), "communities")
    return of_profiles(
        _profiles(bundle),
        name=bundle.id,
        bandwidth=manifest.bandwidth,
        kernel=manifest.kernel,
        anchors=anchors,
        item_weights=item_members(anchors, cf.item_factors, config) if config.assignment == "user-item" else None,
        catalogue=Catalogue.load(bundle.path(CATALOGUE)),
    )


def of_profiles(
    table: pl.DataFrame,
    *,
    name: str,
    bandwidth: float,
    kernel: Kernel,
    anchors: Floats,
    item_weights: Floats | None,
    catalogue: Catalogue,
) -> Portrait:
    """The communities of users whose profiles and histories are a bundle's: columns ``user_id, profile, history``."""
    profiles = [decode_profile(value) for value in table["profile"]]
    return Portrait(
        name=name,
        bandwidth=bandwidth,
        kernel=kernel,
        user_ids=table["user_id"].to_list(),
        embeddings=np.stack([profile.embedding for profile in profiles]),
        anchors=anchors,
        weights=_weights(profiles, len(anchors)),
        item_weights=item_weights,
        histories=Sequences.of([catalogue.numbers(decode_item_ids(value)) for value in table["history"]]),
        catalogue=catalogue,
    )


def portrait_file(portrait: Portrait, seed: int = 0) -> PortraitFile:
    """What a bundle brings along of it. ``seed`` draws the users of the map."""
    statistics, n = describe(portrait.weights), len(portrait.user_ids)
    typical = characteristic_items(portrait.weights, portrait.histories, len(portrait.catalogue), SHOWN_ITEMS)
    plane = main_plane(portrait.embeddings, portrait.anchors, MAPPED_USERS, seed)
    drawn = portrait.weights[plane.drawn]
    nearest = np.where(drawn.any(axis=1), drawn.argmax(axis=1), -1)
    places = zip(*_rounded(plane.users.T, 4), nearest.tolist(), strict=True)
    return PortraitFile(
        n_users=n,
        coverage=round(statistics.coverage, 4),
        mean_memberships=round(statistics.mean_memberships, 4),
        communities=tuple(
            CommunityPortrait(
                n_users=size,
                share=round(size / n, 4),
                items=_typical(typical[number], portrait.catalogue),
                members=tuple(portrait.user_ids[row] for row in _nearest(portrait.weights[:, number])),
            )
            for number, size in enumerate(statistics.sizes)
        ),
        overlap=tuple(tuple(round(share, 4) for share in row) for row in statistics.overlap),
        users=tuple((x, y, community) for x, y, community in places),
        anchors=tuple((x, y) for x, y in _rounded(plane.anchors, 4)),
    )


def _typical(items: Sequence[Characteristic], catalogue: Catalogue) -> tuple[TypicalItem, ...]:
    return tuple(TypicalItem(catalogue.ids[each.item], round(each.lift, 3)) for each in items)


def _nearest(weights: Floats) -> list[int]:
    """Rows of the members (n,) of largest affinity, equal ones in their order."""
    order: Ints = np.argsort(-weights, kind="stable")[:NEAREST_MEMBERS].astype(np.int32)
    return [row for row in order.tolist() if weights[row] > 0]


def _rounded(values: Floats, digits: int) -> list[list[float]]:
    return [[round(value, digits) for value in row] for row in values.tolist()]


def _profiles(bundle: Bundle) -> pl.DataFrame:
    try:
        table = pl.read_parquet(bundle.path(PROFILES), columns=_COLUMNS)
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise BundleError(f"{bundle.id}: {PROFILES} cannot be read: {exc}") from exc
    if not len(table):
        raise BundleError(f"{bundle.id}: {PROFILES} holds no users")
    return table


def _weights(profiles: Sequence[Profile], q: int) -> Floats:
    weights = np.zeros((len(profiles), q), np.float32)
    for row, profile in enumerate(profiles):
        for membership in profile.memberships:
            weights[row, membership.community] = membership.cf_weight
    return weights
