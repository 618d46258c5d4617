"""Affinity of users to communities: L3Rec (CIKM 2025), equations 1 and 2, after LOCA (WSDM 2021)."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from models.contract.types import Floats, Membership

Kernel = Literal["epanechnikov", "uniform", "gaussian"]

LARGEST_DISTANCE = 2.0  # between opposite directions


def arccos_distance(anchors: Floats, users: Floats) -> Floats:
    """Equation 1, scaled as LOCA does: (2 / π) · arccos(cosine), 0 for equal directions, 1 for orthogonal ones.

    Args:
        anchors: (q, d) embeddings of the anchor users.
        users: (n, d) embeddings.

    Returns:
        (n, q) distances in [0, 2]. A zero vector, which has no direction, is at distance 2 from everything.
    """
    cosine = unit(users) @ unit(anchors).T
    distance = np.asarray(2.0 / np.pi * np.arccos(np.clip(cosine, -1.0, 1.0)), dtype=np.float32)
    distance[~users.any(axis=1)] = distance[:, ~anchors.any(axis=1)] = LARGEST_DISTANCE
    return distance


def smallest_cosine(bandwidth: float) -> float:
    """The cosine at distance ``bandwidth``: who is nearer to an anchor has a larger one. Spares the arccosines."""
    return float(np.cos(np.pi / 2 * min(bandwidth, LARGEST_DISTANCE)))


def kernel_weights(distance: Floats, bandwidth: float, kernel: Kernel) -> Floats:
    """Equation 2 for one of the kernels: 0 from the bandwidth on, so that all kernels have the same members.

    - ``epanechnikov``: 1 - s², the paper's; 1 - (s / h)² where h > 1, as no weight may be negative.
    - ``uniform``: 1 for every member.
    - ``gaussian``: exp(-s² / 2σ²), truncated at two standard deviations: σ = h / 2.
    """
    return np.where(distance < bandwidth, _KERNELS[kernel](distance, bandwidth), np.float32(0.0))


def affinities(anchors: Floats, users: Floats, bandwidth: float, kernel: Kernel) -> Floats:
    """Affinity weight of each user (n, d) to each anchor (q, d): (n, q), 0 outside the community.

    Items stand in the place of users where communities have items, too: both live in the CF model's space.
    """
    return kernel_weights(arccos_distance(anchors, users), bandwidth, kernel)


def memberships(weights: Floats) -> tuple[Membership, ...]:
    """The communities of one user from its (q,) affinities, nearest first; ties by community number."""
    order = np.argsort(-weights, kind="stable")
    return tuple(Membership(int(j), float(weights[j])) for j in order if weights[j] > 0)


def unit(vectors: Floats) -> Floats:
    """The vectors (n, d), scaled to length 1; a zero vector stays one."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _epanechnikov(distance: Floats, bandwidth: float) -> Floats:
    return np.asarray(1.0 - np.square(distance / max(bandwidth, 1.0)), np.float32)


def _uniform(distance: Floats, bandwidth: float) -> Floats:
    return np.ones_like(distance)


def _gaussian(distance: Floats, bandwidth: float) -> Floats:
    return np.asarray(np.exp(-2.0 * np.square(distance / bandwidth)), np.float32)


_KERNELS: Mapping[Kernel, Callable[[Floats, float], Floats]] = {
    "epanechnikov": _epanechnikov,
    "uniform": _uniform,
    "gaussian": _gaussian,
}
