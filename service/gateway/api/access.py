"""The door: every request passes it before any route does.

What a route needs stands in one table, by the first part of its path. An application with a route that stands in
neither of the two tables does not start, so that no route is open by mistake.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote_to_bytes

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.gateway.api.front import Fronted
from service.gateway.errors import ApiError, error_response
from service.gateway.security.access import ANYONE
from service.gateway.security.keys import KeyScope
from service.gateway.telemetry import RequestLabels
from service.request_id import REQUEST_ID_NAME, current, request_id_from

NEEDED: Mapping[str, KeyScope] = {
    "recommend": "recommend",
    "items": "recommend",
    "events": "events",
    "users": "admin",
    "admin": "admin",
}
OPEN = frozenset({"healthz", "readyz", "metrics", "openapi.json", "console"})  # a page holds no data
MAX_URI_BYTES = 4_096  # an id of 256 characters takes three quarters, each one four bytes and percent-encoded
DECIDING = frozenset({b"authorization", b"x-api-key", b"content-encoding", b"origin", b"host"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class AccessControl:
    """ASGI middleware: refuses what must not reach a route, and puts caller and id into the request's state.

    Args:
        app: what is behind the door.
        has_pages: whether pages are there, whose scripts may come back through the door.
        route_of: a path's route, by which refusals are noted among the requests; None: they are not.
    """

    def __init__(self, app: ASGIApp, has_pages: bool, route_of: Callable[[str], str] | None) -> None:
        self._app = app
        self._has_pages = has_pages
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = scope["state"]["request_id"] = request_id_from(headers.get(REQUEST_ID_NAME))
        current.set(request_id)  # this task is the request's own
        header = (REQUEST_ID_NAME, request_id.encode())

        def send_named(message: Message) -> Awaitable[None]:  # a coroutine more for each message would cost a µs
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], header]
            return send(message)

        try:
            _admit(scope, headers, self._has_pages)
        except ApiError as error:
            if self._route_of is not None:
                labels = RequestLabels(self._route_of(scope["path"]), outcome=error.code)
                scope["state"]["gateway"].requests.ended(labels, 0.0, error.status, request_id)
            await error_response(error, request_id)(scope, receive, send_named)
            return
        await self._app(scope, receive, send_named)


def guard(app: Fronted, has_pages: bool = False, route_of: Callable[[str], str] | None = None) -> None:
    """Put the door before an application whose routes are all there.

    Args:
        app: the application.
        has_pages: whether pages are among the routes.
        route_of: see :class:`AccessControl`.

    Raises:
        ValueError: a route stands in neither table.
    """
    for path in map(_path_of, app.routes):
        if _first_part(path) not in NEEDED.keys() | OPEN:
            raise ValueError(f"{path}: expected its first part among NEEDED or OPEN of {__name__}")
    app.router.redirect_slashes = False  # a redirect would go wherever the request's Host header says
    app.front = AccessControl(app.front, has_pages, route_of)


def _admit(scope: Scope, headers: Mapping[bytes, bytes], has_pages: bool) -> None:
    _check_uri(scope["raw_path"], scope["query_string"])
    if len(headers) < len(scope["headers"]):
        _check_single([name for name, _ in scope["headers"]])
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ApiError(415, "encoded_body", "The body must not be compressed", headers={"Accept-Encoding": "identity"})
    state = scope["state"]
    needed = NEEDED.get(_first_part(scope["path"]))
    state["caller"] = ANYONE if needed is None else state["gateway"].access.admit(headers, needed, has_pages)


def _check_single(names: list[bytes]) -> None:
    """Somebody in between may have gone by the one, and the door by the other."""
    for name in DECIDING & set(names):
        if names.count(name) > 1:
            raise ApiError(400, "bad_http", f"The header {name.decode()} occurs twice")


def _check_uri(path: bytes, query: bytes) -> None:
    if len(path) + len(query) > MAX_URI_BYTES:
        raise ApiError(414, "uri_too_long", f"Path and query must not exceed {MAX_URI_BYTES} bytes")
    if b"%" in path:
        _check_text(path, "path")
    if query:
        _check_text(query, "query")


def _check_text(encoded: bytes, field: str) -> None:
    """What is left raw holds no control characters: the HTTP parser sees to that."""
    try:
        text = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError as exc:
        raise ApiError(422, "invalid_request", f"The {field} is not percent-encoded UTF-8", field) from exc
    if _CONTROL.search(text):
        raise ApiError(422, "invalid_request", f"The {field} holds a control character", field)


def _first_part(path: str) -> str:
    return path.partition("/")[2].partition("/")[0]


def _path_of(route: BaseRoute) -> str:
    return str(getattr(route, "path", "/"))
