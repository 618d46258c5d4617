"""Settings of the gateway: a TOML file (manual: ``deploy/gateway.toml``), overridden by ``LOCALREC_…`` variables."""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from models.contract.errors import ConfigError, EnvironmentVariableError
from models.contract.specs import Part
from service.gateway.environment import CONFIG_VARIABLE, LEVEL, PREFIX, check_names, shown, variable_of
from service.gateway.logs.settings import LoggingSettings, TracingSettings
from service.gateway.ranking.settings import AskingPipeline, GlobalPipeline, Pipeline
from service.gateway.security.settings import AdminSettings, HttpSettings, SecuritySettings
from service.gateway.store.settings import EventSettings
from service.gateway.tables import MAX_DEADLINE_MS, Name, Problem, Table, check_distinct, check_known, problems
from service.gateway.traffic.settings import BatchSettings, CacheSettings, LimitSettings, QualitySettings
from service.workers.types import WorkerKind


class PoolSettings(Table):
    """Workers that are interchangeable where they serve the same base model."""

    name: Name
    urls: tuple[Annotated[str, Field(pattern=r"^https?://[^/@]+$")], ...] = Field(min_length=1)
    kind: WorkerKind = "vllm"
    model: Part = "local"
    bundle_root: Path | None = None
    slots: int = Field(default=32, ge=1, le=10_000)
    in_flight_limit: int = Field(default=64, ge=1, le=10_000)
    probe_interval_ms: int = Field(default=1_000, ge=10, le=60_000)
    failures_to_open: int = Field(default=20, ge=1, le=1_000)
    cooldown_ms: int = Field(default=1_000, ge=10, le=60_000)
    drain_ms: int = Field(default=10_000, ge=MAX_DEADLINE_MS, le=600_000)
    hedge: bool = False


class Settings(BaseSettings):
    """Everything that an operator may turn."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=LEVEL,
        hide_input_in_errors=True,  # a URL may hold a password
    )

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", pattern=r"^(redis|rediss|unix)://", repr=False)
    redis_timeout_ms: int = Field(default=100, ge=1, le=10_000)
    redis_grace_s: float = Field(default=5.0, ge=0, le=3_600)
    bundle_root: Path = Path("bundles")
    bundle_poll_ms: int = Field(default=1_000, ge=10, le=60_000)
    bundle_wait_s: float = Field(default=60.0, ge=0, le=3_600)
    default_deadline_ms: int = Field(default=200, ge=1, le=MAX_DEADLINE_MS)
    limits: LimitSettings = LimitSettings()
    quality: QualitySettings = QualitySettings()
    cache: CacheSettings = CacheSettings()
    batch: BatchSettings = BatchSettings()
    exposures_kept: int = Field(default=100_000, ge=0, le=100_000_000)
    default_pipeline: Name = "cf"
    pools: tuple[PoolSettings, ...] = ()
    pipelines: dict[Name, Annotated[Pipeline, Field(discriminator="kind")]] = Field(
        default={"cf": GlobalPipeline(kind="cf")}
    )
    events: EventSettings = EventSettings()
    experiments_file: Path | None = None
    experiments_poll_ms: int = Field(default=1_000, ge=10, le=60_000)
    security: SecuritySettings = SecuritySettings()
    admin: AdminSettings = AdminSettings()
    http: HttpSettings = HttpSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        check_distinct("pools", [pool.name for pool in self.pools])
        check_known("default_pipeline", self.default_pipeline, self.pipelines)
        models = {pool.name: pool.model for pool in self.pools}
        for name, pipeline in self.pipelines.items():
            if not isinstance(pipeline, GlobalPipeline):
                _check_pool(f"pipelines.{name}.pool", pipeline, models)
        return self

    def rotating(self) -> dict[str, int]:
        """Pipelines whose lists rotate, and for how many seconds that something was shown matters to them."""
        pipelines = self.pipelines.items()
        return {name: pipeline.rotation.window_s for name, pipeline in pipelines if pipeline.rotation}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment overrides the file, whose contents come as arguments."""
        return env_settings, init_settings


def _check_pool(where: str, pipeline: AskingPipeline, models: Mapping[str, Part]) -> None:
    """Raise ValueError where a pipeline's pool is none of ``models``, or serves another model than it asks."""
    check_known(where, pipeline.pool, models)
    if models[pipeline.pool] != pipeline.kind:
        raise ValueError(
            f"{where}: pool {pipeline.pool} serves the model {models[pipeline.pool]}, expected {pipeline.kind}"
        )


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        path: the TOML file; where None, the one that ``LOCALREC_CONFIG`` names; where that is unset too, defaults.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value impossible.
        EnvironmentVariableError: a variable is the cause.
    """
    check_environment()
    named = path or os.environ.get(CONFIG_VARIABLE)
    try:
        return Settings(**_read(Path(named)) if named else {})
    except ValidationError as exc:
        raise _refused(problems(exc), str(named or "settings")) from exc
    except SettingsError as exc:  # a list or table in a variable that is no JSON
        field = str(exc).partition('field "')[2].partition('"')[0]
        name = next(filter(_is_no_json, _variables_of(field)), PREFIX + field.upper())
        raise EnvironmentVariableError(f"{shown(os.environ, name)}: expected JSON") from exc


def check_environment() -> None:
    """See that every ``LOCALREC_…`` variable is a setting's. Raises EnvironmentVariableError."""
    check_names(os.environ, Settings.model_fields)


def _refused(found: Sequence[Problem], where: str) -> ConfigError:
    """One line: what variables gave is named by the variable."""
    named = {problem: variable_of(os.environ, problem.place) for problem in found}
    lines = [f"{shown(os.environ, name) if name else p.where}: {p.why}" for p, name in named.items()]
    if any(named.values()):
        return EnvironmentVariableError("; ".join(lines))
    return ConfigError(f"{where}: {'; '.join(lines)}")


def _variables_of(field: str) -> list[str]:
    return [name for name in os.environ if name.upper().startswith(PREFIX + field.upper())]


def _is_no_json(name: str) -> bool:
    """Whether a variable has the look of JSON, and is none."""
    if os.environ[name].lstrip()[:1] not in {"[", "{"}:
        return False
    try:
        json.loads(os.environ[name])
    except ValueError:
        return True
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc
