"""What every table of the settings stands on."""

from collections.abc import Collection
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
BundleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
MAX_DEADLINE_MS = 10_000  # a request that began on a bundle may go on for so long


class Table(BaseModel):
    """A table of the settings: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # inputs may hold secrets


def check_distinct(where: str, names: list[str]) -> None:
    """Raise ValueError where a name occurs twice."""
    if len(set(names)) != len(names):
        raise ValueError(f"{where}: a name occurs twice among {', '.join(names)}")


def check_known(where: str, name: str, known: Collection[str]) -> None:
    """Raise ValueError where a name is none of those that are configured."""
    if name not in known:
        raise ValueError(f"{where}: {name!r} is not configured; expected one of {', '.join(known) or '(none)'}")


def problems_of(exc: ValidationError) -> str:
    """What is wrong and where, in one line, without the values; of a list with a bad entry, the entry."""
    errors = exc.errors()
    places = [e["loc"] for e in errors]
    deepest = [e for e in errors if not any(at[: len(e["loc"])] == e["loc"] != at for at in places)]
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in deepest)
