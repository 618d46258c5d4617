"""The application: composes everything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from service.gateway import errors
from service.gateway.api import health
from service.gateway.api.operations import openapi
from service.gateway.api.recommend import RECOMMEND_PATH, RecommendFirst, recommend
from service.gateway.gateway import Gateway, running_gateway
from service.gateway.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The gateway as an ASGI application. Connections open when it starts and close when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Gateway]]:
        async with running_gateway(settings) as gateway:
            yield {"gateway": gateway}

    app = FastAPI(title="LocalRec", lifespan=lifespan, openapi_url=None)
    # Plain routes: FastAPI's own would read a body before its size is known.
    app.add_middleware(RecommendFirst)
    app.add_route(RECOMMEND_PATH, recommend, methods=["POST"])  # says 405 to other methods
    app.add_route("/openapi.json", openapi, methods=["GET"])
    app.add_route("/healthz", health.healthz, methods=["GET"])
    app.add_route("/readyz", health.readyz, methods=["GET"])
    app.add_route("/metrics", health.metrics, methods=["GET"])
    app.add_exception_handler(HTTPException, errors.on_http_exception)
    app.add_exception_handler(Exception, errors.on_bug)
    return app
