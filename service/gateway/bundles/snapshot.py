"""A bundle in memory: what one request is served from, from its first line to its last."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from models.contract.bundle import CATALOGUE, CF_MODEL, COMMUNITIES, POPULARITY, Bundle, verify_bundle
from models.contract.catalogue import Catalogue
from models.contract.cf import CFModel
from models.contract.errors import BundleError
from models.contract.numbers import among
from models.contract.portrait import PortraitFile
from models.contract.probe import load_probe
from models.contract.profile import build_profile
from models.contract.prompts import Prompts, load_prompts
from models.contract.selection import GLOBAL_VOTER
from models.contract.specs import Part
from models.contract.types import Array, Floats, Ints, Membership, Profile, RankedList
from service.gateway.bundles.attributes import Attributes
from service.gateway.bundles.filters import Filters
from service.gateway.bundles.item_set import ItemSet
from service.gateway.bundles.parts import NO_PARTS, Parts, load_parts
from service.gateway.bundles.titles import Titles

ANCHORS, ITEMS = "anchors", "items"
NO_NEEDS: Mapping[str, Part] = {}  # no model but the local ones


@dataclass(frozen=True)
class Snapshot:
    """A verified bundle, ready to serve.

    Args:
        bundle: where it lies, and its manifest.
        catalogue: items.
        cf: the global model.
        anchors: (q, d) embeddings of the communities' anchors.
        items: (n_items, q) bool, which items a community may rank; None: all.
        popularity: (n_items,) recency-weighted counts.
        prompts: how the local models read histories.
        parts: the other models that pipelines need.
    """

    bundle: Bundle
    catalogue: Catalogue
    cf: CFModel
    anchors: Floats
    items: Array | None
    popularity: Floats
    prompts: Prompts
    parts: Parts = NO_PARTS

    @property
    def id(self) -> str:
        return self.bundle.id

    def fits(self, profile: Profile) -> bool:
        """Whether a profile's embedding and communities are those of this bundle."""
        return len(profile.embedding) == self.anchors.shape[1] and all(
            m.community < len(self.anchors) for m in profile.memberships
        )

    def fold_in(self, history: Ints) -> Profile:
        """Profile of a user known by history only: CF encoder, then affinities to the anchors (equations 1 and 2)."""
        manifest = self.bundle.manifest
        return build_profile(self.cf, self.anchors, manifest.bandwidth, manifest.kernel, history)

    def most_popular(self, n: int, excluded: Ints, allowed: Array | None = None) -> RankedList:
        """The ``n`` most popular items, none of ``excluded``; ``allowed`` is (n_items,) bool, None: all items."""
        wanted = n + len(excluded)
        items = self._by_popularity[:wanted] if allowed is None else self._popular_among(allowed, wanted)
        items = items[~among(items, excluded)][:n]
        return RankedList(items, self.popularity[items])

    def items_of(self, hashes: Array) -> Ints:
        """Item numbers of those item hashes (n,) that this bundle knows."""
        known, numbers = self._hashes
        if not len(known):
            return numbers
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return np.asarray(numbers[at[known[at] == hashes]], dtype=np.int32)

    def adapter(self, membership: Membership) -> str:
        """Name of a community's adapter inside the bundle."""
        return self.bundle.manifest.communities[membership.community].adapter

    def own_items(self, membership: Membership | None) -> Array | None:
        """(n_items,) bool, the items that a community may rank, or whoever is no community; None: all."""
        return None if self.items is None or membership is None else self.items[:, membership.community]

    def shown(self, hidden: frozenset[str]) -> ItemSet | None:
        """All items but those that are hidden, given by id; None where nothing is."""
        return self._all_but(hidden) if hidden else None

    @cached_property
    def attributes(self) -> Attributes:
        """What the items are like."""
        return Attributes(self.catalogue)

    @cached_property
    def filters(self) -> Filters:
        """Says which items pass a request's filters."""
        return Filters(self.attributes, len(self.catalogue))

    @cached_property
    def titles(self) -> Titles:
        """Finds items by words, the popular ones first. Takes a second to build for a million items."""
        return Titles(self.catalogue, self._by_popularity)

    @cached_property
    def portrait(self) -> PortraitFile | None:
        """What the bundle shows of its communities; None: nothing. Reads a file. Raises BundleError."""
        return PortraitFile.load(self.bundle.directory, len(self.bundle.manifest.communities))

    def warm(self) -> None:
        """Build now what the first requests would wait for."""
        self.attributes.warm()
        self.cf.build_indexes()

    def _popular_among(self, allowed: Array, wanted: int) -> Ints:
        """At least ``wanted`` of the allowed items, the most popular ones, or all of them."""
        looked_at = wanted
        while True:
            items = self._by_popularity[:looked_at]
            items = items[allowed[items]]
            if len(items) >= wanted or looked_at >= len(self._by_popularity):
                return items
            looked_at *= 4

    @cached_property
    def _all_but(self) -> Callable[[frozenset[str]], ItemSet]:
        return lru_cache(1)(partial(_all_but, self.catalogue))

    @cached_property
    def _by_popularity(self) -> Ints:
        return np.argsort(-self.popularity, kind="stable").astype(np.int32)

    @cached_property
    def _hashes(self) -> tuple[Array, Ints]:
        hashes = self.catalogue.hashes()
        order = np.argsort(hashes)
        return hashes[order], order.astype(np.int32)


def _all_but(catalogue: Catalogue, hidden: frozenset[str]) -> ItemSet:
    return ItemSet(np.ones(len(catalogue), bool)).without(catalogue.numbers(hidden))


def load_snapshot(directory: Path, needs: Mapping[str, Part] = NO_NEEDS) -> Snapshot:
    """Verify and load a bundle. Blocks for as long as its files take to hash.

    Args:
        directory: of the bundle.
        needs: the models that must be there, by the names of the pipelines that ask them.

    Raises:
        BundleError: the bundle is damaged, does not fit together, or lacks a model.
    """
    bundle = verify_bundle(directory)
    try:
        communities = load_file(bundle.path(COMMUNITIES))
        snapshot = Snapshot(
            bundle=bundle,
            catalogue=Catalogue.load(bundle.path(CATALOGUE)),
            cf=CFModel.load(bundle.path(CF_MODEL)),
            anchors=communities[ANCHORS],
            items=communities.get(ITEMS),
            popularity=np.load(bundle.path(POPULARITY), allow_pickle=False),
            prompts=load_prompts(bundle),
            parts=load_parts(bundle, needs),
        )
    except (OSError, KeyError, ValueError, SafetensorError) as exc:
        raise BundleError(f"{bundle.id}: {exc}") from exc
    _check_shapes(snapshot)
    load_probe(bundle.directory, bundle.manifest.model.adapters)  # without one, no adapter could be trusted
    return snapshot


def _check_shapes(snapshot: Snapshot) -> None:
    manifest = snapshot.bundle.manifest
    n_items, d = manifest.model.n_items, manifest.embedding_size
    found = [
        (CATALOGUE, (len(snapshot.catalogue),), (n_items,)),
        (CF_MODEL, snapshot.cf.item_factors.shape, (n_items, d)),
        (POPULARITY, snapshot.popularity.shape, (n_items,)),
        (COMMUNITIES, snapshot.anchors.shape, (len(manifest.communities), d)),
    ]
    if snapshot.items is not None:
        found.append((f"{COMMUNITIES}, {ITEMS}", snapshot.items.shape, (n_items, len(manifest.communities))))
    _refuse_unequal(snapshot.id, found)
    voters = {community.adapter for community in manifest.communities}
    voters |= {GLOBAL_VOTER} & manifest.serving.voters.keys()
    if unknown := voters - set(manifest.model.adapters):
        raise BundleError(f"{snapshot.id}: voters without an adapter: {', '.join(sorted(unknown))}")


def _refuse_unequal(bundle_id: str, found: Iterable[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> None:
    for name, shape, expected in found:
        if shape != expected:
            raise BundleError(f"{bundle_id}: {name} has shape {shape}, expected {expected}")
