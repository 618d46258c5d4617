"""``/healthz``, ``/readyz``, ``/metrics``: for whoever runs the process."""

from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_TYPE
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.scope import gateway_of
from service.gateway.gateway import Gateway
from service.json_response import json_response


async def healthz(_: Request) -> Response:
    """``GET /healthz``: the process is alive."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """``GET /readyz``: whether requests should be sent here, and what is wrong. Workers that are down only warn."""
    body = readiness(gateway_of(request))
    return json_response(body, 200 if body["ready"] else 503)


def readiness(gateway: Gateway) -> dict[str, Any]:
    """The body of ``ReadyResponse``."""
    problems, snapshot = gateway.problems(), gateway.follower.snapshot
    return {
        "ready": not problems,
        "bundle": snapshot.id if snapshot else None,
        "reasons": problems,
        "warnings": gateway.warnings(),
        "access": "open" if gateway.keys_file is None else "keys",
    }


async def metrics(request: Request) -> Response:
    """``GET /metrics``: Prometheus' text format; OpenMetrics, which has exemplars, where that is accepted."""
    openmetrics = OPENMETRICS_TYPE.partition(";")[0] in request.headers.get("Accept", "")
    content_type = OPENMETRICS_TYPE if openmetrics else CONTENT_TYPE_LATEST
    return Response(await gateway_of(request).scrape.text(openmetrics), headers={"Content-Type": content_type})
