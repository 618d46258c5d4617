"""The use-case: from a query to an answer. Sees protocols only."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low

from models.contract.selection import Voter, fuse_voters, select
from models.contract.types import RankedList
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.effort import MODELS_SKIPPED
from service.gateway.ranking.explain import votes
from service.gateway.ranking.fallback import chain
from service.gateway.ranking.fanout import failures, fan_out, voters, voters_here
from service.gateway.ranking.plan import Plan, plan
from service.gateway.ranking.settings import Pipeline
from service.gateway.ranking.user import User, understand
from service.gateway.store.decoding import decode_user
from service.gateway.types import FULL_EFFORT, Answer, Effort, Known, Query, Reason, Trace, Workers
from service.workers.types import NO_ITEMS

LOCAL = "local"
FINISH_SECONDS = 0.005  # of the deadline, kept for fusing, filling and sending what came


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the voters said, fused. ``answered`` counts the adapters among them."""

    ranked: RankedList = NO_ITEMS
    voters: tuple[Voter, ...] = ()
    answered: int = 0
    failures: tuple[Reason, ...] = ()


class Recommender:
    """Answers queries, many at once.

    Args:
        pools: workers by the name of their pool.
    """

    def __init__(self, pools: Mapping[str, Workers]) -> None:
        self._pools = pools

    async def recommend(
        self,
        query: Query,
        known: Known,
        pipeline: Pipeline,
        snapshot: Snapshot,
        deadline: float,
        trace: Trace,
        effort: Effort = FULL_EFFORT,
    ) -> Answer:
        """Answer a query from one bundle.

        Args:
            query: what is asked.
            known: what the store has of the user.
            pipeline: what answers.
            snapshot: the bundle that the whole answer comes from.
            deadline: instant on the loop's clock by which the answer should be on its way.
            trace: notes what each stage took.
            effort: what it may cost.
        """
        with trace.stage("plan"):
            user = understand(query, decode_user(known.stored), snapshot)
            planned = plan(pipeline, user, snapshot, effort)
        if planned and not effort.models:
            planned, heard = None, _Heard(failures=(MODELS_SKIPPED,))
        else:
            heard = await self._ask(planned, user, snapshot, deadline, trace) if planned else _Heard()
        with trace.stage("fill"):
            selection = select(heard.ranked, LOCAL, user.excluded, query.n, chain(pipeline, user, snapshot))
        return Answer(
            selection=selection,
            votes=votes(selection.items, heard.voters, user.excluded, planned.fusion)
            if planned and query.explain
            else {},
            reasons=(*known.reasons, *user.reasons, *heard.failures),
            calls_asked=len(planned.calls) if planned else 0,
            calls_answered=heard.answered,
        )

    async def _ask(self, planned: Plan, user: User, snapshot: Snapshot, deadline: float, trace: Trace) -> _Heard:
        with trace.stage("fan_out"):
            outcomes = await fan_out(planned, self._pools[planned.pool], deadline - FINISH_SECONDS)
        seconds = [outcome.seconds for outcome in outcomes]
        trace.note("slowest_call", max(seconds))
        trace.straggled = max(seconds) - median_low(seconds)
        with trace.stage("fuse"):
            answered = voters(planned, outcomes, snapshot)
            # Where no adapter answered there is nothing to fuse: the fallbacks say themselves whose list it is.
            heard = [*answered, *voters_here(planned, user, snapshot)] if answered else []
            ranked = fuse_voters(heard, user.excluded, planned.fusion)
        return _Heard(ranked, tuple(heard), len(answered), (*planned.savings, *failures(planned, outcomes)))
