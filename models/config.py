"""Configuration of the offline stages: frozen dataclasses whose fields carry their own help text.

The command line makes one flag of each field, ``localrec run`` one key of a TOML section; both go through
:func:`make`, so that a wrong key or value fails before any work starts.
"""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from models.contract.errors import ConfigError

C = TypeVar("C")


def option(
    default: Any, help: str, *, low: float | None = None, high: float | None = None, search: tuple[Any, ...] = ()
) -> Any:
    """A configuration field: default, one sentence with the unit, and inclusive bounds (of every value of a list).

    ``search`` are the values among which ``localrec tune`` looks for the best; without any the field keeps its value.
    """
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "search": search})


def make(cls: type[C], values: Mapping[str, Any], section: str) -> C:
    """Build a configuration from untyped values; text is read as numbers, truth values and comma-separated lists.

    Raises:
        ConfigError: unknown key, wrong type, value out of bounds, or values that do not go together, which the class
            itself refuses; names key, value and what is expected.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{section}: {values!r}; expected a section of keys and values")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    made = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"{section}.{key}: unknown key; expected one of {', '.join(fields)}")
        made[key] = _convert(value, hints[key], f"{section}.{key}")
        _check_bounds(fields[key], made[key], section)
    try:
        return cls(**made)
    except ConfigError as exc:  # the class knows its keys, not under which section it was asked for
        raise ConfigError(f"{section}.{exc}") from exc


def load(cls: type[C], path: Path) -> C:
    """Read a TOML file: a section for each field with a class of its own, and ``name``, by default the file's.

    Raises:
        ConfigError: it cannot be read or used; see :func:`make`.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    hints: dict[str, type] = get_type_hints(cls)
    sections = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    for key in document:
        if key not in ("name", *sections):
            raise ConfigError(f"{path}: {key}: unknown section; expected name, {', '.join(sections)}")
    made: dict[str, Any] = {"name": document.get("name", path.stem)}
    return cls(**made | {key: make(kind, document.get(key, {}), key) for key, kind in sections.items()})


def _convert(value: Any, hint: Any, key: str) -> Any:
    is_list = isinstance(value, str) and any(get_origin(kind) is tuple for kind in (hint, *get_args(hint)))
    try:
        return msgspec.convert([part.strip() for part in value.split(",")] if is_list else value, hint, strict=False)
    except msgspec.ValidationError as exc:
        reason = f"expected one of {', '.join(get_args(hint))}" if get_origin(hint) is Literal else exc
        raise ConfigError(f"{key}: {value!r}: {reason}") from exc


def _check_bounds(field: "dataclasses.Field[Any]", value: Any, section: str) -> None:
    numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, int | float)]
    low, high = field.metadata.get("low"), field.metadata.get("high")
    for number in numbers:
        inside = (low is None or number >= low) and (high is None or number <= high)
        if not (inside and abs(number) < math.inf):  # NaN is on no side of any bound
            limits = [f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else ""]
            expected = " and ".join(limit for limit in limits if limit) or "a finite number"
            raise ConfigError(f"{section}.{field.name}: {number} is out of range; expected {expected}")
