"""``POST /recommend``."""

import time

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.gateway.api.body import read_body
from service.gateway.api.disconnect import ClientWatch
from service.gateway.api.schemas import RecommendRequest, render
from service.gateway.api.scope import caller_of, gateway_of
from service.gateway.errors import ApiError, ClientGoneError, error_response, invalid_request, new_request_id
from service.gateway.respond import Served
from service.gateway.telemetry import RequestLabels
from service.gateway.types import Query, Trace

RECOMMEND_PATH = "/recommend"
CLIENT_GONE_STATUS = 499  # nginx' number; nobody is there to read it


async def recommend(request: Request) -> Response:
    """``POST /recommend``: the top-n items of a user."""
    gateway, trace, request_id = gateway_of(request), Trace(), new_request_id()
    started = time.perf_counter()
    labels = RequestLabels(RECOMMEND_PATH)
    try:
        query = _parse(await read_body(request.receive))
        with ClientWatch(request.receive):
            served = await gateway.responder.respond(query, caller_of(request), request_id, trace)
        labels = _labels(served)
        return Response(render(served, request_id, _timings_ms(trace, started)), media_type="application/json")
    except ApiError as error:
        labels = labels._replace(outcome=error.code)
        return error_response(error, request_id)
    except ClientGoneError:
        labels = labels._replace(outcome="client_gone")
        return Response(status_code=CLIENT_GONE_STATUS)
    finally:
        gateway.telemetry.request_ended(labels, time.perf_counter() - started, trace)


class RecommendFirst:
    """ASGI middleware that takes ``POST /recommend`` past the router and its layers: 25 µs of a 200 µs request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == RECOMMEND_PATH and scope["method"] == "POST":
            response = await recommend(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _parse(body: bytes) -> Query:
    try:
        return RecommendRequest.model_validate_json(body).query()
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def _timings_ms(trace: Trace, started: float) -> dict[str, float]:
    timings = {stage: round(seconds * 1e3, 3) for stage, seconds in trace.seconds.items()}
    timings["total"] = round((time.perf_counter() - started) * 1e3, 3)
    return timings


def _labels(served: Served) -> RequestLabels:
    assignment = served.assignment
    return RequestLabels(
        RECOMMEND_PATH, assignment.pipeline, assignment.variant, "degraded" if served.answer.degraded else "ok"
    )
