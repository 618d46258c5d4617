"""The use-case: from a query to an answer. Sees protocols only."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median_low

from models.contract.selection import select
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.arrangement import arrangement, pick, pool_size
from service.gateway.ranking.course import Course, Heard
from service.gateway.ranking.effort import MODELS_SKIPPED
from service.gateway.ranking.explain import explain, votes
from service.gateway.ranking.fallback import chain, has_model
from service.gateway.ranking.fanout import count, failures, fan_out, voters, voters_here
from service.gateway.ranking.plan import Plan, plan
from service.gateway.ranking.settings import Pipeline
from service.gateway.ranking.user import User, understand
from service.gateway.store.decoding import decode_user
from service.gateway.types import FULL_EFFORT, Answer, Effort, Known, Query, Reason, Trace, Workers

FINISH_SECONDS = 0.005  # of the deadline, kept for fusing, filling and sending what came


class Recommender:
    """Answers queries, many at once.

    Args:
        pools: workers by the name of their pool.
        now: wall clock, seconds since 1970; what was shown lately is counted by it.
    """

    def __init__(self, pools: Mapping[str, Workers], now: Callable[[], float] = time.time) -> None:
        self._pools = pools
        self._now = now

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
            known: what the store has of the user, and what is hidden.
            pipeline: what answers.
            snapshot: the bundle that the whole answer comes from.
            deadline: instant on the loop's clock by which the answer should be on its way.
            trace: notes what each stage took.
            effort: what it may cost.

        Raises:
            ApiError: the query asks for something that this bundle does not have.
        """
        with trace.stage("plan"):
            state = decode_user(known.stored)
            user = understand(query, state, snapshot, known.hidden)
            wanted = arrangement(query, pipeline, snapshot)
            planned = plan(pipeline, user, snapshot, effort)
        if planned and not effort.models:
            planned, heard = None, Heard(reasons=(MODELS_SKIPPED,))
        else:
            heard = await self._ask(planned, user, snapshot, deadline, trace) if planned else Heard()
        with trace.stage("fill"):
            n = query.n if wanted is None else pool_size(query.n)
            strict = bool(query.filters) and query.strict_filters and has_model(pipeline, user, heard.answered)
            fallbacks = chain(pipeline, user, snapshot, models_alone=strict)
            pool = select(heard.ranked, pipeline.kind, user.excluded, n, fallbacks)
        course = Course(state, user, planned, heard, pool)
        if wanted is not None:
            with trace.stage("arrange"):
                course = replace(course, arranged=pick(course, wanted, query.n, snapshot, self._now()))
        answer = _answer(query, known, course)
        return _explained(answer, query, course, snapshot, trace) if query.explain else answer

    async def _ask(self, planned: Plan, user: User, snapshot: Snapshot, deadline: float, trace: Trace) -> Heard:
        with trace.stage("fan_out"):
            outcomes = await fan_out(planned, self._pools[planned.pool], deadline - FINISH_SECONDS)
        seconds = [outcome.seconds for outcome in outcomes]
        trace.note("slowest_call", max(seconds))
        trace.straggled = max(seconds) - median_low(seconds)
        with trace.stage("fuse"):
            answered = voters(planned, outcomes, snapshot, user.mask)
            # Where no adapter answered there is nothing to fuse: the fallbacks say themselves whose list it is.
            heard = [*answered, *voters_here(planned, user, snapshot)] if answered else []
            ranked, cast = count(planned, heard, user.excluded)
        reasons = (*planned.reasons, *(planned.notes if answered else ()), *failures(planned, outcomes))
        return Heard(ranked, tuple(heard), len(answered), reasons, tuple(outcomes), cast)


def _answer(query: Query, known: Known, course: Course) -> Answer:
    reasons = [*known.reasons, *course.user.reasons, *course.heard.reasons]
    if course.capped(query.n):
        reasons.append(Reason("capped"))
    if query.filters and len(course.pool.items) < query.n:
        reasons.append(Reason("few_items_pass"))
    return Answer(
        selection=course.selection,
        votes={},
        reasons=tuple(reasons),
        calls_asked=len(course.planned.calls) if course.planned else 0,
        calls_answered=course.heard.answered,
        ballots=course.heard.ballots,
    )


def _explained(answer: Answer, query: Query, course: Course, snapshot: Snapshot, trace: Trace) -> Answer:
    placements, explanation = explain(query, course, snapshot, trace)
    planned, items = course.planned, answer.selection.items
    given = votes(items, course.heard.ballots, planned.fusion) if planned else {}
    return replace(answer, votes=given, placements=placements, explanation=explanation)
