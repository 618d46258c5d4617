"""A bundle that lies about itself is refused."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.bundles import make_bundle

from models.contract.bundle import Bundle, hash_files, write_manifest
from models.contract.errors import BundleError
from service.gateway.snapshot import load_snapshot


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


@pytest.mark.parametrize(
    ("file", "array"), [("popularity.npy", np.ones(199, np.float32)), ("popularity.npy", np.ones((200, 2), np.float32))]
)
def test_wrong_dimensions(tmp_path: Path, file: str, array: np.ndarray):
    bundle = make_bundle(tmp_path)
    np.save(bundle.path(file), array)
    with pytest.raises(BundleError, match=r"popularity.npy has shape .*, expected \(200,\)"):
        load_snapshot(rewritten(bundle).directory)


def test_communities_must_match_the_anchors(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    fewer = rewritten(bundle, communities=bundle.manifest.communities[:-1])
    with pytest.raises(BundleError, match=r"communities\.safetensors"):
        load_snapshot(fewer.directory)


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
