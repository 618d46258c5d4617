"""What the service offers, for the OpenAPI document."""

from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.batch import BATCH_PATH
from service.gateway.api.event_schemas import EventsRequest, EventsResponse
from service.gateway.api.events import EVENTS_PATH
from service.gateway.api.items import SimilarResponse
from service.gateway.api.openapi import Operation, Parameter, document
from service.gateway.api.recommend import RECOMMEND_PATH
from service.gateway.api.schemas import (
    MAX_HISTORY,
    BatchRequest,
    BatchResponse,
    HealthResponse,
    ReadyResponse,
    RecommendRequest,
    RecommendResponse,
)
from service.gateway.api.user_schemas import DeletedResponse, UserResponse
from service.gateway.experiments.override import OVERRIDE_HEADER
from service.request_id import MAX_ID, REQUEST_ID_HEADER

ERRORS = {
    400: "No HTTP/1.x, or a header twice that decides something",
    401: "An API key is missing, unknown or expired",
    403: "The API key lacks the scope",
    404: "There is no such thing",
    408: "Head or body took too long",
    413: "The body is too large",
    414: "Path and query exceed 4 KiB",
    415: "The body is compressed",
    422: "The request is malformed; `error.field` names the field at fault",
    429: "Too many requests with this API key; see Retry-After",
    431: "More headers, or more bytes of them, than allowed",
    503: "Turned away for now; see Retry-After",
}
ANYWHERE = (400, 401, 403, 408, 414, 422, 429, 431, 503)
WITH_BODY = (*ANYWHERE, 413, 415)
ID = {"type": "string", "minLength": 1, "maxLength": 256}
_VARIANTS = Parameter(
    OVERRIDE_HEADER,
    "header",
    "Variants for testing, `experiment=variant, …`; heeded where the experiments file allows it",
    {"type": "string", "pattern": "^[!-~ ]*$"},
)
_REQUEST_ID = Parameter(
    REQUEST_ID_HEADER,
    "header",
    f"The request's id, up to {MAX_ID} letters, digits, `.`, `_`, `-`; else it gets one. The answer has it, too",
    {"type": "string", "pattern": "^[!-~ ]*$"},
)
_USER = Parameter("user_id", "path", "Whose", ID, "196")

OPERATIONS = (
    Operation(
        "post",
        RECOMMEND_PATH,
        "recommend",
        "The top-n items of a user",
        RecommendResponse,
        errors=WITH_BODY,
        body=RecommendRequest,
        examples=(
            ("a known user", {"user_id": "196", "n": 3, "explain": True}),
            ("a session without a name", {"user_id": "someone-new", "history": ["50", "172", "181"]}),
            ("filters", {"user_id": "196", "filters": {"categories": ["Comedy"], "year": {"min": 1990}}}),
        ),
        parameters=(_VARIANTS, _REQUEST_ID),
        scope="recommend",
    ),
    Operation(
        "post",
        BATCH_PATH,
        "recommend_batch",
        "The lists of up to a hundred users, each with an outcome of its own",
        BatchResponse,
        errors=WITH_BODY,
        body=BatchRequest,
        examples=(("two users", {"requests": [{"user_id": "196", "n": 3}, {"user_id": "1", "n": 3}]}),),
        parameters=(_VARIANTS, _REQUEST_ID),
        scope="recommend",
    ),
    Operation(
        "get",
        "/items/{item_id}/similar",
        "similar",
        "The items nearest to one",
        SimilarResponse,
        errors=(*ANYWHERE, 404),
        parameters=(
            Parameter("item_id", "path", "Of the item", ID, "50"),
            Parameter("n", "query", "Items wanted", {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}),
            Parameter(
                "exclude_items", "query", "Never show these", {"type": "array", "items": ID, "maxItems": MAX_HISTORY}
            ),
        ),
        scope="recommend",
    ),
    Operation(
        "post",
        EVENTS_PATH,
        "record_events",
        "What users did: one event, or up to 500; the next list knows",
        EventsResponse,
        errors=WITH_BODY,
        body=EventsRequest,
        examples=(
            ("a click", {"type": "click", "user_id": "someone-new", "item_id": "50"}),
            (
                "two events",
                {
                    "events": [
                        {"event_id": "e1", "type": "view", "user_id": "196", "item_id": "172"},
                        {"event_id": "e2", "type": "rating", "user_id": "196", "item_id": "181", "value": 5},
                    ]
                },
            ),
        ),
        parameters=(_REQUEST_ID,),
        scope="events",
    ),
    Operation(
        "get",
        "/users/{user_id}",
        "user",
        "What is held of a user",
        UserResponse,
        errors=(*ANYWHERE, 404),
        parameters=(_USER,),
        scope="admin",
    ),
    Operation(
        "delete",
        "/users/{user_id}",
        "delete_user",
        "Delete all that is held of a user",
        DeletedResponse,
        errors=ANYWHERE,
        parameters=(_USER,),
        scope="admin",
    ),
    Operation("get", "/healthz", "healthz", "Whether the process is alive", HealthResponse),
    Operation(
        "get",
        "/readyz",
        "readyz",
        "Whether requests should be sent here",
        ReadyResponse,
        errors=(503,),
        refusal=ReadyResponse,
    ),
    Operation("get", "/metrics", "metrics", "Prometheus' text format, or OpenMetrics where that is accepted", None),
)


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of the gateway."""
    return document("LocalRec", version("localrec"), OPERATIONS, ERRORS)


async def openapi(_: Request) -> Response:
    """``GET /openapi.json``."""
    return Response(orjson.dumps(openapi_document()), media_type="application/json")
