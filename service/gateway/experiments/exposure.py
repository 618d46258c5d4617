"""From an answer to what is recorded of it. Nothing of this is on the request's time."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from msgspec import structs

from models.contract.records import Exposure
from models.contract.selection import Ballot
from models.contract.types import Ints
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.types import Answer, Assignment, Query, Scalar


class Record:
    """The record of an answer: made when it is first written, once, however many requests get the answer.

    Args:
        query: what was asked.
        answer: what was answered.
        assignment: the variants and the pipeline behind it.
        snapshot: the bundle behind it.
        shadow: name of the shadow variant that made the list, which was then not shown; empty where it was.
    """

    def __init__(
        self, query: Query, answer: Answer, assignment: Assignment, snapshot: Snapshot, shadow: str = ""
    ) -> None:
        self._user_id = query.user_id  # the rest of a long request should not wait for Redis
        self._answer = answer
        self._assignment = assignment
        self._snapshot = snapshot
        self._shadow = shadow

    def shown(
        self,
        request_id: str,
        context: Mapping[str, Scalar],
        timestamp_ms: int,
        latency_ms: float,
        cached: bool = False,
    ) -> Exposure:
        """What goes to the stream for one request.

        Args:
            request_id: of the request.
            context: what the request says of the situation.
            timestamp_ms: when, milliseconds since 1970.
            latency_ms: what the request took.
            cached: whether the answer was made for an earlier, equal request.
        """
        return structs.replace(
            self._exposure,
            request_id=request_id,
            context=dict(context),
            timestamp_ms=timestamp_ms,
            latency_ms=round(latency_ms, 3),
            cached=cached,
        )

    @cached_property
    def _exposure(self) -> Exposure:
        ids, selection, ballots = self._snapshot.catalogue.ids, self._answer.selection, self._answer.ballots
        return Exposure(
            request_id="",
            user_id=self._user_id,
            timestamp_ms=0,
            bundle_id=self._snapshot.id,
            pipeline=self._assignment.pipeline,
            experiments=dict(self._assignment.experiments),
            items=tuple([ids[item] for item in selection.items.tolist()]),
            sources=selection.sources,
            forced=self._assignment.forced,
            shadow=self._shadow,
            voters=tuple([ballot.voter.name for ballot in ballots]),
            ranks=ranks_of(selection.items, ballots),
            degraded=self._answer.degraded,
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
