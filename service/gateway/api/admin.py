"""``/admin/…``: what operators see and decide. On a port of its own."""

import asyncio
import dataclasses
import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.contract.errors import BundleError
from service.gateway.api.files import bundle_facts, experiment_report
from service.gateway.api.reply import JsonReply
from service.gateway.api.scope import caller_of, gateway_of
from service.gateway.bundles.follower import is_bundle_id
from service.gateway.errors import ApiError
from service.gateway.gateway import Gateway
from service.json_response import json_response

_ALLOWLISTS: Any = {"layers": {"__all__": {"experiments": {"__all__": {"allowlist"}}}}}
logger = logging.getLogger(__name__)

MAX_ITEM_ID = 256


async def bundles(request: Request) -> Response:
    """``GET /admin/bundles``: what is published, what should be served, and what is served here."""
    gateway = gateway_of(request)
    return json_response(await _bundles(gateway))


async def bundle(request: Request) -> Response:
    """``GET /admin/bundles/{id}``: what one says of itself, whether or not it is published."""
    gateway, bundle_id = gateway_of(request), request.path_params["bundle_id"]
    if not is_bundle_id(bundle_id):
        raise ApiError(404, "not_found", "This is not the id of a bundle", "bundle_id")
    facts = await asyncio.to_thread(bundle_facts, gateway.settings.bundle_root / bundle_id)
    in_service = gateway.follower.snapshot
    return json_response(facts | {"in_service": in_service is not None and in_service.id == bundle_id})


async def activate(request: Request) -> Response:
    """``POST /admin/bundles/{id}/activate``: every gateway follows within a look at the pointer."""
    gateway, bundle_id = gateway_of(request), request.path_params["bundle_id"]
    if bundle_id not in (await gateway.operations.pointers()).published:
        raise ApiError(404, "not_found", f"{bundle_id} is not published", "bundle_id")
    return await _move(request, gateway, bundle_id)


async def rollback(request: Request) -> Response:
    """``POST /admin/bundles/rollback``: the bundle before is current again."""
    gateway = gateway_of(request)
    pointers = await gateway.operations.pointers()
    if pointers.previous is None:
        raise ApiError(409, "bad_bundle", "No bundle was current before this one")
    if pointers.previous not in pointers.published:
        raise ApiError(409, "bad_bundle", f"{pointers.previous} is not published any more")
    return await _move(request, gateway, pointers.previous)


async def workers(request: Request) -> Response:
    """``GET /admin/workers``: every replica as its pool sees it."""
    statuses = [dataclasses.asdict(status) for pool in gateway_of(request).pools for status in pool.status()]
    return json_response({"workers": statuses, "warnings": gateway_of(request).warnings()})


async def experiments(request: Request) -> Response:
    """``GET /admin/experiments``: the file in force, but for its allowlists, which name users."""
    follower = gateway_of(request).experiments
    file = follower.current.file.model_dump(mode="json", exclude=_ALLOWLISTS)
    body = {"version": follower.current.version, "file": file, "refused": follower.refusal or None}
    return json_response(body)


async def experiments_report(request: Request) -> Response:
    """``GET /admin/experiments/report``: what the offline report found, as it was written."""
    path = gateway_of(request).settings.admin.experiment_report
    return JsonReply(await asyncio.to_thread(experiment_report, path))


async def hidden_items(request: Request) -> Response:
    """``GET /admin/items/hidden``: what is in no list."""
    return json_response({"item_ids": sorted(await gateway_of(request).operations.hidden())})


async def hide(request: Request) -> Response:
    """``POST /admin/items/{id}/hide``: take an item out of every list. One that no bundle knows yet, too."""
    item_id = _item_id(request)
    await gateway_of(request).operations.hide([item_id])
    _note(request, "hides item", item_id)
    return json_response({"item_id": item_id, "hidden": True})


async def show(request: Request) -> Response:
    """``POST /admin/items/{id}/show``: undo hiding."""
    item_id = _item_id(request)
    await gateway_of(request).operations.show([item_id])
    _note(request, "shows item", item_id)
    return json_response({"item_id": item_id, "hidden": False})


async def _move(request: Request, gateway: Gateway, bundle_id: str) -> Response:
    try:
        await gateway.follower.check(bundle_id)
    except BundleError as exc:
        raise ApiError(409, "bad_bundle", str(exc), "bundle_id") from exc
    await gateway.operations.activate(bundle_id)
    _note(request, "activates bundle", bundle_id)
    return json_response(await _bundles(gateway))


async def _bundles(gateway: Gateway) -> dict[str, object]:
    pointers, follower = await gateway.operations.pointers(), gateway.follower
    return {
        "published": sorted(pointers.published),
        "current": pointers.current,
        "previous": pointers.previous,
        "in_service": follower.snapshot.id if follower.snapshot else None,
        "canaries": dict.fromkeys(follower.canaries.loaded, "loaded") | follower.canaries.refused,
        "kept": follower.previous.id if follower.previous else None,
        "refused": {"bundle": follower.refused, "reason": follower.refusal} if follower.refusal else None,
    }


def _note(request: Request, does: str, to_what: str) -> None:
    """Who did what. The door has seen to it that an id holds no line break."""
    logger.info("operator %s %s %s", caller_of(request).key or "without a key", does, to_what)


def _item_id(request: Request) -> str:
    item_id: str = request.path_params["item_id"]
    if not 0 < len(item_id) <= MAX_ITEM_ID:
        raise ApiError(422, "invalid_request", f"Expected an id of 1 to {MAX_ITEM_ID} characters", "item_id")
    return item_id
