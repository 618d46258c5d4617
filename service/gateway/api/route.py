"""What every plain route does around its work."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.scope import gateway_of, key_of
from service.gateway.errors import ApiError, ClientGoneError, error_response, request_id_of
from service.gateway.telemetry import RequestLabels
from service.gateway.types import StateUnavailableError

CLIENT_GONE_STATUS = 499  # nginx' number; nobody is there to read it


async def respond(request: Request, route: str, work: Callable[[str], Awaitable[Response]]) -> Response:
    """The answer that ``work`` makes for the request's id. Errors get their one shape, telemetry what it took."""
    started, request_id, outcome, status = time.perf_counter(), request_id_of(request), "internal", 500
    try:
        response = await _with_store(work, request_id)
        outcome, status = "ok", response.status_code
        return response
    except ApiError as error:
        outcome, status = error.code, error.status
        return error_response(error, request_id)
    except ClientGoneError:
        outcome, status = "client_gone", CLIENT_GONE_STATUS
        return Response(status_code=CLIENT_GONE_STATUS)
    finally:
        labels, seconds = RequestLabels(route, outcome=outcome), time.perf_counter() - started
        gateway_of(request).requests.ended(labels, seconds, status, request_id, key_of(request))


async def _with_store(work: Callable[[str], Awaitable[Response]], request_id: str) -> Response:
    try:
        return await work(request_id)
    except StateUnavailableError as exc:
        message = f"The store did not answer: {exc}; nothing is lost by asking again"
        raise ApiError(503, "store_unavailable", message, headers={"Retry-After": "1"}) from exc
