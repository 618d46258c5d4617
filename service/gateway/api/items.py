"""``GET /items/{item_id}/similar``."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from models.contract.types import RankedList
from service.gateway.api.query_string import parse_query
from service.gateway.api.route import respond
from service.gateway.api.schemas import MAX_HISTORY, Id
from service.gateway.api.scope import gateway_of
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.errors import ApiError, no_bundle
from service.gateway.gateway import Gateway
from service.json_response import json_response

SIMILAR_PATH = "/items/{item_id:path}/similar"  # ids may hold slashes
ROUTE = "/items/{item_id}/similar"


class SimilarRequest(BaseModel):
    """Query string of ``GET /items/{item_id}/similar``. ``exclude_items`` may be given many times."""

    model_config = ConfigDict(extra="forbid")

    n: Annotated[int, Field(ge=1, le=100, description="items wanted")] = 10
    exclude_items: Annotated[list[Id], Field(max_length=MAX_HISTORY, description="never show these")] = []


class SimilarItem(BaseModel):
    """One similar item. ``score`` is the cosine of the two items' embeddings, at most 1."""

    item_id: str
    rank: int
    score: float
    title: str | None = None


class SimilarResponse(BaseModel):
    """Body of the answer to ``GET /items/{item_id}/similar``."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    item_id: str
    items: list[SimilarItem]
    model_version: str


async def similar(request: Request) -> Response:
    """``GET /items/{item_id}/similar``: the nearest items of the global model, the most similar first."""

    async def answer(request_id: str) -> Response:
        asked = parse_query(request, SimilarRequest, many=("exclude_items",))
        return json_response(_answer(gateway_of(request), request.path_params["item_id"], asked, request_id))

    return await respond(request, ROUTE, answer)


def _answer(gateway: Gateway, item_id: str, asked: SimilarRequest, request_id: str) -> dict[str, Any]:
    snapshot = gateway.follower.snapshot
    if snapshot is None:
        raise no_bundle()
    number = snapshot.catalogue.number(item_id)
    if number is None:
        raise ApiError(404, "unknown_item", "The bundle in service does not know this item", "item_id")
    shown = snapshot.shown(gateway.availability.hidden)
    excluded = snapshot.catalogue.numbers(asked.exclude_items)
    ranking = snapshot.cf.similar(number, asked.n, excluded, None if shown is None else shown.mask)
    return {
        "request_id": request_id,
        "item_id": item_id,
        "items": _items(ranking, snapshot),
        "model_version": snapshot.id,
    }


def _items(ranking: RankedList, snapshot: Snapshot) -> list[dict[str, Any]]:
    bodies = []
    for rank, (number, score) in enumerate(zip(ranking.items.tolist(), ranking.scores.tolist(), strict=True), start=1):
        item = snapshot.catalogue.items[number]
        body: dict[str, Any] = {"item_id": item.item_id, "rank": rank, "score": score}
        bodies.append(body if item.title is None else body | {"title": item.title})
    return bodies
