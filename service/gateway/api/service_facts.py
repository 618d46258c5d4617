"""``GET /admin/service``: what serves here, and how its pipelines are set."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.health import readiness
from service.gateway.api.scope import gateway_of
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.plan import fusion_settings
from service.gateway.ranking.settings import LocalPipeline, Pipeline
from service.json_response import json_response


async def service(request: Request) -> Response:
    """``GET /admin/service``: what /readyz says, the defaults, and each pipeline with what holds for the bundle."""
    gateway = gateway_of(request)
    settings, snapshot = gateway.settings, gateway.follower.snapshot
    body = readiness(gateway) | {
        "default_pipeline": settings.default_pipeline,
        "default_deadline_ms": settings.default_deadline_ms,
        "pipelines": [_pipeline(name, each, snapshot) for name, each in settings.pipelines.items()],
    }
    return json_response(body)


def fusion_of(pipeline: Pipeline, snapshot: Snapshot | None) -> dict[str, Any] | None:
    """How a pipeline fuses its lists from a bundle; None where there is nothing to fuse, or no bundle."""
    if snapshot is None or not isinstance(pipeline, LocalPipeline):
        return None
    fusion = fusion_settings(pipeline, snapshot)
    return {
        "method": fusion.method,
        "k": fusion.k,
        "candidates": fusion.candidates,
        "voters": dict(fusion.others),
    }


def _pipeline(name: str, pipeline: Pipeline, snapshot: Snapshot | None) -> dict[str, Any]:
    return {
        "name": name,
        "kind": pipeline.kind,
        "pool": getattr(pipeline, "pool", None),
        "max_communities": getattr(pipeline, "max_communities", None),
        "fusion": fusion_of(pipeline, snapshot),
    }
