"""Users and anchors on a plane, for a picture: the two main directions of the users' unit vectors (PCA)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contract.affinity import unit
from models.contract.types import Array, Floats


@dataclass(frozen=True)
class Plane:
    """Where they are.

    Args:
        drawn: (m,) rows of the users that were drawn.
        users: (m, 2) their places.
        anchors: (q, 2).
        shares: (2,) of the variance that the two directions have.
    """

    drawn: NDArray[np.int64]
    users: Array
    anchors: Array
    shares: NDArray[np.float64]


def main_plane(embeddings: Floats, anchors: Floats, n_drawn: int, seed: int = 0) -> Plane:
    """The plane of all users (n, d), with at most ``n_drawn`` of them and the anchors (q, d) on it."""
    mean, directions, shares = _principal(unit(embeddings))
    n = len(embeddings)
    drawn = np.random.default_rng(seed).choice(n, size=min(n, n_drawn), replace=False)
    users, places = ((unit(vectors) - mean) @ directions for vectors in (embeddings[drawn], anchors))
    return Plane(drawn, users, places, shares)


def _principal(vectors: Floats) -> tuple[Floats, Floats, NDArray[np.float64]]:
    """Mean (d,), the two main directions (d, 2), and their shares of the variance. One dimension has a second, of 0."""
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    variances, vectors_ = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    order = np.argsort(-variances)[:2]
    directions = np.zeros((vectors.shape[1], 2), np.float32)
    directions[:, : len(order)] = vectors_[:, order] * _signs(vectors_[:, order])
    shares = np.zeros(2)
    shares[: len(order)] = variances[order] / max(float(variances.sum()), 1e-12)
    return mean, directions, shares


def _signs(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """±1 for each column, so that its largest component is positive: either is a direction, pictures should agree."""
    largest = np.abs(directions).argmax(axis=0)
    return np.where(directions[largest, range(directions.shape[1])] < 0, -1.0, 1.0)
