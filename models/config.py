"""Configuration of the offline stages: frozen dataclasses whose fields carry their own help text.

The command line makes one flag of each field, ``localrec run`` one key of a TOML section; both go through
:func:`make`, so that a wrong key or value fails before any work starts.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from models.contract.errors import ConfigError

C = TypeVar("C")


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None) -> Any:
    """A configuration field: default, one sentence with the unit, and inclusive bounds."""
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high})


def make(cls: type[C], values: Mapping[str, Any], section: str) -> C:
    """Build a configuration from untyped values; text is read as numbers, truth values and comma-separated lists.

    Raises:
        ConfigError: unknown key, wrong type or value out of bounds; names key, value and what is expected.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(f"{section}.{key}: unknown key; expected one of {', '.join(fields)}")
    try:
        made = msgspec.convert({key: _split(fields[key], value) for key, value in values.items()}, cls, strict=False)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{section}: {exc}") from exc
    for field in fields.values():
        _check_bounds(field, getattr(made, field.name), section)
    return made


def _split(field: "dataclasses.Field[Any]", value: Any) -> Any:
    is_list = isinstance(field.default, tuple) and isinstance(value, str)
    return [part.strip() for part in value.split(",")] if is_list else value


def _check_bounds(field: "dataclasses.Field[Any]", value: Any, section: str) -> None:
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if not isinstance(value, int | float):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        limits = [f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else ""]
        expected = " and ".join(limit for limit in limits if limit)
        raise ConfigError(f"{section}.{field.name}: {value} is out of range; expected {expected}")
