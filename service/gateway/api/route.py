"""What every plain route does around its work."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.scope import gateway_of
from service.gateway.errors import ApiError, ClientGoneError, error_response, new_request_id
from service.gateway.telemetry import RequestLabels
from service.gateway.types import StateUnavailableError, Trace

CLIENT_GONE_STATUS = 499  # nginx' number; nobody is there to read it


async def respond(request: Request, route: str, work: Callable[[str], Awaitable[Response]]) -> Response:
    """The answer that ``work`` makes for a new request id. Errors get their one shape, telemetry what it took."""
    started, request_id, outcome = time.perf_counter(), new_request_id(), "internal"
    try:
        response = await _with_store(work, request_id)
        outcome = "ok"
        return response
    except ApiError as error:
        outcome = error.code
        return error_response(error, request_id)
    except ClientGoneError:
        outcome = "client_gone"
        return Response(status_code=CLIENT_GONE_STATUS)
    finally:
        labels = RequestLabels(route, outcome=outcome)
        gateway_of(request).telemetry.request_ended(labels, time.perf_counter() - started, Trace())


async def _with_store(work: Callable[[str], Awaitable[Response]], request_id: str) -> Response:
    try:
        return await work(request_id)
    except StateUnavailableError as exc:
        message = f"The store did not answer: {exc}; nothing is lost by asking again"
        raise ApiError(503, "store_unavailable", message, headers={"Retry-After": "1"}) from exc
