"""A run directory's settings: all stages' configurations, from a TOML file or from the commands' flags."""

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from models.cf.ease import EASEConfig
from models.cf.gru4rec import GRU4RecConfig
from models.cf.item_knn import ItemKNNConfig
from models.cf.lightgcn import LightGCNConfig
from models.cf.mf_bpr import MFBPRConfig
from models.cf.multvae import MultVAEConfig
from models.cf.popularity import PopularityConfig
from models.cf.sasrec import SASRecConfig
from models.communities import CommunityConfig
from models.config import make
from models.contract.errors import ConfigError
from models.contract.specs import FurtherPart
from models.contract.vllm import LORA_RANKS
from models.data.prepare import DataConfig
from models.papers.collm.config import CoLLMConfig
from models.papers.hatllm.config import HatLLMConfig
from models.papers.l2rec.config import L2RecConfig
from models.papers.l3rec.config import L3RecConfig
from models.papers.ulmrec.config import ULMRecConfig
from models.ranking.fusion_search import ServingConfig
from models.stage import RECORD

SETTINGS = "run.json"
Task = Literal["sequential", "top-n"]
FURTHER: tuple[FurtherPart, ...] = get_args(FurtherPart)  # models that a run has where it has their section
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")


@dataclass(frozen=True)
class RunConfig:
    """All stages' configurations: one TOML section each, the ``name`` that bundle ids begin with, and the ``task``.

    The task is what a history stands for: ``sequential``, a sequence whose next item is wanted, or ``top-n``, a set
    of which further items are wanted. A run has the models of other papers where it has their sections.

    Raises:
        ConfigError: the name cannot begin a bundle's id, there is no such task, or a section does not go with it.
    """

    name: str
    task: Task = "sequential"
    data: DataConfig = field(default_factory=DataConfig)
    cf: MultVAEConfig = field(default_factory=MultVAEConfig)
    communities: CommunityConfig = field(default_factory=CommunityConfig)
    local: L3RecConfig = field(default_factory=L3RecConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)
    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    item_knn: ItemKNNConfig = field(default_factory=ItemKNNConfig)
    ease: EASEConfig = field(default_factory=EASEConfig)
    mf_bpr: MFBPRConfig = field(default_factory=MFBPRConfig)
    lightgcn: LightGCNConfig = field(default_factory=LightGCNConfig)
    gru4rec: GRU4RecConfig = field(default_factory=GRU4RecConfig)
    sasrec: SASRecConfig = field(default_factory=SASRecConfig)
    sasrec_text: SASRecConfig = field(default_factory=SASRecConfig)
    collm: CoLLMConfig | None = None
    hatllm: HatLLMConfig | None = None
    ulmrec: ULMRecConfig | None = None
    l2rec: L2RecConfig | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(f"name: {self.name!r}; expected up to 40 of a-z, 0-9, '.' and '-'")
        if self.task not in get_args(Task):
            raise ConfigError(f"task: {self.task!r}; expected one of {', '.join(get_args(Task))}")
        if self.communities.assignment == "user-item" and self.task != "top-n":
            raise ConfigError(
                f"communities.assignment: 'user-item' does not go with task {self.task!r}: a community's items cut"
                " sequences apart; expected task 'top-n', or assignment 'user'"
            )
        if self.local.form == "title" and (self.task != "sequential" or self.local.local_start != "global"):
            raise ConfigError(
                f"local.form: 'title' does not go with task {self.task!r} and local.local_start"
                f" {self.local.local_start!r}; expected 'sequential' and 'global', or form 'item-token'"
            )
        for part in ("hatllm", "l2rec"):
            if getattr(self, part) is not None and self.task != "sequential":
                raise ConfigError(
                    f"{part}: does not go with task {self.task!r}; expected 'sequential', or no such section"
                )
        if self.local.local_start == "scratch" and self.local.embedding_size > LORA_RANKS[-1]:
            raise ConfigError(
                f"local.embedding_size: {self.local.embedding_size} is out of range with local_start 'scratch';"
                f" expected at most {LORA_RANKS[-1]}, which is the highest rank of an adapter that vLLM loads"
            )


def section_classes() -> dict[str, type]:
    """The class of each section, by name, in the order of the file."""
    hints = get_type_hints(RunConfig)
    return {
        name: get_args(hint)[0] if name in FURTHER else hint
        for name, hint in hints.items()
        if name not in ("name", "task")
    }


def make_run(document: Mapping[str, Any], source: str) -> RunConfig:
    """Build a run's configuration. Raises ConfigError on an unknown section or key, or a value that cannot be used."""
    if not isinstance(document, Mapping):
        raise ConfigError(f"{source}: expected name and sections")
    sections = section_classes()
    for key in document:
        if key not in ("name", "task", *sections):
            raise ConfigError(f"{source}: {key}: unknown section; expected name, task, {', '.join(sections)}")
    given = {key: value for key, value in document.items() if not (key in FURTHER and value is None)}
    made: dict[str, Any] = {
        key: make(cls, given.get(key, {}), key) for key, cls in sections.items() if key in given or key not in FURTHER
    }
    return RunConfig(document.get("name", ""), document.get("task", "sequential"), **made)


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
    except (ValueError, ConfigError) as exc:
        raise ConfigError(f"{path}: {exc}; expected the settings of a run of this version") from exc


def check_data_set(directory: Path, config: RunConfig) -> None:
    """Raises ConfigError where the run directory holds prepared data of another data set, which would be replaced."""
    kept = load_run(directory)
    if kept is None or not (directory / "data" / RECORD).exists():
        return
    wanted = _data_set(config)
    for key, held in _data_set(kept).items():
        if wanted[key] != held:
            raise ConfigError(
                f"{key}: {wanted[key]!r}, but {directory} holds a run of {held!r}; expected that, or another --run"
            )


def save_run(directory: Path, config: RunConfig) -> None:
    """Keep the settings in the run directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SETTINGS).write_text(json.dumps(msgspec.to_builtins(config), indent=2) + "\n")


def _data_set(config: RunConfig) -> dict[str, str]:
    """What tells data sets apart, by key. Filters do not: they may be changed, and the stages run again."""
    data = config.data
    interactions = str(Path(data.interactions).resolve())
    return {
        "name": config.name,
        "data.source": data.source,
        "data.interactions": interactions,
        "data.split": data.split,
    }


def with_flags(config: RunConfig, section: str, values: Mapping[str, Any]) -> RunConfig:
    """The settings with some keys of a section replaced; a section that was not there is begun with its defaults."""
    current = getattr(config, section)
    merged = (msgspec.to_builtins(current) if current is not None else {}) | dict(values)
    return dataclasses.replace(config, **{section: make(section_classes()[section], merged, section)})
