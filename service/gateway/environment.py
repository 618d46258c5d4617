"""``LOCALREC_…`` variables: one that means nothing, or means something wrong, stops the start by its name."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from models.contract.errors import EnvironmentVariableError

PREFIX = "LOCALREC_"
LEVEL = "__"  # goes one table down
CONFIG_VARIABLE = f"{PREFIX}CONFIG"

# No settings: what our commands, scripts, images, compose file and tests read themselves.
OTHERS = frozenset(
    PREFIX + name
    for name in (
        "BUNDLE",
        "BUNDLES",
        "CONFIG",
        "DATA",
        "FUZZ_EXAMPLES",
        "KEYS",
        "MODEL",
        "RUN",
        "RUN_CONFIG",
        "TORCH_INDEX",
        "WORKERS",
    )
)
SECRET = frozenset({"redis_url", "pools", "tracing"})  # tables and keys whose values may hold a password
# What Kubernetes tells every container of a Service named localrec, or localrec-…
_SERVICE_LINK = re.compile(r"LOCALREC_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_LINKED_PORT = re.compile(r"(tcp|udp|sctp)://.*")


def check_names(environment: Mapping[str, str], keys: Collection[str]) -> None:
    """See that every ``LOCALREC_…`` variable is a setting's.

    Args:
        environment: all variables.
        keys: names of the settings' first level.

    Raises:
        EnvironmentVariableError: one is not; names the nearest that would be.
    """
    for name, value in sorted(environment.items()):
        if not name.upper().startswith(PREFIX) or _is_link(name, value) or name.upper() in OTHERS:
            continue
        if _path(name)[0] not in keys:
            known = [*(PREFIX + key.upper() for key in keys), *sorted(OTHERS)]
            first, *rest = name.upper().split(LEVEL)
            near = get_close_matches(first, known, 1, cutoff=0.5)
            meant = f", nearest is {LEVEL.join([near[0], *rest])}" if near else ""
            raise EnvironmentVariableError(f"{name}: no such setting{meant}; expected a key of deploy/gateway.toml")


def variable_of(environment: Mapping[str, str], place: Collection[object]) -> str | None:
    """The variable that gave a setting its value, where one did.

    Args:
        environment: all variables.
        place: keys from the first level down to the value, perhaps with more in between.
    """
    keys = [str(key).lower() for key in place]
    named = [name for name in environment if name.upper().startswith(PREFIX) and _leads(_path(name), keys)]
    return max(named, key=lambda name: len(_path(name)), default=None)


def shown(environment: Mapping[str, str], name: str) -> str:
    """A variable with its value, unless that may hold a secret."""
    return f"{name} (not shown)" if _path(name)[0] in SECRET else f"{name}={environment[name]!r}"


def _path(name: str) -> list[str]:
    return name[len(PREFIX) :].lower().split(LEVEL)


def _leads(path: list[str], keys: list[str]) -> bool:
    """Whether the keys go where the path does: the first of both is the same, the others come in their order."""
    rest = iter(keys)
    return path[0] == keys[0] and all(any(key == part for key in rest) for part in path)


def _is_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _LINKED_PORT.fullmatch(value)))
