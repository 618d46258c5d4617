"""``POST /recommend``."""

import time

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.body import read_body
from service.gateway.api.disconnect import ClientWatch
from service.gateway.api.render import complete
from service.gateway.api.reply import JsonReply
from service.gateway.api.route import CLIENT_GONE_STATUS
from service.gateway.api.schemas import RecommendRequest
from service.gateway.api.scope import caller_of, gateway_of, key_of
from service.gateway.errors import ApiError, ClientGoneError, error_response, invalid_request, request_id_of
from service.gateway.gateway import Gateway
from service.gateway.respond import Ready
from service.gateway.telemetry import RequestLabels
from service.gateway.types import Query, Trace

RECOMMEND_PATH = "/recommend"


async def recommend(request: Request) -> Response:
    """``POST /recommend``: the top-n items of a user."""
    gateway, trace, request_id = gateway_of(request), Trace(), request_id_of(request)
    started, served = time.perf_counter(), None
    labels, status = RequestLabels(RECOMMEND_PATH), 500
    try:
        ready = await _respond(gateway, request, request_id, trace)
        served, labels, status = ready.served, _labels(ready), 200
        return JsonReply(complete(ready.body, request_id, timings_ms(trace, started)))
    except ApiError as error:
        labels, status = labels._replace(outcome=error.code), error.status
        return error_response(error, request_id)
    except ClientGoneError:
        labels, status = labels._replace(outcome="client_gone"), CLIENT_GONE_STATUS
        return Response(status_code=CLIENT_GONE_STATUS)
    finally:
        seconds, key = time.perf_counter() - started, key_of(request)
        gateway.requests.ended(labels, seconds, status, request_id, key, trace, served)


async def _respond(gateway: Gateway, request: Request, request_id: str, trace: Trace) -> Ready:
    admission, caller = gateway.traffic.admission, caller_of(request)
    body = await read_body(request.receive)  # not yet counted: who sends slowly takes nobody's place
    admission.enter(1, caller.batch)
    try:
        query = parse(body)
        with ClientWatch(request.receive):
            return await gateway.responder.respond(query, caller, request_id, trace)
    finally:
        admission.leave(1, caller.batch)


def parse(body: bytes) -> Query:
    """The query of a body. Raises ApiError."""
    try:
        return RecommendRequest.model_validate_json(body).query()
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def timings_ms(trace: Trace, started: float) -> dict[str, float]:
    """Milliseconds of each stage, and of the whole since ``started``."""
    timings = {stage: round(seconds * 1e3, 3) for stage, seconds in trace.seconds.items()}
    timings["total"] = round((time.perf_counter() - started) * 1e3, 3)
    return timings


def _labels(ready: Ready) -> RequestLabels:
    assignment = ready.served.assignment
    outcome = "degraded" if ready.served.answer.degraded else "ok"
    return RequestLabels(RECOMMEND_PATH, assignment.pipeline, assignment.variant, outcome)
