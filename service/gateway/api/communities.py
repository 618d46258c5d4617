"""``GET /admin/communities``: the portrait of its communities that the bundle in service brings."""

import asyncio
from collections.abc import Set
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.contract.bundle import CommunitySpec
from models.contract.errors import BundleError
from models.contract.portrait import CommunityPortrait, PortraitFile, TypicalItem
from service.gateway.api.scope import gateway_of
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError, no_bundle
from service.json_response import json_response


async def communities(request: Request) -> Response:
    """``GET /admin/communities``: sizes, overlap, typical items, nearest members, and a map.

    A bundle is not changed where a user is deleted: who was, is not named.
    """
    gateway = gateway_of(request)
    snapshot = gateway.follower.snapshot
    if snapshot is None:
        raise no_bundle()
    try:
        portrait = await asyncio.to_thread(lambda: snapshot.portrait)
    except BundleError as exc:
        raise ApiError(404, "no_portrait", f"The portrait of this bundle cannot be read: {exc}") from exc
    if portrait is None:
        raise ApiError(404, "no_portrait", f"Bundle {snapshot.id} has no portrait: it was built before there were any")
    deleted = await gateway.users.among_deleted([each for one in portrait.communities for each in one.members])
    return json_response(_described(portrait, snapshot, deleted))


def _described(portrait: PortraitFile, snapshot: Snapshot, deleted: Set[str]) -> dict[str, Any]:
    pairs = enumerate(zip(snapshot.bundle.manifest.communities, portrait.communities, strict=True))
    return {
        "bundle_id": snapshot.id,
        "n_users": portrait.n_users,
        "coverage": portrait.coverage,
        "mean_memberships": portrait.mean_memberships,
        "communities": [_community(number, spec, each, snapshot, deleted) for number, (spec, each) in pairs],
        "overlap": portrait.overlap,
        "map": {"users": portrait.users, "anchors": portrait.anchors},
    }


def _community(
    number: int, spec: CommunitySpec, portrait: CommunityPortrait, snapshot: Snapshot, deleted: Set[str]
) -> dict[str, Any]:
    return {
        "number": number,
        "adapter": spec.adapter,
        "name": spec.name,
        "n_users": portrait.n_users,
        "share": portrait.share,
        "items": [_item(item, snapshot) for item in portrait.items],
        "members": [member for member in portrait.members if member not in deleted],
    }


def _item(item: TypicalItem, snapshot: Snapshot) -> dict[str, Any]:
    number = snapshot.catalogue.number(item.item_id)
    title = None if number is None else snapshot.catalogue.items[number].title
    return {"item_id": item.item_id, "title": title, "lift": item.lift}
