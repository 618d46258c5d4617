"""All calls of a plan at once, under one absolute deadline."""

import asyncio

from models.contract.selection import Voter
from service.gateway.plan import Plan
from service.gateway.types import Reason, Workers
from service.workers.types import Outcome, OutcomeKind


async def fan_out(plan: Plan, workers: Workers, deadline: float) -> list[Outcome]:
    """The outcome of every call, in the plan's order. Cancelling it cancels the calls."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(workers.complete(plan.bundle_id, call.adapter, plan.completion, deadline))
            for call in plan.calls
        ]
    return [task.result() for task in tasks]


def voters(plan: Plan, outcomes: list[Outcome]) -> list[Voter]:
    """Those communities that answered."""
    pairs = zip(plan.calls, outcomes, strict=True)
    return [Voter(call.membership, outcome.ranking) for call, outcome in pairs if outcome.kind is OutcomeKind.OK]


def failures(plan: Plan, outcomes: list[Outcome]) -> list[Reason]:
    """Those that did not, and how."""
    pairs = zip(plan.calls, outcomes, strict=True)
    return [
        Reason(f"worker_{outcome.kind}", call.adapter, degrades=True)
        for call, outcome in pairs
        if outcome.kind is not OutcomeKind.OK
    ]
