"""``/users/{user_id}``: what the service holds of a user."""

import logging
import time
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from models.contract.redis_schema import FormatError, decode_events
from models.contract.types import Profile
from service.gateway.api.route import respond
from service.gateway.api.schemas import Id
from service.gateway.api.scope import gateway_of
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError
from service.gateway.privacy import hashed
from service.gateway.store.decoding import decode_user
from service.gateway.store.users import Held
from service.json_response import json_response

logger = logging.getLogger(__name__)

USERS_PATH = "/users/{user_id:path}"  # an id may hold a slash
ROUTE = "/users"
_IDS: TypeAdapter[str] = TypeAdapter(Id)


async def user(request: Request) -> Response:
    """``GET /users/{user_id}``: all that lists are made of. ``DELETE``: all that is held, in streams too."""
    work = _delete if request.method == "DELETE" else _show
    return await respond(request, ROUTE, lambda request_id: work(request, request_id))


async def _show(request: Request, request_id: str) -> Response:
    user_id, gateway = _user_id(request), gateway_of(request)
    snapshot = gateway.follower.snapshot
    held = await gateway.users.held(user_id, snapshot.id if snapshot else "")
    if not held.sizes:
        raise ApiError(404, "unknown_user", "Nothing is held of this user", "user_id")
    return json_response({"request_id": request_id, "user_id": user_id} | describe(held, snapshot))


async def _delete(request: Request, request_id: str) -> Response:
    user_id = _user_id(request)
    deleted = await gateway_of(request).users.delete(user_id, time.time())
    logger.info("user %s deleted: %s", hashed(user_id), deleted)
    return json_response({"request_id": request_id, "user_id": user_id, "deleted": deleted})


def describe(held: Held, snapshot: Snapshot | None) -> dict[str, Any]:
    """The rest of ``UserResponse``: titles and names are those of the bundle in service."""
    state = decode_user(held.stored)
    return {
        "profile": _profile(state.profile, not state.changed, snapshot) if state.profile else None,
        "history": _history(held.stored.history or b"", snapshot),
        "seen": len(set(state.seen.tolist())),
        "event_ids": held.event_ids,
        "shown": held.shown,
        "unreadable": state.unreadable,
        "keys": held.sizes,
    }


def _profile(profile: Profile, is_fresh: bool, snapshot: Snapshot | None) -> dict[str, Any]:
    communities = snapshot.bundle.manifest.communities if snapshot else ()
    return {
        "bundle": snapshot.id if snapshot else None,
        "fresh": is_fresh,
        "embedding_size": len(profile.embedding),
        "communities": [
            {
                "community": member.community,
                "name": communities[member.community].name if member.community < len(communities) else None,
                "affinity": round(member.cf_weight, 4),
                "weight": round(member.llm_weight, 4),
            }
            for member in profile.memberships
        ],
    }


def _history(value: bytes, snapshot: Snapshot | None) -> list[dict[str, Any]]:
    try:
        events = decode_events(value)
    except FormatError:
        return []
    return [
        {"item_id": event.item_id, "title": _title(event.item_id, snapshot), "timestamp": event.timestamp}
        for event in events
    ]


def _title(item_id: str, snapshot: Snapshot | None) -> str | None:
    number = snapshot.catalogue.number(item_id) if snapshot else None
    return None if snapshot is None or number is None else snapshot.catalogue.items[number].title


def _user_id(request: Request) -> str:
    user_id = request.path_params["user_id"]
    try:
        return _IDS.validate_python(user_id)
    except ValidationError as exc:
        raise ApiError(422, "invalid_request", exc.errors(include_url=False)[0]["msg"], "user_id") from exc
