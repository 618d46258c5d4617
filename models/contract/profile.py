"""A user's profile from a history: published for known users, computed on the way for new ones, here."""

import numpy as np

from models.contract.affinity import affinities, memberships
from models.contract.cf import CFModel
from models.contract.types import Floats, Ints, Profile


def build_profile(cf: CFModel, anchors: Floats, bandwidth: float, history: Ints) -> Profile:
    """Fold a history in and find its communities.

    Numbers are rounded to float16 here, because that is how Redis holds them: a stored profile and one computed on the
    way are then the same, and so are the lists that come of them.

    Args:
        cf: the global model.
        anchors: (q, d) embeddings of the anchor users.
        bandwidth: h of equation 2.
        history: item numbers; an empty one belongs to no community.
    """
    embedding = _half(cf.fold_in(history))
    if not len(history):
        return Profile(embedding, ())
    weights = _half(affinities(anchors, embedding[None, :], bandwidth)[0])
    return Profile(embedding, memberships(weights))


def _half(values: Floats) -> Floats:
    return values.astype(np.float16).astype(np.float32)
