"""A plan's calls, and what came of them: voters, and reasons where there is none."""

from collections.abc import Sequence

from models.contract.selection import CF_VOTER, Ballot, Voter, ballots, fuse_ballots, within, without
from models.contract.types import Array, Ints, RankedList
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.plan import Plan
from service.gateway.ranking.user import User
from service.gateway.types import Reason, Workers
from service.workers.types import NO_ITEMS, Outcome, OutcomeKind


async def fan_out(plan: Plan, workers: Workers, deadline: float) -> list[Outcome]:
    """The outcome of every call, in the plan's order, by one absolute deadline."""
    return await workers.fan_out(plan.bundle_id, [call.adapter for call in plan.calls], plan.inquiry, deadline)


def voters(plan: Plan, outcomes: list[Outcome], snapshot: Snapshot, allowed: Array | None = None) -> list[Voter]:
    """Those adapters that answered, each with the items that its community may rank and that may be shown.

    ``allowed`` is (n_items,) bool; None: all. What workers were told of it is not relied on.
    """
    pairs = zip(plan.calls, outcomes, strict=True)
    return [
        Voter(
            call.membership,
            within(within(outcome.ranking, snapshot.own_items(call.membership)), allowed),
            call.adapter,
        )
        for call, outcome in pairs
        if outcome.kind is OutcomeKind.OK
    ]


def voters_here(plan: Plan, user: User, snapshot: Snapshot) -> list[Voter]:
    """Those who vote without a worker: the global CF model."""
    if user.profile is None or plan.fusion is None or not plan.fusion.has_vote(CF_VOTER):
        return []
    ranking = snapshot.cf.recommend(user.profile.embedding, plan.fusion.candidates, user.excluded, user.mask)
    return [Voter(None, ranking, CF_VOTER)]


def count(plan: Plan, heard: Sequence[Voter], excluded: Ints) -> tuple[RankedList, tuple[Ballot, ...]]:
    """The list that the voters' lists become, and what was counted of them. A list that is alone stays as it is."""
    if plan.fusion is not None:
        cast = tuple(ballots(heard, excluded, plan.fusion))
        return fuse_ballots(cast, plan.fusion), cast
    cast = tuple(Ballot(voter, without(voter.ranking, excluded), 1.0) for voter in heard)
    return (cast[0].ranking if cast else NO_ITEMS), cast


def failures(plan: Plan, outcomes: list[Outcome]) -> list[Reason]:
    """Those that did not, and how."""
    pairs = zip(plan.calls, outcomes, strict=True)
    return [
        Reason(f"worker_{outcome.kind}", call.adapter, degrades=True)
        for call, outcome in pairs
        if outcome.kind is not OutcomeKind.OK
    ]
