"""What the operators' port offers, for an OpenAPI document of its own."""

from functools import cache, partial
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.lookup import ItemSearch, UserSearch
from service.gateway.api.openapi import Operation, Parameter, document, parameters_of
from service.gateway.api.operations import ANYWHERE, ERRORS, ID, WITH_BODY
from service.gateway.api.operator_schemas import (
    BundleResponse,
    BundlesResponse,
    CommunitiesResponse,
    ExperimentsResponse,
    HiddenItemsResponse,
    HiddenResponse,
    ItemsResponse,
    ReportResponse,
    ServiceResponse,
    TryResponse,
    UsersResponse,
    WorkersResponse,
)
from service.gateway.api.trial import TRY_PATH, TryRequest
from service.json_response import json_response

_ERRORS = ERRORS | {
    403: "The API key lacks the scope; without keys, the request may be of a foreign page",
    409: "It cannot be done as bundles or files stand",
}
_BUNDLE = Parameter("bundle_id", "path", "Which", {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"})
_ITEM = Parameter("item_id", "path", "Which", ID)
_TRIED = {"request": {"user_id": "196", "n": 5}, "overrides": {"max_communities": 3, "fusion": {"k": 20.0}}}
_get = partial(Operation, "get", scope="admin", errors=ANYWHERE)
_post = partial(Operation, "post", scope="admin")

OPERATOR_OPERATIONS = (
    _get("/admin/service", "service", "What serves here, and how its pipelines are set", ServiceResponse),
    _get(
        "/admin/users",
        "find_users",
        "Users by the beginning of their ids; of a large store, those that are met within half a second",
        UsersResponse,
        parameters=parameters_of(UserSearch),
    ),
    _get(
        "/admin/items",
        "find_items",
        "Items of the bundle in service, by words of their titles, popular ones first",
        ItemsResponse,
        parameters=parameters_of(ItemSearch),
    ),
    _post(
        TRY_PATH,
        "try",
        "What a pipeline would answer, with the list of each voter; leaves no trace",
        TryResponse,
        errors=(*WITH_BODY, 404),
        body=TryRequest,
        examples=(("fused otherwise", _TRIED), ("another pipeline", {"request": {"user_id": "196"}, "pipeline": "cf"})),
    ),
    _get(
        "/admin/communities",
        "communities",
        "The portrait of its communities that the bundle in service brings",
        CommunitiesResponse,
        errors=(*ANYWHERE, 404),
    ),
    _get("/admin/bundles", "bundles", "What is published, and what is served here", BundlesResponse),
    _get(
        "/admin/bundles/{bundle_id}",
        "bundle",
        "What a bundle says of itself",
        BundleResponse,
        errors=(*ANYWHERE, 404, 409),
        parameters=(_BUNDLE,),
    ),
    _post(
        "/admin/bundles/{bundle_id}/activate",
        "activate",
        "Serve another bundle, on every gateway",
        BundlesResponse,
        errors=(*ANYWHERE, 404, 409),
        parameters=(_BUNDLE,),
    ),
    _post(
        "/admin/bundles/rollback",
        "roll_back",
        "Serve the bundle before, on every gateway",
        BundlesResponse,
        errors=(*ANYWHERE, 409),
    ),
    _get("/admin/workers", "workers", "Every replica as its pool sees it", WorkersResponse),
    _get("/admin/experiments", "experiments", "The experiments in force", ExperimentsResponse),
    _get(
        "/admin/experiments/report",
        "experiments_report",
        "What the offline report of the experiments found",
        ReportResponse,
        errors=(*ANYWHERE, 404, 409),
    ),
    _get("/admin/items/hidden", "hidden_items", "Items that are in no list", HiddenItemsResponse),
    _post(
        "/admin/items/{item_id}/hide",
        "hide_item",
        "Take an item out of every list",
        HiddenResponse,
        errors=ANYWHERE,
        parameters=(_ITEM,),
    ),
    _post(
        "/admin/items/{item_id}/show",
        "show_item",
        "Undo hiding",
        HiddenResponse,
        errors=ANYWHERE,
        parameters=(_ITEM,),
    ),
)


@cache
def operators_document() -> dict[str, Any]:
    """The OpenAPI document of the operators' port."""
    return document("LocalRec, operators", version("localrec"), OPERATOR_OPERATIONS, _ERRORS)


async def operators_openapi(_: Request) -> Response:
    """``GET /admin/openapi.json``."""
    return json_response(operators_document())
