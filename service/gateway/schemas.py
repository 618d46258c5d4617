"""What crosses the wire: the request with its bounds, the response with its fields."""

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from service.gateway.settings import MAX_DEADLINE_MS
from service.gateway.snapshot import Snapshot
from service.gateway.types import Answer, Query, Vote

MAX_HISTORY = 1_000
Id = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^\P{Cc}*$")]  # no control characters


class RecommendRequest(BaseModel):
    """Body of ``POST /recommend``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: Id
    n: int = Field(default=10, ge=1, le=100, description="items wanted")
    history: list[Id] | None = Field(
        default=None, max_length=MAX_HISTORY, description="item ids, oldest first; replaces the stored history"
    )
    exclude_items: list[Id] = Field(default=[], max_length=MAX_HISTORY, description="never show these")
    exclude_seen: bool = Field(default=True, description="never show what the user has seen")
    deadline_ms: int | None = Field(
        default=None, ge=1, le=MAX_DEADLINE_MS, description="default: the service's setting"
    )
    explain: bool = Field(default=False, description="name the voters behind each item")

    def query(self) -> Query:
        """The request without its transport."""
        return Query(
            user_id=self.user_id,
            n=self.n,
            history=None if self.history is None else tuple(self.history),
            exclude_items=tuple(self.exclude_items),
            exclude_seen=self.exclude_seen,
            explain=self.explain,
        )


class VoteBody(BaseModel):
    """One voter's part in an item's place. ``global`` and ``cf`` are no communities, and have no affinity."""

    community: int | None
    name: str
    rank: int
    affinity: float | None
    contribution: float


class ItemBody(BaseModel):
    """One recommended item. ``source`` is ``local``, ``cf`` or ``popular``."""

    item_id: str
    rank: int
    score: float
    source: str
    title: str | None = None
    explanation: list[VoteBody] | None = None


class RecommendResponse(BaseModel):
    """Body of the answer to ``POST /recommend``."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    user_id: str
    items: list[ItemBody]
    model_version: str
    experiments: dict[str, str]
    pipeline: str
    degraded: bool
    reasons: list[str]
    timings_ms: dict[str, float]


def render(answer: Answer, query: Query, snapshot: Snapshot, request_id: str, timings_ms: dict[str, float]) -> bytes:
    """JSON of :class:`RecommendResponse`, written directly: to validate our own answer would cost too much."""
    assignment = answer.assignment
    return orjson.dumps(
        {
            "request_id": request_id,
            "user_id": query.user_id,
            "items": _items(answer, query, snapshot),
            "model_version": snapshot.id,
            "experiments": assignment.experiments,
            "pipeline": assignment.pipeline,
            "degraded": answer.degraded,
            "reasons": [str(reason) for reason in answer.reasons],
            "timings_ms": timings_ms,
        }
    )


def _items(answer: Answer, query: Query, snapshot: Snapshot) -> list[dict[str, Any]]:
    selection = answer.selection
    rows = zip(selection.items.tolist(), selection.scores.tolist(), selection.sources, strict=True)
    bodies = []
    for rank, (number, score, source) in enumerate(rows, start=1):
        item = snapshot.catalogue.items[number]
        body: dict[str, Any] = {"item_id": item.item_id, "rank": rank, "score": score, "source": source}
        if item.title is not None:
            body["title"] = item.title
        if query.explain:
            body["explanation"] = [_vote(vote, snapshot) for vote in answer.votes.get(number, ())]
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
