"""The way past the router for the paths that carry the load, and the first place where one can be turned away."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.gateway.api.reply import JsonReply
from service.gateway.errors import on_bug, overloaded
from service.gateway.gateway import Gateway
from service.gateway.telemetry import RequestLabels

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


class Express:
    """ASGI middleware that takes ``POST`` to some paths past the router and its layers: 25 µs of a 200 µs request.

    Args:
        app: everything else.
        interactive: handlers by path, of requests for which people wait.
        batch: handlers by path, of requests that are turned away before those, as are all of a caller of that class.
    """

    def __init__(self, app: ASGIApp, interactive: Mapping[str, Handler], batch: Mapping[str, Handler]) -> None:
        self._app = app
        self._handlers = {path: (handler, False) for path, handler in interactive.items()}
        self._handlers |= {path: (handler, True) for path, handler in batch.items()}
        self._shed = {path: RequestLabels(path, outcome=overloaded().code) for path in self._handlers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = self._handlers.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if known is None:
            await self._app(scope, receive, send)
            return
        handler, batch = known
        gateway: Gateway = scope["state"]["gateway"]
        if gateway.traffic.admission.turns_away(batch or scope["state"]["caller"].batch):
            request_id = scope["state"]["request_id"]
            gateway.requests.shed(self._shed[scope["path"]], request_id)
            response = _overloaded(request_id)
        else:
            response = await _answer(handler, Request(scope, receive))
        await response(scope, receive, send)


async def _answer(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except Exception as bug:
        logger.exception("%s failed", request.url.path)
        return await on_bug(request, bug)


def _overloaded(request_id: str) -> Response:
    """What :func:`service.gateway.errors.error_response` would say, at a tenth of the cost."""
    return JsonReply(_BODY % request_id.encode(), 503, ((b"retry-after", b"1"),))


_BODY = (
    b'{"error":{"code":"overloaded","message":"%b","field":null},"request_id":"%%b"}' % overloaded().message.encode()
)
