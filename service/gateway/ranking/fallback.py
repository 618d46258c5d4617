"""What fills a list when the models before it gave too little."""

from collections.abc import Iterable
from functools import partial

from models.contract.selection import Fallback
from models.contract.types import Array, Floats, Ints, RankedList
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.settings import GlobalPipeline, Pipeline
from service.gateway.ranking.user import User

CF, POPULAR = "cf", "popular"


def chain(pipeline: Pipeline, user: User, snapshot: Snapshot, models_alone: bool = False) -> list[tuple[str, Fallback]]:
    """The pipeline's own global model, then its fallbacks in their order. CF has nothing to say of an unknown user.

    With ``models_alone`` popular items do not fill up: a list that filters made short stays short.
    """
    names: Iterable[str] = pipeline.fallbacks
    if isinstance(pipeline, GlobalPipeline):
        names = dict.fromkeys((pipeline.kind, *pipeline.fallbacks))
    known = user.profile is not None
    fills = not models_alone or pipeline.kind == POPULAR
    may_speak = {CF: known, POPULAR: fills}
    return [(name, _fallback(name, user, snapshot)) for name in names if may_speak[name]]


def has_model(pipeline: Pipeline, user: User, answered: int) -> bool:
    """Whether a model that knows the user ranks: one that answered, or CF wherever it stands in the chain."""
    return user.profile is not None and (answered > 0 or CF in (pipeline.kind, *pipeline.fallbacks))


def _fallback(name: str, user: User, snapshot: Snapshot) -> Fallback:
    if name == CF and user.profile is not None:
        return partial(_cf, snapshot, user.profile.embedding, user.mask)
    return partial(_popular, snapshot, user.mask)


def _cf(snapshot: Snapshot, embedding: Floats, allowed: Array | None, n: int, excluded: Ints) -> RankedList:
    return snapshot.cf.recommend(embedding, n, excluded, allowed)


def _popular(snapshot: Snapshot, allowed: Array | None, n: int, excluded: Ints) -> RankedList:
    return snapshot.most_popular(n, excluded, allowed)
