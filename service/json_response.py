"""JSON answers of the HTTP endpoints."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``body`` as JSON, written by orjson."""
    return Response(orjson.dumps(body), status, headers, "application/json")
