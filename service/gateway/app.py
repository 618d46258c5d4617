"""The application: composes everything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from service.gateway import errors
from service.gateway.api import health
from service.gateway.api.batch import BATCH_PATH, recommend_batch
from service.gateway.api.express import Express
from service.gateway.api.recommend import RECOMMEND_PATH, recommend
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
    app.add_middleware(Express, interactive={RECOMMEND_PATH: recommend}, batch={BATCH_PATH: recommend_batch})
    app.add_route(RECOMMEND_PATH, recommend, methods=["POST"])  # says 405 to other methods
    app.add_route(BATCH_PATH, recommend_batch, methods=["POST"])
    app.add_route("/healthz", health.healthz, methods=["GET"])
    app.add_route("/readyz", health.readyz, methods=["GET"])
    app.add_route("/metrics", health.metrics, methods=["GET"])
    app.add_exception_handler(HTTPException, errors.on_http_exception)
    app.add_exception_handler(Exception, errors.on_bug)
    return app
