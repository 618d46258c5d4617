"""A user's profile from a history: published for known users, computed on the way for new ones, here."""

from dataclasses import replace

import numpy as np

from models.contract.affinity import Kernel, affinities, memberships
from models.contract.cf import CFModel
from models.contract.fusion import accuracy_weights
from models.contract.types import Floats, Ints, Membership, Profile


def build_profile(
    cf: CFModel, anchors: Floats, bandwidth: float, kernel: Kernel, history: Ints, accuracies: Floats | None = None
) -> Profile:
    """Fold a history in and find its communities.

    Numbers are rounded to float16 here, because that is how Redis holds them: a stored profile and one computed on the
    way are then the same, and so are the lists that come of them.

    Args:
        cf: the global model.
        anchors: (q, d) embeddings of the anchor users.
        bandwidth: h of equation 2 when serving.
        kernel: K of equation 2.
        history: item numbers; an empty one belongs to no community.
        accuracies: (q,) NDCG@5 of each community's model on items held out from the user, for the weights of wRRF(LLM);
            None where nobody has looked: then all models weigh 1.
    """
    embedding = half(cf.fold_in(history))
    if not len(history):
        return Profile(embedding, ())
    weights = half(affinities(anchors, embedding[None, :], bandwidth, kernel)[0])
    members = memberships(weights)
    return Profile(embedding, members if accuracies is None else _judged(members, accuracies))


def inherit_weights(folded: Profile, published: Profile) -> Profile:
    """A profile that was folded in anew, with the published weights of wRRF(LLM).

    Communities that remain keep what their model was worth to the user. Of new ones nobody knows: they get the mean.
    """
    known = {member.community: member.llm_weight for member in published.memberships}
    if not known:
        return folded
    mean = sum(known.values()) / len(known)
    members = tuple(m._replace(llm_weight=known.get(m.community, mean)) for m in folded.memberships)
    return replace(folded, memberships=members)


def _judged(members: tuple[Membership, ...], accuracies: Floats) -> tuple[Membership, ...]:
    weights = half(accuracy_weights(accuracies[[member.community for member in members]]))
    return tuple(m._replace(llm_weight=float(weight)) for m, weight in zip(members, weights, strict=True))


def half(values: Floats) -> Floats:
    """As Redis holds them: rounded to float16. Ranked after that, equal ones in the same order everywhere."""
    return values.astype(np.float16).astype(np.float32)
