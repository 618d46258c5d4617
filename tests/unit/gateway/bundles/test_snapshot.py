"""A bundle that lies about itself is refused."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.bundles import make_bundle, users_of

from models.contract.affinity import Kernel
from models.contract.bundle import Bundle, hash_files, write_manifest
from models.contract.errors import BundleError
from models.contract.profile import build_profile
from models.contract.types import Membership
from service.gateway.bundles.snapshot import load_snapshot


def rewritten(bundle: Bundle, **changes: object) -> Bundle:
    """The manifest with right checksums and other claims."""
    files = hash_files(bundle.directory)
    return write_manifest(bundle.directory, msgspec.structs.replace(bundle.manifest, files=files, **changes))


def test_loads_what_the_publisher_writes(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    snapshot = load_snapshot(bundle.directory)
    assert snapshot.id == bundle.id
    assert len(snapshot.catalogue) == 200
    assert snapshot.most_popular(3, np.array([1], np.int32)).items.tolist() == [0, 2, 3]


@pytest.mark.parametrize("allowed", [[], [199], [3, 7, 8, 150, 198], range(0, 200, 2), range(200)])
@pytest.mark.parametrize("n", [1, 3, 200])
def test_the_most_popular_of_what_is_allowed(tmp_path: Path, allowed: Sequence[int], n: int):
    snapshot, mask = load_snapshot(make_bundle(tmp_path).directory), np.zeros(200, bool)
    mask[list(allowed)] = True
    found = snapshot.most_popular(n, np.array([3, 8], np.int32), mask)
    assert found.items.tolist() == [item for item in allowed if item not in {3, 8}][:n]
    assert found.scores.tolist() == snapshot.popularity[found.items].tolist()


@pytest.mark.parametrize(
    ("file", "array"), [("popularity.npy", np.ones(199, np.float32)), ("popularity.npy", np.ones((200, 2), np.float32))]
)
def test_wrong_dimensions(tmp_path: Path, file: str, array: np.ndarray):
    bundle = make_bundle(tmp_path)
    np.save(bundle.path(file), array)
    with pytest.raises(BundleError, match=r"popularity.npy has shape .*, expected \(200,\)"):
        load_snapshot(rewritten(bundle).directory)


def test_items_of_communities_must_be_those_of_the_catalogue(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    assert load_snapshot(bundle.directory).own_items(Membership(1, 1.0)) is None
    file = bundle.path("communities.safetensors")
    anchors = load_file(file)["anchors"]
    items = np.eye(200, len(anchors), dtype=bool)
    save_file({"anchors": anchors, "items": items}, file)
    assert load_snapshot(rewritten(bundle).directory).own_items(Membership(1, 1.0)).nonzero()[0].tolist() == [1]
    save_file({"anchors": anchors, "items": items[1:].copy()}, file)
    with pytest.raises(BundleError, match=r"communities\.safetensors, items has shape \(199, "):
        load_snapshot(rewritten(bundle).directory)


def test_communities_must_match_the_anchors(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    fewer = rewritten(bundle, communities=bundle.manifest.communities[:-1])
    with pytest.raises(BundleError, match=r"communities\.safetensors"):
        load_snapshot(fewer.directory)


def test_a_voter_without_an_adapter(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    model = msgspec.structs.replace(bundle.manifest.model, adapters=bundle.manifest.model.adapters[1:])
    assert load_snapshot(rewritten(bundle, model=model).directory).id == bundle.id
    serving = msgspec.structs.replace(bundle.manifest.serving, voters={"global": 1.0, "cf": 1.0})
    with pytest.raises(BundleError, match=r"voters without an adapter: global$"):
        load_snapshot(rewritten(bundle, model=model, serving=serving).directory)


@pytest.mark.parametrize("file", ["items.jsonl", "cf.safetensors", "communities.safetensors", "popularity.npy"])
def test_unreadable_file_with_a_right_checksum(tmp_path: Path, file: str):
    bundle = make_bundle(tmp_path)
    bundle.path(file).write_bytes(b"\x01\x02 nonsense")
    with pytest.raises(BundleError):
        load_snapshot(rewritten(bundle).directory)


def test_missing_file_is_named(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    dataclasses.replace(bundle).path("popularity.npy").unlink()
    with pytest.raises(BundleError, match=r"popularity.npy is missing"):
        load_snapshot(bundle.directory)


@pytest.mark.parametrize("kernel", ["epanechnikov", "uniform", "gaussian"])
def test_a_history_is_folded_in_with_the_bundles_bandwidth_and_kernel(tmp_path: Path, kernel: Kernel):
    bundle = rewritten(make_bundle(tmp_path), bandwidth=0.95, kernel=kernel)
    snapshot, history = load_snapshot(bundle.directory), users_of(bundle).histories[0]
    expected = build_profile(snapshot.cf, snapshot.anchors, 0.95, kernel, history)
    assert expected.memberships
    assert snapshot.fold_in(history).memberships == expected.memberships


def test_every_adapter_must_have_a_probe(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    file = bundle.path("probe.safetensors")
    lists = {name: tensor for name, tensor in load_file(file).items() if not name.endswith("/c01")}
    save_file(lists, file)
    with pytest.raises(BundleError, match="no list of c01"):
        load_snapshot(rewritten(bundle).directory)
