"""From a list that was made to what is recorded of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.records import Exposure
from models.contract.selection import Ballot
from models.contract.types import Ints
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.types import Answer, Assignment, Query


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request leaves behind for its record, which is made after the response.

    Args:
        request_id: of the request.
        timestamp_ms: when, milliseconds since 1970.
        latency_ms: what the answer took.
        cached: whether the list was made for an earlier, equal request.
        shadow: name of the shadow variant that made the list, which was then not shown; empty where it was.
    """

    request_id: str
    query: Query
    answer: Answer
    assignment: Assignment
    snapshot: Snapshot
    timestamp_ms: int
    latency_ms: float
    cached: bool = False
    shadow: str = ""

    def record(self) -> Exposure:
        """What goes to the stream."""
        ids, selection, ballots = self.snapshot.catalogue.ids, self.answer.selection, self.answer.ballots
        return Exposure(
            request_id=self.request_id,
            user_id=self.query.user_id,
            timestamp_ms=self.timestamp_ms,
            bundle_id=self.snapshot.id,
            pipeline=self.assignment.pipeline,
            experiments=dict(self.assignment.experiments),
            items=tuple([ids[item] for item in selection.items.tolist()]),
            sources=selection.sources,
            forced=self.assignment.forced,
            shadow=self.shadow,
            voters=tuple([ballot.voter.name for ballot in ballots]),
            ranks=ranks_of(selection.items, ballots),
            degraded=self.answer.degraded,
            cached=self.cached,
            latency_ms=round(self.latency_ms, 3),
            context=dict(self.query.context),
        )


def ranks_of(items: Ints, ballots: Sequence[Ballot]) -> tuple[tuple[int, ...], ...]:
    """For each of ``items`` (n,) its rank on each ballot, from 1; 0 where it is not there. Empty without ballots."""
    if not ballots:
        return ()
    ranks = np.zeros((len(items), len(ballots)), np.int64)
    lengths = [len(ballot.ranking) for ballot in ballots]
    rank = np.concatenate([np.arange(1, length + 1) for length in lengths])
    voter = np.repeat(np.arange(len(ballots)), lengths)
    shown, at = np.nonzero(items[:, None] == np.concatenate([ballot.ranking.items for ballot in ballots]))
    ranks[shown, voter[at]] = rank[at]
    return tuple(map(tuple, ranks.tolist()))
