"""Spans of the engine: a request, its time in the queue, and its batch."""

from starlette.requests import Request
from starlette.responses import Response

from service.engine.http import Handler
from service.engine.timing import Timing, wanted
from service.request_id import REQUEST_ID_HEADER
from service.tracing import Stage, Tracing, note_status


def traced(path: str, handler: Handler, tracing: Tracing | None) -> Handler:
    """The handler with a span around it; itself where there is no tracing."""
    if tracing is None:
        return handler

    async def answer(request: Request) -> Response:
        timing = Timing()
        token = wanted.set(timing)
        try:
            with tracing.request(f"POST {path}", request.headers) as span:
                response = await handler(request)
                span.note(request_id=request.headers.get(REQUEST_ID_HEADER, ""))
                note_status(span, response.status_code)
                tracing.stages(_stages(timing))
                return response
        finally:
            wanted.reset(token)

    return answer


def _stages(timing: Timing) -> list[Stage]:
    stages = []
    if timing.queued and timing.started:
        stages.append(Stage("queue", timing.queued, timing.started))
    if timing.ended:
        stages.append(Stage("batch", timing.started, timing.ended))
    return stages
