"""An answer as JSON."""

from typing import Any

import orjson

from service.gateway.bundles.snapshot import Snapshot
from service.gateway.respond import Served
from service.gateway.types import Vote


def render_shared(served: Served) -> bytes:
    """JSON of ``RecommendResponse`` but for what differs between equal requests, see :func:`complete`.

    Written directly: to validate our own answer would cost too much.
    """
    assignment = served.assignment
    body = {
        "user_id": served.query.user_id,
        "items": _items(served),
        "model_version": served.snapshot.id,
        "experiments": assignment.experiments,
        "pipeline": assignment.pipeline,
        "degraded": served.answer.degraded,
        "reasons": [str(reason) for reason in served.answer.reasons],
    }
    if served.answer.explanation is not None:
        body["explanation"] = served.answer.explanation
    return orjson.dumps(body)


def complete(shared: bytes, request_id: str, timings_ms: dict[str, float]) -> bytes:
    """The whole body of an answer."""
    return b'{"request_id":"%b",%b,"timings_ms":%b}' % (request_id.encode(), shared[1:-1], orjson.dumps(timings_ms))


def _items(served: Served) -> list[dict[str, Any]]:
    answer, snapshot = served.answer, served.snapshot
    selection = answer.selection
    rows = zip(selection.items.tolist(), selection.scores.tolist(), selection.sources, strict=True)
    bodies = []
    for rank, (number, score, source) in enumerate(rows, start=1):
        item = snapshot.catalogue.items[number]
        body: dict[str, Any] = {"item_id": item.item_id, "rank": rank, "score": score, "source": source}
        if item.title is not None:
            body["title"] = item.title
        if served.query.explain:
            placement = answer.placements[rank - 1]
            body["explanation"] = [_vote(vote, snapshot) for vote in answer.votes.get(number, ())]
            body |= {"source_rank": placement.source_rank, "moved": placement.moved}
        bodies.append(body)
    return bodies


def _vote(vote: Vote, snapshot: Snapshot) -> dict[str, Any]:
    member = vote.voter.membership
    return {
        "community": member.community if member else None,
        "name": snapshot.bundle.manifest.communities[member.community].name if member else vote.voter.name,
        "rank": vote.rank,
        "affinity": round(member.cf_weight, 4) if member else None,
        "contribution": vote.contribution,
    }
