"""Bundles and users for tests, made in milliseconds and without a checkpoint."""

from localrec.bench.synthetic import SyntheticUsers, activate, make_bundle, publish, user_values, users_of

__all__ = ["SyntheticUsers", "activate", "make_bundle", "publish", "user_values", "users_of"]
