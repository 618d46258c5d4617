"""A bundle's first requests are ours: whatever is built at its first use is built before a caller waits for it."""

import asyncio
from collections.abc import Iterable

import numpy as np

from models.contract.redis_schema import encode_events, encode_profile, encode_seen
from models.contract.types import HistoryEvent
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.recommend import Recommender
from service.gateway.ranking.settings import Pipeline
from service.gateway.types import Effort, Known, Query, StoredUser, Trace

HISTORY = 5
WITHOUT_MODELS = Effort(models=False)  # workers are prepared by their pools


def warm_up(recommender: Recommender, pipelines: Iterable[Pipeline], snapshot: Snapshot) -> None:
    """Ask each pipeline for a list, for a user who is known, one who sends a history, and one of whom nothing is known.

    For a thread of its own: it takes as long as building the indexes does. Raises whatever a request would.
    """
    snapshot.warm()
    asyncio.run(_ask(recommender, pipelines, snapshot))


async def _ask(recommender: Recommender, pipelines: Iterable[Pipeline], snapshot: Snapshot) -> None:
    deadline = asyncio.get_running_loop().time() + 60.0
    history = snapshot.catalogue.ids[:HISTORY]
    nothing = Known(StoredUser())
    visits = [
        (Query("warm-up"), Known(_stored(snapshot))),
        (Query("warm-up", history=tuple(history)), nothing),
        (Query("warm-up"), nothing),
    ]
    for pipeline in pipelines:
        for query, known in visits:
            await recommender.recommend(query, known, pipeline, snapshot, deadline, Trace(), WITHOUT_MODELS)


def _stored(snapshot: Snapshot) -> StoredUser:
    ids = snapshot.catalogue.ids[:HISTORY]
    profile = snapshot.fold_in(np.arange(len(ids), dtype=np.int32))
    events = encode_events(HistoryEvent(item_id, 0) for item_id in ids)
    return StoredUser(encode_profile(profile), events, encode_seen(ids))
