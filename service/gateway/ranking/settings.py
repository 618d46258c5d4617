"""``[pipelines]``: what answers a request, and what fills the list up."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from models.contract.fusion import FusionMethod
from models.contract.selection import MAX_VOTER_WEIGHT, ServedVoter
from models.contract.specs import Part
from service.gateway.tables import Name, Table

FallbackName = Literal["cf", "popular"]
AttributeName = Annotated[str, Field(min_length=1, max_length=64)]
Cap = Annotated[int, Field(ge=1, le=100)]
VoterWeight = Annotated[float, Field(ge=0, le=MAX_VOTER_WEIGHT)]


class FusionOverrides(Table):
    """What a pipeline wants otherwise than the bundle says."""

    method: FusionMethod | None = None
    k: float | None = Field(default=None, ge=0, le=10_000)
    candidates: int | None = Field(default=None, ge=1, le=1_000)
    voters: dict[ServedVoter, VoterWeight] | None = None


class RotationSettings(Table):
    """Items that were shown within the window and not acted upon lose a share of their relevance each time."""

    discount: float = Field(ge=0, le=1)
    window_s: int = Field(default=86_400, ge=1, le=31_536_000)


class ArrangedPipeline(Table):
    """How the lists of a pipeline are arranged; ``diversity`` and ``max_per`` where a request does not say."""

    diversity: float = Field(default=0.0, ge=0, le=1)
    max_per: dict[AttributeName, Cap] = Field(default={}, max_length=20)
    rotation: RotationSettings | None = None


class PooledPipeline(ArrangedPipeline):
    """What pipelines have in common that ask the workers of a pool."""

    pool: Name
    fallbacks: tuple[FallbackName, ...] = ("cf", "popular")


class LocalPipeline(PooledPipeline):
    """One worker call per community of the user, one more where the global adapter votes, fused."""

    kind: Literal["local"]
    max_communities: int = Field(default=100, ge=1, le=100)
    fusion: FusionOverrides = FusionOverrides()


class CoLLMPipeline(PooledPipeline):
    """One worker call: CoLLM ranks the best candidates of the global CF model anew."""

    kind: Literal["collm"]
    candidates: int = Field(default=50, ge=20, le=200)


class HatLLMPipeline(PooledPipeline):
    """One worker call: HatLLM reads the history, and all items are ranked by its state."""

    kind: Literal["hatllm"]
    candidates: int = Field(default=100, ge=20, le=200)


class ULMRecPipeline(PooledPipeline):
    """One worker call: ULMRec ranks the best candidates of the global CF model anew, all in one prompt."""

    kind: Literal["ulmrec"]
    candidates: int = Field(default=20, ge=2, le=26)


class L2RecPipeline(PooledPipeline):
    """One worker call: L2Rec reads the history for this user, and all items are ranked by its state."""

    kind: Literal["l2rec"]
    candidates: int = Field(default=100, ge=20, le=200)


class GlobalPipeline(ArrangedPipeline):
    """No worker call: the global CF model, or popularity."""

    kind: Literal["cf", "popular"]
    fallbacks: tuple[FallbackName, ...] = ("popular",)


SinglePipeline = CoLLMPipeline | HatLLMPipeline | ULMRecPipeline | L2RecPipeline
"""Those that ask one adapter, whose list is served as it is."""

AskingPipeline = LocalPipeline | SinglePipeline
"""Those that ask workers: a pool that serves the model of the pipeline's kind."""

Pipeline = AskingPipeline | GlobalPipeline


def needs(pipelines: Mapping[str, Pipeline]) -> dict[str, Part]:
    """The models that pipelines ask, by the names of the pipelines."""
    return {name: each.kind for name, each in pipelines.items() if not isinstance(each, GlobalPipeline)}
