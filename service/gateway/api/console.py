"""``/console``: the operators' pages, files of ``service/console``. They hold no data, and fetch it from ``/admin``."""

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from service.gateway.protocol import Headers

CONSOLE = "console"
DIRECTORY = Path(__file__).parents[2] / CONSOLE
INDEX = "index.html"
# Scripts, styles and data come from this port alone, and no script or style stands in a page. A browser asks each time
# whether its copy is still the same.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
PAGES: Mapping[bytes, Headers] = {
    CONSOLE.encode(): [(b"cache-control", b"no-cache"), (b"content-security-policy", _POLICY.encode())]
}


class Console:
    """Serves the files of a directory: content types by suffix, ETags, no way out of it.

    Args:
        directory: where the files lie.
    """

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._files = StaticFiles(directory=directory, check_dir=False)

    async def index(self, request: Request) -> Response:
        """``GET /console``: the page. Its links are absolute: ``/console/…``."""
        return await self._files.get_response(INDEX, request.scope)

    async def file(self, request: Request) -> Response:
        """``GET /console/{path}``: what the page loads. Raises HTTPException: 404 where there is no such file."""
        path: str = request.path_params["path"]
        return await self._files.get_response(path or INDEX, request.scope)
