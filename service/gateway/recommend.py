"""The use-case: from a query to an answer. Sees protocols only."""

from collections.abc import Mapping
from dataclasses import dataclass

from models.contract.selection import Voter, fuse_voters, select
from models.contract.types import RankedList
from service.gateway.experiment import assign
from service.gateway.explain import votes
from service.gateway.fallback import chain
from service.gateway.fanout import failures, fan_out, voters, voters_here
from service.gateway.plan import Plan, plan
from service.gateway.settings import Settings
from service.gateway.snapshot import Snapshot
from service.gateway.types import (
    Answer,
    Query,
    Reason,
    StateStore,
    StateUnavailableError,
    Trace,
    UserState,
    Workers,
)
from service.gateway.user import User, understand
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
        settings: pipelines and experiments.
        store: users' state.
        pools: workers by the name of their pool.
    """

    def __init__(self, settings: Settings, store: StateStore, pools: Mapping[str, Workers]) -> None:
        self._settings = settings
        self._store = store
        self._pools = pools

    async def recommend(self, query: Query, snapshot: Snapshot, deadline: float, trace: Trace) -> Answer:
        """Answer a query from one bundle.

        Args:
            query: what is asked.
            snapshot: the bundle that the whole answer comes from.
            deadline: instant on the loop's clock by which the answer should be on its way.
            trace: notes what each stage took.
        """
        assignment = assign(self._settings.experiments, query.user_id, self._settings.default_pipeline)
        pipeline = self._settings.pipelines[assignment.pipeline]
        with trace.stage("state"):
            state, unavailable = await self._state(query, snapshot, deadline)
        with trace.stage("plan"):
            user = understand(query, state, snapshot)
            planned = plan(pipeline, user, snapshot)
        heard = await self._ask(planned, user, snapshot, deadline, trace) if planned else _Heard()
        with trace.stage("fill"):
            selection = select(heard.ranked, LOCAL, user.excluded, query.n, chain(pipeline, user, snapshot))
        return Answer(
            assignment=assignment,
            selection=selection,
            votes=votes(selection.items, heard.voters, user.excluded, planned.fusion)
            if planned and query.explain
            else {},
            reasons=(*unavailable, *user.reasons, *heard.failures),
            calls_asked=len(planned.calls) if planned else 0,
            calls_answered=heard.answered,
        )

    async def _state(self, query: Query, snapshot: Snapshot, deadline: float) -> tuple[UserState, tuple[Reason, ...]]:
        try:
            return await self._store.read(query.user_id, snapshot.id, deadline), ()
        except StateUnavailableError as exc:
            return UserState(), (Reason("redis_unavailable", str(exc), degrades=True),)

    async def _ask(self, planned: Plan, user: User, snapshot: Snapshot, deadline: float, trace: Trace) -> _Heard:
        with trace.stage("fan_out"):
            outcomes = await fan_out(planned, self._pools[planned.pool], deadline - FINISH_SECONDS)
        trace.note("slowest_call", max(outcome.seconds for outcome in outcomes))
        with trace.stage("fuse"):
            answered = voters(planned, outcomes, snapshot)
            # Where no adapter answered there is nothing to fuse: the fallbacks say themselves whose list it is.
            heard = [*answered, *voters_here(planned, user, snapshot)] if answered else []
            ranked = fuse_voters(heard, user.excluded, planned.fusion)
        return _Heard(ranked, tuple(heard), len(answered), tuple(failures(planned, outcomes)))
