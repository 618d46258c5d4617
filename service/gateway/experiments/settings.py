"""The experiments file: who takes part in what, and what a variant changes. Manual: ``deploy/experiments.toml``."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import accumulate, combinations
from math import ceil
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from service.gateway.ranking.settings import FusionOverrides, Pipeline
from service.gateway.tables import MAX_DEADLINE_MS, BundleId, Name, Table, check_distinct, check_known

BUCKETS = 10_000  # of assignment v1, docs/experiments.md


def buckets_of(share: float) -> int:
    """A share of users in buckets."""
    return round(share * BUCKETS)


def _whole_buckets(share: float) -> float:
    if abs(share * BUCKETS - buckets_of(share)) > 1e-6:
        raise ValueError(f"expected a multiple of {1 / BUCKETS}, got {share}")
    return share


def _utc(instant: datetime) -> datetime:
    if instant.utcoffset() != timedelta(0):
        raise ValueError(f"expected an instant in UTC, such as 2026-01-31T09:00:00Z, got {instant.isoformat()}")
    return instant


Share = Annotated[float, Field(gt=0, le=1), AfterValidator(_whole_buckets)]
Offset = Annotated[float, Field(ge=0, lt=1), AfterValidator(_whole_buckets)]
Instant = Annotated[datetime, Field(strict=True), AfterValidator(_utc)]
# Without a colon, so that no two pairs of salt and user id read the same.
Salt = Annotated[str, Field(pattern=r"^[^:\s]{1,64}$")]
_BEGINNING, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Parameters(Table):
    """What a variant wants otherwise than its pipeline. None: as it is."""

    deadline_ms: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_MS)
    max_communities: int | None = Field(default=None, ge=1, le=100)
    fusion: FusionOverrides | None = None
    candidates: int | None = Field(default=None, ge=2, le=200)
    diversity: float | None = Field(default=None, ge=0, le=1)
    max_per: dict[str, Annotated[int, Field(ge=1, le=100)]] | None = Field(default=None, max_length=20)

    def named(self) -> set[str]:
        """The keys that are set."""
        return {key for key in self.model_fields_set if getattr(self, key) is not None}


class VariantSettings(Table):
    """One arm of an experiment."""

    name: Name
    weight: float = Field(gt=0, le=1_000_000)
    pipeline: Name | None = None
    bundle: BundleId | None = None
    parameters: Parameters = Parameters()

    def changes(self) -> set[str]:
        """The settings that this variant decides."""
        return self.parameters.named() | {key for key in ("pipeline", "bundle") if getattr(self, key)}


class Salted(Table):
    """What splits by a hash: an experiment its users, a layer its users, a shadow the requests."""

    name: Name
    salt: Salt | None = None

    @property
    def salted(self) -> str:
        """The salt of the hash."""
        return self.salt or self.name


class ExperimentSettings(Salted):
    """A share of a layer's users, split among variants."""

    coverage: Share = 1.0
    offset: Offset = 0.0
    starts: Instant | None = None
    ends: Instant | None = None
    enabled: bool = True
    allowlist: dict[str, Name] = Field(default={})
    variants: tuple[VariantSettings, ...] = Field(min_length=1, max_length=20)

    @property
    def buckets(self) -> range:
        """The buckets of the layer whose users take part."""
        first = buckets_of(self.offset)
        return range(first, first + buckets_of(self.coverage))

    @property
    def window(self) -> tuple[datetime, datetime]:
        """From when to before when it runs."""
        return self.starts or _BEGINNING, self.ends or _END

    @property
    def spans(self) -> tuple[range, ...]:
        """For each variant, its buckets of the experiment's: exact, in decimal."""
        weights = list(accumulate(Fraction(repr(variant.weight)) for variant in self.variants))
        ends = [ceil(BUCKETS * weight / weights[-1]) for weight in weights]
        return tuple(map(range, (0, *ends[:-1]), ends))

    def changes(self) -> set[str]:
        """The settings that one of the variants decides."""
        return set().union(*(variant.changes() for variant in self.variants))

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [variant.name for variant in self.variants]
        check_distinct("variants", names)
        for user_id, variant in self.allowlist.items():
            check_known(f"allowlist.{user_id}", variant, names)
        if self.buckets.stop > BUCKETS:
            raise ValueError(f"offset {self.offset} and coverage {self.coverage} exceed the layer")
        if self.window[0] >= self.window[1]:
            raise ValueError(f"expected ends after starts, got {self.starts} and {self.ends}")
        for name, span in zip(names, self.spans, strict=True):
            if not span:
                raise ValueError(f"variants.{name}: its weight is less than one of {BUCKETS} buckets")
        return self


class LayerSettings(Salted):
    """Experiments that never share a user at one time. Those of different layers are independent."""

    experiments: tuple[ExperimentSettings, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _check_overlaps(self) -> Self:
        for one, other in combinations(self.experiments, 2):
            shared = range(max(one.buckets.start, other.buckets.start), min(one.buckets.stop, other.buckets.stop))
            if shared and _meet(one, other):
                free = max(experiment.buckets.stop for experiment in self.experiments) / BUCKETS
                raise ValueError(
                    f"{other.name} shares users with {one.name}: buckets {shared.start} to {shared.stop - 1}; "
                    f"give it an offset, the last experiment ends at {free:g}"
                )
        return self


class HoldoutSettings(Table):
    """Users who take part in nothing."""

    share: Share
    salt: Salt = "holdout"
    pipeline: Name | None = None


class ShadowSettings(Salted):
    """What is tried on a share of requests, and never shown."""

    share: Share
    pipeline: Name
    parameters: Parameters = Parameters()


class ExperimentFile(Table):
    """The whole file."""

    kill_switch: bool = False
    header_override: bool = False
    shadow_limit: int = Field(default=16, ge=1, le=1_000)
    holdout: HoldoutSettings | None = None
    layers: tuple[LayerSettings, ...] = Field(default=(), max_length=20)
    shadows: tuple[ShadowSettings, ...] = Field(default=(), max_length=20)

    def experiments(self) -> Iterator[ExperimentSettings]:
        """Those of all layers, in the order of the file."""
        return (experiment for layer in self.layers for experiment in layer.experiments)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_distinct("layers", [layer.name for layer in self.layers])
        check_distinct("experiments", [experiment.name for experiment in self.experiments()])
        check_distinct("shadows", [shadow.name for shadow in self.shadows])
        salted: list[Salted] = [*self.layers, *self.experiments(), *self.shadows]
        salts = [table.salted for table in salted] + ([self.holdout.salt] if self.holdout else [])
        check_distinct("salts (a name, where no salt is given)", salts)  # the same salt would be the same split
        for one, other in combinations(self.layers, 2):
            _check_independent(one, other)
        return self


def _meet(one: ExperimentSettings, other: ExperimentSettings) -> bool:
    """Whether both run at some instant."""
    return max(one.window[0], other.window[0]) < min(one.window[1], other.window[1])


def _check_independent(one: LayerSettings, other: LayerSettings) -> None:
    """Raise ValueError where a user could be in two experiments that decide the same setting."""
    for first in one.experiments:
        for second in other.experiments:
            shared = first.changes() & second.changes()
            if shared and _meet(first, second):
                raise ValueError(
                    f"{first.name} and {second.name} both decide {', '.join(sorted(shared))}: put them into one layer"
                )


def check_pipelines(file: ExperimentFile, pipelines: Mapping[str, Pipeline]) -> None:
    """Raise ValueError where a pipeline is not configured, or has no such parameter."""
    if file.holdout and file.holdout.pipeline:
        check_known("holdout.pipeline", file.holdout.pipeline, pipelines)
    for experiment in file.experiments():
        for variant in experiment.variants:
            _check_tuned(f"{experiment.name}.{variant.name}", variant.pipeline, variant.parameters, pipelines)
    for shadow in file.shadows:
        _check_tuned(f"shadows.{shadow.name}", shadow.pipeline, shadow.parameters, pipelines)


def _check_tuned(where: str, name: str | None, parameters: Parameters, pipelines: Mapping[str, Pipeline]) -> None:
    if name is None:
        return
    check_known(f"{where}.pipeline", name, pipelines)
    absent = parameters.named() - {"deadline_ms"} - type(pipelines[name]).model_fields.keys()
    if absent:
        raise ValueError(f"{where}.parameters: pipeline {name!r} has no {', '.join(sorted(absent))}")
    _check_candidates(f"{where}.parameters.candidates", parameters.candidates, pipelines[name])


def _check_candidates(where: str, candidates: int | None, pipeline: Pipeline) -> None:
    """Raise ValueError where a pipeline does not allow for so many candidates."""
    if candidates is None:
        return
    try:
        type(pipeline).model_validate(pipeline.model_dump() | {"candidates": candidates})
    except ValidationError as exc:
        raise ValueError(f"{where}: {exc.errors()[0]['msg']}") from exc
