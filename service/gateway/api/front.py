"""FastAPI behind layers of ours."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send


class Fronted(FastAPI):
    """An application whose outermost layers are given: FastAPI's own would cost the quickest requests a tenth.

    Args:
        title: of the application.
        lifespan: as FastAPI's.

    ``front`` is what requests meet first; wrap it to put a layer before it. Routes are plain ones: FastAPI's would read
    a body before its size is known.
    """

    def __init__(self, title: str, lifespan: Callable[[Any], AbstractAsyncContextManager[Any]]) -> None:
        super().__init__(title=title, lifespan=lifespan, openapi_url=None)
        self.front: ASGIApp = super().__call__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.front(scope, receive, send)
