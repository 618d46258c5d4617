"""What commands' flags have in common: one per field of a configuration dataclass, which is the documentation."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

F = TypeVar("F", bound=Callable[..., Any])
JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the result to this file.")


def config_flags(cls: type) -> Callable[[F], F]:
    """Add a flag for every field of ``cls`` to a click command. A flag that was not given is passed as None."""
    hints = get_type_hints(cls)

    def decorate(command: F) -> F:
        for field in reversed(dataclasses.fields(cls)):
            command = click.option(
                f"--{field.name.replace('_', '-')}",
                field.name,
                type=_click_type(hints[field.name]),
                default=None,
                help=_help(field),
            )(command)
        return command

    return decorate


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given."""
    return {key: value for key, value in values.items() if value is not None}


def _click_type(hint: Any) -> "click.ParamType[Any]":
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    if hint is bool:
        return click.BOOL
    return click.STRING  # checked with its bounds by models.config.make, which names key and value


def _help(field: "dataclasses.Field[Any]") -> str:
    default = ",".join(map(_in_words, field.default)) if isinstance(field.default, tuple) else field.default
    shown = "unset" if default in (None, "") else default
    return f"{field.metadata['help'].rstrip('.')}. Default: {shown}."


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"
