"""Bundles and users for tests, made in milliseconds and without a checkpoint."""

from pathlib import Path

from redis import Redis

from localrec.bench.synthetic import SyntheticUsers, make_bundle, publish, user_values, users_of
from models import pointer
from models.contract.bundle import SCHEMA_VERSION, Bundle, Manifest, ServingSpec, hash_files, write_manifest
from models.contract.fusion import FusionMethod
from models.contract.specs import ModelSpec

__all__ = ["SyntheticUsers", "activate", "make_bundle", "publish", "user_values", "users_of", "worker_bundle"]


def worker_bundle(directory: Path, model: ModelSpec) -> Bundle:
    """Write the manifest of a bundle that holds what workers need, its checkpoint and adapters, and nothing else."""
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id=directory.name,
        created_at="2026-01-01T00:00:00Z",
        embedding_size=8,
        bandwidth=1.0,
        kernel="epanechnikov",
        model=model,
        serving=ServingSpec(FusionMethod.RRF, 0.0, 100),
        communities=(),
        files=hash_files(directory),
        config={},
        data_statistics={},
        metrics={},
    )
    return write_manifest(directory, manifest)


def activate(redis: Redis, bundle_id: str) -> None:
    """Make a bundle the current one, whether or not anything of it was published."""
    pointer.mark_published(bundle_id, redis)
    pointer.activate(bundle_id, redis)
