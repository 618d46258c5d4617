"""The application: composes everything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from service.gateway import errors
from service.gateway.api import health
from service.gateway.api.batch import BATCH_PATH, recommend_batch
from service.gateway.api.express import Express
from service.gateway.api.recommend import RECOMMEND_PATH, recommend
from service.gateway.gateway import Gateway, running_gateway
from service.gateway.settings import Settings


class _Application(FastAPI):
    """FastAPI, with a way past it for what carries the load."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._express(scope, receive, send)

    @cached_property
    def _express(self) -> Express:
        return Express(super().__call__, interactive={RECOMMEND_PATH: recommend}, batch={BATCH_PATH: recommend_batch})


def create_app(settings: Settings) -> FastAPI:
    """The gateway as an ASGI application. Connections open when it starts and close when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Gateway]]:
        async with running_gateway(settings) as gateway:
            yield {"gateway": gateway}

    app = _Application(title="LocalRec", lifespan=lifespan, openapi_url=None)
    # Plain routes: FastAPI's own would read a body before its size is known.
    app.add_route(RECOMMEND_PATH, recommend, methods=["POST"])  # says 405 to other methods
    app.add_route(BATCH_PATH, recommend_batch, methods=["POST"])
    app.add_route("/healthz", health.healthz, methods=["GET"])
    app.add_route("/readyz", health.readyz, methods=["GET"])
    app.add_route("/metrics", health.metrics, methods=["GET"])
    app.add_exception_handler(HTTPException, errors.on_http_exception)
    app.add_exception_handler(Exception, errors.on_bug)
    return app
