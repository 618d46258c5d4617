"""``localrec openapi``: the API's document, as JSON or as the page docs/api-reference.md."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from models.contract.errors import LocalRecError

REFERENCE = Path("docs/api-reference.md")
METHODS = ("get", "post", "delete")
INTRODUCTION = """# API reference

Made by `localrec openapi --markdown docs/api-reference.md` of what requests are validated with; do not edit. What it
means is in [api.md](api.md). A field of a request without a default is required.
"""
_BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "at most {}"),
    ("minLength", "{} characters at least"),
    ("maxLength", "{} characters at most"),
    ("minItems", "{} at least"),
    ("maxItems", "{} at most"),
)


@click.command()
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the reference to this file.")
@click.option("--check", is_flag=True, help="With --markdown: do not write; fail where the file is another one.")
def openapi(markdown: Path | None, check: bool) -> None:
    """The OpenAPI document of the gateway's two ports, as JSON; with --markdown the reference page made of it."""
    documents = _documents()
    if markdown is None:
        click.echo(json.dumps(documents, indent=2))
        return
    page = reference(documents)
    if not check:
        markdown.write_text(page, encoding="utf-8")
    elif not markdown.is_file() or markdown.read_text(encoding="utf-8") != page:
        raise LocalRecError(f"{markdown}: is not what the API says; run localrec openapi --markdown {markdown}")


def reference(documents: dict[str, dict[str, Any]]) -> str:
    """A page of Markdown.

    Args:
        documents: OpenAPI documents by heading.
    """
    parts = [INTRODUCTION]
    for heading, document in documents.items():
        parts += [f"## {heading}\n", *_operations(document)]
    parts += ["## Statuses\n", _statuses(documents.values()), "## Models\n", *_models(documents.values())]
    return "\n".join(parts)


def _documents() -> dict[str, dict[str, Any]]:
    from service.gateway.api.operations import openapi_document  # noqa: PLC0415 - a server's imports
    from service.gateway.api.operator_operations import operators_document  # noqa: PLC0415 - likewise

    return {"The service": openapi_document(), "The operators' port": operators_document()}


def _operations(document: dict[str, Any]) -> list[str]:
    return [
        _operation(method, path, methods[method])
        for path, methods in document["paths"].items()
        for method in METHODS
        if method in methods
    ]


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [
        f"### `{method.upper()} {path}`\n",
        f"{operation['summary']}. {operation.get('description', '')}".rstrip(),
        "",
    ]
    if "parameters" in operation:
        lines += ["| parameter | in | type | what it says |", "| --- | --- | --- | --- |"]
        lines += [_parameter(parameter) for parameter in operation["parameters"]]
        lines.append("")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        lines.append(f"Body: {_type(content['schema'])}.")
        lines += [_example(name, example) for name, example in content.get("examples", {}).items()]
    lines += [f"{', '.join(statuses)}: {answer}." for answer, statuses in _answers(operation).items()]
    return "\n".join(lines) + "\n"


def _answers(operation: dict[str, Any]) -> dict[str, list[str]]:
    """Statuses by what is answered."""
    found: dict[str, list[str]] = {}
    for status, response in sorted(operation["responses"].items()):
        (kind, content), *_ = response["content"].items()
        found.setdefault(kind if kind == "text/plain" else _type(content["schema"]), []).append(status)
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def _statuses(documents: Iterable[dict[str, Any]]) -> str:
    """What each status means; it means the same everywhere."""
    paths = [methods for document in documents for methods in document["paths"].values()]
    operations = [operation for methods in paths for operation in methods.values()]
    meanings = {s: r["description"] for operation in operations for s, r in operation["responses"].items()}
    rows = [_row(status, meaning) for status, meaning in sorted(meanings.items())]
    return "\n".join(["| status | when |", "| --- | --- |", *rows]) + "\n"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    return _row(f"`{parameter['name']}`", parameter["in"], _type(schema) + _bounds(schema), parameter["description"])


def _example(name: str, example: dict[str, Any]) -> str:
    return f"For example, {name}:\n\n```json\n{json.dumps(example['value'])}\n```\n"


def _models(documents: Iterable[dict[str, Any]]) -> list[str]:
    """Of both ports, each once: they are made of the same classes. Raises ValueError where two have one name."""
    schemas: dict[str, Any] = {}
    for name, schema in (found for each in documents for found in each["components"]["schemas"].items()):
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"model {name}: two have this name, expected one")
    return [_model(name, schemas[name]) for name in sorted(schemas)]


def _model(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n"]
    if "description" in schema:
        lines.append(" ".join(schema["description"].split()) + "\n")
    if "properties" not in schema:
        return "\n".join([*lines, f"{_type(schema)}{_bounds(schema)}.\n"])
    lines += ["| field | type | default | what it says |", "| --- | --- | --- | --- |"]
    required = set(schema.get("required", ()))
    lines += [_field(key, value, key in required) for key, value in schema["properties"].items()]
    return "\n".join(lines) + "\n"


def _field(name: str, schema: dict[str, Any], required: bool) -> str:
    default = "" if required or "default" not in schema else f"`{json.dumps(schema['default'])}`"
    return _row(f"`{name}`", _type(schema) + _bounds(schema), default, " ".join(schema.get("description", "").split()))


def _type(schema: dict[str, Any]) -> str:
    """A schema in words; models are links."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(one) + _bounds(one) for one in schema[key]))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    return _container(schema)


def _container(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {_type(schema['items']) if 'items' in schema else 'anything'}"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict):
        return f"object of {_type(values)}"
    return str(kind)


def _bounds(schema: dict[str, Any]) -> str:
    found = [words.format(schema[key]) for key, words in _BOUNDS if key in schema]
    return f", {', '.join(found)}" if found else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
