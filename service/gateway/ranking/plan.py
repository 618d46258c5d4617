"""Which worker calls a request makes. Pure."""

from dataclasses import dataclass, replace

from models.contract.bundle import GLOBAL_ADAPTER
from models.contract.selection import GLOBAL_VOTER, FusionSettings
from models.contract.types import Membership
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.effort import fewer, nearest, savings
from service.gateway.ranking.narrowing import narrowed
from service.gateway.ranking.settings import GlobalPipeline, LocalPipeline, Pipeline, SinglePipeline
from service.gateway.ranking.single import ask
from service.gateway.ranking.user import User
from service.gateway.types import FULL_EFFORT, Effort, Reason
from service.workers.completion import Completion
from service.workers.types import Inquiry


@dataclass(frozen=True, slots=True)
class Call:
    """One adapter to ask: a community's, with the user's membership in it, or the one that was trained for everyone."""

    membership: Membership | None
    adapter: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The same question to several adapters of one pool.

    Args:
        pool: who is asked.
        bundle_id: whose adapters they are.
        inquiry: what is asked.
        calls: the adapters.
        fusion: how their lists become one; None: there is one call, whose list is served as it is.
        n_members: communities of the user that the pipeline allows for.
        reasons: what the caller should know of the plan.
        notes: what the caller should know of the answer, where there is one.
    """

    pool: str
    bundle_id: str
    inquiry: Inquiry
    calls: tuple[Call, ...]
    fusion: FusionSettings | None
    n_members: int = 0
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()


def plan(pipeline: Pipeline, user: User, snapshot: Snapshot, effort: Effort = FULL_EFFORT) -> Plan | None:
    """Whom a pipeline asks what.

    None where there is nobody to ask: the pipeline has no workers, too little is known of the user. None, too, where
    there is nothing to ask about: no item is allowed. Less effort asks for less.
    """
    match pipeline:
        case LocalPipeline():
            return _of_communities(pipeline, user, snapshot, effort)
        case GlobalPipeline():
            return None
        case _:
            return _of_one(pipeline, user, snapshot, effort)


def _of_one(pipeline: SinglePipeline, user: User, snapshot: Snapshot, effort: Effort) -> Plan | None:
    asked = ask(pipeline, user, snapshot, effort)
    if asked is None:
        return None
    call = Call(None, pipeline.kind)  # its adapter has the model's name
    return Plan(
        pool=pipeline.pool,
        bundle_id=snapshot.id,
        inquiry=asked.inquiry,
        calls=(call,),
        fusion=None,
        reasons=asked.reasons,
        notes=asked.notes,
    )


def _of_communities(pipeline: LocalPipeline, user: User, snapshot: Snapshot, effort: Effort) -> Plan | None:
    """One call per community of the user, the nearest first, at most ``max_communities``, and one to a global voter.

    Less effort asks fewer communities, for fewer candidates. None also where the user belongs to no community and the
    global adapter has no vote: then the CF model serves, equation 7.
    """
    if user.profile is None:
        return None
    wanted = fusion_settings(pipeline, snapshot)
    fusion = replace(wanted, candidates=fewer(wanted.candidates, effort))
    members = user.profile.memberships[: pipeline.max_communities]
    asked = nearest(members, effort)
    calls = [Call(membership, snapshot.adapter(membership)) for membership in asked]
    if fusion.has_vote(GLOBAL_VOTER):
        calls.append(Call(None, GLOBAL_ADAPTER))
    completion = narrowed(_completion(user, fusion, snapshot), user.allowed)
    if not calls or completion is None:
        return None
    return Plan(
        pool=pipeline.pool,
        bundle_id=snapshot.id,
        inquiry=completion,
        calls=tuple(calls),
        fusion=fusion,
        n_members=len(members),
        reasons=savings((len(asked), len(members)), (fusion.candidates, wanted.candidates)),
    )


def _completion(user: User, fusion: FusionSettings, snapshot: Snapshot) -> Completion:
    return Completion(
        prompt=snapshot.prompts.prompt(user.history),
        candidates=fusion.candidates,
        excluded=user.excluded,
        n_items=len(snapshot.catalogue),
        item_offset=snapshot.prompts.item_offset,
    )


def fusion_settings(pipeline: LocalPipeline, snapshot: Snapshot) -> FusionSettings:
    """The bundle's choice, unless the pipeline overrides it."""
    manifest, wanted = snapshot.bundle.manifest, pipeline.fusion
    chosen, model = manifest.serving, manifest.model
    return FusionSettings(
        method=chosen.method if wanted.method is None else wanted.method,
        k=chosen.k if wanted.k is None else wanted.k,
        # Of a small catalogue, no more than there is: asked for more log-probabilities than that, vLLM answers 400.
        candidates=min(chosen.candidates if wanted.candidates is None else wanted.candidates, model.n_items),
        others=tuple((chosen.voters if wanted.voters is None else wanted.voters).items()),
    )
