"""What fills a list when the models before it gave too little."""

from collections.abc import Iterable
from functools import partial

from models.contract.selection import Fallback
from models.contract.types import Floats, Ints, RankedList
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.settings import LocalPipeline, Pipeline
from service.gateway.ranking.user import User

CF = "cf"


def chain(pipeline: Pipeline, user: User, snapshot: Snapshot) -> list[tuple[str, Fallback]]:
    """The pipeline's own global model, then its fallbacks in their order. CF has nothing to say of an unknown user."""
    names: Iterable[str] = pipeline.fallbacks
    if not isinstance(pipeline, LocalPipeline):
        names = dict.fromkeys((pipeline.kind, *pipeline.fallbacks))
    known = user.profile is not None
    return [(name, _fallback(name, user, snapshot)) for name in names if name != CF or known]


def _fallback(name: str, user: User, snapshot: Snapshot) -> Fallback:
    if name == CF and user.profile is not None:
        return partial(_cf, snapshot, user.profile.embedding)
    return snapshot.most_popular


def _cf(snapshot: Snapshot, embedding: Floats, n: int, excluded: Ints) -> RankedList:
    return snapshot.cf.recommend(embedding, n, excluded)
