"""What the service offers, for the OpenAPI document."""

from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.openapi import Operation, document
from service.gateway.api.schemas import HealthResponse, ReadyResponse, RecommendRequest, RecommendResponse

ERRORS = {
    413: "The body is too large",
    422: "The request is malformed; `error.field` names the field at fault",
    503: "Turned away for now; see Retry-After",
}
OPERATIONS = (
    Operation(
        "post",
        "/recommend",
        "recommend",
        "The top-n items of a user",
        RecommendResponse,
        errors=(413, 422, 503),
        body=RecommendRequest,
        examples=(
            ("a known user", {"user_id": "196", "n": 3, "explain": True}),
            ("a session without a name", {"user_id": "someone-new", "history": ["50", "172", "181"]}),
        ),
        scope="recommend",
    ),
    Operation("get", "/healthz", "healthz", "Whether the process is alive", HealthResponse),
    Operation("get", "/readyz", "readyz", "Whether requests should be sent here", ReadyResponse),
    Operation("get", "/metrics", "metrics", "Prometheus' text format", None),
)


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of the gateway."""
    return document("LocalRec", version("localrec"), OPERATIONS, ERRORS)


async def openapi(_: Request) -> Response:
    """``GET /openapi.json``."""
    return Response(orjson.dumps(openapi_document()), media_type="application/json")
