"""A span a request, where there is tracing."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.tracing import Span, Tracing, note_status

TRACE_HEADERS = {b"traceparent": "traceparent", b"tracestate": "tracestate"}


class Traced:
    """ASGI middleware, before all others: a span for each request to a route.

    Args:
        app: what answers.
        tracing: makes the spans.
        route_of: the route of a path; empty for those that have no span.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing, route_of: Callable[[str], str]) -> None:
        self._app = app
        self._tracing = tracing
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route_of(scope["path"]) if scope["type"] == "http" else ""
        if not route:
            await self._app(scope, receive, send)
            return
        found = {
            TRACE_HEADERS[name]: value.decode("latin-1") for name, value in scope["headers"] if name in TRACE_HEADERS
        }
        with self._tracing.request(f"{scope['method']} {route}", found) as span:
            await self._app(scope, receive, _noting(span, send))
            span.note(route=route, request_id=scope["state"]["request_id"])


def _noting(span: Span, send: Send) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            note_status(span, message["status"])
        await send(message)

    return noting
