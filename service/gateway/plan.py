"""Which worker calls a request makes. Pure."""

from dataclasses import dataclass

from models.contract.prompts import item_prompt
from models.contract.selection import FusionSettings
from models.contract.types import Membership
from service.gateway.settings import LocalPipeline, Pipeline
from service.gateway.snapshot import Snapshot
from service.gateway.user import User
from service.workers.types import Completion


@dataclass(frozen=True, slots=True)
class Call:
    """One community to ask."""

    membership: Membership
    adapter: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The same question to several adapters of one pool."""

    pool: str
    bundle_id: str
    completion: Completion
    calls: tuple[Call, ...]
    fusion: FusionSettings


def plan(pipeline: Pipeline, user: User, snapshot: Snapshot) -> Plan | None:
    """One call per community of the user, the nearest first, at most ``max_communities``.

    None where the pipeline asks no worker, or the user belongs to no community (then the CF model serves, equation 7).
    """
    if not isinstance(pipeline, LocalPipeline) or user.profile is None or not user.profile.memberships:
        return None
    model = snapshot.bundle.manifest.model
    fusion = fusion_settings(pipeline, snapshot)
    prompt = item_prompt(user.history, model.n_items, model.history_length)
    return Plan(
        pool=pipeline.pool,
        bundle_id=snapshot.id,
        completion=Completion(prompt, fusion.candidates, user.excluded, model.n_items),
        calls=tuple(Call(m, snapshot.adapter(m)) for m in user.profile.memberships[: pipeline.max_communities]),
        fusion=fusion,
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
    )
