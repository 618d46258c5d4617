"""Which variant of each experiment a user gets: a pure function of salt and user id."""

import hashlib
from collections.abc import Sequence

from service.gateway.experiments.settings import ExperimentSettings, VariantSettings
from service.gateway.types import Assignment

BUCKETS = 10_000


def bucket(salt: str, user_id: str) -> int:
    """The user's bucket, 0 … 9,999: uniform, and independent between salts."""
    digest = hashlib.blake2b(f"{salt}:{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % BUCKETS


def choose(experiment: ExperimentSettings, user_id: str) -> VariantSettings:
    """The variant whose share of the buckets, in the order of the file, holds the user's bucket."""
    point = bucket(experiment.salt, user_id) / BUCKETS * sum(v.weight for v in experiment.variants)
    for variant in experiment.variants[:-1]:
        if point < variant.weight:
            return variant
        point -= variant.weight
    return experiment.variants[-1]


def assign(experiments: Sequence[ExperimentSettings], user_id: str, default_pipeline: str) -> Assignment:
    """The user's variants. The first experiment whose variant names a pipeline decides which one runs."""
    variants = {experiment.name: choose(experiment, user_id) for experiment in experiments}
    names = {experiment: variant.name for experiment, variant in variants.items()}
    for experiment, variant in variants.items():
        if variant.pipeline is not None:
            return Assignment(variant.pipeline, names, f"{experiment}:{variant.name}")
    return Assignment(default_pipeline, names)
