"""What the operators' port answers, for its OpenAPI document: the answers themselves are written directly."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from models.contract.fusion import FusionMethod
from service.gateway.api.schemas import ReadyResponse, RecommendResponse
from service.workers.breaker import BreakerState

Community = Annotated[int, Field(ge=0, description="number of a community")]
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]


class Body(BaseModel):
    """An answer, or a part of one: all of its fields are told."""

    model_config = ConfigDict(extra="forbid")


class FusionBody(Body):
    """How lists are fused: what holds, whoever decided it."""

    method: FusionMethod
    k: float
    candidates: int
    voters: dict[str, float]


class PipelineBody(Body):
    """One pipeline. ``fusion`` is what holds for the bundle in service."""

    name: str
    kind: str
    pool: str | None
    max_communities: int | None
    fusion: FusionBody | None


class ServiceResponse(ReadyResponse):
    """Body of the answer to ``GET /admin/service``."""

    default_pipeline: str
    default_deadline_ms: int
    pipelines: list[PipelineBody]


class UsersResponse(Body):
    """Body of the answer to ``GET /admin/users``. ``more``: there are others, or not all keys were looked at."""

    user_ids: list[str]
    more: bool


class NamedItem(Body):
    """An item, and its title where the bundle has one."""

    item_id: str
    title: str | None


class ItemsResponse(Body):
    """Body of the answer to ``GET /admin/items``."""

    items: list[NamedItem]
    more: bool


class RankedItem(NamedItem):
    """An item of a list."""

    rank: int


class VoterList(Body):
    """What counted of one voter: the first of its items, and its weight in the fusion.

    Where nobody voted, what one source brought of the answer.
    """

    voter: str
    name: str
    community: Community | None
    affinity: float | None
    weight: float
    items: list[RankedItem]


class TrialSettings(Body):
    """How the answer was made, overrides and bundle considered."""

    pipeline: str
    kind: str
    max_communities: int | None
    fusion: FusionBody | None


class TryResponse(Body):
    """Body of the answer to ``POST /admin/try``. ``history`` is oldest first, ``seen`` the newest thousand."""

    answer: RecommendResponse
    lists: list[VoterList]
    history: list[NamedItem]
    seen: list[NamedItem]
    settings: TrialSettings


class TypicalItemBody(NamedItem):
    """An item that the community meets ``lift`` times as often as everybody does."""

    lift: float


class PortrayedCommunityBody(Body):
    """One community; ``members`` are the nearest to its anchor, in this order."""

    number: Community
    adapter: str
    name: str
    n_users: int
    share: Share
    items: list[TypicalItemBody]
    members: list[str]


class MapBody(Body):
    """Users (x, y, nearest community or -1) and anchors (x, y) on one plane."""

    users: list[tuple[float, float, int]]
    anchors: list[tuple[float, float]]


class CommunitiesResponse(Body):
    """Body of the answer to ``GET /admin/communities``."""

    bundle_id: str
    n_users: int
    coverage: Share
    mean_memberships: float
    communities: list[PortrayedCommunityBody]
    overlap: list[list[Share]]
    map: MapBody


class RefusedBundle(Body):
    """A bundle that could not be loaded, and why."""

    bundle: str | None
    reason: str


class BundlesResponse(Body):
    """Body of the answers that tell how bundles stand."""

    published: list[str]
    current: str | None
    previous: str | None
    in_service: str | None
    canaries: dict[str, str]
    kept: str | None
    refused: RefusedBundle | None


class BundleResponse(Body):
    """Body of the answer to ``GET /admin/bundles/{bundle_id}``."""

    bundle_id: str
    created_at: str
    in_service: bool
    metrics: dict[str, Any]
    data_statistics: dict[str, Any]
    config: dict[str, Any]
    n_communities: int
    further: list[str]
    n_files: int
    bytes: int


class LatencyBody(Body):
    """Percentiles of the last ``n`` calls; null before the first."""

    p50: Milliseconds | None
    p95: Milliseconds | None
    n: int


class WorkerBody(Body):
    """One replica of a pool."""

    pool: str
    url: str
    bundles: list[str]
    reason: str
    refused: list[str]
    breaker: BreakerState
    in_flight: int
    adapters: list[str]
    latency_ms: LatencyBody


class WorkersResponse(Body):
    """Body of the answer to ``GET /admin/workers``."""

    workers: list[WorkerBody]
    warnings: list[str]


class ExperimentsResponse(Body):
    """Body of the answer to ``GET /admin/experiments``: the file in force, without its allowlists."""

    version: str
    file: dict[str, Any]
    refused: str | None


class ReportResponse(BaseModel):
    """What ``localrec experiment report --json`` wrote, whatever that is."""

    model_config = ConfigDict(extra="allow")


class HiddenItemsResponse(Body):
    """Body of the answer to ``GET /admin/items/hidden``."""

    item_ids: list[str]


class HiddenResponse(Body):
    """Body of the answers to ``POST /admin/items/{item_id}/hide`` and ``…/show``."""

    item_id: str
    hidden: bool
