"""The application: composes everything."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.gateway import errors
from service.gateway.api import admin, communities, events, health, items, lookup, service_facts, trial, users
from service.gateway.api.access import guard
from service.gateway.api.batch import BATCH_PATH, recommend_batch
from service.gateway.api.console import DIRECTORY, PAGES, Console
from service.gateway.api.express import Express
from service.gateway.api.front import Fronted
from service.gateway.api.operations import openapi
from service.gateway.api.operator_operations import operators_openapi
from service.gateway.api.recommend import RECOMMEND_PATH, recommend
from service.gateway.api.scope import gateway_of
from service.gateway.api.traced import Traced
from service.gateway.experiments.file import ExperimentsLoader
from service.gateway.gateway import Gateway, running_gateway
from service.gateway.processes.slot import Slot
from service.gateway.server import server_config, serving_beside
from service.gateway.settings import Settings
from service.gateway.stop import Stop
from service.gateway.telemetry import RequestLabels
from service.gateway.types import StateUnavailableError, Trace
from service.tracing import Tracing, start_tracing

OTHER_ROUTE = "other"
ROUTES = {  # by the first part of the path
    "recommend": RECOMMEND_PATH,
    "items": items.ROUTE,
    "events": events.EVENTS_PATH,
    "users": users.ROUTE,
}


def create_app(settings: Settings, stop: Stop | None = None, slot: Slot | None = None) -> Fronted:
    """The gateway as an ASGI application. Connections open when it starts and close when it stops.

    It is not ready once ``stop`` was asked for. Of several processes it is the one in ``slot``.

    Raises ConfigError where the file of experiments cannot be used, MissingExtraError where tracing needs it.
    """
    tracing = _tracing(settings)
    loader = ExperimentsLoader(settings.experiments_file, settings.pipelines, settings.default_pipeline)
    experiments = loader.load()

    @asynccontextmanager
    async def lifespan(_: Fronted) -> AsyncIterator[dict[str, object]]:
        async with (
            running_gateway(settings, loader, experiments, stop or Stop(), slot, tracing) as gateway,
            _operators_port(gateway, settings),
        ):
            yield {"gateway": gateway, "unread": partial(_note_unread, gateway)}

    app = Fronted("LocalRec", lifespan)
    app.front = Express(app.front, interactive={RECOMMEND_PATH: recommend}, batch={BATCH_PATH: recommend_batch})
    app.add_route(RECOMMEND_PATH, recommend, methods=["POST"])  # says 405 to other methods
    app.add_route(items.SIMILAR_PATH, items.similar, methods=["GET"])
    app.add_route(events.EVENTS_PATH, events.events, methods=["POST"])
    app.add_route(users.USERS_PATH, users.user, methods=["GET", "DELETE"])
    app.add_route(BATCH_PATH, recommend_batch, methods=["POST"])
    app.add_route("/openapi.json", openapi, methods=["GET"])
    app.add_route("/healthz", health.healthz, methods=["GET"])
    app.add_route("/readyz", health.readyz, methods=["GET"])
    app.add_route("/metrics", health.metrics, methods=["GET"])
    _finished(app, route_of=route_of)
    if tracing is not None:
        app.front = Traced(app.front, tracing, _traced_route)
    return app


def create_admin_app(gateway: Gateway, console: Path = DIRECTORY) -> Fronted:
    """The operators' application over a gateway that runs. ``console`` is the directory of its pages."""

    @asynccontextmanager
    async def lifespan(_: Fronted) -> AsyncIterator[dict[str, Gateway]]:
        yield {"gateway": gateway}

    app, pages = Fronted("LocalRec, operators", lifespan), Console(console)
    app.add_route("/console", pages.index, methods=["GET"])
    app.add_route("/console/{path:path}", pages.file, methods=["GET"])
    app.add_route("/admin/service", service_facts.service, methods=["GET"])
    app.add_route("/admin/users", lookup.users, methods=["GET"])
    app.add_route("/admin/items", lookup.items, methods=["GET"])
    app.add_route(trial.TRY_PATH, trial.attempt, methods=["POST"])
    app.add_route("/admin/communities", communities.communities, methods=["GET"])
    app.add_route("/admin/bundles", admin.bundles, methods=["GET"])
    app.add_route("/admin/bundles/rollback", admin.rollback, methods=["POST"])
    app.add_route("/admin/bundles/{bundle_id}", admin.bundle, methods=["GET"])
    app.add_route("/admin/bundles/{bundle_id}/activate", admin.activate, methods=["POST"])
    app.add_route("/admin/workers", admin.workers, methods=["GET"])
    app.add_route("/admin/experiments", admin.experiments, methods=["GET"])
    app.add_route("/admin/experiments/report", admin.experiments_report, methods=["GET"])
    app.add_route("/admin/items/hidden", admin.hidden_items, methods=["GET"])
    app.add_route("/admin/items/{item_id:path}/hide", admin.hide, methods=["POST"])
    app.add_route("/admin/items/{item_id:path}/show", admin.show, methods=["POST"])
    app.add_route("/admin/openapi.json", operators_openapi, methods=["GET"])
    app.add_route("/healthz", health.healthz, methods=["GET"])
    app.add_route("/readyz", health.readyz, methods=["GET"])
    app.add_route("/metrics", health.metrics, methods=["GET"])
    return _finished(app, has_pages=True)


def route_of(path: str) -> str:
    """The route that a path means, as metrics name it; the same for all that there is not."""
    return path if path == BATCH_PATH else ROUTES.get(path.partition("/")[2].partition("/")[0], OTHER_ROUTE)


def _traced_route(path: str) -> str:
    route = route_of(path)
    return "" if route == OTHER_ROUTE else route


def _tracing(settings: Settings) -> Tracing | None:
    endpoint = settings.tracing.otlp_endpoint
    return start_tracing(endpoint, "localrec-gateway", settings.tracing.sample) if endpoint else None


async def _on_unroutable(request: Request, exc: Exception) -> Response:
    """No such path, or not with this method: a request, too."""
    error = errors.error_of(exc)
    labels = RequestLabels(route_of(request.url.path), outcome=error.code)
    gateway_of(request).requests.ended(labels, 0.0, error.status, errors.request_id_of(request))
    return await errors.on_http_exception(request, exc)


def _note_unread(gateway: Gateway, code: str) -> None:
    """What the protocol refused before there was a request to pass on."""
    gateway.telemetry.request_ended(RequestLabels(OTHER_ROUTE, outcome=code), 0.0, Trace())


def _finished(app: Fronted, has_pages: bool = False, route_of: Callable[[str], str] | None = None) -> Fronted:
    app.add_exception_handler(HTTPException, _on_unroutable if route_of else errors.on_http_exception)
    app.add_exception_handler(errors.ApiError, errors.on_api_error)
    app.add_exception_handler(StateUnavailableError, errors.on_store_silent)
    app.add_exception_handler(Exception, errors.on_bug)
    guard(app, has_pages, route_of)
    return app


def _operators_port(gateway: Gateway, settings: Settings) -> AbstractAsyncContextManager[None]:
    """Starts with the gateway and ends after its last request: operators see it drain."""
    admin_settings = settings.admin
    if not admin_settings.port:
        return nullcontext()
    app = create_admin_app(gateway)
    config = server_config(app, admin_settings.host, admin_settings.port, settings.http, pages=PAGES)
    return serving_beside(config)
