"""The OpenAPI document, made of the models that requests are validated with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.gateway.api.schemas import ErrorResponse

REF = "#/components/schemas/{model}"
JSON = "application/json"


@dataclass(frozen=True)
class Parameter:
    """A parameter of path, query or header. Those of a path are always required."""

    name: str
    place: Literal["path", "query", "header"]
    description: str
    schema: dict[str, Any]
    example: str | int | None = None
    required: bool = False

    def document(self) -> dict[str, Any]:
        """The parameter object."""
        document = {
            "name": self.name,
            "in": self.place,
            "description": self.description,
            "required": self.required or self.place == "path",
            "schema": self.schema,
        }
        return document if self.example is None else document | {"example": self.example}


def parameters_of(query: type[BaseModel]) -> tuple[Parameter, ...]:
    """The fields of a query string's model."""
    schema = query.model_json_schema()
    return tuple(
        Parameter(
            name=name,
            place="query",
            description=field["description"],
            schema={key: value for key, value in field.items() if key not in {"description", "title"}},
            required=name in schema.get("required", ()),
        )
        for name, field in schema["properties"].items()
    )


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Args:
        method: in lower case.
        path: with ``{parameters}``.
        name: of the operation, unique.
        summary: one line.
        answer: model of the body of a 200; None: text.
        errors: statuses of errors, all of one shape.
        body: model of the request's body, where it has one.
        examples: bodies by name, as they are sent.
        parameters: of path, query and header.
        scope: what an API key must be for; empty where none is needed.
        refusal: model of the body of an error.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: type[BaseModel] | None
    errors: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    examples: tuple[tuple[str, dict[str, Any]], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    scope: str = ""
    refusal: type[BaseModel] = ErrorResponse


def document(title: str, version: str, operations: Sequence[Operation], errors: dict[int, str]) -> dict[str, Any]:
    """The whole document.

    Args:
        title: of the service.
        version: of the service.
        operations: in the order in which they are listed.
        errors: what a status says, for all operations alike.
    """
    references, definitions = models_json_schema(_models(operations), ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, references, errors)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(operations: Sequence[Operation]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(o.refusal, "serialization") for o in operations]
    models += [(o.body, "validation") for o in operations if o.body is not None]
    models += [(o.answer, "serialization") for o in operations if o.answer is not None]
    return list(dict.fromkeys(models))


def _operation(operation: Operation, references: Any, errors: dict[int, str]) -> dict[str, Any]:
    answer = _content(references[operation.answer, "serialization"]) if operation.answer else _TEXT
    error = _content(references[operation.refusal, "serialization"])
    statuses = {str(status): {"description": errors[status], "content": error} for status in operation.errors}
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {"200": {"description": "As asked for", "content": answer}} | statuses,
    }
    if operation.parameters:
        found["parameters"] = [parameter.document() for parameter in operation.parameters]
    if operation.body is not None:
        examples = {name: {"value": value} for name, value in operation.examples}
        content = {JSON: {"schema": references[operation.body, "validation"], "examples": examples}}
        found["requestBody"] = {"required": True, "content": content}
    if operation.scope:
        found["description"] = f"Where the service asks for keys, one with scope `{operation.scope}`."
        found["security"] = [{}, {"key": []}]
    return found


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


_TEXT = {"text/plain": {"schema": {"type": "string"}}}
