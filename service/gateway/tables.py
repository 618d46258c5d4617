"""What every table of the settings stands on."""

from collections.abc import Collection
from typing import Annotated, NamedTuple

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
    return "; ".join(f"{problem.where}: {problem.why}" for problem in problems(exc))


class Problem(NamedTuple):
    """A setting that is wrong: its keys from the first level down, and what is expected."""

    place: tuple[int | str, ...]
    why: str

    @property
    def where(self) -> str:
        """The place in words."""
        return ".".join(map(str, self.place)) or "settings"


def problems(exc: ValidationError) -> list[Problem]:
    """What is wrong; of a list with a bad entry, the entry."""
    errors = exc.errors()
    places = [e["loc"] for e in errors]
    deepest = [e for e in errors if not any(at[: len(e["loc"])] == e["loc"] != at for at in places)]
    return [Problem(e["loc"], e["msg"]) for e in deepest]
