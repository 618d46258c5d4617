"""A run directory's settings: all stages' configurations, from a TOML file or from the commands' flags."""

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from models.cf.ease import EASEConfig
from models.cf.multvae import MultVAEConfig
from models.cf.sasrec import SASRecConfig
from models.communities import CommunityConfig
from models.config import make
from models.contract.errors import ConfigError
from models.data.prepare import DataConfig
from models.papers.l3rec import L3RecConfig
from models.ranking import ServingConfig

SETTINGS = "run.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")


@dataclass(frozen=True)
class RunConfig:
    """All stages' configurations: one TOML section each, and the ``name`` that bundle ids begin with.

    Raises:
        ConfigError: the name cannot begin a bundle's id.
    """

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    cf: MultVAEConfig = field(default_factory=MultVAEConfig)
    communities: CommunityConfig = field(default_factory=CommunityConfig)
    local: L3RecConfig = field(default_factory=L3RecConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)
    ease: EASEConfig = field(default_factory=EASEConfig)
    sasrec: SASRecConfig = field(default_factory=SASRecConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(f"name: {self.name!r}; expected up to 40 of a-z, 0-9, '.' and '-'")


def make_run(document: Mapping[str, Any], source: str) -> RunConfig:
    """Build a run's configuration. Raises ConfigError on an unknown section or key, or a value that cannot be used."""
    if not isinstance(document, Mapping):
        raise ConfigError(f"{source}: expected name and sections")
    sections = {f.name: f.default_factory for f in fields(RunConfig) if f.name != "name"}
    for key in document:
        if key != "name" and key not in sections:
            raise ConfigError(f"{source}: {key}: unknown section; expected name, {', '.join(sections)}")
    made: dict[str, Any] = {
        key: make(cls, document.get(key, {}), key)  # type: ignore[arg-type]  # a section's factory is its class
        for key, cls in sections.items()
    }
    return RunConfig(document.get("name", ""), **made)


def load_config(path: Path) -> RunConfig:
    """Read a TOML file. Raises ConfigError where it cannot be read or used."""
    try:
        return make_run(tomllib.loads(path.read_text()), str(path))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def load_run(directory: Path) -> RunConfig | None:
    """The settings kept in a run directory, or None where there are none yet."""
    path = directory / SETTINGS
    if not path.exists():
        return None
    try:
        return make_run(json.loads(path.read_text()), str(path))
    except ValueError as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def save_run(directory: Path, config: RunConfig) -> None:
    """Keep the settings in the run directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SETTINGS).write_text(json.dumps(msgspec.to_builtins(config), indent=2) + "\n")


def with_flags(config: RunConfig, section: str, values: Mapping[str, Any]) -> RunConfig:
    """The settings with some keys of a section replaced."""
    current = getattr(config, section)
    merged = msgspec.to_builtins(current) | dict(values)
    return dataclasses.replace(config, **{section: make(type(current), merged, section)})
