"""``GET /admin/users`` and ``GET /admin/items``: by the beginning of an id, or by words of a title."""

import asyncio
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.query_string import parse_query
from service.gateway.api.schemas import CLEAN
from service.gateway.api.scope import gateway_of
from service.gateway.errors import no_bundle
from service.gateway.store.user_search import find_users
from service.json_response import json_response

Limit = Annotated[int, Field(ge=1, le=100, description="found ones wanted, at most")]


class UserSearch(BaseModel):
    """Query string of ``GET /admin/users``."""

    model_config = ConfigDict(extra="forbid")

    prefix: Annotated[str, Field(max_length=256, pattern=CLEAN, description="how the ids begin")] = ""
    limit: Limit = 20


class ItemSearch(BaseModel):
    """Query string of ``GET /admin/items``."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[
        str, Field(min_length=1, max_length=256, pattern=CLEAN, description="words of the title, or the item's id")
    ]
    limit: Limit = 20


async def users(request: Request) -> Response:
    """``GET /admin/users``: ids of users of whom a history is kept. ``more``: there may be others."""
    asked = parse_query(request, UserSearch)
    found = await find_users(gateway_of(request).store, asked.prefix, asked.limit)
    return json_response({"user_ids": found.user_ids, "more": found.more})


async def items(request: Request) -> Response:
    """``GET /admin/items``: items of the bundle in service, the popular ones first."""
    asked, snapshot = parse_query(request, ItemSearch), gateway_of(request).follower.snapshot
    if snapshot is None:
        raise no_bundle()
    found = await asyncio.to_thread(lambda: snapshot.titles.find(asked.query, asked.limit + 1))
    shown = [snapshot.catalogue.items[number] for number in found[: asked.limit]]
    body = [{"item_id": item.item_id, "title": item.title} for item in shown]
    return json_response({"items": body, "more": len(found) > asked.limit})
