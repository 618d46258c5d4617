"""Affinity of users to communities: L3Rec (CIKM 2025), equations 1 and 2, after LOCA (WSDM 2021)."""

import numpy as np

from models.contract.types import Floats, Membership


def arccos_distance(anchors: Floats, users: Floats) -> Floats:
    """Equation 1, scaled as LOCA does: (2 / π) · arccos(cosine), 0 for equal directions, 1 for orthogonal ones.

    Args:
        anchors: (q, d) embeddings of the anchor users.
        users: (n, d) embeddings.

    Returns:
        (n, q) distances in [0, 2]. A zero vector is at distance 1 from everything.
    """
    cosine = _unit(users) @ _unit(anchors).T
    return np.asarray(2.0 / np.pi * np.arccos(np.clip(cosine, -1.0, 1.0)), dtype=np.float32)


def epanechnikov(distance: Floats, bandwidth: float) -> Floats:
    """Equation 2: (1 - s²) where s < bandwidth, else 0. A bandwidth above 1 acts as 1: no weight may be negative."""
    inside = distance < min(bandwidth, 1.0)
    return np.where(inside, 1.0 - np.square(distance), 0.0).astype(np.float32)


def affinities(anchors: Floats, users: Floats, bandwidth: float) -> Floats:
    """Affinity weight of each user (n, d) to each anchor (q, d): (n, q), 0 outside the community."""
    return epanechnikov(arccos_distance(anchors, users), bandwidth)


def memberships(weights: Floats) -> tuple[Membership, ...]:
    """The communities of one user from its (q,) affinities, nearest first; ties by community number."""
    order = np.argsort(-weights, kind="stable")
    return tuple(Membership(int(j), float(weights[j])) for j in order if weights[j] > 0)


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
