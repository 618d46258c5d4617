"""``[pipelines]``: what answers a request, and what fills the list up."""

from typing import Annotated, Literal

from pydantic import Field

from models.contract.fusion import FusionMethod
from models.contract.selection import MAX_VOTER_WEIGHT, ServedVoter
from service.gateway.tables import Name, Table

FallbackName = Literal["cf", "popular"]
VoterWeight = Annotated[float, Field(ge=0, le=MAX_VOTER_WEIGHT)]


class FusionOverrides(Table):
    """What a pipeline wants otherwise than the bundle says."""

    method: FusionMethod | None = None
    k: float | None = Field(default=None, ge=0, le=10_000)
    candidates: int | None = Field(default=None, ge=1, le=1_000)
    voters: dict[ServedVoter, VoterWeight] | None = None


class LocalPipeline(Table):
    """One worker call per community of the user, one more where the global adapter votes, fused."""

    kind: Literal["local"]
    pool: Name
    max_communities: int = Field(default=100, ge=1, le=100)
    fusion: FusionOverrides = FusionOverrides()
    fallbacks: tuple[FallbackName, ...] = ("cf", "popular")


class GlobalPipeline(Table):
    """No worker call: the global CF model, or popularity."""

    kind: Literal["cf", "popular"]
    fallbacks: tuple[FallbackName, ...] = ("popular",)


Pipeline = LocalPipeline | GlobalPipeline
