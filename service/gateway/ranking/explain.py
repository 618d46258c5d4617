"""How an answer came about: which voters put an item where it is, and what each stage made of the query."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from models.contract.fusion import fuse
from models.contract.selection import Ballot, FusionSettings
from models.contract.types import Ints, Membership, RankedList
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.explanation import (
    ArrangeStage,
    AskedVoter,
    Explanation,
    FailedCall,
    FanOutStage,
    FillStage,
    FuseStage,
    NotAsked,
    Placement,
    PlanStage,
    Stage,
    StateStage,
)
from service.gateway.ranking.course import Course
from service.gateway.ranking.moves import Moves, moves
from service.gateway.ranking.plan import Call
from service.gateway.types import Query, Trace, Vote
from service.workers.types import OutcomeKind


def votes(items: Ints, cast: Sequence[Ballot], fusion: FusionSettings | None) -> Mapping[int, tuple[Vote, ...]]:
    """The votes for each of ``items``, the largest contribution first.

    A fused score is a sum over lists, so a voter's contribution is the score that its list alone would give; where
    nothing was fused, the score that it gave.
    """
    found: dict[int, list[Vote]] = defaultdict(list)
    wanted = set(items.tolist())
    for ballot in cast:
        alone = ballot.ranking if fusion is None else _alone(ballot, fusion)
        for rank, (item, score) in enumerate(zip(alone.items.tolist(), alone.scores.tolist(), strict=True), start=1):
            if item in wanted:
                found[item].append(Vote(ballot.voter, rank, score))
    return {item: tuple(sorted(given, key=lambda vote: -vote.contribution)) for item, given in found.items()}


def _alone(ballot: Ballot, fusion: FusionSettings) -> RankedList:
    return fuse([ballot.ranking], [ballot.weight], fusion.method, fusion.k)


def explain(
    query: Query, course: Course, snapshot: Snapshot, trace: Trace
) -> tuple[tuple[Placement, ...], Explanation]:
    """How each item of the list came to its place, and what happened to the query as a whole."""
    moved = moves(course.arranged, query.n) if course.arranged else Moves({}, 0)
    left_out = {reason: count for reason, count in asdict(course.user.left_out).items() if count}
    if moved.capped:
        left_out["capped"] = moved.capped
    return _placements(course, moved), Explanation(_stages(course, moved, snapshot, trace), left_out)


def _placements(course: Course, moved: Moves) -> tuple[Placement, ...]:
    seen: Counter[str] = Counter()
    source_ranks = []
    for source in course.pool.sources:
        seen[source] += 1
        source_ranks.append(seen[source])
    positions = course.arranged.positions if course.arranged else range(len(source_ranks))
    return tuple(Placement(source_ranks[at], moved.served.get(at)) for at in positions)


def _stages(course: Course, moved: Moves, snapshot: Snapshot, trace: Trace) -> tuple[Stage, ...]:
    """Those that ran, in their order."""
    ms = {stage: round(seconds * 1e3, 3) for stage, seconds in trace.seconds.items()}
    stages = [_state(course, ms.get("state", 0.0)), _plan(course, snapshot, ms["plan"])]
    stages += [*_asked(course, ms), FillStage(ms=ms["fill"], items=Counter(course.pool.sources))]
    return (*stages, *_arranged(course, moved, ms))


def _state(course: Course, ms: float) -> Stage:
    profile, history = course.user.profile, len(course.user.history)
    if profile is None:
        return StateStage(ms=ms, user="unknown", history=history)
    return StateStage(ms=ms, user="found" if profile is course.state.profile else "folded_in", history=history)


def _plan(course: Course, snapshot: Snapshot, ms: float) -> Stage:
    """A pipeline that asks nobody leaves nobody out."""
    if course.planned is None or course.user.profile is None:
        return PlanStage(ms=ms, asked=(), not_asked=())
    asked = {call.membership for call in course.planned.calls}
    planned = course.planned.n_members
    members = enumerate(course.user.profile.memberships)
    return PlanStage(
        ms=ms,
        asked=tuple(_asked_voter(call, snapshot) for call in course.planned.calls),
        not_asked=tuple(_not_asked(m, snapshot, at < planned) for at, m in members if m not in asked),
    )


def _asked_voter(call: Call, snapshot: Snapshot) -> AskedVoter:
    member = call.membership
    if member is None:
        return AskedVoter(call.adapter, call.adapter, None, None)
    return AskedVoter(call.adapter, _name(member, snapshot), member.community, round(member.cf_weight, 4))


def _not_asked(member: Membership, snapshot: Snapshot, planned: bool) -> NotAsked:
    adapter, affinity = snapshot.adapter(member), round(member.cf_weight, 4)
    return NotAsked(
        adapter, _name(member, snapshot), member.community, affinity, "quality" if planned else "max_communities"
    )


def _name(member: Membership, snapshot: Snapshot) -> str:
    return snapshot.bundle.manifest.communities[member.community].name


def _asked(course: Course, ms: Mapping[str, float]) -> tuple[Stage, ...]:
    """What came of a plan: its calls, and the fusion of what they brought, where there was one."""
    if course.planned is None:
        return ()
    heard, fusion = course.heard, course.planned.fusion
    ends = [(call.adapter, outcome.kind) for call, outcome in zip(course.planned.calls, heard.outcomes, strict=True)]
    answered = tuple(adapter for adapter, kind in ends if kind is OutcomeKind.OK)
    failed = tuple(FailedCall(adapter, kind) for adapter, kind in ends if kind is not OutcomeKind.OK)
    fan_out = FanOutStage(ms=ms["fan_out"], answered=answered, failed=failed)
    if fusion is None:
        return (fan_out,)
    lists, items = len(heard.voters), len(heard.ranked)
    return (
        fan_out,
        FuseStage(ms=ms["fuse"], method=fusion.method, k=fusion.k, lists=lists, items=items),
    )


def _arranged(course: Course, moved: Moves, ms: Mapping[str, float]) -> tuple[Stage, ...]:
    if course.arranged is None:
        return ()
    wanted, pool = course.arranged.wanted, len(course.pool.items)
    stage = ArrangeStage(
        ms=ms["arrange"],
        diversity=wanted.diversity,
        max_per=wanted.max_per,
        discount=wanted.discount,
        pool=pool,
        moved=len(moved.served),
    )
    return (stage,)
