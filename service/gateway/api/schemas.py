"""What crosses the wire: the request with its bounds, the response with its fields."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from service.gateway.explanation import Explanation, Move
from service.gateway.tables import MAX_DEADLINE_MS
from service.gateway.types import AttributeFilter, Query

MAX_HISTORY = 1_000
CLEAN = r"^[^\x00-\x1f\x7f-\x9f]*$"  # no control characters, in the dialect that all readers of the schema share
Id = Annotated[str, Field(min_length=1, max_length=256, pattern=CLEAN)]
Text = Annotated[str, Field(max_length=256, pattern=CLEAN)]
AttributeName = Annotated[str, Field(min_length=1, max_length=64, pattern=CLEAN)]
Number = Annotated[float, Field(allow_inf_nan=False)]
MAX_REQUESTS = 100  # of a batch
MAX_ATTRIBUTES = 20  # of a context, or filtered by


class FilterBody(BaseModel):
    """What an attribute must be. Text is compared as it is, numbers by value; bounds belong to the range."""

    model_config = ConfigDict(extra="forbid", strict=True)

    any_of: list[Text] | None = Field(default=None, min_length=1, max_length=MAX_HISTORY, description="one of these")
    none_of: list[Text] = Field(default=[], max_length=MAX_HISTORY, description="none of these")
    min: Number | None = Field(default=None, description="at least")
    max: Number | None = Field(default=None, description="at most")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if self.any_of is None and not self.none_of and self.min is None and self.max is None:
            raise ValueError("expected any_of, none_of, min or max")
        return self

    def filter(self) -> AttributeFilter:
        """The same without its transport."""
        any_of = None if self.any_of is None else tuple(self.any_of)
        return AttributeFilter(any_of, tuple(self.none_of), self.min, self.max)


def _as_rules(given: object) -> object:
    """A bare list is short for the values that are allowed."""
    return {"any_of": given} if isinstance(given, list) else given


FilterField = Annotated[
    FilterBody,
    BeforeValidator(_as_rules),
    WithJsonSchema(
        {"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, FilterBody.model_json_schema()]}
    ),
]
"""One field, not a union: an error then names what the caller wrote, not the ways in which it was tried."""


class RecommendRequest(BaseModel):
    """Body of ``POST /recommend``. Empty defaults are made, not copied: copies were most of what reading it cost."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: Id
    n: int = Field(default=10, ge=1, le=100, description="items wanted")
    history: list[Id] | None = Field(
        default=None, max_length=MAX_HISTORY, description="item ids, oldest first; replaces the stored history"
    )
    context: dict[AttributeName, Text | Number | bool] = Field(
        default_factory=dict,
        max_length=MAX_ATTRIBUTES,
        description="device, page, locale, …: written to the exposure log",
    )
    exclude_items: list[Id] = Field(default_factory=list, max_length=MAX_HISTORY, description="never show these")
    exclude_seen: bool = Field(default=True, description="never show what the user has seen")
    candidates: list[Id] | None = Field(
        default=None, min_length=1, max_length=MAX_HISTORY, description="rank only these"
    )
    filters: dict[AttributeName, FilterField] = Field(
        default_factory=dict,
        max_length=MAX_ATTRIBUTES,
        description="by attribute: allowed values, or any_of, none_of, min, max",
    )
    strict_filters: bool = Field(
        default=True, description="false: where too few ranked items pass, popular ones that pass fill the list up"
    )
    diversity: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0: the models' order; 1: as different as can be; default: the pipeline's",
    )
    max_per: dict[AttributeName, Annotated[int, Field(ge=1, le=100)]] | None = Field(
        default=None,
        max_length=MAX_ATTRIBUTES,
        description="items of one value of an attribute, at most; default: the pipeline's",
    )
    deadline_ms: int | None = Field(
        default=None, ge=1, le=MAX_DEADLINE_MS, description="default: the service's setting"
    )
    explain: bool = Field(default=False, description="say for each item and for the whole how it came about")
    use_cache: bool = Field(default=True, description="whether an answer of a moment ago will do")

    def query(self) -> Query:
        """The request without its transport."""
        return Query(
            user_id=self.user_id,
            n=self.n,
            history=None if self.history is None else tuple(self.history),
            context=self.context,
            exclude_items=tuple(self.exclude_items),
            exclude_seen=self.exclude_seen,
            candidates=None if self.candidates is None else tuple(self.candidates),
            filters={name: wanted.filter() for name, wanted in self.filters.items()},
            strict_filters=self.strict_filters,
            diversity=self.diversity,
            max_per=self.max_per,
            explain=self.explain,
            use_cache=self.use_cache,
            deadline_ms=self.deadline_ms,
        )


class ErrorBody(BaseModel):
    """What is wrong: ``code`` for programs, ``message`` for people, ``field`` where one is at fault."""

    code: str
    message: str
    field: str | None = None


class ErrorResponse(BaseModel):
    """Body of every answer that is no success."""

    error: ErrorBody
    request_id: str


class VoteBody(BaseModel):
    """One voter's part in an item's place. ``global`` and ``cf`` are no communities, and have no affinity."""

    community: int | None
    name: str
    rank: int
    affinity: float | None
    contribution: float


class ItemBody(BaseModel):
    """One recommended item. ``source`` is ``local``, ``collm``, ``hatllm``, ``ulmrec``, ``l2rec``, ``cf`` or
    ``popular``.

    ``score`` is the item's there.

    Where an explanation was asked for, ``explanation`` has the voters of a fused item, ``source_rank`` its rank in the
    list of its source, and ``moved`` where arranging took it from and why, or null.
    """

    item_id: str
    rank: int
    score: float
    source: str
    title: str | None = None
    explanation: list[VoteBody] | None = None
    source_rank: int | None = None
    moved: Move | None = None


class RecommendResponse(BaseModel):
    """Body of the answer to ``POST /recommend``."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    user_id: str
    items: list[ItemBody]
    model_version: str
    experiments: dict[str, str]
    pipeline: str
    degraded: bool
    reasons: list[str]
    timings_ms: dict[str, float]
    explanation: Explanation | None = None


class RefusedBody(BaseModel):
    """A request of a batch that has no list."""

    user_id: str | None
    error: ErrorBody


class BatchRequest(BaseModel):
    """Body of ``POST /recommend/batch``, for the OpenAPI document: each request is read, and refused, by itself."""

    model_config = ConfigDict(extra="forbid")

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MAX_REQUESTS)


class BatchResponse(BaseModel):
    """Body of the answer to ``POST /recommend/batch``, in the order of the requests."""

    request_id: str
    responses: list[RecommendResponse | RefusedBody]
    timings_ms: dict[str, float]


class HealthResponse(BaseModel):
    """Body of ``GET /healthz``."""

    status: str


class ReadyResponse(BaseModel):
    """Body of ``GET /readyz``: ``reasons`` keep the process from being ready, ``warnings`` do not."""

    ready: bool
    bundle: str | None
    reasons: list[str]
    warnings: list[str]
    access: Literal["open", "keys"]
