"""How the users of an experiment should be split: from a configuration, from a flag, or evenly."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from models.contract.errors import ConfigError

Weights = dict[str, float]


def configured_weights(path: Path, experiment: str) -> Weights:
    """Variant → weight, from a TOML file with the experiment at any depth, as ``name`` beside ``variants``.

    Raises:
        ConfigError: the file cannot be read, does not have the experiment, or a weight is no positive number.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--config: {path}: {exc}") from exc
    experiments = {table["name"]: table for table in _experiments(document)}
    if experiment not in experiments:
        known = ", ".join(sorted(experiments)) or "none"
        raise ConfigError(f"--config: {path}: has no experiment {experiment!r}; known: {known}")
    return _weights(experiments[experiment]["variants"], f"--config: {path}: {experiment}")


def parsed_weights(text: str) -> Weights:
    """Variant → weight, from ``a=1,b=2``. Raises ConfigError."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if any(not (name.strip() and equals) for name, equals, _ in pairs):
        raise ConfigError(f"--ratio: {text!r}; expected variant=weight pairs, such as control=50,new=50")
    return _weights([{"name": name.strip(), "weight": weight} for name, _, weight in pairs], "--ratio")


def check_weights(weights: Mapping[str, float], seen: Iterable[str]) -> None:
    """Raises ConfigError where users were seen in a variant that has no weight."""
    unknown = sorted(set(seen) - weights.keys())
    if unknown:
        raise ConfigError(f"weights: users were seen in {', '.join(unknown)}; weights are of {', '.join(weights)}")


def _experiments(value: Any) -> Iterator[dict[str, Any]]:
    """Every table below that has a name and variants."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("variants"), list):
        yield value
    for child in children:
        yield from _experiments(child)


def _weights(variants: list[Any], where: str) -> Weights:
    try:
        weights = {str(variant["name"]): float(variant["weight"]) for variant in variants}
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigError(f"{where}: a variant needs a name and a weight that is a number: {exc!r}") from exc
    if len(weights) < len(variants) or not all(0 < weight < float("inf") for weight in weights.values()):
        raise ConfigError(f"{where}: {weights}; expected variants of different names and weights above 0")
    return weights
