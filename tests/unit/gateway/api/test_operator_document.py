"""The operators' OpenAPI document names every route that there is, and no other."""

from service.gateway.api.operator_operations import OPERATOR_OPERATIONS, operators_document
from service.gateway.app import create_admin_app

DOCUMENT_PATH = "/admin/openapi.json"


class Gateway:
    """Nobody asks it."""


def test_every_route_is_documented_and_every_documented_one_is_there() -> None:
    routes = [route for route in create_admin_app(Gateway()).routes if route.path.startswith("/admin/")]
    there = {
        (method.lower(), route.path.replace(":path", ""))
        for route in routes
        if route.path != DOCUMENT_PATH
        for method in route.methods - {"HEAD"}
    }
    assert {(operation.method, operation.path) for operation in OPERATOR_OPERATIONS} == there


def test_names_are_unique_and_all_need_the_scope() -> None:
    assert len({operation.name for operation in OPERATOR_OPERATIONS}) == len(OPERATOR_OPERATIONS)
    assert {operation.scope for operation in OPERATOR_OPERATIONS} == {"admin"}


def test_query_parameters_are_those_that_are_validated() -> None:
    query, limit = operators_document()["paths"]["/admin/items"]["get"]["parameters"]
    assert (query["name"], query["required"], query["schema"]["minLength"]) == ("query", True, 1)
    assert (limit["name"], limit["required"], limit["schema"]["maximum"]) == ("limit", False, 100)
