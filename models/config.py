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
    """Build a configuration from untyped values. Raises ConfigError naming key, value and what is expected."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"{section}.{key}: unknown key; expected one of {', '.join(fields)}")
        _check_bounds(fields[key], value, section)
    try:
        return msgspec.convert(dict(values), cls)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{section}: {exc}") from exc


def _check_bounds(field: "dataclasses.Field[Any]", value: Any, section: str) -> None:
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if not isinstance(value, int | float):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = (
            f"from {low} to {high}"
            if high is not None and low is not None
            else f"at least {low}"
            if high is None
            else f"at most {high}"
        )
        raise ConfigError(f"{section}.{field.name}: {value} is out of range; expected {bounds}")
