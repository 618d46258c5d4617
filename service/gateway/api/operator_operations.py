"""What operators are offered, for an OpenAPI document of its own."""

from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.reply import JsonReply


async def operators_openapi(_: Request) -> Response:
    """``GET /admin/openapi.json``."""
    return JsonReply(b"{}")
